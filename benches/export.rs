//! Correlation and export end to end with the real engine: a backlog of shipped segments is read back, grouped,
//! assembled and sent to a sink that answers at once and looks at nothing.
//!
//! Prints events and spans a second and per CPU-second (service and engine apart), what export adds to assembling, what
//! keeping `recent` adds to shipping, and how soon after the settle window a request leaves.
//! Not part of the timed tests. `cargo bench --bench export [-- REQUESTS]`; `THROUGHLINE_BENCH_PROGRAM` names another
//! build of the service to measure.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a bench that cannot run has failed, and it prints its figures"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use event::Hop;
use testkit::{Mix, fastly, istio};

const LINES_PER_BODY: usize = 1_000;
/// Enough for half a minute of work at the rate that is aimed at.
const REQUESTS: u64 = 150_000;
const LATENCY_EVENTS_PER_S: u64 = 3_000;
const LATENCY_TIME: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(900);

struct Service {
    child: Child,
    http: SocketAddr,
    /// The engine's read-only port: another one each time, as an engine outlives its parent for a moment.
    public: SocketAddr,
    client: reqwest::blocking::Client,
}

impl Service {
    /// A service on `directory` with configuration by environment.
    fn start(directory: &Path, configuration: &[(&str, String)]) -> Self {
        let public = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let program = std::env::var("THROUGHLINE_BENCH_PROGRAM");
        let mut child = Command::new(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_throughline")))
            .env_remove("THROUGHLINE_BENCH_PROGRAM")
            .args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data-dir"])
            .arg(directory)
            .env("THROUGHLINE_ENGINE_PUBLIC_LISTEN", public.to_string())
            .env("THROUGHLINE_RETENTION_RECENT_HOURS", "24")
            .envs(configuration.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the service");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines().map_while(Result::ok);
        let http = lines
            .find_map(|line| line.split_once("HTTP on http://")?.1.split_whitespace().next()?.parse().ok())
            .expect("the service says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder().timeout(PATIENCE).build().expect("a client");
        let service = Self { child, http, public, client };
        service.wait("it is ready", |it| it.get("/readyz").contains("ready"));
        service
    }

    fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("http://{}{path}", self.http)).send();
        answer.and_then(|answer| answer.text()).unwrap_or_default()
    }

    /// The sum of a metric over its labels.
    fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics");
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !done(self) {
            assert!(since.elapsed() < PATIENCE, "did not happen: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// CPU seconds so far of the service and of the engine, its child.
    fn cpu_s(&self) -> [f64; 2] {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let engine = std::fs::read_to_string(children).unwrap_or_default();
        let engines = engine.split_whitespace().map(cpu_s).sum();
        [cpu_s(&self.child.id().to_string()), engines]
    }

    /// A number out of the store.
    fn asked(&self, directory: &Path, sql: &str) -> f64 {
        let credentials =
            std::fs::read_to_string(directory.join("clickhouse-credentials")).expect("credentials");
        let (user, password) = credentials.trim().split_once(':').expect("user:password");
        let answer = self
            .client
            .post(format!("http://{}/?database=throughline", self.public))
            .basic_auth(user, Some(password))
            .body(sql.to_owned())
            .send()
            .and_then(|answer| answer.text())
            .expect("an answer");
        answer.trim().parse().unwrap_or_else(|_| panic!("{sql}: {answer}"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu_s(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process that runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
    ticks as f64 / 100.0
}

/// Answers every gRPC call at once, in this process.
fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener for tokio");
    let address = listener.local_addr().expect("its address");
    let answer =
        |_: axum::body::Bytes| async { [("content-type", "application/grpc"), ("grpc-status", "0")] };
    let app = axum::Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::disable());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build();
        runtime.expect("a runtime").block_on(async {
            axum_server::from_tcp(listener)
                .expect("a server")
                .serve(app.into_make_service())
                .await
                .expect("serve");
        });
    });
    address
}

/// Sends the lines of requests; how many, and the rate if one is asked for.
fn feed(service: &Service, mix: &Mix, requests: std::ops::Range<u64>, events_per_s: Option<u64>) -> u64 {
    let post = |path: &str, lines: &mut Vec<String>| {
        let body = zstd::bulk::compress(lines.concat().as_bytes(), 1).expect("zstd");
        let url = format!("http://{}{path}", service.http);
        let answer = service.client.post(url).header("content-encoding", "zstd").body(body).send();
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.text());
        std::mem::take(lines).len() as u64
    };
    let begun = Instant::now();
    let (mut edge, mut mesh, mut sent) = (Vec::new(), Vec::new(), 0);
    for n in requests {
        let request = mix.request(n);
        for hop in &request.hops {
            match hop.hop {
                Hop::Edge | Hop::Shield => edge.push(fastly::vcl_line(&request, hop) + "\n"),
                _ => mesh.push(istio::json_line_with_ids(&request, hop) + "\n"),
            }
        }
        let full = if events_per_s.is_some() { LINES_PER_BODY / 10 } else { LINES_PER_BODY };
        if edge.len() >= full {
            sent += post("/v1/fastly", &mut edge);
        }
        if mesh.len() >= full {
            sent += post("/v1/envoy", &mut mesh);
        }
        if let Some(rate) = events_per_s {
            let due = (sent + (edge.len() + mesh.len()) as u64) as f64 / rate as f64;
            std::thread::sleep(Duration::from_secs_f64((due - begun.elapsed().as_secs_f64()).max(0.0)));
        }
    }
    sent + post("/v1/fastly", &mut edge) + post("/v1/envoy", &mut mesh)
}

fn export_to(address: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("THROUGHLINE_EXPORT_MODE", "all".to_owned()),
        ("THROUGHLINE_EXPORT_ENDPOINT", format!("http://{address}")),
    ]
}

fn main() {
    let requests = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(REQUESTS);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let mix = Mix::new(1).starting(now.as_millis() as u64, 75);
    let directory = tempfile::tempdir().expect("a directory");
    let backlog = fill(directory.path(), &mix, requests);
    catch_up(directory.path(), requests, backlog);
    latency(&mix, requests);
}

/// Ships a backlog with and without `recent`; how many events it holds.
fn fill(directory: &Path, mix: &Mix, requests: u64) -> u64 {
    let nobody: SocketAddr = "127.0.0.1:9".parse().expect("the discard port");
    let plain = tempfile::tempdir().expect("a directory");
    let mut per_event = Vec::new();
    let mut events = 0;
    for (name, directory, configuration) in
        [("without", plain.path(), Vec::new()), ("with", directory, export_to(nobody))]
    {
        let service = Service::start(directory, &configuration);
        // Correlation that waits for a dead receiver reads a little; what it costs is counted with shipping.
        let before = service.cpu_s();
        events = feed(&service, mix, 0..requests, None);
        service.wait("all is shipped", |it| it.metric("throughline_shipped_events_total") >= events as f64);
        let spent: Vec<f64> = service.cpu_s().iter().zip(before).map(|(now, before)| now - before).collect();
        println!(
            "accepting and shipping {name} recent: CPU us/event {:.2} service, {:.2} engine",
            spent[0] * 1e6 / events as f64,
            spent[1] * 1e6 / events as f64
        );
        per_event.push(spent[0] + spent[1]);
        if name == "with" {
            let bytes = service.asked(
                directory,
                "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'throughline' AND table = 'recent' FORMAT TSV",
            );
            println!("recent: {:.1} bytes an event on disk", bytes / events as f64);
        }
    }
    println!(
        "recent adds {:.2} us/event, {:.1} % (what correlation read meanwhile included)",
        (per_event[1] - per_event[0]) * 1e6 / events as f64,
        (per_event[1] / per_event[0] - 1.0) * 100.0
    );
    events
}

/// Works the backlog off: assembling alone, then with export, packed and not.
fn catch_up(directory: &Path, requests: u64, events: u64) {
    let sink = sink();
    let copy = |name: &str| {
        let to = directory.parent().expect("a parent").join(format!("{name}-{}", std::process::id()));
        let done = Command::new("cp").arg("-a").arg(directory).arg(&to).status().expect("cp");
        assert!(done.success());
        to
    };
    let mut none = export_to(sink);
    none.push(("THROUGHLINE_EXPORT_COMPRESSION", "none".to_owned()));
    for (name, configuration) in [
        ("assembling alone", vec![("THROUGHLINE_CORRELATE_MODE", "on".to_owned())]),
        ("with export, gzip", export_to(sink)),
        ("with export, unpacked", none),
    ] {
        let at = copy(&name.replace([' ', ','], ""));
        let service = Service::start(&at, &configuration);
        let before = service.cpu_s();
        let begun = Instant::now();
        let done = |it: &Service| {
            it.metric("throughline_settled_requests_total") >= requests as f64
                && (name == "assembling alone"
                    || it.metric("throughline_exported_spans_total") >= events as f64)
        };
        service.wait("the backlog is worked off", done);
        let (took, now) = (begun.elapsed().as_secs_f64(), service.cpu_s());
        let [own, engine] = [now[0] - before[0], now[1] - before[1]];
        println!(
            "{name}: {:.0} events/s; CPU us/event {:.2} service, {:.2} engine; {:.0} spans per CPU-second of the service; peak {} MiB",
            events as f64 / took,
            own * 1e6 / events as f64,
            engine * 1e6 / events as f64,
            events as f64 / own,
            peak_mib(service.child.id())
        );
        drop(service);
        std::fs::remove_dir_all(&at).expect("remove the copy");
    }
}

fn peak_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("the line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") / 1024
}

/// Steady traffic with the default window: how long after the last record's shipping a request is at the receiver.
fn latency(mix: &Mix, after: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let service = Service::start(directory.path(), &export_to(sink()));
    let requests = LATENCY_EVENTS_PER_S * LATENCY_TIME.as_secs() / 6;
    let sent = feed(&service, mix, after..after + requests, Some(LATENCY_EVENTS_PER_S));
    service.wait("all is exported", |it| it.metric("throughline_exported_spans_total") >= sent as f64);
    let text = service.get("/metrics");
    println!("from visible to exported at {LATENCY_EVENTS_PER_S} events/s, window 15 s, share of requests:");
    let total = service.metric("throughline_export_age_seconds_count");
    for line in text.lines().filter(|line| line.starts_with("throughline_export_age_seconds_bucket")) {
        let bound = line.split('"').nth(1).unwrap_or_default();
        let count: f64 = line.rsplit(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        println!("  within {bound:>6} s: {:.2} %", count * 100.0 / total);
    }
}
