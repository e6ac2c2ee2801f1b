-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS migrations {on_cluster} AS {table:migrations}
ENGINE = Distributed({cluster}, currentDatabase(), {table:migrations}, cityHash64(name))
