-- Run when the configured time differs from what was last set.
ALTER TABLE {table:recent} {on_cluster} MODIFY TTL shipped_at + toIntervalHour({hours:recent})
SETTINGS materialize_ttl_after_modify = 0
