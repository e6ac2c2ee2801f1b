-- Cluster only: the table that queries and inserts name, over the shards' own. Sharded by what the row is, never by
-- chance: a repeated insert must meet its deduplication token on the same shard.
CREATE TABLE IF NOT EXISTS rejects {on_cluster} AS {table:rejects}
ENGINE = Distributed({cluster}, currentDatabase(), {table:rejects}, cityHash64(tenant, source, received_ns, offset))
