-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS skew {on_cluster} AS {table:skew}
ENGINE = Distributed({cluster}, currentDatabase(), {table:skew}, cityHash64(tenant, hour))
