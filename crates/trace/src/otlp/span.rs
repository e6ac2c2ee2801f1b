//! One span: a hop event in its place, as OTLP writes it.

use event::HopEvent;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::derived::{is_client, is_error, span_name, status_message};
use super::tags::{ATTRIBUTE_PREFIX, Reading, SPAN_TAGS, Tag};
use super::{id_text, is_traced, text_attribute};
use crate::model::{RelatedBy, Request};

/// Most attributes of a span: OpenTelemetry's own default. More are counted as dropped.
const MAX_ATTRIBUTES: usize = 128;
/// Most links of a span: OpenTelemetry's own default. More are counted as dropped.
const MAX_LINKS: usize = 128;
/// What a typical span has, so that its attributes are allocated once.
const TYPICAL_ATTRIBUTES: usize = 48;

/// W3C trace flags are unknown; these two of OTLP's say that the parent is known to be in another process.
pub(super) const PARENT_IS_REMOTE: u32 = 0x300;

/// The span of `request.spans[index]`.
pub(super) fn span(request: &Request, index: usize, trace_id: u128, previous: &[u128]) -> Span {
    let Some(hop) = request.spans.get(index) else { return Span::default() };
    let event = &hop.event;
    let parent = hop.link.as_ref().and_then(|link| request.spans.get(link.parent));
    let (attributes, dropped_attributes_count) = attributes(request, index);
    let (links, dropped_links_count) = links(request, index, trace_id, previous);
    let kind = if is_client(event) { SpanKind::Client } else { SpanKind::Server };
    Span {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: hop.span_id.to_be_bytes().to_vec(),
        parent_span_id: parent.map(|parent| parent.span_id.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: if parent.is_some() { PARENT_IS_REMOTE } else { 0 },
        name: span_name(event),
        kind: kind as i32,
        start_time_unix_nano: unix_nano(event.start_ns),
        end_time_unix_nano: unix_nano(hop.end_ns()),
        attributes,
        dropped_attributes_count,
        events: phases(event),
        links,
        dropped_links_count,
        status: is_error(event)
            .then(|| Status { message: status_message(event).to_owned(), code: StatusCode::Error as i32 }),
        ..Span::default()
    }
}

/// OTLP has no time before 1970.
pub(super) fn unix_nano(ns: i64) -> u64 {
    ns.max(0).unsigned_abs()
}

/// The attributes that `tags` read from an event.
pub(super) fn readings(tags: &'static [Tag], event: &HopEvent<'_>) -> impl Iterator<Item = KeyValue> {
    tags.iter().filter_map(|tag| Some(key_value(tag.name, tag.read(event)?)))
}

/// One attribute.
pub fn key_value(key: &str, value: Reading<'_>) -> KeyValue {
    let value = match value {
        Reading::Text(text) => Value::StringValue(text.into_owned()),
        Reading::Int(number) => Value::IntValue(number),
        Reading::Float(number) => Value::DoubleValue(number),
        Reading::Bool(flag) => Value::BoolValue(flag),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn list(key: &str, texts: impl Iterator<Item = String>) -> KeyValue {
    let values = texts.map(|text| AnyValue { value: Some(Value::StringValue(text)) }).collect();
    let value = Some(AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn attributes(request: &Request, index: usize) -> (Vec<KeyValue>, u32) {
    let mut all = Vec::with_capacity(TYPICAL_ATTRIBUTES);
    let Some(hop) = request.spans.get(index) else { return (all, 0) };
    all.extend(readings(SPAN_TAGS, &hop.event));
    let (others, dropped) = others(request, index, all.len());
    all.extend(others);
    (all, dropped)
}

/// The attributes that no tag reads, where `tags` others are there already, and how many were dropped.
pub(super) fn others(request: &Request, index: usize, tags: usize) -> (Vec<KeyValue>, u32) {
    let mut all = Vec::new();
    let Some(hop) = request.spans.get(index) else { return (all, 0) };
    if let Some(link) = &hop.link {
        all.push(text_attribute("throughline.link.confidence", link.confidence.name().to_owned()));
        let evidence: Vec<_> = link.evidence.iter().map(|it| it.name()).collect();
        all.push(text_attribute("throughline.link.evidence", evidence.join(",")));
    } else {
        all.push(key_value("throughline.complete", Reading::Bool(request.is_complete())));
        if !request.gaps.is_empty() {
            all.push(list("throughline.gaps", request.gaps.iter().map(gap_text)));
        }
        if !request.shared_ids.is_empty() {
            let shared = request.shared_ids.iter().map(|&(kind, value)| id_text(kind, value));
            all.push(list("throughline.shared_ids", shared));
        }
    }
    if hop.deliveries > 1 {
        all.push(key_value("throughline.deliveries", Reading::Int(hop.deliveries as i64)));
    }
    if !hop.also.is_empty() {
        all.push(key_value("throughline.records", Reading::Int(hop.also.len() as i64 + 1)));
    }
    let unmapped = unmapped(&hop.event);
    let room = MAX_ATTRIBUTES.saturating_sub(tags + all.len());
    let dropped = unmapped.len().saturating_sub(room);
    all.extend(unmapped.into_iter().take(room));
    (all, dropped as u32)
}

/// What the schema has no field for; a name that occurs twice has a list of its texts.
fn unmapped(event: &HopEvent<'_>) -> Vec<KeyValue> {
    let mut found: Vec<KeyValue> = Vec::with_capacity(event.attributes.len());
    for (at, (name, text)) in event.attributes.iter().enumerate() {
        let same = |(other, _): &&(event::Text<'_>, event::Text<'_>)| other == name;
        if event.attributes[..at].iter().any(|pair| same(&pair)) {
            continue;
        }
        let key = format!("{ATTRIBUTE_PREFIX}{name}");
        let again = event.attributes[at + 1..].iter().filter(same);
        let mut texts = std::iter::once(text.to_string()).chain(again.map(|(_, text)| text.to_string()));
        found.push(match (texts.next(), texts.next()) {
            (Some(only), None) => text_attribute(&key, only),
            (first, second) => list(&key, first.into_iter().chain(second).chain(texts)),
        });
    }
    found
}

/// A gap in words: where, and why.
pub fn gap_text(gap: &crate::model::Gap) -> String {
    let mut text = format!("{} {}", gap.hop.name(), gap.direction.name());
    if !gap.name.is_empty() {
        text.push(' ');
        text.push_str(&gap.name);
    }
    text.push_str(": ");
    text.push_str(gap.reason.name());
    text
}

/// A phase: its event's name, the column that holds its time since the start, and how that is read.
type Phase = (&'static str, &'static str, fn(&HopEvent<'_>) -> Option<u64>);

macro_rules! phases {
    ($($name:literal = $field:ident;)*) => {
        &[$(($name, stringify!($field), |event| event.$field)),*]
    };
}

/// The phases of a request that become a span's events, by the hop's own clock.
pub const PHASES: &[Phase] = phases! {
    "request.last_byte_received" = request_rx_ns;
    "upstream.first_byte_sent" = upstream_tx_first_ns;
    "upstream.last_byte_sent" = upstream_tx_last_ns;
    "upstream.first_byte_received" = upstream_rx_first_ns;
    "upstream.last_byte_received" = upstream_rx_last_ns;
    "response.first_byte_sent" = first_byte_ns;
    "response.last_byte_sent" = last_byte_ns;
};

fn phases(event: &HopEvent<'_>) -> Vec<Event> {
    let seen = PHASES.iter().filter_map(|(name, _, after)| {
        let time_unix_nano = unix_nano(event.start_ns.saturating_add_unsigned(after(event)?));
        Some(Event { time_unix_nano, name: (*name).to_owned(), ..Event::default() })
    });
    seen.collect()
}

/// Other traces that belong with this span: its tracer's own, where that is another; for the root also those the
/// request was sent under before, and those of related requests. A related request is known by trace and canonical id,
/// its root's span id is not: the link has none, and names the id instead.
pub(super) fn links(request: &Request, index: usize, trace_id: u128, previous: &[u128]) -> (Vec<Link>, u32) {
    let mut links = Vec::new();
    let Some(hop) = request.spans.get(index) else { return (links, 0) };
    let event = &hop.event;
    if is_traced(event) && event.trace_id != 0 && event.trace_id != trace_id {
        links.push(link(event.trace_id, hop.span_id, "tracer", None));
    }
    let (mut dropped, is_root) = (0, hop.link.is_none());
    if is_root {
        let before = previous.iter().filter(|&&other| other != trace_id);
        let before = before.map(|&other| link(other, hop.span_id, "sent_before", None));
        // A shared trace id needs no link: such requests lie in one trace already.
        let related = request.related.iter().filter(|other| other.why != RelatedBy::Trace);
        let related = related
            .map(|other| link(other.trace_id, 0, other.why.name(), Some(id_text(other.kind, other.value))));
        let mut all = before.chain(related);
        links.extend(all.by_ref().take(MAX_LINKS - links.len()));
        dropped = all.count() as u32;
    }
    (links, dropped)
}

fn link(trace_id: u128, span_id: u64, why: &str, id: Option<String>) -> Link {
    let mut attributes = vec![text_attribute("throughline.related.why", why.to_owned())];
    attributes.extend(id.map(|id| text_attribute("throughline.related.id", id)));
    Link {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        attributes,
        ..Link::default()
    }
}
