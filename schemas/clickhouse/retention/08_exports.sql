-- Run when the configured retention differs from what was last set.
ALTER TABLE {table:exports} {on_cluster} MODIFY TTL toDateTime(decided_at) + toIntervalDay({days:errors})
SETTINGS materialize_ttl_after_modify = 0
