//! Fastly JSON: decode and normalize against the floor, a borrowed typed parse that keeps every key of the same lines.
//!
//! `cargo bench -p throughline-decode --bench fastly`; the ratio is floor time / product time, wanted at 0.7 or more. It
//! is printed last, from the least times of alternating passes, which a busy machine disturbs least.

#![allow(clippy::print_stdout, missing_docs)]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use decode::fastly::Presets;
use decode::{Delivery, Origin, Redactor, Rules, Sink};
use event::{HopEvent, Reject};
use serde::Deserialize;

/// Every key of the suggested VCL format.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read by nobody: the parse is what is measured")]
struct Floor<'a> {
    v: u8,
    #[serde(borrow)]
    src: Cow<'a, str>,
    #[serde(borrow)]
    service_id: Cow<'a, str>,
    service_version: u32,
    ts_us: i64,
    elapsed_us: u64,
    #[serde(borrow)]
    ttfb_s: Cow<'a, str>,
    edge: bool,
    visits: u32,
    restarts: u32,
    to_shield: bool,
    #[serde(borrow)]
    traceparent: Cow<'a, str>,
    #[serde(borrow)]
    correlation_id: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    host: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    proto: Cow<'a, str>,
    status: u16,
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    pop: Cow<'a, str>,
    #[serde(borrow)]
    server: Cow<'a, str>,
    #[serde(borrow)]
    backend: Cow<'a, str>,
    #[serde(borrow)]
    client_ip: Cow<'a, str>,
    asn: u32,
    #[serde(borrow)]
    country: Cow<'a, str>,
    #[serde(borrow)]
    tls: Cow<'a, str>,
    resp_bytes: u64,
    completed: bool,
    #[serde(borrow)]
    ua: Cow<'a, str>,
    o_start_us: Option<u64>,
    o_ttfb_us: Option<u64>,
    o_status: Option<u16>,
}

#[derive(Default)]
struct Count {
    events: usize,
    rejects: usize,
}

impl Sink for Count {
    fn event(&mut self, event: &HopEvent<'_>) {
        black_box(event);
        self.events += 1;
    }

    fn reject(&mut self, _: Reject<'_>) {
        self.rejects += 1;
    }
}

#[allow(clippy::panic, reason = "a bench without presets has nothing to measure")]
fn compare(criterion: &mut Criterion) {
    const LINES: usize = 2_000;
    let line = include_str!("throughline-vcl.json").trim_end();
    let mut body = String::new();
    for at in 0..LINES {
        // Ids, times and paths differ from line to line, as they do in traffic.
        let line = line
            .replace("019c45978f407cc398c4dc0c0c07398f", &format!("019c45978f407cc398c4{at:012x}"))
            .replace("orders/4711", &format!("orders/{at}"))
            .replace("203.0.113.10", &format!("203.0.113.{}", at % 256));
        body.push_str(&line);
        body.push('\n');
    }
    let rules = Rules {
        redactor: Redactor::default(),
        fastly: Presets::built_in().unwrap_or_else(|error| panic!("{error}")),
        envoy: decode::envoy::Formats::default(),
    };
    let origin = Origin::default();
    let delivery = Delivery { tenant: "default", source: "bench", received_ns: 1, id: 7, origin: &origin };

    let floor = || {
        let lines = memchr::memchr_iter(b'\n', body.as_bytes());
        lines.fold((0, 0), |(from, count), end| {
            let parsed: Result<Floor<'_>, _> = serde_json::from_slice(&body.as_bytes()[from..end]);
            (end + 1, count + usize::from(black_box(parsed).is_ok()))
        })
    };
    let product = || {
        let mut count = Count::default();
        decode::fastly::decode(body.as_bytes(), &delivery, &rules, &mut count);
        assert_eq!((count.events, count.rejects), (LINES, 0));
    };
    let mut group = criterion.benchmark_group("fastly-json");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("floor", |bencher| bencher.iter(floor));
    group.bench_function("decode", |bencher| bencher.iter(product));
    group.finish();

    let mut least = [Duration::MAX; 2];
    for _ in 0..301 {
        let start = Instant::now();
        black_box(floor());
        let between = Instant::now();
        product();
        least = [least[0].min(between - start), least[1].min(between.elapsed())];
    }
    let [floor, product] = least.map(|time| time.as_secs_f64() * 1e9 / LINES as f64);
    println!(
        "fastly json: {product:.0} ns a record, floor {floor:.0} ns: ratio {:.2}, target 0.7",
        floor / product
    );
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}
