-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS correlate_terms {on_cluster} AS {table:correlate_terms}
ENGINE = Distributed({cluster}, currentDatabase(), {table:correlate_terms}, term)
