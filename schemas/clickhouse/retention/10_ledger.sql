-- Run when the configured retention differs from what was last set.
ALTER TABLE {table:ledger} {on_cluster} MODIFY TTL minute + toIntervalDay({days:rollups})
SETTINGS materialize_ttl_after_modify = 0
