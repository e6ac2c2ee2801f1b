//! OTLP spans as Tempo writes them in JSON: protobuf's own mapping, so ids are base64, 64-bit numbers are texts, enums
//! are their names, and what has its default is left out. This is not OTLP/JSON, where ids are hex.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Map, Value, json};

/// A JSON object of the members that have no default.
fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(_) | Value::Object(_) => true,
    };
    let members = members.into_iter().filter(|(_, value)| says(value));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn list<T>(items: &[T], one: fn(&T) -> Value) -> Value {
    items.iter().map(one).collect()
}

fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// The list of `resourceSpans`, which Tempo's first API calls `batches`.
pub(super) fn resource_spans(spans: &[ResourceSpans]) -> Value {
    list(spans, |it| {
        let attributes = it.resource.as_ref().map(|resource| &resource.attributes[..]).unwrap_or_default();
        object([
            ("resource", object([("attributes", list(attributes, key_value))])),
            ("scopeSpans", list(&it.scope_spans, scope_spans)),
            ("schemaUrl", it.schema_url.clone().into()),
        ])
    })
}

fn scope_spans(it: &ScopeSpans) -> Value {
    let scope = it.scope.clone().unwrap_or_default();
    object([
        ("scope", object([("name", scope.name.into()), ("version", scope.version.into())])),
        ("spans", list(&it.spans, span)),
    ])
}

fn span(it: &Span) -> Value {
    let kind = SpanKind::try_from(it.kind).unwrap_or(SpanKind::Unspecified);
    let status = it.status.as_ref().map(|status| {
        let code = StatusCode::try_from(status.code).unwrap_or(StatusCode::Unset);
        object([("message", status.message.clone().into()), ("code", code.as_str_name().into())])
    });
    object([
        ("traceId", base64(&it.trace_id)),
        ("spanId", base64(&it.span_id)),
        ("parentSpanId", base64(&it.parent_span_id)),
        ("flags", it.flags.into()),
        ("name", it.name.clone().into()),
        ("kind", kind.as_str_name().into()),
        ("startTimeUnixNano", it.start_time_unix_nano.to_string().into()),
        ("endTimeUnixNano", it.end_time_unix_nano.to_string().into()),
        ("attributes", list(&it.attributes, key_value)),
        ("droppedAttributesCount", it.dropped_attributes_count.into()),
        ("events", list(&it.events, event)),
        ("links", list(&it.links, link)),
        ("droppedLinksCount", it.dropped_links_count.into()),
        ("status", status.unwrap_or_else(|| json!({}))),
    ])
}

fn event(it: &Event) -> Value {
    object([
        ("timeUnixNano", it.time_unix_nano.to_string().into()),
        ("name", it.name.clone().into()),
        ("attributes", list(&it.attributes, key_value)),
    ])
}

fn link(it: &Link) -> Value {
    object([
        ("traceId", base64(&it.trace_id)),
        ("spanId", base64(&it.span_id)),
        ("attributes", list(&it.attributes, key_value)),
    ])
}

/// An attribute; its value is written even where it is a default, for that is what it says.
pub(super) fn key_value(it: &KeyValue) -> Value {
    json!({ "key": it.key, "value": it.value.as_ref().map_or_else(|| json!({}), any) })
}

fn any(it: &AnyValue) -> Value {
    match &it.value {
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(flag)) => json!({ "boolValue": flag }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": number }),
        Some(Any::ArrayValue(array)) => json!({ "arrayValue": { "values": list(&array.values, any) } }),
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": base64(bytes) }),
        // The mapping makes none of the others.
        Some(Any::KvlistValue(_) | Any::StringValueStrindex(_)) | None => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_base64_and_defaults_are_left_out() {
        let span = Span {
            trace_id: vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            span_id: vec![0xff; 8],
            name: "GET".into(),
            kind: SpanKind::Server as i32,
            start_time_unix_nano: 1_684_778_327_699_392_724,
            attributes: vec![KeyValue {
                key: "throughline.complete".into(),
                value: Some(AnyValue { value: Some(Any::BoolValue(false)) }),
                ..KeyValue::default()
            }],
            ..Span::default()
        };
        assert_eq!(
            super::span(&span),
            json!({
                "traceId": "AAAAAAAAAAAAAAAAAAAAAQ==",
                "spanId": "//////////8=",
                "name": "GET",
                "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": "1684778327699392724",
                "attributes": [{ "key": "throughline.complete", "value": { "boolValue": false } }],
                "status": {},
            })
        );
    }
}
