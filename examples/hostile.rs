//! The long forms of `tests/it/hostile`, with figures: `cargo run --release --example hostile -- [BINARY] [SCENARIO…]`.
//!
//! Starts a service of its own (default: `target/release/throughline`) for each scenario on loopback and prints rows of
//! a table. Latencies are those of one well-behaved sender, one delivery at a time, in the same run without and with the
//! attack.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    reason = "a measuring program: it ends where something is wrong, and prints what it found"
)]

#[path = "../tests/it/hostile/wire.rs"]
mod wire;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LINE: &str = r#"{"start_time":"2026-11-21T20:00:00.000Z","method":"GET","path":"/item","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","bytes_received":0,"bytes_sent":10,"duration":5,"x_forwarded_for":"203.0.113.9","user_agent":"curl","request_id":"8e3bd1f2-94f1-9e37-a6a1-7d1f0b6f8a11","authority":"shop.example.com","upstream_host":"10.0.0.1:8080","upstream_cluster":"inbound|8080||"}"#;

/// Idle connections, half of them on each port, beside which a well-behaved sender is measured.
const IDLE: usize = 10_000;

struct Service {
    child: Child,
    http: SocketAddr,
    grpc: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    fn start(binary: &str, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("t.toml");
        let ports = "engine.public_listen = ''\nhttp.listen = '127.0.0.1:0'\ngrpc.listen = '127.0.0.1:0'\n";
        std::fs::write(&file, format!("{ports}{config}")).unwrap();
        let mut child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the service");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut address = |what: &str| -> SocketAddr {
            let line = lines.find(|line| line.contains(what)).expect("the service says where it listens");
            line.split_once("://").unwrap().1.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (http, grpc) = (address("HTTP on "), address("gRPC on "));
        std::thread::spawn(move || lines.count());
        let service = Self { child, http, grpc, _directory: directory };
        while service.get("/readyz").0 != 200 {
            std::thread::sleep(Duration::from_millis(100));
        }
        service
    }

    fn get(&self, path: &str) -> (u16, String) {
        match reqwest::blocking::get(format!("http://{}{path}", self.http)) {
            Ok(answer) => (answer.status().as_u16(), answer.text().unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Milliseconds of each of so many deliveries in a row, sorted.
    fn latencies(&self, client: &reqwest::blocking::Client, count: usize) -> Vec<f64> {
        let mut all: Vec<f64> = (0..count)
            .map(|_| {
                let begun = Instant::now();
                let answer = client.post(format!("http://{}/v1/envoy", self.http)).body(LINE).send().unwrap();
                assert_eq!(answer.status(), 200, "a well-behaved sender is refused");
                std::thread::sleep(Duration::from_millis(20));
                begun.elapsed().as_secs_f64() * 1000.0 - 20.0
            })
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn stored(&self) -> u64 {
        let (_, body) = self.get("/api/v1/sources");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let sources = answer["sources"].as_array().cloned().unwrap_or_default();
        sources.iter().filter_map(|source| source["events"].as_u64()).sum()
    }
}

fn told(latencies: &[f64]) -> String {
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    format!("{:.1} / {:.1} / {:.1} ms", at(0.5), at(0.99), at(1.0))
}

/// Ten thousand idle connections, half of them of HTTP/2, half of the others after one request; then a thousand that
/// trickle headers and a thousand that trickle a body.
fn idle(binary: &str) {
    let service = Service::start(binary, "limits.connections = 12000\n");
    let client = reqwest::blocking::Client::new();
    let alone = service.latencies(&client, 200);
    let before = service.rss_kib();
    let mut idle = Vec::new();
    for nth in 0..IDLE {
        let mut stream =
            wire::connect(if nth % 2 == 0 { service.grpc } else { service.http }, Duration::from_secs(5));
        match nth % 4 {
            0 | 2 => stream.write_all(wire::PREFACE).unwrap(),
            1 => stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap(),
            _ => {}
        }
        idle.push(stream);
    }
    let beside = service.latencies(&client, 200);
    let each = (service.rss_kib() - before) as f64 / IDLE as f64;
    println!(
        "| {IDLE} idle connections | {:.1} KiB each ({} to {} MiB) | alone {} | beside them {} |",
        each,
        before >> 10,
        service.rss_kib() >> 10,
        told(&alone),
        told(&beside)
    );
    let slow = |head: &'static str, what: &str| {
        let (before, stop) = (service.rss_kib(), AtomicBool::new(false));
        let cut = AtomicU64::new(0);
        let beside = std::thread::scope(|scope| {
            scope.spawn(|| {
                let open = || wire::connect(service.http, Duration::from_secs(5));
                let mut streams: Vec<(TcpStream, usize)> = (0..1_000).map(|_| (open(), 0)).collect();
                while !stop.load(Ordering::Relaxed) {
                    for (stream, sent) in &mut streams {
                        let byte = head.as_bytes().get(*sent).copied().unwrap_or(b'x');
                        *sent += 1;
                        if stream.write_all(&[byte]).is_err() {
                            cut.fetch_add(1, Ordering::Relaxed);
                            (*stream, *sent) = (open(), 0);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(if head.len() < 80 { 300 } else { 10 }));
                }
            });
            let begun = Instant::now();
            let mut all = Vec::new();
            while begun.elapsed() < Duration::from_secs(45) {
                all.extend(service.latencies(&client, 50));
            }
            stop.store(true, Ordering::Relaxed);
            all.sort_by(f64::total_cmp);
            all
        });
        println!(
            "| 1,000 {what}, 45 s, beside the idle ones | {} to {} MiB, {} cut off | | beside them {} |",
            before >> 10,
            service.rss_kib() >> 10,
            cut.load(Ordering::Relaxed),
            told(&beside)
        );
    };
    slow("POST /v1/envoy HTTP/1.1\r\nhost: localhost\r\nx-slow: aaaaaaaaaaaaaaaaa", "trickled heads");
    slow(
        "POST /v1/envoy HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\nuser-agent: slow\r\n\r\n",
        "trickled bodies",
    );
    drop(idle);
}

/// More connections than the port has places for.
fn crowd(binary: &str) {
    let service = Service::start(binary, "limits.connections = 2000\n");
    let open = |_| wire::connect(service.http, Duration::from_millis(1));
    let crowd: Vec<TcpStream> = (0..8_000).map(open).collect();
    let begun = Instant::now();
    let all: Vec<f64> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            let answer = reqwest::blocking::Client::new()
                .post(format!("http://{}/v1/envoy", service.http))
                .body(LINE)
                .send();
            assert_eq!(answer.expect("a new connection").status(), 200);
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    let mut all = all;
    all.sort_by(f64::total_cmp);
    println!(
        "| {} connections to a port for 2,000 | 200 new senders, a connection each, in {:.1?} | | {} |",
        crowd.len(),
        begun.elapsed(),
        told(&all)
    );
}

/// Lines over HTTP far beyond what the spool may hold, for twenty seconds.
fn overload(binary: &str) {
    let service = Service::start(binary, "limits.in_flight = '16MiB'\nspool.max_bytes = '96MiB'\n");
    let client = reqwest::blocking::Client::new();
    let alone = service.latencies(&client, 100);
    let (before, until) = (service.rss_kib(), Instant::now() + Duration::from_secs(20));
    let body = format!("{LINE}\n").repeat(2_000);
    let [offered, taken] = [(); 2].map(|()| AtomicU64::new(0));
    let most = std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let client = reqwest::blocking::Client::new();
                while Instant::now() < until {
                    offered.fetch_add(2_000, Ordering::Relaxed);
                    let answer =
                        client.post(format!("http://{}/v1/envoy", service.http)).body(body.clone()).send();
                    match answer.map(|answer| {
                        (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
                    }) {
                        Ok((200, _)) => drop(taken.fetch_add(2_000, Ordering::Relaxed)),
                        Ok((503, true)) | Err(_) => {}
                        Ok(other) => panic!("{other:?}"),
                    }
                }
            });
        }
        let mut each_second = Vec::new();
        while Instant::now() < until {
            each_second.push(service.rss_kib() >> 10);
            std::thread::sleep(Duration::from_secs(1));
        }
        each_second
    });
    let ended = Instant::now();
    while service.get("/readyz").0 != 200
        || !client
            .post(format!("http://{}/v1/envoy", service.http))
            .body(LINE)
            .send()
            .is_ok_and(|answer| answer.status() == 200)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    let back = ended.elapsed();
    let (offered, taken) = (offered.into_inner(), taken.into_inner());
    while service.stored() < taken {
        assert!(ended.elapsed() < Duration::from_secs(600), "{} of {taken} are stored", service.stored());
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "| overload, 32 senders, 20 s: {offered} events offered, {taken} acknowledged and stored | {} MiB before; by seconds {most:?} | alone {} | taken and ready again after {back:.1?}, all stored after {:.1?} |",
        before >> 10,
        told(&alone),
        ended.elapsed()
    );
}

/// The largest bodies that the defaults let in.
fn bodies(binary: &str) {
    let service = Service::start(binary, "");
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(600)).build().unwrap();
    for (what, body) in [
        ("10 million lines of one byte (20 MB)", "x\n".repeat(10_000_000)),
        ("100 MB of good lines", format!("{LINE}\n").repeat(100_000_000 / (LINE.len() + 1))),
        ("100 MB without a line break", "x".repeat(100_000_000)),
    ] {
        let (before, begun, cpu) = (service.rss_kib(), Instant::now(), service.cpu_seconds());
        let post = client.post(format!("http://{}/v1/envoy", service.http)).body(body);
        let (answer, most) = std::thread::scope(|scope| {
            let sent = scope.spawn(move || {
                post.send().map(|answer| (answer.status().as_u16(), answer.text().unwrap_or_default()))
            });
            let mut most = 0;
            while !sent.is_finished() {
                most = most.max(service.rss_kib());
                std::thread::sleep(Duration::from_millis(50));
            }
            (sent.join().unwrap(), most)
        });
        let (status, text) = answer.expect("an answer");
        let shown: String = text.chars().take(120).collect();
        println!(
            "| {what} | {} to at most {} MiB | {:.1?}, {:.1} CPU-s | {status} {shown} |",
            before >> 10,
            most >> 10,
            begun.elapsed(),
            service.cpu_seconds() - cpu
        );
    }
}

/// Rapid reset (CVE-2023-44487) from eight clients that come again as often as they are thrown out, for thirty seconds.
fn resets(binary: &str) {
    let service = Service::start(binary, "");
    let client = reqwest::blocking::Client::new();
    let alone = service.latencies(&client, 200);
    let (before, cpu) = (service.rss_kib(), service.cpu_seconds());
    let call = wire::call(wire::OTLP);
    let flood: Vec<u8> = (0..5_000u32)
        .flat_map(|nth| {
            let cancel = wire::frame(wire::RST_STREAM, 0, 2 * nth + 1, &8u32.to_be_bytes());
            [wire::frame(wire::HEADERS, wire::END_HEADERS, 2 * nth + 1, &call), cancel].concat()
        })
        .collect();
    let (stop, connections) = (AtomicBool::new(false), AtomicU64::new(0));
    let beside = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = wire::connect(service.grpc, Duration::from_secs(1));
                    wire::pour(&mut stream, wire::PREFACE);
                    wire::pour(&mut stream, &flood);
                    connections.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let begun = Instant::now();
        let mut all = Vec::new();
        while begun.elapsed() < Duration::from_secs(30) {
            all.extend(service.latencies(&client, 50));
        }
        stop.store(true, Ordering::Relaxed);
        all.sort_by(f64::total_cmp);
        all
    });
    let spent = service.cpu_seconds() - cpu;
    std::thread::sleep(Duration::from_secs(2));
    let rest = service.cpu_seconds();
    std::thread::sleep(Duration::from_secs(5));
    println!(
        "| rapid reset, 8 clients, 30 s, {} connections ended | {} to {} MiB; {spent:.0} CPU-s in the attack, {:.2} cores after it | alone {} | beside it {} |",
        connections.into_inner(),
        before >> 10,
        service.rss_kib() >> 10,
        (service.cpu_seconds() - rest) / 5.0,
        told(&alone),
        told(&beside)
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().unwrap_or_else(|| "target/release/throughline".to_owned());
    let asked: Vec<String> = arguments.collect();
    let _ = rustls::crypto::ring::default_provider().install_default();
    type Scenario = fn(&str);
    let scenarios: [(&str, Scenario); 5] =
        [("idle", idle), ("crowd", crowd), ("overload", overload), ("bodies", bodies), ("resets", resets)];
    for (name, scenario) in scenarios {
        if asked.is_empty() || asked.iter().any(|one| one == name) {
            scenario(&binary);
        }
    }
}
