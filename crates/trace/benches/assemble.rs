//! What assembling costs: request by request as correlation does it, and the widest request that a bound allows.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use event::HopEvent;
use testkit::Mix;
use trace::Moment;

/// Events of the sample mix, a vector a request.
fn requests(count: u64) -> Vec<Vec<HopEvent<'static>>> {
    let hops = |request: &testkit::Request| {
        request.hops.iter().map(|hop| testkit::events::hop_event(request, hop)).collect()
    };
    Mix::new(1).requests(count).map(|request| hops(&request)).collect()
}

/// One request of `calls` calls: a workload that calls another over and over.
fn wide(calls: usize) -> Vec<HopEvent<'static>> {
    let one = requests(1).remove(0);
    let (outbound, inbound) = (&one[one.len() - 2], &one[one.len() - 1]);
    let mut events = one[..one.len() - 2].to_vec();
    for number in 0..calls as i64 {
        for record in [outbound, inbound] {
            let at = record.start_ns + number * 50_000;
            let event_key = record.event_key.wrapping_add(number as u64 + 1);
            events.push(HopEvent { event_key, start_ns: at, ..record.clone() });
        }
    }
    events
}

fn assemble(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assemble");
    let mix = requests(2_000);
    group.throughput(Throughput::Elements(mix.iter().map(|events| events.len() as u64).sum()));
    group.bench_function("mix", |bencher| {
        bencher.iter_batched(
            || mix.clone(),
            |mix| {
                for events in mix {
                    black_box(trace::requests(events, Moment::FINAL));
                }
            },
            BatchSize::LargeInput,
        );
    });
    for calls in [50, 500] {
        let events = wide(calls);
        group.throughput(Throughput::Elements(events.len() as u64));
        group.bench_function(format!("wide/{}", events.len()), |bencher| {
            bencher.iter_batched(
                || events.clone(),
                |events| black_box(trace::requests(events, Moment::FINAL)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, assemble);
criterion_main!(benches);
