-- Run when the configured retention differs from what was last set.
ALTER TABLE {table:ids} {on_cluster} MODIFY TTL bucket + toIntervalDay({days:errors})
SETTINGS materialize_ttl_after_modify = 0
