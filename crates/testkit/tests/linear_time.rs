//! Ten times the bytes take about ten times as long, for shapes that are made to cost more.
//!
//! Time is the least of several runs, and a shape that fails is measured again: what is looked for is a square, which
//! makes the factor a hundred.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use testkit::drive;

/// Allowed for ten times the bytes: caches and allocators are not linear either, and a busy machine interrupts the
/// longer run more often.
const MOST_TIMES: f64 = 40.0;
/// Bytes of the small input; the large one stays below the bound of an Envoy line (256 KiB).
const SMALL_BYTES: usize = 12_000;

type Shape = (&'static str, fn(usize) -> Vec<u8>);

/// Shapes of text that any reader of text may meet.
const TEXTS: &[Shape] = &[
    ("braces", |n| b"{".repeat(n)),
    ("brackets", |n| b"[".repeat(n)),
    ("brackets on lines", |n| b"[\n".repeat(n / 2)),
    ("braces on lines", |n| b"{\n".repeat(n / 2)),
    ("braces on lines, then no UTF-8", |n| [&b"{\n".repeat(n / 2)[..], b"\xff"].concat()),
    ("array of braces", |n| [&b"["[..], &b"{".repeat(n)].concat()),
    ("array on one line", |n| wrapped(b"[", b"{\"status\":200},", b"{}]", n)),
    ("array on one line, then no UTF-8", |n| wrapped(b"[", b"{\"status\":200},", b"\xff]", n)),
    ("array on lines", |n| wrapped(b"[", b"{\"status\":200},\n", b"{}]", n)),
    ("array of broken objects", |n| wrapped(b"[", b"{x},", b"{}]", n)),
    ("array, broken, then line breaks", |n| wrapped(b"[{x", b"\n", b"x", n)),
    ("array, broken, then closings", |n| wrapped(b"[{x", b"} ", b"x", n)),
    ("nested objects", |n| [b"{\"a\":".repeat(n / 6), b"}".repeat(n / 6)].concat()),
    ("nested arrays in an object", |n| {
        [&b"{\"status\":"[..], &b"[".repeat(n / 2), &b"]".repeat(n / 2), b"}"].concat()
    }),
    ("quotes", |n| b"\"".repeat(n)),
    ("quotes in a value", |n| wrapped(b"{\"status\":200,\"user_agent\":\"", b"\"", b"\"}", n)),
    ("escaped quotes in a value", |n| wrapped(b"{\"status\":200,\"user_agent\":\"", b"\\\"", b"\"}", n)),
    ("backslashes", |n| wrapped(b"{\"status\":200,\"a\":\"", b"\\\\", b"\"}", n)),
    ("percents in a URL", |n| wrapped(b"{\"status\":200,\"url\":\"/?", b"%", b"\"}", n)),
    ("escaped percents in a URL", |n| wrapped(b"{\"status\":200,\"url\":\"/?", b"%25", b"\"}", n)),
    ("parameters of a URL", |n| wrapped(b"{\"status\":200,\"url\":\"/?", b"token=a&", b"\"}", n)),
    ("names without an end", |n| wrapped(b"{\"status\":200,\"url\":\"/?", b"token=", b"\"}", n)),
    ("one long key", |n| wrapped(b"{\"status\":200,\"", b"k", b"\":1}", n)),
    ("one long value", |n| wrapped(b"{\"status\":200,\"upstream_host\":\"", b"v", b"\"}", n)),
    ("one key again and again", |n| wrapped(b"{\"status\":200", b",\"a\":1", b"}", n)),
    ("keys that are all different", |n| {
        let keys: String = (0..n / 12).map(|key| format!(",\"k{key:06}\":1")).collect();
        format!("{{\"status\":200{keys}}}").into_bytes()
    }),
    ("words of secrets", |n| b"password ".repeat(n / 9)),
    ("secrets", |n| b"password=hunter2 ".repeat(n / 17)),
    ("beginnings of tokens", |n| b"eyJ".repeat(n / 3)),
    ("dots and tokens", |n| b"eyJh.".repeat(n / 5)),
    ("bearers", |n| b"Bearer ".repeat(n / 7)),
    ("schemes", |n| b"http://".repeat(n / 7)),
    ("at signs", |n| wrapped(b"http://", b"a:", b"@", n)),
    ("numbers", |n| b"4111 ".repeat(n / 5)),
    ("spaces", |n| wrapped(b"[2026-02-10T05:05:36.123Z] \"", b" ", b"x", n)),
    ("text line, many quotes", |n| {
        wrapped(b"[2026-02-10T05:05:36.123Z] \"GET / HTTP/1.1\" 200 - ", b"\" \"", b"x", n)
    }),
    ("dashes", |n| wrapped(b"[2026-02-10T05:05:36.123Z] ", b"- ", b"x", n)),
    ("lines", |n| b"\n".repeat(n)),
    ("lines of one byte", |n| b"a\n".repeat(n / 2)),
    ("no UTF-8 at all", |n| b"\xff".repeat(n)),
    ("parts of a line", |n| b"2026-02-10T05:05:36.123456789Z stdout P a\n".repeat(n / 42)),
    ("counted messages", |n| b"9 <1>aaaaa\n".repeat(n / 11)),
    ("syslog brackets", |n| wrapped(b"<134>1 T H N 1 - ", b"[a]", b"x", n)),
];

/// Shapes of protobuf: messages in messages, and many fields.
const WIRES: &[Shape] = &[
    ("empty records", |n| nested(&[1, 2], b"\x12\0", n)),
    ("records with a trace id", |n| nested(&[1, 2], &[&[0x12, 18, 0x4a, 16][..], &[1; 16]].concat(), n)),
    ("attributes of one record", |n| nested(&[1, 2, 2], b"\x32\x09\x0a\x01a\x12\x04\x0a\x02bc", n)),
    ("attributes of a resource", |n| nested(&[1, 1], b"\x0a\x09\x0a\x01a\x12\x04\x0a\x02bc", n)),
    ("attributes of a resource, for each record", |n| {
        let resource = field(1, &b"\x0a\x09\x0a\x01a\x12\x04\x0a\x02bc".repeat(n / 22));
        let records = field(2, &[&[0x12, 18, 0x4a, 16][..], &[1; 16]].concat().repeat(n / 40));
        field(1, &[resource, records].concat())
    }),
    ("entries", |n| nested(&[2], b"\x0a\0", n)),
    ("fields that nobody knows", |n| b"\x78\x01".repeat(n / 2)),
    ("messages in messages", |n| (0..n / 6).fold(Vec::new(), |inner, _| field(1, &inner))),
    ("a long text", |n| nested(&[1, 2, 2, 5], b"password=x&", n)),
    ("wide varints", |n| b"\x80".repeat(n)),
];

/// Format strings, and lines that nearly fit them.
const FORMATS: &[Shape] = &[
    ("operators", |n| b"%A% ".repeat(n / 4)),
    ("percents", |n| b"%".repeat(n)),
    ("parentheses", |n| wrapped(b"%A(", b"(", b")%", n)),
    ("operators and a line", |n| [&b"%A% ".repeat(8)[..], b"\n", &b"a ".repeat(n / 2)].concat()),
    ("quoted operators and a line", |n| {
        [&b"\"%REQ(A)%\" ".repeat(8)[..], b"\n", &b"\"a\" ".repeat(n / 4)].concat()
    }),
];

/// `before`, as many of `unit` as make `n` bytes, `after`.
fn wrapped(before: &[u8], unit: &[u8], after: &[u8], n: usize) -> Vec<u8> {
    [before, &unit.repeat(n / unit.len()), after].concat()
}

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (vec![number << 3 | 2], value.len());
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

/// `n` bytes of `unit` as the content of a field in a field in a field.
fn nested(numbers: &[u8], unit: &[u8], n: usize) -> Vec<u8> {
    numbers.iter().rev().fold(unit.repeat(n / unit.len()), |inner, &number| field(number, &inner))
}

fn least_time(drive: fn(&[u8]), bytes: &[u8], runs: usize) -> Duration {
    let run = |_| {
        let start = Instant::now();
        drive(bytes);
        start.elapsed()
    };
    (0..runs).map(run).min().unwrap()
}

/// What ten times the bytes cost, as a factor; the least of six measurements if the first is bad.
fn times(drive: fn(&[u8]), shape: fn(usize) -> Vec<u8>) -> f64 {
    let (small, large) = (shape(SMALL_BYTES), shape(10 * SMALL_BYTES));
    let mut least = f64::MAX;
    for _ in 0..6 {
        let small_time = least_time(drive, &small, 3).max(Duration::from_micros(20));
        least = least.min(least_time(drive, &large, 2).as_secs_f64() / small_time.as_secs_f64());
        if least <= MOST_TIMES {
            break;
        }
    }
    least
}

#[track_caller]
fn holds(target: &str, drive: fn(&[u8]), shapes: &[Shape]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let measured = shapes.iter().map(|&(name, shape)| (name, times(drive, shape)));
    let bad: Vec<_> = measured.filter(|&(_, factor)| factor > MOST_TIMES).collect();
    assert!(
        bad.is_empty(),
        "{target}: ten times the bytes take more than {MOST_TIMES} times as long: {bad:.0?}"
    );
}

#[test]
fn fastly_bodies() {
    holds("fastly", drive::fastly, TEXTS);
}

#[test]
fn envoy_lines() {
    holds("envoy_lines", drive::envoy_lines, TEXTS);
}

#[test]
fn otlp_json() {
    holds("otlp_json", drive::otlp_json, TEXTS);
}

#[test]
fn redactor() {
    holds("redactor", drive::redactor, TEXTS);
    holds("redactor", drive::redactor, WIRES);
}

#[test]
fn protobuf() {
    holds("otlp_protobuf", drive::otlp_protobuf, WIRES);
    holds("als", |bytes| drive::als(&delimited(bytes)), WIRES);
}

#[test]
fn format_strings() {
    holds("envoy_format", drive::envoy_format, FORMATS);
}

/// `bytes` as one message of a stream.
fn delimited(bytes: &[u8]) -> Vec<u8> {
    field(0, bytes).split_off(1)
}
