//! OTLP logs as JSON: ids as hex, 64-bit integers as text or numbers. Not a hot path, so it goes through a tree.

use event::{Notes, RejectReason};
use serde_json::Value;

use crate::coerce::Scalar;
use crate::otlp::record::{Memory, Pairs, Record, normalize};
use crate::{Delivery, Rules, Sink};

/// Decodes one OTLP-JSON document; returns how many log records were in it. A document that is no OTLP logs is one
/// reject and counts as one. A record's place is its ordinal.
pub fn decode_json(body: &[u8], delivery: &Delivery<'_>, rules: &Rules, sink: &mut dyn Sink) -> u64 {
    let mut refuse = |reason, detail: &str| {
        delivery.refuse(rules, "otlp-json", reason, detail, 0, body, sink);
        1
    };
    let text = String::from_utf8_lossy(body);
    let document: Value = match serde_json::from_str(&text) {
        Ok(document) => document,
        Err(error) if error.is_eof() => {
            return refuse(RejectReason::Truncated, "the OTLP document does not end");
        }
        Err(error) if error.to_string().contains("recursion limit") => {
            return refuse(RejectReason::TooDeep, "nested deeper than 128");
        }
        Err(error) => return refuse(RejectReason::BadJson, &format!("OTLP document: {error}")),
    };
    if document.get("resourceSpans").is_some() || document.get("resourceMetrics").is_some() {
        let detail = "OTLP traces or metrics, of which this service takes none: send logs (resourceLogs)";
        return refuse(RejectReason::UnknownFormat, detail);
    }
    let Some(logs) = document.get("resourceLogs").and_then(Value::as_array) else {
        return refuse(RejectReason::UnknownFormat, "JSON, but no OTLP logs: resourceLogs is missing");
    };
    let (mut count, mut memory) = (0, Memory::default());
    for logs in logs {
        let mut notes = Notes::NONE;
        let resource = pairs(logs.pointer("/resource/attributes"), &mut notes);
        for raw in list(logs, "scopeLogs").flat_map(|scope| list(scope, "logRecords")) {
            let (mut record, bytes) = (read(raw), raw.to_string());
            normalize(
                &mut record,
                &resource,
                &mut memory,
                (count, bytes.as_bytes()),
                (delivery, rules),
                sink,
            );
            count += 1;
        }
    }
    count
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn read(raw: &Value) -> Record<'_> {
    let mut notes = Notes::NONE;
    let integer = |name| match raw.get(name) {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        Some(number) => number.as_u64().unwrap_or(0),
        None => 0,
    };
    let hex = |name, digits| {
        let text = raw.get(name).and_then(Value::as_str).filter(|text| text.len() == digits);
        text.and_then(|text| u128::from_str_radix(text, 16).ok()).unwrap_or(0)
    };
    let body = raw.pointer("/body/stringValue").and_then(Value::as_str);
    let attributes = pairs(raw.get("attributes"), &mut notes);
    if body.is_some_and(is_lossy) {
        notes.add(Notes::BAD_UTF8);
    }
    Record {
        time_ns: integer("timeUnixNano"),
        observed_ns: integer("observedTimeUnixNano"),
        trace_id: hex("traceId", 32),
        span_id: hex("spanId", 16) as u64,
        body: body.map(Into::into),
        attributes,
        notes,
    }
}

fn pairs<'a>(attributes: Option<&'a Value>, notes: &mut Notes) -> Pairs<'a> {
    let mut pairs = Pairs::new();
    for attribute in attributes.and_then(Value::as_array).into_iter().flatten() {
        let (Some(key), Some(any)) = (attribute.get("key").and_then(Value::as_str), attribute.get("value"))
        else {
            notes.add(Notes::UNREADABLE_FIELD);
            continue;
        };
        let member = any.as_object().and_then(|any| any.iter().next());
        let scalar = match member.map(|(kind, value)| (kind.as_str(), value)) {
            Some(("stringValue" | "intValue", Value::String(text))) => {
                if is_lossy(text) {
                    notes.add(Notes::BAD_UTF8);
                }
                Scalar::from(text.as_str())
            }
            Some(("boolValue", Value::Bool(flag))) => Scalar::Bool(*flag),
            Some(("intValue", Value::Number(number))) => number.as_i64().map_or(Scalar::Null, Scalar::Int),
            Some(("doubleValue", Value::Number(number))) => {
                number.as_f64().map_or(Scalar::Null, Scalar::Float)
            }
            None => Scalar::Null,
            Some(_) => {
                notes.add(Notes::UNREADABLE_FIELD);
                Scalar::Null
            }
        };
        pairs.push((key.into(), scalar));
    }
    pairs
}

/// A replacement character stands for bytes that were no UTF-8, ours to replace or the sender's.
fn is_lossy(text: &str) -> bool {
    text.contains('\u{fffd}')
}
