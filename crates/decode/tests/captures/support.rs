//! Reads captures, collects what a decoder gives, and prints an event in one line.

use std::path::PathBuf;

use decode::{Delivery, Origin, Redactor, Rules, Sink};
use event::{HopEvent, Record, Reject, wire};

pub(crate) const RECEIVED_NS: i64 = 1_795_290_100_000_000_000;

/// Everything that came out of one delivery, in order.
#[derive(Debug, Default)]
pub(crate) struct Found {
    events: Vec<Vec<u8>>,
    pub(crate) rejects: Vec<Reject<'static>>,
}

impl Sink for Found {
    fn event(&mut self, event: &HopEvent<'_>) {
        let mut bytes = Vec::new();
        wire::put_event(event, &mut bytes);
        self.events.push(bytes);
    }

    fn reject(&mut self, reject: Reject<'_>) {
        self.rejects.push(Reject {
            tenant: reject.tenant.into_owned().into(),
            source: reject.source.into_owned().into(),
            format: reject.format.into_owned().into(),
            detail: reject.detail.into_owned().into(),
            bytes: reject.bytes.into_owned().into(),
            ..reject
        });
    }
}

impl Found {
    /// The events, as the spool would give them back.
    pub(crate) fn events(&self) -> Vec<HopEvent<'_>> {
        let read = |bytes| match wire::read(bytes) {
            Ok(Record::Event(event)) => *event,
            other => panic!("not an event: {other:?}"),
        };
        self.events.iter().map(|bytes| read(bytes.as_slice())).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len() + self.rejects.len()
    }

    /// One line per event and per reject.
    pub(crate) fn table(&self) -> String {
        let mut lines: Vec<String> = self.events().iter().map(line).collect();
        lines.extend(
            self.rejects
                .iter()
                .map(|r| format!("REJECT {} {} at {}: {}", r.format, r.reason.name(), r.offset, r.detail)),
        );
        lines.join("\n")
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        redactor: Redactor::default(),
        fastly: decode::fastly::Presets::default(),
        envoy: decode::envoy::Formats::istio_defaults(),
    }
}

pub(crate) fn delivery(origin: &Origin) -> Delivery<'_> {
    Delivery { tenant: "default", source: "test", received_ns: RECEIVED_NS, id: 7, origin }
}

/// Runs a line decoder over bytes.
pub(crate) fn decode_lines(bytes: &[u8]) -> Found {
    let (origin, rules, mut found) = (Origin::default(), rules(), Found::default());
    decode::envoy::decode_lines(bytes, &delivery(&origin), &rules, &mut found);
    found
}

pub(crate) fn capture(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/envoy").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Messages with their varint lengths before them.
pub(crate) fn delimited(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (mut length, mut at) = (0usize, 0);
        loop {
            length |= usize::from(bytes[at] & 0x7f) << (7 * at);
            at += 1;
            if bytes[at - 1] < 0x80 {
                break;
            }
        }
        messages.push(&bytes[at..at + length]);
        bytes = &bytes[at + length..];
    }
    messages
}

fn line(e: &HopEvent<'_>) -> String {
    let ms = |ns: Option<u64>| ns.map_or("-".to_owned(), |ns| format!("{:.3}", ns as f64 / 1e6));
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let query = if e.query.is_empty() { String::new() } else { format!("?{}", e.query) };
    let mut line = format!(
        "{}/{} {} {}{}{} {} {} {} {}{} try{} {}ms {} in{:?} out{:?} req:{:08x} cor:{:08x} par:{:x}",
        e.hop.name(),
        e.direction.name(),
        or_dash(&e.method),
        e.host,
        e.path,
        query,
        or_dash(&e.protocol),
        e.status,
        or_dash(&e.response_flags),
        or_dash(&e.log_type),
        if e.intermediate { "~" } else { "" },
        e.attempt,
        ms(e.duration_ns),
        or_dash(&e.upstream_cluster),
        e.request_bytes.unwrap_or(9_999_999),
        e.response_bytes.unwrap_or(9_999_999),
        e.request_id >> 96,
        e.correlation_id >> 96,
        e.parent_span_id,
    );
    for (name, text) in [
        ("details", &e.details),
        ("term", &e.termination_details),
        ("up", &e.upstream_path),
        ("peer", &e.peer_workload),
        ("verdict", &e.verdict),
        ("rule", &e.verdict_rule),
        ("why", &e.verdict_reason),
    ] {
        if !text.is_empty() && text != "via_upstream" {
            line.push_str(&format!(" {name}={text}"));
        }
    }
    let notes: Vec<_> = e.notes.names().collect();
    if !notes.is_empty() {
        line.push_str(&format!(" !{}", notes.join(",")));
    }
    line
}
