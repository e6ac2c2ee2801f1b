-- What the schema has no field for is kept for less time than the event it belongs to.
ALTER TABLE {table:events} {on_cluster}
    MODIFY COLUMN attributes Map(LowCardinality(String), String) TTL bucket + toIntervalDay({days:attributes})
SETTINGS materialize_ttl_after_modify = 0
