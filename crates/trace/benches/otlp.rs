//! Assembled requests to OTLP bytes: spans per CPU-second of mapping and protobuf encoding together.
//!
//! `cargo bench -p throughline-trace --bench otlp`; 50,000 a second are wanted. Printed last, from the least time of
//! several passes, which a busy machine disturbs least.

#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use trace::otlp::{Mode, Selection, resource_spans};
use trace::{Moment, Request};

const REQUESTS: u64 = 2_000;

/// Every request as one message, as an exporter would fill its batches; bytes and spans.
fn encode(requests: &[Request], out: &mut Vec<u8>) -> (usize, usize) {
    let (mut bytes, mut spans) = (0, 0);
    for request in requests {
        let resource_spans = resource_spans(request, &Selection::fresh(Mode::All));
        spans += resource_spans.iter().flat_map(|it| &it.scope_spans).map(|it| it.spans.len()).sum::<usize>();
        out.clear();
        let encoded = TracesData { resource_spans }.encode(out);
        bytes += encoded.map_or(0, |()| out.len());
    }
    (bytes, spans)
}

fn main() {
    let events: Vec<_> = testkit::Mix::new(1).events(REQUESTS).collect();
    let requests = trace::requests(events, Moment::FINAL);
    let mut out = Vec::new();
    let (bytes, spans) = encode(&requests, &mut out);

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("otlp");
    group.throughput(Throughput::Elements(spans as u64)).sample_size(20);
    group.bench_function("map and encode", |bench| bench.iter(|| black_box(encode(&requests, &mut out))));
    group.finish();

    let least = |mut pass: Box<dyn FnMut() + '_>| {
        let time = |_| {
            let begin = Instant::now();
            pass();
            begin.elapsed()
        };
        (0..10).map(time).min().unwrap_or(Duration::MAX)
    };
    let through_messages = least(Box::new(|| _ = black_box(encode(&requests, &mut out))));
    let mut out = Vec::new();
    let at_once = least(Box::new(|| {
        for request in &requests {
            out.clear();
            black_box(trace::otlp::encode(request, &Selection::fresh(Mode::All), &mut out));
        }
    }));
    for (name, least) in [("through messages", through_messages), ("at once", at_once)] {
        println!(
            "{name}: {spans} spans of {} bytes each: {:.0} spans per CPU-second, {:.0} ns a span",
            bytes / spans.max(1),
            spans as f64 / least.as_secs_f64(),
            least.as_nanos() as f64 / spans as f64
        );
    }
}
