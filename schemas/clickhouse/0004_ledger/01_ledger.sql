-- The completeness ledger: per source and minute, how much of what. What was counted at acceptance lies in the segment
-- beside the records and comes in with it, what shipping found in the segment stands beside it: where the two differ,
-- something was lost in between. Plain sums, a row a counter, so that a new counter needs no migration.
CREATE TABLE IF NOT EXISTS {table:ledger} {on_cluster}
(
    tenant LowCardinality(String),
    -- Minute of receipt, by the service's clock.
    minute DateTime('UTC') CODEC(Delta, ZSTD(1)),
    source LowCardinality(String),
    -- A word of crates/event/src/tally.rs, or of crates/store/src/batch/ledger.rs for what shipping counts.
    counter LowCardinality(String),
    total UInt64
)
ENGINE = {engine:SummingMergeTree(total)}
PARTITION BY toMonday(minute)
ORDER BY (tenant, minute, source, counter)
TTL minute + toIntervalDay({days:rollups})
SETTINGS
    ttl_only_drop_parts = 1,
    default_compression_codec = 'ZSTD(1)',
    -- An insert answers when its part is on the disk.
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
