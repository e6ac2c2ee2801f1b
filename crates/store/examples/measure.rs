//! Measures the store with the sample mix: events a second and CPU per event on both sides, bytes per event on disk
//! after merges (by table and by column), lookup times.
//!
//! `cargo run --release -p throughline-store --example measure -- URL [--requests N] [--hops N] [--batch N] [--pid N]`
//! against an empty database; with `--pid` of the engine its CPU is measured too. A request of the mix has about six
//! events; `--hops 10` repeats the last ones as further hops until there are ten. `--keep` skips the merge of
//! everything, to look things up as the store leaves them; `--lookups-only` fills nothing and asks a filled database.
//! `--boards` fills six hours up to now, with verdicts, versions and requests around the edge, for `benches/boards.rs`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use event::HopEvent;
use store::migrate::Retention;
use store::query::Columns;
use store::{Batch, Endpoint, Locator, Store};
use testkit::Mix;
use testkit::events::hop_event;

/// One seed for every run, so that a database that is there can be asked again.
const SEED: u64 = 7;
/// Between two requests: 80,000 events a second at six events a request.
const INTERVAL_US: u64 = 75;
/// Lookups of one kind.
const LOOKUPS: u64 = 300;

struct Arguments {
    url: String,
    requests: u64,
    hops: Option<usize>,
    batch_events: usize,
    engine: Option<u32>,
    keep: bool,
    lookups_only: bool,
    boards: bool,
}

impl Arguments {
    fn parse() -> Self {
        let mut given = std::env::args().skip(1);
        let mut parsed = Self {
            url: String::new(),
            requests: 100_000,
            hops: None,
            batch_events: 100_000,
            engine: None,
            keep: false,
            lookups_only: false,
            boards: false,
        };
        while let Some(name) = given.next() {
            let mut number = || given.next().and_then(|text| text.parse::<u64>().ok()).expect("a number");
            match name.as_str() {
                "--requests" => parsed.requests = number(),
                "--hops" => parsed.hops = Some(number() as usize),
                "--batch" => parsed.batch_events = number() as usize,
                "--pid" => parsed.engine = Some(number() as u32),
                "--keep" => parsed.keep = true,
                "--lookups-only" => parsed.lookups_only = true,
                "--boards" => parsed.boards = true,
                _ => parsed.url = name,
            }
        }
        assert!(!parsed.url.is_empty(), "the URL of the store is missing");
        parsed
    }
}

/// CPU time of a process so far, user and system, from `/proc`; ticks of 10 ms.
fn cpu(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process that runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|text| text.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Senders deliver what they gathered for about so long, and all records of a delivery are received at one moment.
const DELIVERY_NS: i64 = 1_000_000_000;

/// The default range of the boards.
const BOARDS_RANGE_MS: u64 = 6 * 3_600_000;

/// What the mix does not have and the boards compare: verdicts of the edge, versions, revisions, ways around the edge.
fn decide(n: u64, requests: u64, events: &mut Vec<HopEvent<'static>>) {
    let late = n > requests * 2 / 3;
    let around = n.is_multiple_of(3001);
    let refused_and_there = n.is_multiple_of(4001);
    if around {
        events.retain(|event| !matches!(event.hop, event::Hop::Edge | event::Hop::Shield));
    }
    for event in events {
        match event.hop {
            event::Hop::Edge => {
                event.service_version = if late { "43" } else { "42" }.into();
                event.policy_version = if late { "2026-11-2" } else { "2026-11-1" }.into();
                event.verdict = if refused_and_there { "deny" } else { "allow" }.into();
                event.verdict_rule = ["members", "partners", "public"][n as usize % 3].into();
                event.verdict_reason = if refused_and_there { "token_expired" } else { "token_valid" }.into();
                event.issuer =
                    ["https://id.example.com", "https://partners.example.com"][n as usize % 2].into();
                event.key_id = ["2026-10", "2026-11"][n as usize % 2].into();
            }
            event::Hop::Gateway => {
                event.mesh_cluster = ["eu-1", "us-1"][n as usize % 2].into();
                if around {
                    (event.verdict, event.status) = ("deny".into(), 401);
                    (event.verdict_rule, event.verdict_reason) =
                        ("jwt_authn".into(), "Jwt_is_missing".into());
                }
            }
            event::Hop::Sidecar => {
                event.workload_revision = if late { "v2" } else { "v1" }.into();
                if event.details.starts_with("rbac_access_denied") {
                    (event.verdict, event.verdict_rule) =
                        ("deny".into(), "ns[shop]-policy[deny-partners]".into());
                    event.verdict_reason = "rbac_access_denied".into();
                }
            }
            _ => {}
        }
    }
}

/// The events of request `n`, in as many hops as asked for.
fn events(mix: &Mix, n: u64, arguments: &Arguments) -> Vec<HopEvent<'static>> {
    let hops = arguments.hops;
    let request = mix.request(n);
    let mut events: Vec<_> = request.hops.iter().map(|hop| hop_event(&request, hop)).collect();
    for index in events.len()..hops.unwrap_or(0) {
        let mut further = events[index - 3.min(events.len() - 1) - 1].clone();
        further.event_key = further_key(further.event_key, index as u64);
        further.start_ns += 3_000_000 * index as i64;
        further.duration_ns = further.duration_ns.map(|ns| ns * 9 / 10);
        events.push(further);
    }
    if arguments.boards {
        decide(n, arguments.requests, &mut events);
    }
    for event in &mut events {
        event.received_ns += DELIVERY_NS - event.received_ns.rem_euclid(DELIVERY_NS);
    }
    events
}

/// A key that nobody else has.
fn further_key(key: u64, index: u64) -> u64 {
    (key ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31)
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms over {}", at(50), at(99), times.len())
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let mut endpoint = Endpoint::at(&arguments.url);
    endpoint.user = std::env::var("STORE_USER").unwrap_or_default();
    endpoint.password = std::env::var("STORE_PASSWORD").unwrap_or_default();
    let store = Store::connect(endpoint);
    store.migrate(&Retention::default()).await.unwrap();
    let today_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
        as u64
        / 86_400_000
        * 86_400_000;
    let (start_ms, interval_us) = if arguments.boards {
        let now_ms =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        (now_ms - BOARDS_RANGE_MS, BOARDS_RANGE_MS * 1000 / arguments.requests)
    } else {
        (today_ms, INTERVAL_US)
    };
    let mix = Mix::new(SEED).starting(start_ms, interval_us);
    if !arguments.lookups_only {
        let events = fill(&store, &mix, &arguments).await;
        parts(&store, events).await;
        if !arguments.keep {
            for table in ["events", "ids", "rollup_minute"] {
                store.optimize(table).await.unwrap();
            }
            println!("merged:");
            parts(&store, events).await;
            columns(store.endpoint(), events).await;
        }
    }
    if !arguments.boards {
        lookups(&store, &mix, &arguments).await;
    }
}

/// Inserts the mix; the generator's own time counts nowhere.
async fn fill(store: &Store, mix: &Mix, arguments: &Arguments) -> u64 {
    let engine = arguments.engine.map(|pid| pid.to_string());
    let engine_cpu = || engine.as_deref().map_or(Duration::ZERO, cpu);
    let mut batch = Batch::new();
    let (mut built, mut inserting) = (Duration::ZERO, Duration::ZERO);
    let (mut own_cpu, mut of_engine) = (Duration::ZERO, Duration::ZERO);
    let (mut total, mut next, mut segment) = (0, 0, 0u128);
    let mut slowest = Duration::ZERO;
    let mut window = Vec::with_capacity(arguments.batch_events + 16);
    while next < arguments.requests {
        window.clear();
        while window.len() < arguments.batch_events && next < arguments.requests {
            window.extend(events(mix, next, arguments));
            next += 1;
        }
        let (since, own, of) = (Instant::now(), cpu("self"), engine_cpu());
        batch.clear();
        window.iter().for_each(|event| batch.push_event(event));
        built += since.elapsed();
        segment += 1;
        let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let inserted_since = Instant::now();
        store.insert(&batch, (start << 32 | segment).to_be_bytes(), "measure").await.unwrap();
        inserting += inserted_since.elapsed();
        slowest = slowest.max(inserted_since.elapsed());
        own_cpu += cpu("self") - own;
        of_engine += engine_cpu() - of;
        total += window.len() as u64;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / total as f64;
    println!(
        "{total} events in {segment} segments: {:.0} events/s; wall us/event: build {:.2}, insert {:.2}; CPU us/event: \
         ours {:.2}, engine {:.2}; slowest insert {slowest:.2?}",
        total as f64 / (built + inserting).as_secs_f64(),
        each(built),
        each(inserting),
        each(own_cpu),
        each(of_engine)
    );
    total
}

async fn parts(store: &Store, events: u64) {
    let mut total = 0;
    for table in store.parts().await.unwrap() {
        total += table.bytes;
        println!(
            "  {:14} {:3} parts {:10} rows {:7.2} B/event",
            table.table,
            table.parts,
            table.rows,
            table.bytes as f64 / events as f64
        );
    }
    println!("  on disk        {:.2} B/event", total as f64 / events as f64);
}

/// The columns of `events` and `ids` that cost most; a part under 256 MB of rows has none to tell apart.
async fn columns(endpoint: &Endpoint, events: u64) {
    let client = clickhouse::Client::default()
        .with_url(&endpoint.url)
        .with_user(&endpoint.user)
        .with_password(&endpoint.password)
        .with_database(&endpoint.database);
    let sql = "SELECT table, name, data_compressed_bytes FROM system.columns WHERE database = currentDatabase() \
               AND table IN ('events', 'ids') ORDER BY data_compressed_bytes DESC LIMIT 40";
    let rows: Vec<(String, String, u64)> = client.query_raw(sql).fetch_all().await.unwrap();
    for (table, name, bytes) in rows {
        println!("    {:30} {:6.2}", format!("{table}.{name}"), bytes as f64 / events as f64);
    }
}

/// Looks requests up by each kind of id in turn, one after the other.
async fn lookups(store: &Store, mix: &Mix, arguments: &Arguments) {
    let (mut by_id, mut whole, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..LOOKUPS {
        let request = mix.request(index * 7919 % arguments.requests);
        let gateway =
            request.hops.iter().map(|hop| hop_event(&request, hop)).find(|event| event.request_id != 0);
        let gateway = gateway.map_or(0, |event| event.request_id);
        let id = [request.correlation_id, gateway, request.trace_id][index as usize % 3];
        if id == 0 {
            continue;
        }
        let since = Instant::now();
        let rows = store.ids_of("default", &[id]).await.unwrap();
        by_id.push(since.elapsed());
        let mut places: Vec<Locator> = rows.iter().map(|row| row.locator).collect();
        places.sort_unstable();
        places.dedup();
        let events = store.events_at("default", &places, Columns::Waterfall).await.unwrap();
        whole.push(since.elapsed());
        assert!(events.len() >= arguments.hops.unwrap_or(1), "{id:032x}: {} events", events.len());
        let since = Instant::now();
        store.events_at("default", &places, Columns::All).await.unwrap();
        all.push(since.elapsed());
    }
    println!("  id to places {}", percentiles(by_id));
    println!("  id to waterfall {}", percentiles(whole));
    println!("  places to all columns {}", percentiles(all));
}
