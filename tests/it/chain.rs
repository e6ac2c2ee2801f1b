//! A chain of real Envoys as Istio shapes it: edge, gateway, sidecar a, app a, sidecar a again, sidecar b, app b.
//!
//! The answer of the query API is held against who really called whom. The test knows that from a header of its own, which
//! it lets every hop log and which says nothing to the product; with tracing on, the spans that Envoy's own tracer exports
//! must say the same before they are believed. The edge is the test: one line a request, of our VCL format in one round
//! and of our edge service's, which names its own span, in the next.
//!
//! A link that the product calls certain must be right. What it calls likely or ambiguous is counted and printed.
#![allow(clippy::print_stdout, reason = "the counts are what the test is for")]

mod apps;
mod bootstrap;
mod check;
mod mesh;
mod spans;
mod truth;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use chain::get;
use chain::parts::{GATEWAY, Pod};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::app::{Options, Service, eventually};
use apps::Apps;
use check::{Check, Tally};
use mesh::{Files, Mesh, Place, Setting};
use spans::Tracer;
use truth::{SCENARIOS, Scenario};

/// How often each scenario is sent: once with each kind of edge. A soak of 20 rounds by 16 clients tells no more of links.
const ROUNDS: usize = 2;
/// Clients side by side: enough for requests to overlap at every hop.
const CLIENTS: usize = 4;
const HOST: &str = "shop.example.com";

/// A request that was sent.
struct Sent {
    scenario: &'static Scenario,
    /// The edge's call, by the test's own header.
    call: String,
    correlation: String,
    trace: String,
    /// The edge's own span id, the parent in the `traceparent` that it sent.
    span: String,
    /// Whether the edge's line names that span as its own.
    names_span: bool,
    /// What the edge logs of it.
    line: String,
}

#[test]
fn links_agree_with_the_spans_of_envoys_tracer() {
    run("traced, span ids logged", true, Files::JsonWithSpanIds).must_hold(&["certain"]);
}

#[test]
fn links_agree_with_the_spans_of_envoys_tracer_that_are_not_logged() {
    run("traced, span ids not logged", true, Files::TextAtA).must_hold(&["certain"]);
}

#[test]
fn links_are_the_true_chain_where_nothing_is_traced() {
    run("not traced", false, Files::TextAtA).must_hold(&["certain", "likely"]);
}

fn run(title: &str, is_traced: bool, files: Files) -> Tally {
    let begin = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let service = Service::with(Options { config: sources(directory.path(), files), ..Default::default() });
    let runtime = Runtime::new().unwrap();
    let apps = Apps::start(&runtime);
    let tracer = is_traced.then(|| Tracer::start(&runtime));
    let setting = Setting { sink: service.grpc, tracer: tracer.as_ref().map(|it| it.address), files };
    let mesh = Mesh::start(&setting, &apps, directory.path());

    let sent = send_all(mesh.gateway);
    let lines: Vec<&str> = sent.iter().map(|sent| sent.line.as_str()).collect();
    service.accept("/v1/fastly", lines.join("\n"));
    let places: Vec<Place> =
        sent.iter().flat_map(|sent| sent.scenario.hops(&sent.call)).map(|(hop, _)| hop.place).collect();
    let records = places.iter().map(|&place| 1 + u64::from(check::is_in_file(place, files))).sum();
    service.wait_stored(records);
    if let Some(tracer) = &tracer {
        let traced = places.iter().filter(|&&place| place != Place::Edge).count();
        eventually(&format!("Envoy has exported the spans of {traced} hops"), || {
            (tracer.hops() == traced).then_some(())
        });
    }

    let check = Check { service: &service, mesh: &mesh, tracer: tracer.as_ref(), files };
    let answers = side_by_side(sent.len(), |at| check.ask(&sent[at], &apps));
    let mut tally = Tally::default();
    for (sent, answer) in sent.iter().zip(&answers) {
        check.request(sent, answer, &mut tally);
    }
    println!("{title}: {} requests, {records} records, {:?}\n{tally}", sent.len(), begin.elapsed());
    runtime.shutdown_background();
    tally
}

/// The files that the service follows, each with the pod that it knows of it.
fn sources(directory: &std::path::Path, files: Files) -> String {
    let pods = match files {
        Files::TextAtA => vec![(mesh::A, "sidecar")],
        Files::JsonWithSpanIds => {
            vec![(GATEWAY, "gateway"), (mesh::A, "sidecar"), (mesh::B, "sidecar")]
        }
    };
    let source = |(pod, hop): &(Pod, &str)| {
        let path = directory.join(format!("{}.log", pod.workload));
        format!(
            "[[source]]\nname = '{0}'\nkind = 'file'\npaths = ['{1}']\nhop = '{hop}'\npod = '{0}'\n",
            pod.name,
            path.display()
        )
    };
    pods.iter().map(source).collect()
}

/// Every scenario some times over.
fn send_all(gateway: SocketAddr) -> Vec<Sent> {
    side_by_side(ROUNDS * SCENARIOS.len(), |number| {
        let (round, at) = (number / SCENARIOS.len(), number % SCENARIOS.len());
        // To and fro, so that no scenario always has the same neighbours.
        let at = if round % 2 == 0 { at } else { SCENARIOS.len() - 1 - at };
        send(gateway, &SCENARIOS[at], number, round % 2 == 1)
    })
}

/// Does something for each number below `count`, by several clients at once; the results in the order of the numbers.
fn side_by_side<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let client = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        numbers.take_while(|&number| number < count).map(|number| (number, work(number))).collect::<Vec<_>>()
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// One request as our edge sends it on, and the line that the edge logs.
fn send(gateway: SocketAddr, scenario: &'static Scenario, number: usize, names_span: bool) -> Sent {
    let correlation = format!("0192f0c4-8a4e-7cc3-98c4-{number:012x}");
    let (trace, span) = (format!("4bf92f3577b34da6a3ce929d{number:08x}"), format!("00f067aa{number:08x}"));
    let call = number.to_string();
    let client = format!("203.0.113.{}", number % 250 + 1);
    let traceparent = format!("00-{trace}-{span}-01");
    let headers = [
        ("host", HOST),
        ("x-correlation-id", &correlation),
        ("traceparent", &traceparent),
        ("x-forwarded-for", &client),
        ("user-agent", "probe/1.0"),
        (mesh::CALL_HEADER, &call),
    ];
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    let begin = Instant::now();
    let answer = get(gateway, scenario.path, &headers);
    let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
    let (start_us, elapsed_us) = (unix.as_micros() as u64, begin.elapsed().as_micros() as u64);
    let (path, status, size) = (scenario.path, answer.status, answer.body.len());
    assert_eq!(status, scenario.status, "{}: {}", scenario.name, String::from_utf8_lossy(&answer.body));
    let line = if names_span {
        json!({ "v": 1, "src": "throughline-edge", "ts_us": start_us, "correlation_id": correlation,
            "traceparent": traceparent, "service_id": "SVC", "pop": "FRA", "backend": "mesh", "method": "GET",
            "host": HOST, "url": path, "status": status, "client_ip": client, "response_bytes": size,
            "verdict": { "outcome": "allow" }, "timings": { "duration_us": elapsed_us } })
    } else {
        json!({ "v": 1, "src": "fastly-vcl", "ts_us": start_us, "elapsed_us": elapsed_us,
            "correlation_id": correlation, "traceparent": traceparent, "service_id": "SVC", "edge": true,
            "visits": 0, "restarts": 0, "to_shield": false, "method": "GET", "host": HOST, "url": path,
            "status": status, "state": "PASS", "pop": "FRA", "server": "cache-fra-etou8220160-FRA",
            "backend": "mesh", "client_ip": client, "resp_bytes": size, "completed": true })
    };
    Sent { scenario, call, correlation, trace, span, names_span, line: line.to_string() }
}
