-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS shipped {on_cluster} AS {table:shipped}
ENGINE = Distributed({cluster}, currentDatabase(), {table:shipped}, cityHash64(segment))
