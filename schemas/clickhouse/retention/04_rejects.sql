-- Run when the configured retention differs from what was last set.
ALTER TABLE {table:rejects} {on_cluster} MODIFY TTL toDateTime(received_ns) + toIntervalDay({days:rejects})
SETTINGS materialize_ttl_after_modify = 0
