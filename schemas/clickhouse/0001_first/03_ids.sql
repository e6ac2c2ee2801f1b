-- Finds every hop event of an id, of whatever kind, without a time range: `bucket` and `locator` lead to one granule of
-- `events`, whose rows carry the event's other ids. (Carrying the other ids here as well would
-- cost an estimated 30 bytes an event, of a budget of 80 for everything.) Equal rows, one per hop of a request, collapse.
CREATE TABLE IF NOT EXISTS {table:ids} {on_cluster}
(
    tenant LowCardinality(String),
    id FixedString(16),
    kind Enum8('correlation_id' = 1, 'request_id' = 2, 'edge_request_id' = 3, 'trace_id' = 4),
    bucket DateTime('UTC'),
    locator UInt64
)
ENGINE = {engine:ReplacingMergeTree}
-- A lookup without a time range reads one granule per part: weeks keep the partitions few, and each is dropped whole.
PARTITION BY toMonday(bucket)
ORDER BY (tenant, id, kind, bucket, locator)
TTL bucket + toIntervalDay({days:errors})
SETTINGS
    index_granularity = 512,
    ttl_only_drop_parts = 1,
    default_compression_codec = 'ZSTD(1)',
    -- An insert answers when its part is on the disk.
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
