-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS recent {on_cluster} AS {table:recent}
ENGINE = Distributed({cluster}, currentDatabase(), {table:recent}, cityHash64(segment))
