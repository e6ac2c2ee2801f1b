//! One piece of a file to events: decoded, redacted, and ready to be held.

use std::ops::Range;

use decode::envoy::AlsStream;
use decode::sniff::{self, Family};
use decode::{Delivery, Origin, Rules, Sink, envoy, fastly, otlp};
use event::{HopEvent, Reject, wire};
use trace::EventIds;

use super::facts::{Facts, is_connection};
use super::hash;
use super::held::{Row, TIES};
use crate::cli::import::kind::Kind;

/// What one file is, as far as decoding must know.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) kind: Kind,
    /// The kind was told by the content, so a line that does not fit is tried as the other kind of line.
    pub(super) is_guessed: bool,
    pub(super) origin: Origin,
    /// Number of the file: part of the key of records that have no other.
    pub(super) number: u32,
    pub(super) received_ns: i64,
}

/// What became of a piece.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// The events, one after the other.
    pub(super) bytes: Vec<u8>,
    pub(super) rows: Vec<Row>,
    pub(super) facts: Facts,
    pub(super) rejected: Vec<Rejected>,
}

/// One record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    /// Byte in the unpacked file.
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) reason: &'static str,
    pub(super) detail: String,
    /// Its beginning, redacted.
    pub(super) head: String,
}

/// Bytes of a record that are shown of what could not be read.
const HEAD_BYTES: usize = 120;

impl Sink for Decoded {
    fn event(&mut self, event: &HopEvent<'_>) {
        let ids = EventIds::from(event);
        let from = self.bytes.len();
        wire::put_event(event, &mut self.bytes);
        let length = (self.bytes.len() - from) as u32;
        self.rows.push(Row { start_ns: event.start_ns, length, ties: ties(event, &ids) });
        self.facts.add(event, &ids);
    }

    fn reject(&mut self, reject: Reject<'_>) {
        let head = &reject.bytes[..reject.bytes.len().min(HEAD_BYTES)];
        self.rejected.push(Rejected {
            offset: reject.offset,
            length: reject.length,
            reason: reject.reason.name(),
            detail: reject.detail.into_owned(),
            head: String::from_utf8_lossy(head).into_owned(),
        });
    }
}

/// Hashes of all by which assembly may join an event to others. They gather candidates only: what is one request,
/// assembly decides by the ids themselves.
fn ties(event: &HopEvent<'_>, ids: &EventIds) -> [u64; TIES] {
    let mut ties = [0; TIES];
    let of_ids = ids.bridging().map(|(kind, value)| hash(&(kind, value)));
    let of_spans = [event.span_id, event.parent_span_id]
        .into_iter()
        .filter(|&span| span != 0 && event.trace_id != 0)
        .map(|span| hash(&(event.trace_id, span)));
    // One connection that two transports tell of has no id, but one peer and one start.
    let of_connection = (is_connection(event) && !event.downstream_remote.is_empty())
        .then(|| hash(&(&event.downstream_remote, event.start_ns.div_euclid(1_000_000))));
    for (tie, found) in ties.iter_mut().zip(of_ids.chain(of_spans).chain(of_connection)) {
        *tie = found.max(1);
    }
    ties
}

/// Decodes a piece that stands by itself.
pub(super) fn piece(input: &Input, rules: &Rules, offset: u64, bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    for (kind, run) in runs(input, bytes) {
        let (run_offset, bytes) = (offset + run.start as u64, &bytes[run]);
        let delivery = delivery(input, run_offset);
        let known = decoded.rejected.len();
        match kind {
            Kind::Fastly => fastly::decode(bytes, &delivery, rules, &mut decoded),
            Kind::Envoy => envoy::decode_lines(bytes, &delivery, rules, &mut decoded),
            Kind::OtlpJson => _ = otlp::decode_json(bytes, &delivery, rules, &mut decoded),
            Kind::OtlpFrames | Kind::OtlpMessage => {
                _ = otlp::decode_protobuf(bytes, &delivery, rules, &mut decoded);
            }
            // Streams have a state, so they are not cut into pieces that stand by themselves.
            Kind::Als => {}
        }
        if input.is_guessed && is_lines(kind) {
            try_as_the_other(kind, rules, &delivery, bytes, &mut decoded, known);
        }
        for rejected in &mut decoded.rejected[known..] {
            rejected.offset += run_offset;
        }
    }
    decoded
}

fn is_lines(kind: Kind) -> bool {
    matches!(kind, Kind::Fastly | Kind::Envoy)
}

/// Logs of several senders are often collected into one file: runs of lines of one kind. The preset of last resort
/// would read an Envoy's JSON as Fastly's, so it is not left to rejects alone.
fn runs(input: &Input, bytes: &[u8]) -> Vec<(Kind, Range<usize>)> {
    let is_array = bytes.trim_ascii_start().first() == Some(&b'[')
        && bytes.trim_ascii_start()[1..].trim_ascii_start().first() == Some(&b'{');
    if !input.is_guessed || !is_lines(input.kind) || is_array {
        return vec![(input.kind, 0..bytes.len())];
    }
    let mut runs: Vec<(Kind, Range<usize>)> = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |at| from + at + 1);
        let kind = of_line(&bytes[from..end], runs.last().map_or(input.kind, |(kind, _)| *kind));
        match runs.last_mut() {
            Some((last, run)) if *last == kind => run.end = end,
            _ => runs.push((kind, from..end)),
        }
        from = end;
    }
    runs
}

/// The kind of a line; `before` where nothing in it tells.
fn of_line(line: &[u8], before: Kind) -> Kind {
    match line {
        [b'{', ..] => match sniff::family(line) {
            Some(Family::EnvoyLines) => Kind::Envoy,
            _ => Kind::Fastly,
        },
        [b'[', b'0'..=b'9', ..] => Kind::Envoy,
        _ => before,
    }
}

/// Decodes one message of an access log stream.
pub(super) fn message(
    input: &Input,
    stream: &mut AlsStream,
    rules: &Rules,
    offset: u64,
    bytes: &[u8],
) -> Decoded {
    let mut decoded = Decoded::default();
    stream.decode(bytes, &delivery(input, offset), rules, &mut decoded);
    for rejected in &mut decoded.rejected {
        rejected.offset = offset;
    }
    decoded
}

fn delivery(input: &Input, offset: u64) -> Delivery<'_> {
    let id = u128::from(input.number) << 64 | u128::from(offset);
    Delivery { tenant: "default", source: "file", received_ns: input.received_ns, id, origin: &input.origin }
}

/// What one decoder rejects the other may read: lines by a format string of the person's own, say.
fn try_as_the_other(
    kind: Kind,
    rules: &Rules,
    delivery: &Delivery<'_>,
    bytes: &[u8],
    decoded: &mut Decoded,
    known: usize,
) {
    for rejected in decoded.rejected.split_off(known) {
        let from = usize::try_from(rejected.offset).unwrap_or(usize::MAX);
        let record = from.checked_add(rejected.length as usize).and_then(|end| bytes.get(from..end));
        let mut other = Decoded::default();
        // The place of the record makes the key of one without ids: keep it.
        let delivery = Delivery { id: delivery.id + u128::from(rejected.offset), ..*delivery };
        match (kind, record) {
            (Kind::Fastly, Some(record)) => envoy::decode_lines(record, &delivery, rules, &mut other),
            (_, Some(record @ [b'{', ..])) => fastly::decode(record, &delivery, rules, &mut other),
            _ => {}
        }
        if other.rows.is_empty() || !other.rejected.is_empty() {
            decoded.rejected.push(rejected);
            continue;
        }
        decoded.bytes.append(&mut other.bytes);
        decoded.rows.append(&mut other.rows);
        decoded.facts.merge(other.facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_kinds_are_told_apart() {
        let (edge, gateway) = (r#"{"ts_us":1,"pop":"FRA"}"#, r#"{"response_flags":"-","path":"/"}"#);
        let text = format!("{edge}\n{edge}\n{gateway}\n\n[2026-11-21T10:00:00Z] x\nnoise\n{edge}");
        let input = Input {
            kind: Kind::Fastly,
            is_guessed: true,
            origin: Origin::default(),
            number: 0,
            received_ns: 0,
        };
        let found = runs(&input, text.as_bytes());
        let kinds: Vec<Kind> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Fastly, Kind::Envoy, Kind::Fastly]);
        assert_eq!(found.iter().map(|(_, run)| run.len()).sum::<usize>(), text.len());
        let told = Input { is_guessed: false, ..input };
        assert_eq!(runs(&told, text.as_bytes()), [(Kind::Fastly, 0..text.len())]);
    }
}
