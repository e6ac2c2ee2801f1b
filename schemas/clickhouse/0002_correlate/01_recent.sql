-- What correlation reads: the events of each shipped segment once more, in the byte form of the spool, some thousand to
-- a row. Reading them out of `events` would cost a granule of a hundred columns for every request, there is no order of
-- arrival in it. Written before the segment's row in `shipped`, by instances that correlate, and kept for hours.
CREATE TABLE IF NOT EXISTS {table:recent} {on_cluster}
(
    segment FixedString(16),
    -- Place among the rows of its segment.
    chunk UInt32,
    events UInt32,
    -- zstd of: length (u32, little-endian) and bytes of each event. Packed by the sender, so that merges copy it.
    bytes String CODEC(NONE),
    shipped_at DateTime('UTC') DEFAULT now()
)
ENGINE = {engine:MergeTree}
-- Whole hours are dropped at once. A segment whose shipping is repeated in the next hour is there twice, readers take
-- one row of each chunk.
PARTITION BY toStartOfHour(shipped_at)
ORDER BY (segment, chunk)
TTL shipped_at + toIntervalHour({hours:recent})
SETTINGS
    -- A row is up to some hundred kilobytes, and one segment's are read at a time.
    index_granularity = 1,
    ttl_only_drop_parts = 1,
    merge_with_ttl_timeout = 600,
    -- An insert answers when its part is on the disk.
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
