-- Run when the configured retention differs from what was last set.
ALTER TABLE {table:rollup_minute} {on_cluster} MODIFY TTL minute + toIntervalDay({days:rollups})
SETTINGS materialize_ttl_after_modify = 0
