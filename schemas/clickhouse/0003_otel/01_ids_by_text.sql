-- Lets a trace id written as text find its rows: the table is sorted by id, so the least and greatest text of each
-- granule leave all but one granule of a part out. 64 bytes a granule, 0.13 a row before compression. Parts written
-- before have it after their next merge.
ALTER TABLE {table:ids} {on_cluster} ADD INDEX IF NOT EXISTS by_text lower(hex(id)) TYPE minmax GRANULARITY 1
