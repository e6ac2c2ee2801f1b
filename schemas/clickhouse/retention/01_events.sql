-- Run when the configured retention differs from what was last set. Errors and denials are kept longer than the rest.
ALTER TABLE {table:events} {on_cluster} MODIFY TTL
    bucket + toIntervalDay({days:events}) DELETE WHERE status BETWEEN 1 AND 399 AND verdict IN ('', 'allow'),
    bucket + toIntervalDay({days:errors}) DELETE
SETTINGS materialize_ttl_after_modify = 0
