-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS correlate_progress {on_cluster} AS {table:correlate_progress}
ENGINE = Distributed({cluster}, currentDatabase(), {table:correlate_progress}, term)
