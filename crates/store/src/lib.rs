//! Everything that knows SQL: client, migrations, native inserts, queries.
