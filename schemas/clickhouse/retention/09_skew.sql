-- Run when the configured retention differs from what was last set.
ALTER TABLE {table:skew} {on_cluster} MODIFY TTL hour + toIntervalDay({days:errors})
SETTINGS materialize_ttl_after_modify = 0
