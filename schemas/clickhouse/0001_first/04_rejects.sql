-- Bad input as data: what could not be read, or what this store refused, with the reason and the redacted bytes.
CREATE TABLE IF NOT EXISTS {table:rejects} {on_cluster}
(
    tenant LowCardinality(String),
    source LowCardinality(String),
    format LowCardinality(String),
    received_ns DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    -- A word of the event crate's RejectReason, as text: a new reason needs no migration.
    reason LowCardinality(String),
    detail String,
    -- Where the record began in its delivery, and how long it was before it was cut, in bytes.
    offset UInt64,
    length UInt64,
    bytes String CODEC(ZSTD(3))
)
ENGINE = {engine:MergeTree}
PARTITION BY toDate(received_ns)
ORDER BY (tenant, received_ns)
TTL toDateTime(received_ns) + toIntervalDay({days:rejects})
SETTINGS
    index_granularity = 1024,
    ttl_only_drop_parts = 1,
    default_compression_codec = 'ZSTD(1)',
    -- An insert answers when its part is on the disk.
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
