-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS ledger {on_cluster} AS {table:ledger}
ENGINE = Distributed({cluster}, currentDatabase(), {table:ledger}, cityHash64(tenant, minute, source))
