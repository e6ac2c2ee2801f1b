-- Which statements of this directory have run here. Every statement is idempotent: losing a row costs a repetition.
CREATE TABLE IF NOT EXISTS {table:migrations} {on_cluster}
(
    -- Directory and file, such as 0001_first/02_events.sql.
    name String,
    -- xxh3 of the statement as it was run. A file never changes after its release, retention statements do.
    checksum UInt64,
    version String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {engine:ReplacingMergeTree(applied_at)}
ORDER BY name
