-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS erasures {on_cluster} AS {table:erasures}
ENGINE = Distributed({cluster}, currentDatabase(), {table:erasures}, cityHash64(id))
