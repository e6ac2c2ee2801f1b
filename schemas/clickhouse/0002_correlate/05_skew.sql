-- How far apart two servers' clocks are, per hour, as intervals learnt from certain links: to_server's clock runs ahead
-- of from_server's by low_ns to high_ns. For display only, the newest version of an hour counts.
CREATE TABLE IF NOT EXISTS {table:skew} {on_cluster}
(
    tenant LowCardinality(String),
    hour DateTime('UTC'),
    from_server LowCardinality(String),
    to_server LowCardinality(String),
    low_ns Int64,
    high_ns Int64,
    -- How many links it rests on.
    links UInt64,
    -- Grows with every writing of the hour.
    version UInt64
)
ENGINE = {engine:ReplacingMergeTree(version)}
PARTITION BY toMonday(hour)
ORDER BY (tenant, hour, from_server, to_server)
TTL hour + toIntervalDay({days:errors})
SETTINGS
    ttl_only_drop_parts = 1,
    default_compression_codec = 'ZSTD(1)',
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync}
