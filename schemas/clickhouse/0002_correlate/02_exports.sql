-- What was decided about each settled request: one row per decision, more than one where late records came. It keeps a
-- restart from exporting twice, a late record from getting another trace id, and answers "why is it not in the backend".
CREATE TABLE IF NOT EXISTS {table:exports} {on_cluster}
(
    tenant LowCardinality(String),
    -- The request's canonical id at that time, its trace id where no record carries an id.
    id FixedString(16),
    kind Enum8('none' = 0, 'correlation_id' = 1, 'request_id' = 2, 'edge_request_id' = 3, 'trace_id' = 4),
    -- Under which it was exported.
    trace_id FixedString(16),
    -- A word of crates/store/src/exports.rs, as text: a new one needs no migration.
    decision LowCardinality(String),
    -- What decided: a rule of export.keep, or the receiver's refusal.
    rule LowCardinality(String),
    spans UInt32,
    -- The events that the decision covers. A hash each: nothing to compress.
    event_keys Array(UInt64) CODEC(NONE),
    decided_at DateTime64(6, 'UTC') DEFAULT now64(6) CODEC(Delta, ZSTD(1))
)
ENGINE = {engine:MergeTree}
PARTITION BY toMonday(decided_at)
ORDER BY (tenant, id, decided_at)
TTL toDateTime(decided_at) + toIntervalDay({days:errors})
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
