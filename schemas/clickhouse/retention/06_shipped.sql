-- Run when the configured retention differs from what was last set.
ALTER TABLE {table:shipped} {on_cluster} MODIFY TTL toDateTime(shipped_at) + toIntervalDay({days:errors})
SETTINGS materialize_ttl_after_modify = 0
