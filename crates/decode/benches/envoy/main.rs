//! Envoy decoding beside its floor, in one run: `cargo bench -p throughline-decode --bench envoy`.
//!
//! - JSON: the product parses and normalizes Istio's default lines; the floor parses the same lines with serde_json into
//!   a borrowed struct of all 24 keys. Target: at least 0.7 of the floor's rate.
//! - ALS: the product decodes and normalizes captured entries; the floor decodes the same messages with prost into types
//!   that hold bytes instead of text. Target: at least 0.8 of the floor's rate.
//!
//! The ratios are printed after the measurements, from alternating passes over both, so that a busy machine slows both.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod floor;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use decode::envoy::{AlsStream, Formats, decode_lines};
use decode::{Delivery, Origin, Redactor, Rules, Sink};
use event::{HopEvent, Reject};
use prost::Message;

/// Counts, and keeps the compiler from leaving anything out.
struct Count(u64);

impl Sink for Count {
    fn event(&mut self, event: &HopEvent<'_>) {
        self.0 += 1;
        black_box(event);
    }

    fn reject(&mut self, reject: Reject<'_>) {
        panic!("the sample must decode: {}", reject.detail);
    }
}

fn capture(path: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/envoy").join(path))
        .unwrap()
}

/// About 1 MB of Istio's default JSON lines from the captures.
fn json_sample() -> Vec<u8> {
    let mut sample = Vec::new();
    while sample.len() < 1 << 20 {
        for role in ["gw", "a", "b"] {
            sample.extend_from_slice(&capture(&format!("file/{role}.json.log")));
        }
    }
    sample
}

/// Captured messages without the first, which holds the identifier: it comes once a stream.
fn als_sample() -> Vec<bytes::Bytes> {
    let mut messages = Vec::new();
    for name in ["gw.http_envoy_accesslog.stream0", "a.http_envoy_accesslog.stream2"] {
        let file = bytes::Bytes::from(capture(&format!("als/{name}.binpb")));
        let mut rest = file;
        let mut first = true;
        while !rest.is_empty() {
            let length = prost::decode_length_delimiter(&mut rest).unwrap();
            let message = rest.split_to(length);
            if !first {
                messages.push(message);
            }
            first = false;
        }
    }
    messages
}

fn rules() -> Rules {
    Rules {
        redactor: Redactor::default(),
        fastly: decode::fastly::Presets::default(),
        envoy: Formats::istio_defaults(),
    }
}

/// Median time of a pass of each, passes alternating.
fn alternate(mut floor: impl FnMut(), mut product: impl FnMut()) -> (Duration, Duration) {
    let time = |pass: &mut dyn FnMut()| {
        let start = Instant::now();
        pass();
        start.elapsed()
    };
    let (mut floors, mut products) = (Vec::new(), Vec::new());
    for _ in 0..301 {
        floors.push(time(&mut floor));
        products.push(time(&mut product));
    }
    floors.sort_unstable();
    products.sort_unstable();
    (floors[150], products[150])
}

fn report(name: &str, target: f64, records: u64, (floor, product): (Duration, Duration)) {
    let rate = |time: Duration| records as f64 / time.as_secs_f64();
    let ratio = floor.as_secs_f64() / product.as_secs_f64();
    println!(
        "{name}: {:.0} records/s of {:.0} (floor): ratio {ratio:.2}, target {target}",
        rate(product),
        rate(floor)
    );
}

fn main() {
    let rules = rules();
    let origin = Origin::default();
    let delivery = Delivery {
        tenant: "default",
        source: "bench",
        received_ns: 1_795_290_100_000_000_000,
        id: 7,
        origin: &origin,
    };

    let lines = json_sample();
    let text = std::str::from_utf8(&lines).unwrap();
    let count = text.lines().count() as u64;
    let json_floor = || {
        for line in text.lines() {
            let entry: floor::IstioLine<'_> = serde_json::from_str(line).unwrap();
            black_box(&entry);
        }
    };
    let json_product = || {
        let mut sink = Count(0);
        decode_lines(black_box(&lines), &delivery, &rules, &mut sink);
        assert_eq!(sink.0, count);
    };

    let messages = als_sample();
    let mut entries = 0;
    for message in &messages {
        let message = floor::StreamAccessLogsMessage::decode(message.clone()).unwrap();
        entries += message.http_logs.map_or(0, |logs| logs.log_entry.len() as u64);
    }
    let als_floor = || {
        for message in &messages {
            black_box(floor::StreamAccessLogsMessage::decode(black_box(message.clone())).unwrap());
        }
    };
    let mut stream = AlsStream::new("bench");
    let mut identified = Count(0);
    let first = capture("als/gw.http_envoy_accesslog.stream0.binpb");
    let mut rest = bytes::Bytes::from(first);
    let length = prost::decode_length_delimiter(&mut rest).unwrap();
    stream.decode(&rest[..length], &delivery, &rules, &mut identified);
    let mut als_product = || {
        let mut sink = Count(0);
        for message in &messages {
            stream.decode(black_box(message), &delivery, &rules, &mut sink);
        }
        assert_eq!(sink.0, entries);
    };

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("envoy");
    group.throughput(Throughput::Elements(count));
    group.bench_function("json/floor", |bench| bench.iter(json_floor));
    group.bench_function("json/product", |bench| bench.iter(json_product));
    group.throughput(Throughput::Elements(entries));
    group.bench_function("als/floor", |bench| bench.iter(als_floor));
    group.bench_function("als/product", |bench| bench.iter(&mut als_product));
    group.finish();
    criterion.final_summary();

    if std::env::args().any(|argument| argument == "--profile-time") {
        return; // a profile of one side would be of both
    }
    report("istio json", 0.7, count, alternate(json_floor, json_product));
    report("als", 0.8, entries, alternate(als_floor, &mut als_product));
}
