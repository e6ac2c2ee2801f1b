-- Who correlates: one instance at a time, for a term. A term is taken by inserting its row under a deduplication token
-- of its number: of several that try, the first one's row stays, and reading it back says whose it is.
CREATE TABLE IF NOT EXISTS {table:correlate_terms} {on_cluster}
(
    term UInt64,
    holder String,
    taken_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = {engine:MergeTree}
ORDER BY term
SETTINGS
    fsync_after_insert = {fsync},
    fsync_part_directory = {fsync},
    non_replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window = {dedup_window},
    replicated_deduplication_window_seconds = 604800
