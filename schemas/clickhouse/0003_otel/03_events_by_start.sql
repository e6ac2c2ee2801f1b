-- Lets a range of `Timestamp`, the sender's clock, leave out the granules of other times, although the order goes by
-- receipt: a granule is of one bucket of ten minutes.
ALTER TABLE {table:events} {on_cluster} ADD INDEX IF NOT EXISTS by_start start_ns TYPE minmax GRANULARITY 1
