-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS rollup_minute {on_cluster} AS {table:rollup_minute}
ENGINE = Distributed({cluster}, currentDatabase(), {table:rollup_minute}, cityHash64(tenant, minute, service))
