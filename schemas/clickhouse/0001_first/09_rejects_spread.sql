-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS rejects {on_cluster} AS {table:rejects}
ENGINE = Distributed({cluster}, currentDatabase(), {table:rejects}, rand())
