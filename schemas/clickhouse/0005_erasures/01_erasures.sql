-- What has to be erased, for the other instances: each has a spool of its own, in which records wait that were accepted
-- before. The value itself stands here for as long as an instance may be away, and then goes.
CREATE TABLE IF NOT EXISTS {table:erasures} {on_cluster}
(
    id FixedString(16),
    tenant LowCardinality(String),
    -- Who was asked.
    instance String,
    -- What was asked, as JSON.
    request String,
    asked_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:MergeTree}
ORDER BY asked_at
TTL toDateTime(asked_at) + toIntervalDay(30)
SETTINGS
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
