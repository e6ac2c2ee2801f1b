-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS ids {on_cluster} AS {table:ids}
ENGINE = Distributed({cluster}, currentDatabase(), {table:ids}, cityHash64(tenant, id))
