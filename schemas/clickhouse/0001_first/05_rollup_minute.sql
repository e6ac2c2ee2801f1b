-- Requests per minute and hop: plain sums, with the latency as an exponential bucket in the key, so that inserting and
-- deduplicating them is like inserting rows, and quantiles come from counts.
CREATE TABLE IF NOT EXISTS {table:rollup_minute} {on_cluster}
(
    tenant LowCardinality(String),
    -- Minute of the start by the hop's clock, of the receipt where the two are more than a day apart.
    minute DateTime('UTC') CODEC(Delta, ZSTD(1)),
    hop Enum8('unknown' = 0, 'edge' = 1, 'shield' = 2, 'gateway' = 3, 'ztunnel' = 4, 'waypoint' = 5, 'sidecar' = 6, 'service' = 7, 'egress' = 8, 'origin' = 9),
    direction Enum8('unknown' = 0, 'inbound' = 1, 'outbound' = 2),
    service LowCardinality(String),
    namespace LowCardinality(String),
    pop LowCardinality(String),
    host LowCardinality(String),
    -- 0 none, 1..5 the first digit.
    status_class UInt8,
    cache_result LowCardinality(String),
    verdict LowCardinality(String),
    -- n: the duration was at most 2^(n/2) * 100 microseconds, 255: the record has none.
    latency_bucket UInt8,
    -- Sums of sample weights: how many requests the records stand for.
    requests Float64,
    errors Float64,
    response_bytes Float64,
    duration_ns Float64
)
ENGINE = {engine:SummingMergeTree((requests, errors, response_bytes, duration_ns))}
PARTITION BY toMonday(minute)
ORDER BY (tenant, minute, hop, direction, service, namespace, pop, host, status_class, cache_result, verdict, latency_bucket)
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
