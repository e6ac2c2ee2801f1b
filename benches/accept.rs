//! The accept path end to end: zstd NDJSON over loopback HTTP into the real service, decoded, fsynced, answered; the
//! store is away, so nothing but accepting costs CPU.
//!
//! Prints lines per CPU-second of the service (user and system, from /proc), the floor in the same run (unpacking the
//! same bodies and parsing each line into nothing, one thread), and memory while 100,000 lines a second are offered.
//! Not part of the timed tests. `cargo bench --bench accept`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot run has failed, and it prints its figures"
)]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LINES_PER_BODY: usize = 1_000;
const BODIES: usize = 24;
/// Long enough that start-up and the last fsync weigh under a percent.
const FULL_LOAD: Duration = Duration::from_secs(15);
const PACED_LOAD: Duration = Duration::from_secs(15);
const PACED_LINES_PER_S: u64 = 100_000;
/// Fastly sends from many aggregators at once; more senders than cores keep the service fed.
const SENDERS: usize = 4;

struct Service {
    child: Child,
    http: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Service {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_throughline"))
            // Nobody listens on the discard port: the store is away for the whole run.
            .args([
                "serve",
                "--http",
                "127.0.0.1:0",
                "--grpc",
                "127.0.0.1:0",
                "--store",
                "http://127.0.0.1:9",
                "--data-dir",
            ])
            .arg(directory.path())
            .env("THROUGHLINE_SPOOL_MAX_BYTES", "40GiB")
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
        Self { child, http, _directory: directory }
    }

    /// CPU seconds of the service so far, user and system.
    fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        let ticks: u64 =
            fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
        ticks as f64 / 100.0
    }

    /// A line of /proc status in MiB.
    fn memory_mib(&self, what: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let line = status.lines().find(|line| line.starts_with(what)).expect("the line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() {
    let plain = bodies();
    let packed: Arc<Vec<Vec<u8>>> =
        Arc::new(plain.iter().map(|body| zstd::bulk::compress(body, 3).expect("zstd")).collect());
    let bytes: usize = plain.iter().map(Vec::len).sum();
    println!(
        "lines of {} B, bodies of {LINES_PER_BODY} lines, zstd {:.1} to 1",
        bytes / (BODIES * LINES_PER_BODY),
        bytes as f64 / packed.iter().map(Vec::len).sum::<usize>() as f64
    );
    let floor = floor(&packed);
    println!("floor: unpack and parse into nothing, one thread: {floor:.0} lines per CPU-second");

    let service = Service::start();
    send(&service, &packed, Duration::from_secs(2), None);
    let before = service.cpu_s();
    let lines = send(&service, &packed, FULL_LOAD, None);
    let per_cpu = lines as f64 / (service.cpu_s() - before);
    println!(
        "full load: {:.0} lines/s, {per_cpu:.0} lines per CPU-second of the service ({:.2} of the floor)",
        lines as f64 / FULL_LOAD.as_secs_f64(),
        per_cpu / floor
    );
    println!("full load: peak memory {:.0} MiB", service.memory_mib("VmHWM"));
    drop(service);

    let service = Service::start();
    for part in 1..=3 {
        let lines = send(&service, &packed, PACED_LOAD / 3, Some(PACED_LINES_PER_S));
        println!(
            "paced, part {part}: {:.0} lines/s, {:.0} MiB now, peak {:.0} MiB",
            lines as f64 / (PACED_LOAD / 3).as_secs_f64(),
            service.memory_mib("VmRSS"),
            service.memory_mib("VmHWM")
        );
    }
}

fn bodies() -> Vec<Vec<u8>> {
    let mix = testkit::Mix::new(1);
    let mut lines = mix.requests((BODIES * LINES_PER_BODY) as u64).flat_map(|request| {
        let edge = request.hops.iter().filter(|hop| hop.is_fastly());
        edge.map(|hop| testkit::fastly::vcl_line(&request, hop) + "\n").collect::<Vec<_>>()
    });
    (0..BODIES).map(|_| lines.by_ref().take(LINES_PER_BODY).collect::<String>().into_bytes()).collect()
}

/// Lines per CPU-second of what nobody can leave out: unpacking, and finding where each JSON line's values are.
fn floor(packed: &[Vec<u8>]) -> f64 {
    let begun = Instant::now();
    let mut lines = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        for body in packed {
            let plain = zstd::bulk::decompress(body, 64 << 20).expect("unpack");
            for line in plain.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                std::hint::black_box(serde_json::from_slice::<serde::de::IgnoredAny>(line).expect("JSON"));
                lines += 1;
            }
        }
    }
    f64::from(lines) / begun.elapsed().as_secs_f64()
}

/// Sends bodies for a while from several connections; the lines that were acknowledged.
fn send(service: &Service, packed: &Arc<Vec<Vec<u8>>>, time: Duration, lines_per_s: Option<u64>) -> u64 {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (packed, acknowledged) = (Arc::clone(packed), Arc::clone(&acknowledged));
            let url = format!("http://{}/v1/fastly", service.http);
            std::thread::spawn(move || {
                let _ = rustls::crypto::ring::default_provider().install_default();
                let client = reqwest::blocking::Client::new();
                let mut at = sender;
                while begun.elapsed() < time {
                    if let Some(rate) = lines_per_s {
                        let due = acknowledged.load(Ordering::Relaxed) as f64 / rate as f64;
                        std::thread::sleep(Duration::from_secs_f64(
                            (due - begun.elapsed().as_secs_f64()).max(0.0),
                        ));
                    }
                    let body = packed[at % packed.len()].clone();
                    at += 1;
                    let answer = client
                        .post(&url)
                        .header("content-encoding", "zstd")
                        .body(body)
                        .send()
                        .expect("an answer");
                    assert_eq!(answer.status(), 200, "{:?}", answer.text());
                    acknowledged.fetch_add(LINES_PER_BODY as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
    acknowledged.load(Ordering::Relaxed)
}
