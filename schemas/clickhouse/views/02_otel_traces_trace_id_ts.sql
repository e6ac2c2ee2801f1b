-- When the spans of a trace began, in the shape of the OpenTelemetry Collector's exporter: what its users ask before
-- they ask `otel_traces`. A record's own trace id is found in `ids`, and its times are the bucket of receipt with room for
-- logs that came up to thirty days late and clocks two days ahead. A trace id that was made is found in `events`.
CREATE OR REPLACE VIEW otel_traces_trace_id_ts {on_cluster} AS
SELECT
    lower(hex(id)) AS TraceId,
    bucket - toIntervalDay(30) AS Start,
    bucket + toIntervalDay(2) AS End
FROM ids
WHERE kind = 'trace_id'
UNION ALL
SELECT
    lower(hex(if(notEmpty(trace_id), trace_id, reverse(reinterpretAsFixedString(multiIf(notEmpty(correlation_id), xxh3_128(correlation_id), notEmpty(request_id), xxh3_128(request_id), notEmpty(edge_request_id), xxh3_128(edge_request_id), xxh3_128(reinterpretAsFixedString(event_key)))))))) AS TraceId,
    toDateTime(start_ns, 'UTC') AS Start,
    toDateTime(start_ns, 'UTC') + 1 AS End
FROM events
WHERE empty(trace_id) AND NOT intermediate
