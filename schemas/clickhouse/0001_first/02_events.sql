-- Hop events: one row per record that a hop wrote. A column per field of the event schema, with the same name, what
-- each means stands in crates/event/src/fields.rs. Ids are 16 bytes, big-endian (hex(trace_id) is the usual text, all
-- zero: none). Empty text, 0 and NULL mean "not in the record".
--
-- Order: `locator` is a hash of the record's strongest id, so all records of one request that arrive within one bucket
-- lie side by side: they compress against each other, and a lookup through `ids` reads one granule (1024 rows).
-- Partition and retention go by the day received, never by a sender's clock.
CREATE TABLE IF NOT EXISTS {table:events} {on_cluster}
(
    -- When it was received, rounded down to ten minutes.
    bucket DateTime('UTC'),
    locator UInt64,
    tenant LowCardinality(String),
    source LowCardinality(String),
    format LowCardinality(String),
    received_ns DateTime64(9, 'UTC') CODEC(GCD, Delta, T64('bit'), ZSTD(1)),
    -- A hash: nothing to compress.
    event_key UInt64 CODEC(NONE),
    hop Enum8('unknown' = 0, 'edge' = 1, 'shield' = 2, 'gateway' = 3, 'ztunnel' = 4, 'waypoint' = 5, 'sidecar' = 6, 'service' = 7, 'egress' = 8, 'origin' = 9),
    direction Enum8('unknown' = 0, 'inbound' = 1, 'outbound' = 2),
    notes UInt32,
    correlation_id FixedString(16),
    request_id FixedString(16),
    edge_request_id FixedString(16),
    trace_id FixedString(16),
    span_id UInt64,
    parent_span_id UInt64,
    request_id_reason UInt8,
    start_ns DateTime64(9, 'UTC') CODEC(GCD, Delta, ZSTD(1)),
    start_precision Enum8('received' = 0, 's' = 1, 'ms' = 2, 'us' = 3, 'ns' = 4),
    duration_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    request_rx_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    upstream_tx_first_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    upstream_tx_last_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    upstream_rx_first_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    upstream_rx_last_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    first_byte_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    last_byte_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    upstream_service_ns Nullable(UInt64) CODEC(GCD, T64('bit'), ZSTD(1)),
    log_type LowCardinality(String),
    intermediate Bool,
    method LowCardinality(String),
    scheme LowCardinality(String),
    host LowCardinality(String),
    path LowCardinality(String),
    query String,
    upstream_path String,
    protocol LowCardinality(String),
    status UInt16,
    grpc_status Nullable(UInt32),
    response_flags LowCardinality(String),
    details LowCardinality(String),
    termination_details LowCardinality(String),
    transport_failure LowCardinality(String),
    route LowCardinality(String),
    user_agent LowCardinality(String),
    referer String,
    content_type LowCardinality(String),
    request_bytes Nullable(UInt64),
    response_bytes Nullable(UInt64) CODEC(ZSTD(3)),
    request_header_bytes Nullable(UInt64),
    response_header_bytes Nullable(UInt64),
    client_address IPv6,
    -- Addresses with ports and lists of them: level 6 is worth 1.3 bytes an event.
    forwarded_for String CODEC(ZSTD(6)),
    downstream_remote String CODEC(ZSTD(6)),
    downstream_local String CODEC(ZSTD(6)),
    upstream_remote String CODEC(ZSTD(6)),
    upstream_local String CODEC(ZSTD(6)),
    upstream_cluster LowCardinality(String),
    sni LowCardinality(String),
    tls_version LowCardinality(String),
    tls_cipher LowCardinality(String),
    ja3 LowCardinality(String),
    ja4 LowCardinality(String),
    downstream_peer LowCardinality(String),
    upstream_peer LowCardinality(String),
    country LowCardinality(String),
    asn UInt32,
    pop LowCardinality(String),
    server LowCardinality(String),
    service_id LowCardinality(String),
    service_version LowCardinality(String),
    cache_state LowCardinality(String),
    cache_result LowCardinality(String),
    restarts Nullable(UInt32),
    visits Nullable(UInt32),
    to_shield Nullable(Bool),
    completed Nullable(Bool),
    node LowCardinality(String),
    pod LowCardinality(String),
    namespace LowCardinality(String),
    workload LowCardinality(String),
    workload_revision LowCardinality(String),
    mesh_cluster LowCardinality(String),
    service LowCardinality(String),
    peer_workload LowCardinality(String),
    peer_namespace LowCardinality(String),
    attempt UInt16,
    verdict LowCardinality(String),
    verdict_rule LowCardinality(String),
    verdict_reason LowCardinality(String),
    policy_version LowCardinality(String),
    subject String,
    issuer LowCardinality(String),
    key_id LowCardinality(String),
    sample_rate Float64,
    attributes Map(LowCardinality(String), String) TTL bucket + toIntervalDay({days:attributes})
)
ENGINE = {engine:MergeTree}
PARTITION BY toDate(bucket)
PRIMARY KEY (tenant, bucket, locator)
ORDER BY (tenant, bucket, locator, hop, direction, start_ns)
-- Errors and denials are worth more than the rest, and are kept longer.
TTL bucket + toIntervalDay({days:events}) DELETE WHERE status BETWEEN 1 AND 399 AND verdict IN ('', 'allow'),
    bucket + toIntervalDay({days:errors}) DELETE
SETTINGS
    index_granularity = 1024,
    default_compression_codec = 'ZSTD(1)',
    -- One file per young part instead of two per column: an insert is fsynced, and there are a hundred columns.
    min_bytes_for_wide_part = 33554432,
    -- An insert answers when its part is on the disk.
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    -- A segment whose shipping died is retried after a restart, until then so many other inserts may come in between.
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
