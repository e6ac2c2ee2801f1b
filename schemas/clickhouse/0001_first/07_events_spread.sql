-- Cluster only: the table that queries and inserts name, over the shards' own.
CREATE TABLE IF NOT EXISTS events {on_cluster} AS {table:events}
ENGINE = Distributed({cluster}, currentDatabase(), {table:events}, cityHash64(tenant, locator))
