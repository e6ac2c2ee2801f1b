//! One OTLP log record, whatever its encoding, to an event or a reject.

use std::borrow::Cow;

use event::{Hop, Notes, Precision, RejectReason, Text};

use crate::coerce::{MAX_ATTRIBUTES, MAX_TEXT_BYTES, Scalar};
use crate::envoy::{Draft, Keys, Scratch, Target, read_members};
use crate::{Delivery, Rules, Sink};

/// A log record as either encoding gives it.
#[derive(Debug, Default)]
pub(super) struct Record<'a> {
    pub(super) time_ns: u64,
    pub(super) observed_ns: u64,
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    /// Text of the body; `None` for another kind of body.
    pub(super) body: Option<Text<'a>>,
    pub(super) attributes: Pairs<'a>,
    pub(super) notes: Notes,
}

pub(super) type Pairs<'a> = Vec<(Text<'a>, Scalar<'a>)>;

/// What carries over from record to record: knowledge that only saves time.
#[derive(Debug, Default)]
pub(super) struct Memory {
    keys: Keys,
    resource_keys: Keys,
    scratch: Scratch,
}

/// Normalizes one record and hands it on. `raw` is what a reject keeps of it, `index` its place in the delivery.
pub(super) fn normalize<'a>(
    record: &'a mut Record<'a>,
    resource: &'a Pairs<'a>,
    memory: &mut Memory,
    (index, raw): (u64, &[u8]),
    (delivery, rules): (&Delivery<'_>, &Rules),
    sink: &mut dyn Sink,
) {
    let mut draft = Draft::new("", rules);
    draft.event.notes = record.notes;
    let attributes = std::mem::take(&mut record.attributes);
    let mut is_line = false;
    if let Some(body) = &record.body {
        let line = body.trim_ascii();
        if line.starts_with('{') {
            is_line = read_members(line, &mut draft, &mut memory.keys).is_ok() && draft.evidence() > 1;
            draft.event.format = Cow::Borrowed("envoy-otlp-json");
            if !is_line {
                draft = Draft::new("", rules);
                draft.event.notes = record.notes;
            }
        } else if rules.envoy.read(line, &mut draft, &mut memory.scratch) {
            is_line = true;
            draft.event.format = Cow::Borrowed("envoy-otlp-text");
        }
    }
    put_ids(record, &mut draft);
    for (place, (name, value)) in attributes.into_iter().enumerate() {
        let target = memory.keys.target(place, &name);
        draft.put(target, &name, value);
    }
    let is_envoy = is_line || draft.envoy_evidence() > 1;
    if !is_line && !is_about_a_request(&draft) {
        let detail = "an OTLP log record that is no access log: its body is no Envoy line, and it has neither HTTP \
                      attributes nor a trace or request id";
        delivery.refuse(rules, "otlp-log", RejectReason::NoKnownField, detail, index, raw, sink);
        return;
    }
    put_resource(resource, memory, &mut draft);
    if !is_line {
        draft.event.format = Cow::Borrowed(if is_envoy { "envoy-otlp-labels" } else { "otlp-log" });
        if let Some(body) = &record.body {
            put_body(body, &mut draft);
        }
    }
    if !is_envoy {
        draft.event.hop = Hop::Service;
    }
    draft.finish(delivery, index, sink);
}

/// The record's own ids and time. For Envoy the time is the start of the request, in microseconds.
fn put_ids(record: &Record<'_>, draft: &mut Draft<'_, '_>) {
    draft.event.trace_id = record.trace_id;
    draft.event.span_id = record.span_id;
    let time_ns = if record.time_ns == 0 { record.observed_ns } else { record.time_ns };
    if let Ok(ns @ 1..) = i64::try_from(time_ns) {
        let precision = if ns % 1_000 == 0 { Precision::Microsecond } else { Precision::Nanosecond };
        draft.put_start_ns(ns, precision, Notes::NONE);
    }
}

fn is_about_a_request(draft: &Draft<'_, '_>) -> bool {
    let event = &draft.event;
    let has_id = event.trace_id | event.correlation_id | event.request_id != 0;
    let has_http = event.status != 0 || !event.method.is_empty() || !event.path.is_empty();
    has_id || has_http || draft.envoy_evidence() > 1
}

/// What a resource may say, names and values. Kubernetes' own attributes take two or three KiB.
const MAX_RESOURCE_BYTES: usize = 32 * 1024;

/// What the resource says of the sender; Envoy's built-in labels among it.
fn put_resource<'a>(resource: &'a Pairs<'a>, memory: &mut Memory, draft: &mut Draft<'a, '_>) {
    let mut node_cluster = "";
    // Each record pays for the resource again: without the bounds, a small body of both could cost hours, and fill a disk.
    let mut room = MAX_RESOURCE_BYTES;
    if resource.len() > MAX_ATTRIBUTES {
        draft.event.notes.add(Notes::TRUNCATED);
    }
    for (place, (name, value)) in resource.iter().take(MAX_ATTRIBUTES).enumerate() {
        let length =
            name.len() + if let Scalar::Text(text) = value { text.len().min(MAX_TEXT_BYTES) } else { 0 };
        let Some(left) = room.checked_sub(length) else {
            draft.event.notes.add(Notes::TRUNCATED);
            continue;
        };
        room = left;
        match (memory.resource_keys.target(place, name), value) {
            (_, Scalar::Text(text)) if name == "cluster_name" => node_cluster = text,
            (target @ (Target::Node | Target::Text(_)), _) => draft.put(target, name, value.clone()),
            _ => draft.named_attribute(Cow::Borrowed(name), name, value.clone().to_text()),
        }
    }
    // Envoy's node cluster is `workload.namespace`; a service name outranks it.
    if draft.event.service.is_empty() {
        draft.event.service = Cow::Borrowed(node_cluster.split('.').next().unwrap_or(""));
    }
}

/// A body of free text may hold anything; it passes the redactor that trusts no grammar.
fn put_body<'a>(body: &Text<'a>, draft: &mut Draft<'a, '_>) {
    let redacted = draft.redactor.bytes(body.as_bytes());
    let kept = if *redacted == *body.as_bytes() {
        body.clone()
    } else {
        draft.event.notes.add(Notes::REDACTED);
        Cow::Owned(String::from_utf8_lossy(&redacted).into_owned())
    };
    draft.named_attribute(Cow::Borrowed("body"), "body", kept);
}
