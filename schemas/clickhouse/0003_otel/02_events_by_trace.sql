-- Lets the trace id that `otel_traces` shows find its events: the record's own, else the one that is made of its
-- strongest id. The expression is the view's, word by word. Records of one request lie side by side, so a granule of
-- 1024 has few trace ids: 0.31 bytes an event with the sample mix (of a budget of 80 for everything), and the time an
-- insert takes does not change measurably. Parts written before have it after their next merge.
ALTER TABLE {table:events} {on_cluster} ADD INDEX IF NOT EXISTS by_trace lower(hex(if(notEmpty(trace_id), trace_id, reverse(reinterpretAsFixedString(multiIf(notEmpty(correlation_id), xxh3_128(correlation_id), notEmpty(request_id), xxh3_128(request_id), notEmpty(edge_request_id), xxh3_128(edge_request_id), xxh3_128(reinterpretAsFixedString(event_key)))))))) TYPE bloom_filter(0.001) GRANULARITY 1
