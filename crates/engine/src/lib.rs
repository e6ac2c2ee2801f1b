//! The embedded ClickHouse engine behind its HTTP interface, as a supervised child.
