//! Measures the store: events a second, bytes per event on disk after merges, lookup times.
//!
//! `cargo run --release -p throughline-store --example measure -- URL [requests] [batch]` against an empty database.
//! The mix is that of the design: six records a request, ids shared by the records of a request, Zipf-distributed paths
//! and user agents, a million client addresses, 300 pods.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use event::{Direction, Hop, HopEvent, Precision};
use store::migrate::Retention;
use store::query::Columns;
use store::{Batch, Endpoint, Store};

/// A small generator with a seed: the same events in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn id(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A rank with a frequency of about 1/rank.
    fn zipf(&mut self, bound: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((bound as f64).powf(unit) as u64).min(bound) - 1
    }
}

const HOPS: [(Hop, Direction); 6] = [
    (Hop::Edge, Direction::Unknown),
    (Hop::Shield, Direction::Unknown),
    (Hop::Gateway, Direction::Inbound),
    (Hop::Sidecar, Direction::Inbound),
    (Hop::Sidecar, Direction::Outbound),
    (Hop::Sidecar, Direction::Inbound),
];

fn request(random: &mut Random, now_ns: i64) -> [HopEvent<'static>; 6] {
    let (correlation_id, request_id, trace_id) = (random.id(), random.id(), random.id());
    let path = format!("/api/v1/{:x}/items/{}", random.zipf(100) * 7919, random.zipf(10_000));
    let agent = random.zipf(5_000);
    let user_agent = format!(
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.{}.{} Safari/537.36",
        80 + agent % 60,
        agent * 31 % 6000,
        agent % 200
    );
    let client = 0xffff_0000_0000 | u128::from(random.below(1_000_000) * 4093 % (1 << 32));
    let status = if random.below(100) < 3 { 503 } else { 200 };
    let (pop, pod) = (random.below(40), random.below(300));
    let total_us = 2_000 + random.zipf(500_000);
    let bytes = 200 + random.zipf(200_000);
    let mut at_ns = now_ns;
    let mut left_us = total_us;
    std::array::from_fn(|index| {
        let (hop, direction) = HOPS[index];
        let fastly = index < 2;
        at_ns += (random.below(900) as i64 + 100) * 1_000;
        left_us -= left_us / (6 + random.below(20));
        let unit_ns = if fastly { 1_000 } else { 1_000_000 };
        let ns = |us: u64| us * 1_000 / unit_ns * unit_ns;
        let pod = (pod + index as u64 * 37) % 300;
        HopEvent {
            tenant: "default".into(),
            source: if fastly { "fastly" } else { "istio" }.into(),
            format: if fastly { "fastly-default" } else { "istio-json" }.into(),
            received_ns: now_ns / 500_000_000 * 500_000_000 + 2_000_000_000,
            event_key: random.next(),
            hop,
            direction,
            correlation_id,
            request_id: if fastly { 0 } else { request_id },
            edge_request_id: if fastly { request_id ^ 1 } else { 0 },
            trace_id,
            start_ns: if fastly { at_ns } else { at_ns / 1_000_000 * 1_000_000 },
            start_precision: if fastly { Precision::Microsecond } else { Precision::Millisecond },
            duration_ns: Some(ns(left_us)),
            first_byte_ns: fastly.then(|| ns(left_us / 2)),
            upstream_service_ns: (!fastly).then(|| ns(left_us * 9 / 10)),
            method: if agent.is_multiple_of(9) { "POST" } else { "GET" }.into(),
            scheme: "https".into(),
            host: format!("www{}.example.com", agent % 12).into(),
            path: path.clone().into(),
            protocol: if fastly { "HTTP/2" } else { "HTTP/1.1" }.into(),
            status,
            response_flags: if status == 503 && !fastly { "UF" } else { "" }.into(),
            details: if fastly { "" } else { "via_upstream" }.into(),
            route: if fastly { "" } else { "default" }.into(),
            user_agent: user_agent.clone().into(),
            request_bytes: Some(0),
            response_bytes: Some(bytes),
            request_header_bytes: fastly.then_some(400 + agent % 300),
            client_address: client,
            downstream_remote: if fastly {
                String::new()
            } else {
                format!("10.1.{}.{}:{}", pod / 250, pod % 250, 32768 + random.below(28000))
            }
            .into(),
            upstream_remote: if fastly {
                String::new()
            } else {
                format!("10.2.{}.{}:8080", pod / 250, pod % 250)
            }
            .into(),
            upstream_local: if fastly {
                String::new()
            } else {
                format!("10.1.{}.{}:{}", pod / 250, pod % 250, 32768 + random.below(28000))
            }
            .into(),
            upstream_cluster: if fastly {
                "origin".into()
            } else {
                format!("outbound|8080||svc-{}.shop.svc.cluster.local", pod % 60).into()
            },
            tls_version: if fastly { "TLSv1.3" } else { "" }.into(),
            ja4: if fastly { format!("t13d1516h2_{:012x}", agent % 300 * 99_999_999) } else { String::new() }
                .into(),
            country: ["de", "us", "fr", "jp"][(client % 4) as usize].into(),
            asn: (client % 5_000) as u32,
            pop: if fastly { format!("P{pop:02}") } else { String::new() }.into(),
            server: if fastly { format!("cache-p{pop:02}{}", random.below(60)) } else { String::new() }
                .into(),
            service_id: if fastly { "SU1Z0isxPaozGVKXdv0eY" } else { "" }.into(),
            cache_state: if fastly { "MISS" } else { "" }.into(),
            cache_result: if fastly { "miss" } else { "" }.into(),
            node: if fastly {
                String::new()
            } else {
                format!(
                    "sidecar~10.1.{}.{}~svc-{}-7d9f8b-{pod:05}.shop~shop.svc.cluster.local",
                    pod / 250,
                    pod % 250,
                    pod % 60
                )
            }
            .into(),
            pod: if fastly { String::new() } else { format!("svc-{}-7d9f8b-{pod:05}", pod % 60) }.into(),
            namespace: if fastly { "" } else { "shop" }.into(),
            workload: if fastly { String::new() } else { format!("svc-{}", pod % 60) }.into(),
            service: if fastly { "www".into() } else { format!("svc-{}", pod % 60).into() },
            ..HopEvent::default()
        }
    })
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms over {}", at(50), at(99), times.len())
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).map_or(default, |text| text.parse().expect("a number"))
    };
    let (requests, batch_events) = (number(1, 100_000), number(2, 50_000));
    let mut endpoint = Endpoint::at(arguments.first().expect("the URL of the store"));
    endpoint.user = std::env::var("STORE_USER").unwrap_or_default();
    endpoint.password = std::env::var("STORE_PASSWORD").unwrap_or_default();
    let store = Store::connect(endpoint);
    store.migrate(&Retention::default()).await.unwrap();

    let mut random = Random(7);
    let now_ns =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    let mut batch = Batch::new();
    let (mut ids, mut built, mut inserting) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    let mut segment = 0u128;
    for index in 0..requests {
        let start_ns = now_ns - 3_600_000_000_000 + index as i64 * 75_000;
        let events = request(&mut random, start_ns);
        if index % (requests / 500).max(1) == 0 {
            ids.push([events[0].correlation_id, events[2].request_id, events[0].trace_id][index % 3]);
        }
        let since = Instant::now();
        for event in &events {
            batch.push_event(event);
        }
        built += since.elapsed();
        if batch.len() >= batch_events || index + 1 == requests {
            segment += 1;
            let since = Instant::now();
            store
                .insert(&batch, (u128::from(random.next()) << 64 | segment).to_be_bytes(), "measure")
                .await
                .unwrap();
            inserting += since.elapsed();
            batch.clear();
        }
    }
    let events = (requests * 6) as f64;
    println!(
        "{events} events: built in {built:.2?}, inserted in {inserting:.2?} ({:.0} events/s together, {segment} segments)",
        events / (built + inserting).as_secs_f64()
    );
    for table in store.parts().await.unwrap() {
        println!("  {:14} {:3} parts, most {:3}", table.table, table.parts, table.most_parts_of_a_partition);
    }
    lookups(&store, &ids, "before merges").await;
    for table in ["events", "ids", "rollup_minute"] {
        store.optimize(table).await.unwrap();
    }
    let mut total = 0;
    for table in store.parts().await.unwrap() {
        total += table.bytes;
        println!("  {:14} {:10} rows {:7.2} B/event", table.table, table.rows, table.bytes as f64 / events);
    }
    println!("  on disk        {:.2} B/event", total as f64 / events);
    lookups(&store, &ids, "after merges").await;
}

async fn lookups(store: &Store, ids: &[u128], when: &str) {
    let (mut by_id, mut whole) = (Vec::new(), Vec::new());
    for id in ids {
        let since = Instant::now();
        let rows = store.ids_of("default", &[*id]).await.unwrap();
        by_id.push(since.elapsed());
        let mut places: Vec<_> = rows.iter().map(|row| row.locator).collect();
        places.dedup();
        let events = store.events_at("default", &places, Columns::Waterfall).await.unwrap();
        whole.push(since.elapsed());
        assert_eq!(events.len(), 6, "{id:032x}");
    }
    println!("  {when}: id to places {}; id to waterfall {}", percentiles(by_id), percentiles(whole));
}
