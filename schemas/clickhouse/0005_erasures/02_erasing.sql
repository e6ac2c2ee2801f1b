-- The events and ids of an erasure that is under way: what the statements that delete refer to. A partition for each,
-- dropped when it is done.
CREATE TABLE IF NOT EXISTS {table:erasing} {on_cluster}
(
    erasure FixedString(16),
    -- One of the two is zero.
    event_key UInt64,
    id FixedString(16),
    noted_at DateTime('UTC') DEFAULT now()
)
ENGINE = {engine:MergeTree}
PARTITION BY erasure
ORDER BY (event_key, id)
TTL noted_at + toIntervalDay(7)
SETTINGS ttl_only_drop_parts = 1
