//! The views in the shape of the OpenTelemetry Collector's ClickHouse exporter: its columns, the queries that its users
//! run, and what a lookup by trace id reads.

use std::collections::BTreeMap;

use clickhouse::Row;
use correlation::IdKind;
use event::{Direction, Hop, HopEvent, Notes};
use serde::Deserialize;
use store::Store;
use testkit::Mix;
use trace::otlp::{
    ATTRIBUTE_PREFIX, PHASES, RESOURCE_TAGS, Reading, SPAN_TAGS, Tag, is_client, is_error, span_name,
    status_message,
};

use crate::support::{batch, edge, gateway, number, raw, store};

/// Columns of the exporter's tables (contrib v0.130), in order. Times have UTC in their type here.
const TRACES: &[(&str, &str)] = &[
    ("Timestamp", "DateTime64(9, 'UTC')"),
    ("TraceId", "String"),
    ("SpanId", "String"),
    ("ParentSpanId", "String"),
    ("TraceState", "String"),
    ("SpanName", "LowCardinality(String)"),
    ("SpanKind", "LowCardinality(String)"),
    ("ServiceName", "LowCardinality(String)"),
    ("ResourceAttributes", "Map(LowCardinality(String), String)"),
    ("ScopeName", "String"),
    ("ScopeVersion", "String"),
    ("SpanAttributes", "Map(LowCardinality(String), String)"),
    ("Duration", "UInt64"),
    ("StatusCode", "LowCardinality(String)"),
    ("StatusMessage", "String"),
    ("Events.Timestamp", "Array(DateTime64(9, 'UTC'))"),
    ("Events.Name", "Array(LowCardinality(String))"),
    ("Events.Attributes", "Array(Map(LowCardinality(String), String))"),
    ("Links.TraceId", "Array(String)"),
    ("Links.SpanId", "Array(String)"),
    ("Links.TraceState", "Array(String)"),
    ("Links.Attributes", "Array(Map(LowCardinality(String), String))"),
];

/// The same of its logs, with the column that it had until v0.150 and the one it has since.
const LOGS: &[(&str, &str)] = &[
    ("Timestamp", "DateTime64(9, 'UTC')"),
    ("TimestampTime", "DateTime('UTC')"),
    ("TraceId", "String"),
    ("SpanId", "String"),
    ("TraceFlags", "UInt8"),
    ("SeverityText", "LowCardinality(String)"),
    ("SeverityNumber", "UInt8"),
    ("ServiceName", "LowCardinality(String)"),
    ("Body", "String"),
    ("ResourceSchemaUrl", "LowCardinality(String)"),
    ("ResourceAttributes", "Map(LowCardinality(String), String)"),
    ("ScopeSchemaUrl", "LowCardinality(String)"),
    ("ScopeName", "String"),
    ("ScopeVersion", "LowCardinality(String)"),
    ("ScopeAttributes", "Map(LowCardinality(String), String)"),
    ("LogAttributes", "Map(LowCardinality(String), String)"),
    ("EventName", "String"),
];

const TRACE_TIMES: &[(&str, &str)] =
    &[("TraceId", "String"), ("Start", "DateTime('UTC')"), ("End", "DateTime('UTC')")];

/// What Grafana's ClickHouse data source asks for one trace (its SQL generator at version 4.11, OTel 1.29 columns).
const GRAFANA_TRACE: &str = r#"WITH '{id}' as __gf_trace_id, (SELECT min(Start) FROM "otel_traces_trace_id_ts" WHERE TraceId = __gf_trace_id) as __gf_trace_start, (SELECT max(End) + 1 FROM "otel_traces_trace_id_ts" WHERE TraceId = __gf_trace_id) as __gf_trace_end SELECT "TraceId" as traceID, "SpanId" as spanID, "ParentSpanId" as parentSpanID, "ServiceName" as serviceName, "SpanName" as operationName, multiply(toUnixTimestamp64Nano("Timestamp"), 0.000001) as startTime, multiply("Duration", 0.000001) as duration, arrayMap(key -> map('key', key, 'value',"SpanAttributes"[key]), mapKeys("SpanAttributes")) as tags, arrayMap(key -> map('key', key, 'value',"ResourceAttributes"[key]), mapKeys("ResourceAttributes")) as serviceTags, if("StatusCode" IN ('Error', 'STATUS_CODE_ERROR'), 2, 0) as statusCode, arrayMap((name, timestamp, attributes) -> tuple(name, toString(toUnixTimestamp64Milli(timestamp)), arrayMap(key -> map('key', key, 'value', attributes[key]), mapKeys(attributes)))::Tuple(name String, timestamp String, fields Array(Map(String, String))), "Events".Name, "Events".Timestamp, "Events".Attributes) AS logs, arrayMap((traceID, spanID, attributes) -> tuple(traceID, spanID, arrayMap(key -> map('key', key, 'value', attributes[key]), mapKeys(attributes)))::Tuple(traceID String, spanID String, tags Array(Map(String, String))), "Links".TraceId, "Links".SpanId, "Links".Attributes) AS references, "SpanKind" as kind, "StatusMessage" as statusMessage, "TraceState" as traceState FROM "otel_traces" WHERE traceID = __gf_trace_id AND "Timestamp" >= __gf_trace_start AND "Timestamp" <= __gf_trace_end"#;

/// Its trace search, and its log search with the volume beside it.
const GRAFANA_SEARCHES: &[&str] = &[
    r#"SELECT "TraceId" as traceID, "ServiceName" as serviceName, "SpanName" as operationName, "Timestamp" as startTime, multiply("Duration", 0.000001) as duration FROM "otel_traces" WHERE ( Timestamp >= toDateTime64(0, 3) AND Timestamp <= toDateTime64(4000000000, 3) ) AND ( ParentSpanId = '' ) AND ( Duration > 0 ) ORDER BY Timestamp DESC, Duration DESC LIMIT 1000"#,
    r#"SELECT Timestamp as "timestamp", Body as "body", SeverityText as "level", LogAttributes as "labels", TraceId as "traceID" FROM "otel_logs" WHERE ( timestamp >= toDateTime64(0, 3) AND timestamp <= toDateTime64(4000000000, 3) ) AND (LogAttributes['http.request.method'] = 'GET') ORDER BY timestamp DESC LIMIT 1000"#,
    r#"SELECT toStartOfInterval("TimestampTime", INTERVAL 60 second) as "time", sum(multiSearchAny(toString(SeverityText), ['error','ERROR','err'])) as error, count() as logs FROM "otel_logs" WHERE ( TimestampTime >= toDateTime(0) ) GROUP BY time ORDER BY time ASC"#,
];

async fn filled(events: Vec<HopEvent<'static>>) -> Store {
    let store = store().await;
    store.insert(&batch(events), [9; 16], "test").await.unwrap();
    store
}

#[tokio::test]
async fn columns_are_the_exporters() {
    #[derive(Row, Deserialize)]
    struct Column {
        name: String,
        r#type: String,
    }
    let store = store().await;
    for (view, wanted) in
        [("otel_traces", TRACES), ("otel_logs", LOGS), ("otel_traces_trace_id_ts", TRACE_TIMES)]
    {
        let sql = "SELECT name, type FROM system.columns WHERE database = currentDatabase() \
                   AND table = {view:String} ORDER BY position";
        let columns: Vec<Column> =
            raw(store.endpoint()).query_raw(sql).param("view", view).fetch_all().await.unwrap();
        let found: Vec<_> =
            columns.iter().map(|column| (column.name.as_str(), column.r#type.as_str())).collect();
        assert_eq!(found, wanted, "{view}");
    }
}

/// The attributes of an event as the mapping to OTLP reads them, as texts.
fn attributes(tags: &'static [Tag], event: &HopEvent<'_>) -> BTreeMap<String, String> {
    let text = |reading: Reading<'_>| match reading {
        Reading::Text(text) => text.into_owned(),
        Reading::Int(number) => number.to_string(),
        Reading::Float(number) => number.to_string(),
        Reading::Bool(flag) => flag.to_string(),
    };
    tags.iter().filter_map(|tag| Some((tag.name.to_owned(), text(tag.read(event)?)))).collect()
}

#[tokio::test]
async fn a_row_says_what_the_span_sent_over_otlp_says() {
    #[derive(Row, Deserialize)]
    struct Shown {
        key: u64,
        trace_id: String,
        span_id: String,
        name: String,
        kind: String,
        status: String,
        message: String,
        duration: u64,
        resource: Vec<(String, String)>,
        attributes: Vec<(String, String)>,
        phases: Vec<(String, i64)>,
    }
    let mut events: Vec<_> = Mix::new(11).events(40).collect();
    let drawn = events.len();
    events.extend(odd_events());
    let store = filled(events.clone()).await;
    let sql = "SELECT reinterpretAsUInt64(reverse(unhex(SpanAttributes['throughline.event_key']))) AS key, \
               TraceId AS trace_id, SpanId AS span_id, SpanName AS name, SpanKind AS kind, StatusCode AS status, \
               StatusMessage AS message, Duration AS duration, \
               CAST(ResourceAttributes, 'Array(Tuple(String, String))') AS resource, \
               CAST(SpanAttributes, 'Array(Tuple(String, String))') AS attributes, \
               arrayZip(Events.Name, arrayMap(at -> toUnixTimestamp64Nano(at), Events.Timestamp)) AS phases \
               FROM otel_traces";
    let rows: Vec<Shown> = raw(store.endpoint()).query_raw(sql).fetch_all().await.unwrap();
    assert_eq!(rows.len(), events.len());
    for event in &events {
        let row = rows.iter().find(|row| row.key == event.event_key).unwrap();
        let canonical = [event.correlation_id, event.request_id, event.edge_request_id];
        let canonical = canonical.into_iter().find(|&id| id != 0).map(|id| (IdKind::Correlation, id));
        assert_eq!(row.trace_id, format!("{:032x}", trace::trace_id(event, canonical)));
        assert_eq!(row.span_id, format!("{:016x}", trace::span_id(event)));
        assert_eq!(row.name, span_name(event));
        assert_eq!(row.kind, if is_client(event) { "Client" } else { "Server" });
        assert_eq!(row.status, if is_error(event) { "Error" } else { "Unset" });
        assert_eq!(row.message, status_message(event));
        assert_eq!(row.duration, event.duration_ns.unwrap_or(0));
        assert_eq!(
            row.resource.iter().cloned().collect::<BTreeMap<_, _>>(),
            attributes(RESOURCE_TAGS, event)
        );
        let (unmapped, mapped): (Vec<_>, Vec<_>) =
            row.attributes.iter().cloned().partition(|(name, _)| name.starts_with(ATTRIBUTE_PREFIX));
        assert_eq!(mapped.into_iter().collect::<BTreeMap<_, _>>(), attributes(SPAN_TAGS, event));
        assert_eq!(unmapped.len(), event.attributes.len());
        let phases = PHASES.iter().filter_map(|(name, _, after)| {
            Some(((*name).to_owned(), event.start_ns.saturating_add_unsigned(after(event)?)))
        });
        assert_eq!(row.phases, phases.collect::<Vec<_>>());
    }
    assert!(drawn > 200, "{drawn} events say little");
}

/// What the mix does not draw: every form of what is derived.
fn odd_events() -> Vec<HopEvent<'static>> {
    let hosts = [
        "a:443",
        "a",
        "[2001:db8::1]:80",
        "[::1]",
        "2001:db8::1",
        "a:99999",
        "a:",
        ":",
        "[::1",
        "[a]b:80",
        "",
    ];
    let mut odd: Vec<HopEvent<'static>> =
        hosts.into_iter().map(|host| HopEvent { host: host.into(), ..edge(0) }).collect();
    let client = HopEvent { hop: Hop::Sidecar, direction: Direction::Outbound, ..gateway(0) };
    for (method, route, path, grpc_status, status) in [
        ("XYZZY", "/x/{id}", "/x/1", None, 404),
        ("", "", "", None, 0),
        ("POST", "", "/shop.Cart/Add", Some(5), 200),
        ("POST", "", "/shop.Cart/Add", Some(14), 200),
        ("POST", "", "/shop.Cart/Add", Some(12), 200),
        ("POST", "default", "/no-method", Some(0), 200),
        ("_OTHER", "", "/", None, 500),
    ] {
        for base in [&client, &edge(0)] {
            odd.push(HopEvent {
                method: method.into(),
                route: route.into(),
                path: path.into(),
                grpc_status,
                status,
                ..base.clone()
            });
        }
    }
    for protocol in ["HTTP/1.1", "HTTP/2", "HTTP/2.0", "HTTP/3.0", "TCP"] {
        odd.push(HopEvent { protocol: protocol.into(), method: "".into(), ..edge(0) });
    }
    let ids = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 2, 0), (0, 3, 2, 0), (4, 3, 2, 0)];
    odd.extend(ids.into_iter().map(|(correlation_id, request_id, edge_request_id, trace_id)| HopEvent {
        correlation_id,
        request_id,
        edge_request_id,
        trace_id,
        ..edge(0)
    }));
    odd.push(HopEvent {
        span_id: 1,
        parent_span_id: 2,
        notes: Notes(0b101),
        sample_rate: 2.5,
        to_shield: Some(false),
        completed: Some(true),
        restarts: Some(0),
        client_address: 0x2001_0db8 << 96 | 1,
        tls_version: "TLSv1.3".into(),
        correlation_id: 0,
        request_rx_ns: Some(7),
        ..edge(0)
    });
    for (key, event) in odd.iter_mut().enumerate() {
        event.event_key = 77_000 + key as u64;
        event.attributes.retain(|(_, text)| !text.is_empty());
    }
    odd
}

#[tokio::test]
async fn what_grafanas_clickhouse_data_source_asks_is_answered() {
    let events: Vec<_> = Mix::new(12).events(30).collect();
    let trace_id = events[0].trace_id;
    let spans = events.iter().filter(|event| event.trace_id == trace_id).count() as u64;
    let store = filled(events).await;
    let trace = GRAFANA_TRACE.replace("{id}", &format!("{trace_id:032x}"));
    assert_eq!(number(&store, &format!("SELECT count() FROM ({trace})")).await, spans);
    let whole = format!("SELECT count() FROM ({trace}) WHERE NOT ignore(*) AND length(tags) > 10");
    assert_eq!(number(&store, &whole).await, spans);
    for search in GRAFANA_SEARCHES {
        let rows = number(&store, &format!("SELECT count() FROM ({search}) WHERE NOT ignore(*)")).await;
        assert!(rows > 0, "{search}");
    }
}

/// What an `EXPLAIN indexes = 1` says of one index: granules left, granules there.
fn granules(plan: &str, index: &str) -> (u32, u32) {
    let (_, after) =
        plan.split_once(&format!("Name: {index}")).unwrap_or_else(|| panic!("no {index} in\n{plan}"));
    let line = after.lines().find(|line| line.contains("Granules: ")).unwrap();
    let (left, all) = line.split_once("Granules: ").unwrap().1.split_once('/').unwrap();
    (left.trim().parse().unwrap(), all.trim().parse().unwrap())
}

#[tokio::test]
async fn a_lookup_by_trace_id_reads_a_granule_of_each_table() {
    let store = filled(Mix::new(13).events(4_000).collect()).await;
    let id: String = raw(store.endpoint())
        .query_raw("SELECT lower(hex(trace_id)) FROM events LIMIT 1 OFFSET 9000")
        .fetch_one()
        .await
        .unwrap();
    let explain = async |sql: String| {
        let lines: Vec<String> =
            raw(store.endpoint()).query_raw(&format!("EXPLAIN indexes = 1 {sql}")).fetch_all().await.unwrap();
        lines.join("\n")
    };
    let times = format!("SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = '{id}'");
    let plan = explain(times).await;
    let (left, all) = granules(&plan, "by_text");
    assert!(left <= 2 && all > 20, "{left} of {all} granules of ids\n{plan}");
    let (left, all) = granules(&plan, "by_trace");
    assert!(left <= 2 && all > 20, "{left} of {all} granules of events\n{plan}");
    let plan = explain(GRAFANA_TRACE.replace("{id}", &id)).await;
    let (left, all) = granules(&plan, "by_trace");
    assert!(left <= 2 && all > 20, "{left} of {all} granules of events\n{plan}");
}

#[tokio::test]
async fn a_trace_id_that_was_made_is_found_by_its_text() {
    let events = vec![HopEvent { trace_id: 0, ..edge(1) }, HopEvent { trace_id: 0, ..gateway(1) }, edge(2)];
    let made = trace::trace_id(&events[0], Some((IdKind::Correlation, events[0].correlation_id)));
    let store = filled(events).await;
    let trace = GRAFANA_TRACE.replace("{id}", &format!("{made:032x}"));
    assert_eq!(number(&store, &format!("SELECT count() FROM ({trace})")).await, 2);
}
