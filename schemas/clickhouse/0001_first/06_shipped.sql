-- One row per segment, written after all its other inserts are durable: what correlation consumes, and what tells a
-- restarted instance that a segment needs no second shipping.
CREATE TABLE IF NOT EXISTS {table:shipped} {on_cluster}
(
    segment FixedString(16),
    instance LowCardinality(String),
    first_received_ns DateTime64(9, 'UTC'),
    last_received_ns DateTime64(9, 'UTC'),
    events UInt64,
    rejects UInt64,
    -- By the store's clock, which is the one settling goes by.
    shipped_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {engine:MergeTree}
PARTITION BY toMonday(shipped_at)
ORDER BY (shipped_at, segment)
TTL toDateTime(shipped_at) + toIntervalDay({days:errors})
SETTINGS
    ttl_only_drop_parts = 1,
    -- An insert answers when its part is on the disk.
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
