-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS exports {on_cluster} AS {table:exports}
ENGINE = Distributed({cluster}, currentDatabase(), {table:exports}, cityHash64(tenant, id))
