//! The views `otel_traces` and `otel_logs`, written from the table of attributes. The statements stand in
//! `schemas/clickhouse/views`; a test holds them current, so that a new attribute shows up everywhere at once.

use std::fmt::Write as _;

use store::query::tempo::{Column, IS_ERROR, TRACE_ID};
use trace::otlp::{ATTRIBUTE_PREFIX, PHASES, RESOURCE_TAGS, SCHEMA_URL, SCOPE_NAME, SPAN_TAGS, Tag};

const TEXT_MAP: &str = "Map(LowCardinality(String), String)";

/// The text of a column that the table names.
fn text(name: &str) -> String {
    Column::named(name).unwrap_or_else(|| panic!("no column {name}")).text()
}

/// A map of the attributes that a row has.
fn map(tags: &[Tag]) -> String {
    let pairs: Vec<_> =
        tags.iter().map(|tag| format!("        ('{}', {})", tag.name, text(tag.column))).collect();
    format!("CAST(arrayFilter(pair -> pair.2 != '', [\n{}\n    ]), '{TEXT_MAP}')", pairs.join(",\n"))
}

/// Attributes of a span, with what the schema has no field for.
fn span_map() -> String {
    let unmapped =
        format!("mapApply((name, text) -> (concat('{ATTRIBUTE_PREFIX}', name), text), attributes)");
    format!("mapConcat({}, CAST({unmapped}, '{TEXT_MAP}'))", map(SPAN_TAGS))
}

fn word(name: &str) -> String {
    format!("CAST({}, 'LowCardinality(String)')", text(name))
}

/// `CREATE OR REPLACE VIEW` of columns, under a comment.
fn view(name: &str, comment: &str, columns: &[(&str, String)], from: &str) -> String {
    let mut statement = String::new();
    for line in comment.lines() {
        let _ = writeln!(statement, "-- {line}");
    }
    let columns: Vec<_> = columns.iter().map(|(name, sql)| format!("    {sql} AS `{name}`")).collect();
    let _ = writeln!(statement, "CREATE OR REPLACE VIEW {name} {{on_cluster}} AS");
    let _ = writeln!(statement, "SELECT\n{}\nFROM {from}", columns.join(",\n"));
    statement
}

fn traces() -> String {
    let phases: Vec<_> = PHASES.iter().map(|(name, column, _)| format!("('{name}', {column})")).collect();
    let phases = format!("arrayFilter(phase -> isNotNull(phase.2), [{}])", phases.join(", "));
    let at =
        "fromUnixTimestamp64Nano(toUnixTimestamp64Nano(start_ns) + toInt64(assumeNotNull(phase.2)), 'UTC')";
    let capital = |name: &str| {
        let word = text(name);
        format!(
            "CAST(concat(upper(substring({word}, 1, 1)), substring({word}, 2)), 'LowCardinality(String)')"
        )
    };
    let none = |of: &str| format!("CAST([], 'Array({of})')");
    let columns = [
        ("Timestamp", "start_ns".to_owned()),
        ("TraceId", TRACE_ID.to_owned()),
        ("SpanId", text("span")),
        // A tracer's logged traceparent holds the id it sent on; without a tracer it is the caller's.
        (
            "ParentSpanId",
            format!("if(span_id = 0 AND hop NOT IN ('edge', 'shield'), {}, '')", text("parent_span_id")),
        ),
        ("TraceState", "''".to_owned()),
        ("SpanName", word("span_name")),
        ("SpanKind", capital("span_kind")),
        ("ServiceName", word("service_name")),
        ("ResourceAttributes", map(RESOURCE_TAGS)),
        ("ScopeName", format!("'{SCOPE_NAME}'")),
        ("ScopeVersion", "''".to_owned()),
        ("SpanAttributes", span_map()),
        ("Duration", "ifNull(duration_ns, 0)".to_owned()),
        ("StatusCode", capital("span_status")),
        ("StatusMessage", text("span_status_message")),
        ("Events.Timestamp", format!("arrayMap(phase -> {at}, {phases})")),
        (
            "Events.Name",
            format!("CAST(arrayMap(phase -> phase.1, {phases}), 'Array(LowCardinality(String))')"),
        ),
        ("Events.Attributes", format!("CAST(arrayMap(phase -> map(), {phases}), 'Array({TEXT_MAP})')")),
        ("Links.TraceId", none("String")),
        ("Links.SpanId", none("String")),
        ("Links.TraceState", none("String")),
        ("Links.Attributes", none(TEXT_MAP)),
    ];
    let comment = "Hop events as spans in the shape of the OpenTelemetry Collector's ClickHouse exporter, for tools that\n\
                   know it. One row a record: a record that was delivered twice is there twice, and nothing that takes\n\
                   more than one record to know is shown: parents above all, which only the assembly can tell.\n\
                   Written from the table of attributes: UPDATE_SCHEMAS=1 cargo test --bin throughline views";
    view("otel_traces", comment, &columns, "events\nWHERE NOT intermediate")
}

fn logs() -> String {
    let severity = |error: &str, warning: &str, other: &str| {
        format!("multiIf({IS_ERROR}, {error}, status >= 400, {warning}, {other})")
    };
    let word = |text: String| format!("CAST({text}, 'LowCardinality(String)')");
    let none = format!("CAST(map(), '{TEXT_MAP}')");
    let body = "trimBoth(concat(toString(method), ' ', toString(host), toString(path), ' ', toString(protocol), ' ', \
                toString(status), if(response_flags = '', '', concat(' ', toString(response_flags))), \
                if(details = '', '', concat(' ', toString(details)))))";
    let columns = [
        ("Timestamp", "start_ns".to_owned()),
        ("TimestampTime", "toDateTime(start_ns)".to_owned()),
        ("TraceId", TRACE_ID.to_owned()),
        ("SpanId", text("span")),
        ("TraceFlags", "toUInt8(0)".to_owned()),
        ("SeverityText", word(severity("'ERROR'", "'WARN'", "'INFO'"))),
        ("SeverityNumber", format!("toUInt8({})", severity("17", "13", "9"))),
        ("ServiceName", word(text("service_name"))),
        ("Body", body.to_owned()),
        ("ResourceSchemaUrl", word(format!("'{SCHEMA_URL}'"))),
        ("ResourceAttributes", map(RESOURCE_TAGS)),
        ("ScopeSchemaUrl", word("''".to_owned())),
        ("ScopeName", format!("'{SCOPE_NAME}'")),
        ("ScopeVersion", word("''".to_owned())),
        ("ScopeAttributes", none),
        ("LogAttributes", span_map()),
        ("EventName", "''".to_owned()),
    ];
    let comment = "Hop events as log records in the shape of the OpenTelemetry Collector's ClickHouse exporter: one for\n\
                   every record, periodic ones included. Trace and span ids are those of otel_traces.\n\
                   Written from the table of attributes: UPDATE_SCHEMAS=1 cargo test --bin throughline views";
    view("otel_logs", comment, &columns, "events")
}

#[test]
fn the_views_in_the_tree_are_current() {
    for (name, statement) in [("01_otel_traces.sql", traces()), ("03_otel_logs.sql", logs())] {
        let path = format!("{}/schemas/clickhouse/views/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &statement).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == statement, "{name} is old: run UPDATE_SCHEMAS=1 cargo test --bin throughline views");
    }
}

#[test]
fn what_is_written_by_hand_has_the_same_words() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/clickhouse");
    for name in ["views/02_otel_traces_trace_id_ts.sql", "0003_otel/02_events_by_trace.sql"] {
        let sql = std::fs::read_to_string(format!("{root}/{name}")).unwrap();
        assert!(sql.contains(TRACE_ID), "{name} makes trace ids in another way");
    }
}
