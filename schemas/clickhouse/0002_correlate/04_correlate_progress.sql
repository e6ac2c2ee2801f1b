-- How far correlation came, and the sign of life of who does it. Of one term's rows the newest counts.
CREATE TABLE IF NOT EXISTS {table:correlate_progress} {on_cluster}
(
    term UInt64,
    holder String,
    -- Everything shipped until then is decided, by shipped.shipped_at.
    through DateTime64(6, 'UTC'),
    -- The holder has ended and will not come back to it.
    released Bool,
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {engine:ReplacingMergeTree(written_at)}
ORDER BY term
SETTINGS
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync}
