//! Any bytes into any decoder, held to what must be true of whatever comes out: the body of each fuzz target, of the
//! replay of their corpora, and of the tests of linear time.
//!
//! Each function takes arbitrary bytes and panics if a promise is broken: on top of "no panic, no endless loop, no
//! unbounded memory", what `check` asks of each event and reject, and what the function itself asks.

#![allow(clippy::panic, clippy::expect_used, reason = "a broken promise is told by panicking, as in a test")]

mod check;

use std::cell::RefCell;
use std::sync::LazyLock;

use correlation::{Id, IdKind, Traceparent, parse_uuid_or_hex, uuid_text};
use decode::envoy::{AlsStream, Formats, decode_lines};
use decode::framing::{Line, Lines};
use decode::{Delivery, Origin, Redactor, Rules, compression, fastly as fastly_lines, otlp, sniff};
use event::{Record, wire};

use check::Checking;

/// Takes any bytes; panics if a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by the name of its directory in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("als", als),
    ("compression", compression),
    ("envoy_format", envoy_format),
    ("envoy_lines", envoy_lines),
    ("fastly", fastly),
    ("framing_lines", framing_lines),
    ("ids", ids),
    ("otlp_json", otlp_json),
    ("otlp_protobuf", otlp_protobuf),
    ("redactor", redactor),
    ("spool", spool),
    ("wire_read", wire_read),
];

/// More unpacked bytes than these are refused: small, so that a fuzzer meets the cap.
const UNPACKED_CAP_BYTES: usize = 64 * 1024;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    redactor: Redactor::default(),
    fastly: fastly_lines::Presets::built_in().expect("the built-in presets are read"),
    envoy: Formats::istio_defaults(),
});

static ORIGIN: LazyLock<Origin> = LazyLock::new(Origin::default);

fn delivery() -> Delivery<'static> {
    Delivery {
        tenant: check::TENANT,
        source: check::SOURCE,
        received_ns: check::RECEIVED_NS,
        id: 7,
        origin: &ORIGIN,
    }
}

/// A body of Fastly's HTTPS endpoint.
pub fn fastly(bytes: &[u8]) {
    let mut sink = Checking::new(bytes);
    fastly_lines::decode(bytes, &delivery(), &RULES, &mut sink);
    _ = sniff::family(bytes);
}

/// Lines of Envoy logs, in the formats that need no configuration.
pub fn envoy_lines(bytes: &[u8]) {
    decode_lines(bytes, &delivery(), &RULES, &mut Checking::new(bytes));
}

/// The first line is an access log format string, the others are read by it. A format that does not compile is told
/// why, and that is all.
pub fn envoy_format(bytes: &[u8]) {
    thread_local! {
        static WITH_FORMAT: RefCell<Rules> = RefCell::new(RULES.clone());
    }
    let text = String::from_utf8_lossy(bytes);
    let (format, lines) = text.split_once('\n').unwrap_or((&text, ""));
    match Formats::istio_defaults().with_user(format) {
        Ok(formats) => WITH_FORMAT.with_borrow_mut(|rules| {
            rules.envoy = formats;
            decode_lines(lines.as_bytes(), &delivery(), rules, &mut Checking::new(lines.as_bytes()));
        }),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// One gRPC stream of access logs: messages with their length as a varint before them.
pub fn als(bytes: &[u8]) {
    let mut stream = AlsStream::new("peer");
    let mut rest = bytes;
    while !rest.is_empty() {
        let message = delimited(&mut rest);
        stream.decode(message, &delivery(), &RULES, &mut Checking::new(message));
        assert!(
            stream.node_id().len() <= check::MOST_TEXT_BYTES
                && stream.log_name().len() <= check::MOST_TEXT_BYTES
        );
    }
}

/// One `ExportLogsServiceRequest`.
pub fn otlp_protobuf(bytes: &[u8]) {
    let mut sink = Checking::new(bytes);
    let records = otlp::decode_protobuf(bytes, &delivery(), &RULES, &mut sink);
    assert!(records >= sink.events, "more events than the {records} records that were counted");
}

/// One OTLP-JSON document.
pub fn otlp_json(bytes: &[u8]) {
    let mut sink = Checking::new(bytes);
    let records = otlp::decode_json(bytes, &delivery(), &RULES, &mut sink);
    assert_eq!(records, sink.events + sink.rejects, "each record is an event or a reject");
}

/// The first byte chooses the header, the rest is the body.
pub fn compression(bytes: &[u8]) {
    const HEADERS: [Option<&str>; 6] =
        [None, Some("gzip"), Some("zstd"), Some("snappy"), Some("gzip, zstd"), Some("identity")];
    let (choice, body) = bytes.split_first().unwrap_or((&0, &[]));
    let header = HEADERS[usize::from(*choice) % HEADERS.len()];
    match compression::decompress(body.to_vec().into(), header, UNPACKED_CAP_BYTES) {
        Ok(out) => {
            assert!(out.len() <= UNPACKED_CAP_BYTES || *out == *body, "{} bytes pass the cap", out.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The byte form of the spool. What is read is written again and then is the same, byte for byte.
pub fn wire_read(bytes: &[u8]) {
    let Ok(record) = wire::read(bytes) else { return };
    let again = written(&record);
    let reread = wire::read(&again).expect("what was written is read");
    assert_eq!(written(&reread), again, "the byte form is not stable");
}

/// A segment of the spool, and what damage makes of one.
pub fn spool(bytes: &[u8]) {
    ::spool::drive(bytes);
}

/// Ids, request by request: text of every kind of id, and `traceparent`.
pub fn ids(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for kind in IdKind::ALL {
        let Some(id) = Id::parse(kind, &text) else { continue };
        assert_ne!(id.value, 0, "0 means that there is none");
        assert!(text.len() <= correlation::MAX_ID_BYTES + 2 * text.len() - 2 * text.trim().len());
        let canonical = Id::parse(kind, &uuid_text(id.value)).expect("a canonical id is read");
        if kind != IdKind::Request {
            assert_eq!(canonical.value, id.value, "{kind:?}");
        }
    }
    let candidates = Id::candidates(&text);
    assert!(candidates.len() <= 2 && !candidates.contains(&0));
    if let Some((value, _)) = parse_uuid_or_hex(&text) {
        assert_eq!(parse_uuid_or_hex(&uuid_text(value)).map(|(again, _)| again), Some(value));
    }
    if let Ok(parent) = Traceparent::parse(&text) {
        assert!(parent.trace_id != 0 && parent.parent_id != 0);
        let canonical = format!("00-{:032x}-{:016x}-{:02x}", parent.trace_id, parent.parent_id, parent.flags);
        assert_eq!(Traceparent::parse(&canonical), Ok(parent));
    }
}

/// Lines of a stream. The first two bytes are the bound of a line and the length of a chunk: however a stream is cut,
/// its lines are the same, and their offsets say where they are.
pub fn framing_lines(bytes: &[u8]) {
    let [limit, chunk, stream @ ..] = bytes else { return };
    let (limit_bytes, chunk_bytes) = (usize::from(*limit), usize::from(*chunk).max(1));
    let all_lines = |chunk_bytes: usize| {
        let (mut lines, mut found) = (Lines::new(5, limit_bytes), Vec::new());
        let mut take = |line: Line<'_>| match line {
            Line::Whole { offset, bytes } => {
                let start = (offset - 5) as usize;
                assert_eq!(&stream[start..start + bytes.len()], bytes);
                assert!(bytes.len() <= limit_bytes);
                found.push((offset, bytes.len() as u64, true));
            }
            Line::TooLong { offset, length, head } => {
                let start = (offset - 5) as usize;
                assert_eq!(&stream[start..start + head.len()], head);
                assert!(length > limit_bytes as u64 && head.len() == limit_bytes);
                found.push((offset, length, false));
            }
        };
        for chunk in stream.chunks(chunk_bytes) {
            lines.push(chunk, &mut take);
        }
        lines.finish(&mut take);
        assert_eq!(lines.offset(), 5 + stream.len() as u64);
        found
    };
    assert_eq!(
        all_lines(chunk_bytes),
        all_lines(stream.len().max(1)),
        "lines depend on where the stream is cut"
    );
}

/// The redactor, on bytes without a known form and on text in each of the forms that it knows.
pub fn redactor(bytes: &[u8]) {
    let redactor = &RULES.redactor;
    check::redacted(bytes.len(), &redactor.bytes(bytes));
    let text = String::from_utf8_lossy(bytes);
    for (out, changed) in [
        redactor.text(text.as_ref().into()),
        redactor.url(text.as_ref().into()),
        redactor.value("x-custom", text.as_ref().into()),
    ] {
        check::redacted(text.len(), out.as_bytes());
        assert_eq!(
            changed,
            *out != *text || text.contains(Redactor::MARK) && changed,
            "the flag says what was done"
        );
    }
    assert_eq!(redactor.subject(&text).len(), 32);
}

fn written(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match record {
        Record::Event(event) => wire::put_event(event, &mut out),
        Record::Reject(reject) => wire::put_reject(reject, &mut out),
        Record::Tally(tally) => wire::put_tally(tally, &mut out),
    }
    out
}

/// Takes a varint and as many bytes as it says, or all that is left.
fn delimited<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (mut length, mut shift) = (0usize, 0);
    while let Some((&byte, tail)) = rest.split_first() {
        *rest = tail;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 || shift > 28 {
            break;
        }
    }
    let (message, tail) = rest.split_at(length.min(rest.len()));
    *rest = tail;
    message
}
