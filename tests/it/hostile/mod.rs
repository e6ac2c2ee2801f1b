//! Overload and hostility, in short forms: what must hold is that memory stays flat, that neighbours are served, and
//! that what was acknowledged is stored. The long forms, with their figures, are `cargo run --example hostile`.

mod bombs;
mod content;
mod grpc;
mod http1;
mod overload;
mod queries;
mod slow;
pub(crate) mod wire;

use std::time::{Duration, Instant};

use crate::app::{Options, Service};

/// A line of Envoy that is an event.
const LINE: &str = r#"{"start_time":"2026-11-21T20:00:00.000Z","method":"GET","path":"/item","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","bytes_received":0,"bytes_sent":10,"duration":5,"x_forwarded_for":"203.0.113.9","user_agent":"curl","request_id":"8e3bd1f2-94f1-9e37-a6a1-7d1f0b6f8a11","authority":"shop.example.com","upstream_host":"10.0.0.1:8080","upstream_cluster":"inbound|8080||"}"#;

/// A service with these limits.
fn limited(limits: &str) -> Service {
    Service::with(Options { config: format!("[limits]\n{limits}"), ..Options::default() })
}

/// Resident memory of the service in KiB: now, and the most it ever was.
fn memory_kib(service: &Service) -> (u64, u64) {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("the process runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a field of the kernel");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Fails if the service ever took so many MiB more than before.
fn assert_grew_at_most(service: &Service, before_kib: u64, mib: u64) {
    let (now, most) = memory_kib(service);
    eprintln!("memory: {} MiB before, at most {}, {} now", before_kib >> 10, most >> 10, now >> 10);
    assert!(most <= before_kib + (mib << 10), "from {before_kib} KiB to {most} KiB");
}

/// A well-behaved sender's delivery is taken; how long it took.
fn neighbour_is_served(service: &Service) -> Duration {
    let begun = Instant::now();
    let (status, answer) = service.post("/v1/envoy", &[], format!("{LINE}\n"));
    assert_eq!(status, 200, "{answer}");
    begun.elapsed()
}
