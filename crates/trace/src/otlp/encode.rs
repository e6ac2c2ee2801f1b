//! The spans of a request as protobuf, written at once: the same as [`super::resource_spans`] encoded, without a message
//! in between. A span has some forty attributes, and a message holds each as three allocations.
//!
//! ```text
//! ExportTraceServiceRequest  1 resource_spans   ResourceSpans  1 resource · 2 scope_spans · 3 schema_url
//! Resource  1 attributes     ScopeSpans  1 scope · 2 spans     InstrumentationScope  1 name · 2 version
//! Span  1 trace_id · 2 span_id · 4 parent_span_id · 5 name · 6 kind · 7 start · 8 end · 9 attributes ·
//!       10 dropped attributes · 11 events · 13 links · 14 dropped links · 15 status · 16 flags
//! KeyValue  1 key · 2 value  AnyValue  1 text · 2 bool · 3 int · 4 double     Event  1 time · 2 name
//! ```
//! What is rare (links, lists, attributes that no column holds) goes through the messages.

use event::HopEvent;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use super::derived::{is_client, is_error, span_name, status_message};
use super::span::{self, PARENT_IS_REMOTE, PHASES, unix_nano};
use super::{
    Mode, RESOURCE_TAGS, Reading, SCHEMA_URL, SCOPE_NAME, SPAN_TAGS, Selection, Tag, is_traced,
    same_resource, trace_id,
};
use crate::model::Request;

/// Appends the spans of a request that are asked for to `out`, as fields of an `ExportTraceServiceRequest`; how many
/// there are. Requests encoded one behind the other are one message.
pub fn encode(request: &Request, selection: &Selection<'_>, out: &mut Vec<u8>) -> u32 {
    let trace_id = selection.trace_id.unwrap_or_else(|| trace_id(request, selection.mode));
    let sent = |event: &HopEvent<'_>| {
        !selection.exported.contains(&event.event_key) && (selection.mode == Mode::All || !is_traced(event))
    };
    let mut groups: Vec<(&HopEvent<'_>, Vec<usize>)> = Vec::new();
    for (index, span) in request.spans.iter().enumerate().filter(|(_, span)| sent(&span.event)) {
        match groups.iter_mut().find(|(other, _)| same_resource(other, &span.event)) {
            Some((_, spans)) => spans.push(index),
            None => groups.push((&span.event, vec![index])),
        }
    }
    for (event, spans) in &groups {
        nested(1, 2, out, |out| {
            nested(1, 2, out, |out| _ = readings(1, RESOURCE_TAGS, event, out));
            nested(2, 2, out, |out| {
                nested(1, 1, out, |out| {
                    bytes(1, SCOPE_NAME.as_bytes(), out);
                    bytes(2, env!("CARGO_PKG_VERSION").as_bytes(), out);
                });
                for &index in spans {
                    nested(2, 2, out, |out| put_span(request, index, trace_id, selection.previous, out));
                }
            });
            bytes(3, SCHEMA_URL.as_bytes(), out);
        });
    }
    groups.iter().map(|(_, spans)| spans.len() as u32).sum()
}

fn put_span(request: &Request, index: usize, trace_id: u128, previous: &[u128], out: &mut Vec<u8>) {
    let Some(hop) = request.spans.get(index) else { return };
    let event = &hop.event;
    let parent = hop.link.as_ref().and_then(|link| request.spans.get(link.parent));
    bytes(1, &trace_id.to_be_bytes(), out);
    bytes(2, &hop.span_id.to_be_bytes(), out);
    if let Some(parent) = parent {
        bytes(4, &parent.span_id.to_be_bytes(), out);
    }
    bytes(5, span_name(event).as_bytes(), out);
    number(6, if is_client(event) { SpanKind::Client } else { SpanKind::Server } as u64, out);
    fixed64(7, unix_nano(event.start_ns), out);
    fixed64(8, unix_nano(hop.end_ns()), out);
    let tags = readings(9, SPAN_TAGS, event, out);
    let (others, dropped) = span::others(request, index, tags);
    others.iter().for_each(|attribute| message(9, attribute, out));
    number(10, dropped.into(), out);
    for (name, _, after) in PHASES {
        if let Some(after) = after(event) {
            nested(11, 1, out, |out| {
                fixed64(1, unix_nano(event.start_ns.saturating_add_unsigned(after)), out);
                bytes(2, name.as_bytes(), out);
            });
        }
    }
    let (links, dropped) = span::links(request, index, trace_id, previous);
    links.iter().for_each(|link| message(13, link, out));
    number(14, dropped.into(), out);
    if is_error(event) {
        let status = Status { message: status_message(event).to_owned(), code: StatusCode::Error as i32 };
        message(15, &status, out);
    }
    if parent.is_some() {
        key(16, 5, out);
        out.extend_from_slice(&PARENT_IS_REMOTE.to_le_bytes());
    }
}

/// The attributes that tags read; how many.
fn readings(field: u64, tags: &[Tag], event: &HopEvent<'_>, out: &mut Vec<u8>) -> usize {
    let mut count = 0;
    for tag in tags {
        let Some(reading) = tag.read(event) else { continue };
        count += 1;
        nested(field, 1, out, |out| {
            bytes(1, tag.name.as_bytes(), out);
            nested(2, 1, out, |out| match &reading {
                // Of a choice the chosen one is written even where it is zero.
                Reading::Text(text) => choice(1, text.as_bytes(), out),
                Reading::Bool(flag) => out.extend_from_slice(&[2 << 3, u8::from(*flag)]),
                Reading::Int(number) => {
                    key(3, 0, out);
                    varint(*number as u64, out);
                }
                Reading::Float(number) => {
                    key(4, 1, out);
                    out.extend_from_slice(&number.to_le_bytes());
                }
            });
        });
    }
    count
}

/// A field whose length is known when it is written: `guess` bytes are kept for the length, and what follows is moved
/// where it takes another number of them.
fn nested(field: u64, guess: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    key(field, 2, out);
    let at = out.len();
    out.resize(at + guess, 0);
    write(out);
    let mut length = (out.len() - at - guess) as u64;
    let width = (64 - (length | 1).leading_zeros() as usize).div_ceil(7);
    if width > guess {
        out.splice(at..at, std::iter::repeat_n(0, width - guess));
    } else {
        out.drain(at..at + guess - width);
    }
    for place in out.iter_mut().skip(at).take(width) {
        *place = length as u8 & 0x7f | 0x80;
        length >>= 7;
    }
    if let Some(last) = out.get_mut(at + width - 1) {
        *last &= 0x7f;
    }
}

/// A field of bytes or text; nothing where it is empty.
fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        choice(field, value, out);
    }
}

fn choice(field: u64, value: &[u8], out: &mut Vec<u8>) {
    key(field, 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// A field of a number; nothing where it is 0.
fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        key(field, 0, out);
        varint(value, out);
    }
}

/// A field of eight bytes; nothing where it is 0.
fn fixed64(field: u64, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        key(field, 1, out);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A field that the generated messages write.
fn message(field: u64, value: &impl Message, out: &mut Vec<u8>) {
    key(field, 2, out);
    varint(value.encoded_len() as u64, out);
    // A vector takes whatever is written.
    let _ = value.encode(out);
}

fn key(field: u64, wire_type: u64, out: &mut Vec<u8>) {
    varint(field << 3 | wire_type, out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
