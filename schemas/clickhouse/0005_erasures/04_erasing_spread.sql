-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS erasing {on_cluster} AS {table:erasing}
ENGINE = Distributed({cluster}, currentDatabase(), {table:erasing}, cityHash64(erasure))
