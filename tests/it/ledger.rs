//! The books balance: whatever came in, over whichever transport and through whichever fault, the ledger says what became
//! of it, to the record, and each tenant sees its own.

mod damaged;
mod reported;

use std::io::Write as _;

use serde_json::Value;

use crate::app::{Options, Service, data, eventually};
use crate::hostile::wire;

const CONFIG: &str = "
[limits]
body = '2MiB'
in_flight = '1MiB'
[[source]]
name = 'cdn-a'
kind = 'fastly'
tenant = 'a'
[[source]]
name = 'cdn-b'
kind = 'fastly'
tenant = 'b'
[[source]]
name = 'mesh-a'
kind = 'envoy'
tenant = 'a'
[[source]]
name = 'otlp-b'
kind = 'otlp'
tenant = 'b'
[[source]]
name = 'als-a'
kind = 'als'
tenant = 'a'
[[reader]]
name = 'reader-a'
tenant = 'a'
token = 'token-of-reader-a'
[[reader]]
name = 'reader-b'
tenant = 'b'
token = 'token-of-reader-b'
";

/// What a tenant's reader is answered; null while nobody answers.
fn ask(service: &Service, tenant: &str, path: &str) -> Value {
    let client = reqwest::blocking::Client::new();
    let token = format!("token-of-reader-{tenant}");
    let answer = client.get(service.url() + path).bearer_auth(token).send();
    answer
        .ok()
        .filter(|answer| answer.status() == 200)
        .and_then(|answer| answer.json().ok())
        .unwrap_or_default()
}

fn line(n: u64) -> String {
    format!(
        "{{\"ts_us\":{},\"correlation_id\":\"{n:032x}\",\"method\":\"GET\",\"host\":\"h\",\"url\":\"/{n}\",\"status\":200,\"pop\":\"FRA\",\"edge\":true,\"visits\":0,\"elapsed_us\":5,\"src\":\"fastly-vcl\",\"v\":1}}\n",
        1_795_290_064_000_000 + n
    )
}

fn sum<'a>(ledger: &'a Value, source: &str) -> &'a Value {
    let sums = ledger["sums"].as_array();
    sums.into_iter().flatten().find(|line| line["source"] == source).unwrap_or(&Value::Null)
}

/// A client that is answered before it has sent all may see its connection break instead. The books know either way.
fn is_answered_early(status: u16, expected: u16) -> bool {
    status == expected || status == 0
}

/// What the sender was told.
#[derive(Default)]
struct Told {
    deliveries: u64,
    accepted: u64,
    rejected: u64,
}

impl Told {
    fn hear(&mut self, receipt: &Value) {
        self.deliveries += 1;
        self.accepted += receipt["accepted"].as_u64().unwrap();
        self.rejected += receipt["rejected"].as_u64().unwrap();
    }

    fn check(&self, ledger: &Value, source: &str) {
        let line = sum(ledger, source);
        let of = |name: &str| line[name].as_u64().unwrap_or_default();
        let told = [self.deliveries, self.accepted, self.rejected, self.accepted + self.rejected];
        let counted = ["deliveries", "accepted", "rejected", "received"].map(of);
        assert_eq!(counted, told, "{source}: {line}");
        assert_eq!([of("stored_events"), of("stored_rejects")], [self.accepted, self.rejected], "{line}");
        assert_eq!(line["missing"], 0, "{line}");
    }
}

#[test]
fn the_books_balance_to_the_record_through_kills_over_every_transport() {
    let mut service = Service::with(Options { config: CONFIG.to_owned(), ..Options::default() });
    let (mut cdn_a, mut cdn_b, mut mesh, mut next) = (Told::default(), Told::default(), Told::default(), 1);
    let gateway = data("envoy/file/gw.json.log");
    for round in 0..3 {
        for _ in 0..5 {
            let good: String = (next..next + 20).map(line).collect();
            next += 20;
            // The same lines twice, by a sender that did not hear the answer; and a line that nobody can read.
            for body in [good.clone(), good.clone() + "{\"broken\": \n"] {
                cdn_a.hear(&service.accept("/v1/fastly/cdn-a", body));
            }
            cdn_b.hear(&service.accept("/v1/fastly/cdn-b", good));
        }
        mesh.hear(&service.accept("/v1/envoy/mesh-a", gateway.clone()));
        std::thread::sleep(std::time::Duration::from_millis(700 * round));
        service.kill();
        service.restart();
    }
    let mut otlp = Told { deliveries: 1, ..Told::default() };
    let protobuf = [("content-type", "application/x-protobuf")];
    let frame = data("envoy/otlp/bad-utf8.grpc.frame71.bin");
    assert_eq!(service.post("/v1/logs", &protobuf, frame).0, 200);
    let streams = [
        "gw.http_envoy_accesslog.stream0",
        "a.http_envoy_accesslog.stream2",
        "b.http_envoy_accesslog.stream1",
    ];
    let als = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/envoy/als/");
    let files = streams.map(|name| format!("{als}{name}.binpb"));
    let sent = service.cli(&["import", "--allow-rejects", &files[0], &files[1], &files[2]]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    // More than may be in flight beside another's, to be sent again; and more than is ever read.
    let mut other = wire::connect(service.http, std::time::Duration::from_secs(10));
    let head = "POST /v1/envoy/mesh-a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 930000\r\n\r\n";
    other.write_all(head.as_bytes()).unwrap();
    other.write_all(&vec![b'x'; 920_000]).unwrap();
    // All of it is read by then.
    std::thread::sleep(std::time::Duration::from_millis(500));
    for _ in 0..3 {
        let (status, _) = service.post("/v1/fastly/cdn-b", &[], vec![b'x'; 500 << 10]);
        assert!(is_answered_early(status, 503), "{status}");
    }
    drop(other);
    let (status, _) = service.post("/v1/envoy/mesh-a", &[], vec![b'x'; 3 << 20]);
    assert!(is_answered_early(status, 413), "{status}");
    // What was refused is in memory for some seconds; a drain writes it.
    assert!(service.terminate().success());
    service.restart();

    let (a, b) = eventually("all of it is in the ledger", || {
        let (a, b) =
            (ask(&service, "a", "/api/v1/ledger?since=2h"), ask(&service, "b", "/api/v1/ledger?since=2h"));
        let is_there = sum(&a, "cdn-a")["deliveries"] == cdn_a.deliveries
            && sum(&a, "als-a")["deliveries"].as_u64() > Some(0)
            && sum(&b, "cdn-b")["refused"]["busy"] == 3;
        is_there.then_some((a, b))
    });
    otlp.accepted = sum(&b, "otlp-b")["accepted"].as_u64().unwrap();
    assert!(otlp.accepted > 3, "{b}");
    let als = sum(&a, "als-a");
    assert_eq!([&als["accepted"], &als["stored_events"], &als["missing"]], [152, 152, 0], "{als}");
    cdn_a.check(&a, "cdn-a");
    mesh.check(&a, "mesh-a");
    cdn_b.check(&b, "cdn-b");
    otlp.check(&b, "otlp-b");
    assert_eq!((&a["balanced"], &b["balanced"], &a["compared"]), (&true.into(), &true.into(), &true.into()));
    assert_eq!(sum(&a, "cdn-a")["duplicated"], 300, "each of 300 came twice: {a}");
    assert_eq!(sum(&b, "cdn-b")["duplicated"], 0, "the other tenant's are its own: {b}");
    // A record without any id is keyed by its place in the delivery: it is never taken for another.
    let with_id =
        String::from_utf8_lossy(&gateway).lines().filter(|line| line.contains("\"request_id\":\"")).count();
    assert!(with_id > 50);
    assert_eq!(sum(&a, "mesh-a")["duplicated"], 2 * with_id, "{a}");
    assert_eq!(sum(&a, "mesh-a")["unread"]["too_large"], 1, "{a}");
    assert_eq!(sum(&a, "cdn-b"), &Value::Null, "a tenant sees its own: {a}");
    let names = |ledger: &Value| ledger["sources"].as_array().unwrap().len();
    assert_eq!((names(&a), names(&b)), (3, 2));
    let lines = a["lines"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["at"].as_str().unwrap().ends_with(":00.000000000Z")), "{a}");

    for path in ["/v1/fastly/cdn-b", "/v1/fastly/cdn-a"] {
        service.accept(path, line(next));
    }
    let stored = "throughline_stored_records_total{tenant=\"b\",source=\"cdn-b\"} 1";
    eventually("what is stored is counted by source", || {
        service.get("/metrics").1.contains(stored).then_some(())
    });
    assert!(
        service.get("/metrics").1.contains("throughline_payload_bytes_total{tenant=\"a\",source=\"cdn-a\"}")
    );
    assert_eq!(service.get("/api/v1/ledger").0, 401, "books are for readers");
}

fn doctor(service: &Service, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["doctor", "--json", "--token", "token-of-reader-a"];
    arguments.extend(more);
    let output = service.cli(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), report)
}

#[test]
fn the_doctor_finds_what_is_wrong_and_nothing_where_all_is_well() {
    let config = CONFIG.replace("[limits]", "[limits]\ngrpc_message = '32KiB'");
    let mut service = Service::with(Options { config, ..Options::default() });
    service.accept("/v1/fastly/cdn-a", (1..=200).map(line).collect::<String>());
    eventually("what came is stored", || {
        (sum(&ask(&service, "a", "/api/v1/ledger"), "cdn-a")["stored_events"] == 200).then_some(())
    });
    let (code, report) = doctor(&service, &[]);
    assert_eq!((code, &report["well"]), (0, &true.into()), "{report}");
    // Two inputs never sent, which may be meant.
    let levels: Vec<_> = report["findings"].as_array().unwrap().iter().map(|one| &one["level"]).collect();
    assert_eq!(levels.iter().filter(|level| **level == "note").count(), 2, "{report}");

    let broken = "{\"broken\": \n".repeat(50);
    service.accept("/v1/fastly/cdn-a", broken);
    let (status, _) = service.post("/v1/fastly/cdn-a", &[], vec![b'x'; 3 << 20]);
    assert!(is_answered_early(status, 413), "{status}");
    // Envoy's first message of a stream says who it is, in some 60 KiB.
    let stream =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/envoy/als/gw.http_envoy_accesslog.stream0.binpb");
    assert_ne!(service.cli(&["import", stream]).status.code(), Some(0));
    let text = eventually("the books have both", || {
        let (code, report) = doctor(&service, &["--since", "30m"]);
        assert!(code < 2, "{report}");
        let text = report.to_string();
        (text.contains("50 of 250 records (20.0%) could not be read")
            && text.contains("cdn-a: 1 deliveries were not read (too_large)")
            && text.contains("als-a: 1 deliveries were not read (too_large)"))
        .then_some(text)
    });
    assert!(text.contains("limits.body") && text.contains("50 truncated"), "{text}");
    let shown = service.cli(&["doctor", "--token", "token-of-reader-a"]);
    assert_eq!(shown.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("PROBLEM  sources   cdn-a: 50 of 250") && shown.contains("3 problems"), "{shown}");

    assert_eq!(service.cli(&["doctor", "--token", "another-token-entirely"]).status.code(), Some(2));
    service.terminate();
    assert_eq!(service.cli(&["doctor"]).status.code(), Some(2), "nobody is there to be asked");
}
