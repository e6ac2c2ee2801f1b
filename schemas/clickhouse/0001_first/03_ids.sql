-- Finds every hop event of an id, of whatever kind, without a time range, and carries the event's other ids, so that a
-- closure over ids reads no events. `bucket` and `locator` lead to one granule of `events`. `locator` is computed and
-- takes no room. The column of a row's own kind stays empty, for `id` holds it. Equal rows, one per set of ids in a
-- request, collapse.
--
-- What carrying the other ids costs, measured with the sample mix after merges: 22.7 bytes an event, 11.6 without them
-- (of a budget of 80 for everything, where events take 52.5).
CREATE TABLE IF NOT EXISTS {table:ids} {on_cluster}
(
    tenant LowCardinality(String),
    id FixedString(16),
    kind Enum8('correlation_id' = 1, 'request_id' = 2, 'edge_request_id' = 3, 'trace_id' = 4),
    bucket DateTime('UTC'),
    correlation_id FixedString(16),
    request_id FixedString(16),
    edge_request_id FixedString(16),
    trace_id FixedString(16),
    -- The same as crates/store/src/locator.rs: a hash of the strongest id.
    locator UInt64 ALIAS xxh3(multiIf(
        kind = 'correlation_id', id, correlation_id != unhex(repeat('00', 16)), correlation_id,
        kind = 'request_id', id, request_id != unhex(repeat('00', 16)), request_id,
        kind = 'edge_request_id', id, edge_request_id != unhex(repeat('00', 16)), edge_request_id, id))
)
ENGINE = {engine:ReplacingMergeTree}
-- A lookup without a time range reads one granule per part: weeks keep the partitions few, and each is dropped whole.
PARTITION BY toMonday(bucket)
PRIMARY KEY (tenant, id)
ORDER BY (tenant, id, kind, bucket, correlation_id, request_id, edge_request_id, trace_id)
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
