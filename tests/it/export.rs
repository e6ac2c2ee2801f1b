//! Settled requests as traces at an OTLP receiver: what the API shows is what it gets, once, whatever goes wrong.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use event::Hop;
use testkit::{Mix, Request, Story, fastly, istio};
use tonic::{Code, Status};

use crate::app::{Options, Service, eventually};
use crate::receiver::{Behaviour, Receiver, Rotel, SpanIds};

const SETTLE: Duration = Duration::from_secs(2);

/// A service that exports to `endpoint`, with more lines for `[export]`.
fn exporting(endpoint: &str, more: &str) -> Service {
    Service::with(Options {
        config: format!(
            "[correlate]\nsettle = '{}s'\n[export]\nmode = 'all'\nendpoint = '{endpoint}'\n{more}\n",
            SETTLE.as_secs()
        ),
        ..Options::default()
    })
}

/// Requests of every story, that end now.
fn requests(seed: u64, count: u64) -> Vec<Request> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mix = Mix::new(seed).starting(now.as_millis() as u64 - 60_000, 1_000);
    (0..count).map(|n| mix.request(n)).collect()
}

/// Sends the lines of the hops that `wanted`; how many.
fn send(service: &Service, requests: &[Request], wanted: impl Fn(Hop) -> bool) -> u64 {
    let (mut edge, mut mesh) = (String::new(), String::new());
    for request in requests {
        for hop in request.hops.iter().filter(|hop| wanted(hop.hop)) {
            match hop.hop {
                Hop::Edge | Hop::Shield => edge += &(fastly::vcl_line(request, hop) + "\n"),
                _ => mesh += &(istio::json_line_with_ids(request, hop) + "\n"),
            }
        }
    }
    for (path, body) in [("/v1/fastly", &edge), ("/v1/envoy", &mesh)] {
        if !body.is_empty() {
            service.accept(path, body.clone());
        }
    }
    (edge.lines().count() + mesh.lines().count()) as u64
}

/// The spans of requests as the query API shows them, sorted.
fn shown(service: &Service, requests: &[Request]) -> Vec<SpanIds> {
    let mut spans = Vec::new();
    for request in requests {
        let answer = service.json(&format!("/api/v1/traces/{}", request.correlation_text()));
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        for span in answer["spans"].as_array().unwrap() {
            spans.push(SpanIds {
                trace: text(&answer["trace_id"]),
                span: text(&span["span_id"]),
                parent: text(&span["parent_span_id"]),
            });
        }
    }
    spans.sort();
    spans
}

/// A figure of `/metrics`; 0 where it is not there.
fn metric(service: &Service, name: &str) -> f64 {
    let (_, text) = service.get("/metrics");
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

fn wait_decided(service: &Service, decision: &str, count: usize) {
    let name = format!("throughline_requests_total{{decision=\"{decision}\"}}");
    eventually(&format!("{count} requests are {decision}"), || {
        (metric(service, &name) >= count as f64).then_some(())
    });
}

/// Long enough that anything that were still to come would have come.
fn let_settle() {
    std::thread::sleep(SETTLE + Duration::from_secs(3));
}

fn unique(spans: &[SpanIds]) -> BTreeSet<SpanIds> {
    spans.iter().cloned().collect()
}

#[test]
fn a_collector_gets_every_span_as_the_api_shows_it() {
    let directory = tempfile::tempdir().unwrap();
    let rotel = Rotel::start(directory.path());
    let mut expected = Vec::new();
    for (seed, endpoint, more) in [
        (1, format!("http://{}", rotel.grpc), ""),
        (2, format!("http://{}", rotel.http), "protocol = 'http/protobuf'"),
        (3, format!("http://{}/v1/traces", rotel.http), "protocol = 'http/protobuf'\ncompression = 'none'"),
    ] {
        let service = exporting(&endpoint, more);
        let requests = requests(seed, 60);
        let records = send(&service, &requests, |_| true);
        service.wait_stored(records);
        wait_decided(&service, "exported", requests.len());
        let spans = shown(&service, &requests);
        assert!(spans.len() > 200, "{} spans", spans.len());
        expected.extend(spans);
        assert_eq!(metric(&service, "throughline_exported_spans_total") as u64, records);
    }
    expected.sort();
    let found = eventually("the collector has printed all spans", || {
        Some(rotel.spans()).filter(|spans| spans.len() >= expected.len())
    });
    assert_eq!(found, expected);
}

#[test]
fn late_records_complete_the_trace_that_was_sent_and_redeliveries_add_nothing() {
    let (receiver, address) = Receiver::start();
    let service = exporting(&format!("http://{address}"), "headers = 'x-scope=shop'");
    let requests = requests(4, 30);
    // The edge's part settles alone, the mesh's comes late, and then everything once more.
    let edge = send(&service, &requests, |hop| matches!(hop, Hop::Edge | Hop::Shield));
    service.wait_stored(edge);
    wait_decided(&service, "exported", requests.len());
    let first = receiver.spans();
    assert_eq!(first.len() as u64, edge);
    let mesh = send(&service, &requests, |hop| !matches!(hop, Hop::Edge | Hop::Shield));
    service.wait_stored(edge + mesh);
    let all = eventually("the late records are exported", || {
        Some(receiver.spans()).filter(|spans| spans.len() as u64 >= edge + mesh)
    });
    assert_eq!(all, shown(&service, &requests));
    assert_eq!(
        all.iter().map(|span| &span.trace).collect::<BTreeSet<_>>(),
        first.iter().map(|span| &span.trace).collect::<BTreeSet<_>>(),
        "no record went to another trace"
    );
    send(&service, &requests, |_| true);
    service.wait_stored(2 * (edge + mesh));
    let known = "throughline_correlation_late_groups_total{reason=\"known\"}";
    eventually("the redelivery was looked at", || {
        (metric(&service, known) >= 2.0 * requests.len() as f64 - 10.0).then_some(())
    });
    let_settle();
    assert_eq!(receiver.spans(), all);
    assert!(receiver.calls().iter().all(|call| call.scope == "shop"), "headers are sent");
}

#[test]
fn the_first_half_may_be_the_lower_one() {
    let (receiver, address) = Receiver::start();
    let service = exporting(&format!("http://{address}"), "");
    let requests = requests(5, 20);
    let mesh = send(&service, &requests, |hop| !matches!(hop, Hop::Edge | Hop::Shield));
    service.wait_stored(mesh);
    eventually("the mesh's part is exported", || (receiver.spans().len() as u64 >= mesh).then_some(()));
    let before = unique(&receiver.spans());
    let edge = send(&service, &requests, |hop| matches!(hop, Hop::Edge | Hop::Shield));
    service.wait_stored(edge + mesh);
    let all = eventually("the edge's part is exported", || {
        Some(receiver.spans()).filter(|spans| spans.len() as u64 >= edge + mesh)
    });
    assert_eq!(all.len() as u64, edge + mesh);
    // What was sent cannot be taken back: the lower part's root has no parent, and its trace id stays for all of it.
    let traces: BTreeSet<&String> = before.iter().map(|span| &span.trace).collect();
    let with_mesh = requests
        .iter()
        .filter(|request| request.hops.iter().any(|hop| !matches!(hop.hop, Hop::Edge | Hop::Shield)));
    assert_eq!(traces.len(), with_mesh.count());
    let shown: BTreeSet<String> = shown(&service, &requests).into_iter().map(|span| span.span).collect();
    assert_eq!(all.iter().map(|span| span.span.clone()).collect::<BTreeSet<_>>(), shown);
    for span in all.iter().filter(|span| !span.parent.is_empty()) {
        let parent = all.iter().find(|other| other.span == span.parent).expect("a parent that was sent");
        assert_eq!(parent.trace, span.trace);
    }
}

#[test]
fn a_receiver_may_be_away_slow_busy_or_picky_and_ingest_never_notices() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let service = exporting(&format!("http://{address}"), "timeout = '1s'");
    let requests = requests(6, 40);
    let mut records = send(&service, &requests[..10], |_| true);
    service.wait_stored(records);
    eventually("nobody answers", || {
        (metric(&service, "throughline_export_retries_total") >= 2.0).then_some(())
    });
    assert_eq!(service.get("/readyz").0, 200, "a dead receiver is no reason to refuse deliveries");
    records += send(&service, &requests[10..20], |_| true);
    service.wait_stored(records);

    let receiver = Receiver::default();
    let in_two = retry_info(Duration::from_millis(2_300));
    receiver.plan([
        Behaviour::Refuse(Status::unavailable("starting")),
        Behaviour::Refuse(Status::with_details(Code::ResourceExhausted, "busy", in_two.into())),
    ]);
    receiver.serve(address, None);
    wait_decided(&service, "exported", 20);
    let calls = receiver.calls();
    let waited = calls[2].at - calls[1].at;
    assert!(waited >= Duration::from_millis(2_250), "it came back after {waited:?}, asked for 2.3 s");
    assert_eq!(receiver.spans(), shown(&service, &requests[..20]));

    // Slower than the time-out: it has the spans, and gets them again with the same ids.
    receiver.plan([Behaviour::TakeSlowly(Duration::from_secs(3))]);
    records += send(&service, &requests[20..30], |_| true);
    service.wait_stored(records);
    wait_decided(&service, "exported", 30);
    let spans = receiver.spans();
    assert!(spans.len() > unique(&spans).len(), "sent twice");
    assert_eq!(unique(&spans), unique(&shown(&service, &requests[..30])));

    // A part refused is counted, a whole request refused is noted; neither comes again.
    let taken = metric(&service, "throughline_exported_spans_total");
    receiver.plan([Behaviour::Partly(3)]);
    let sent = send(&service, &requests[30..35], |_| true);
    wait_decided(&service, "exported", 35);
    assert_eq!(metric(&service, "throughline_refused_spans_total"), 3.0);
    assert_eq!(metric(&service, "throughline_exported_spans_total"), taken + sent as f64 - 3.0);
    receiver.plan([Behaviour::Refuse(Status::invalid_argument("no such tenant"))]);
    send(&service, &requests[35..], |_| true);
    wait_decided(&service, "refused", 5);
    let calls = receiver.calls().len();
    let_settle();
    assert_eq!(receiver.calls().len(), calls);
    assert!(service.log.lock().unwrap().contains("gRPC INVALID_ARGUMENT no such tenant"));
    assert_eq!(receiver.planned(), 0);
}

/// A `google.rpc.Status` with a `RetryInfo`, as bytes.
fn retry_info(delay: Duration) -> Vec<u8> {
    // Fields of one byte's length each: small enough to be written by hand.
    let bytes = |tag: u8, value: &[u8]| [&[tag << 3 | 2, value.len() as u8], value].concat();
    let number = |tag: u8, mut value: u64| {
        let mut out = vec![tag << 3];
        while value > 127 {
            out.push(value as u8 | 128);
            value >>= 7;
        }
        out.push(value as u8);
        out
    };
    let delay = [number(1, delay.as_secs()), number(2, delay.subsec_nanos().into())].concat();
    let any = [bytes(1, b"type.googleapis.com/google.rpc.RetryInfo"), bytes(2, &bytes(1, &delay))].concat();
    [number(1, 8), bytes(3, &any)].concat()
}

#[test]
fn too_large_a_request_is_halved_until_it_fits() {
    let (receiver, address) = Receiver::start();
    let service = exporting(&format!("http://{address}"), "");
    let requests = requests(7, 8);
    // Without a time to come back: the message is over the receiver's limit.
    receiver.plan((0..3).map(|_| Behaviour::Refuse(Status::resource_exhausted("larger than max"))));
    let records = send(&service, &requests, |_| true);
    service.wait_stored(records);
    wait_decided(&service, "exported", 8);
    assert_eq!(receiver.spans(), shown(&service, &requests));
    assert!(receiver.calls().len() >= 5, "{} calls", receiver.calls().len());
    assert_eq!(metric(&service, "throughline_refused_spans_total"), 0.0);
}

#[test]
fn killed_between_sending_and_noting_loses_nothing_and_doubles_only_equal_spans() {
    let (receiver, address) = Receiver::start();
    let mut service = exporting(&format!("http://{address}"), "");
    let requests = requests(8, 30);
    let mut records = send(&service, &requests[..10], |_| true);
    service.wait_stored(records);
    wait_decided(&service, "exported", 10);
    // The receiver has them and has not answered: nothing is noted yet.
    receiver.plan([Behaviour::TakeSlowly(Duration::from_secs(600))]);
    records += send(&service, &requests[10..20], |_| true);
    eventually("the receiver has them", || (receiver.planned() == 0).then_some(()));
    // And these are still settling.
    records += send(&service, &requests[20..], |_| true);
    service.wait_stored(records);
    service.kill();
    let sent = receiver.spans();
    service.restart();
    let expected = shown(&service, &requests);
    eventually("all spans are there", || {
        unique(&expected).is_subset(&unique(&receiver.spans())).then_some(())
    });
    let_settle();
    let all = receiver.spans();
    assert_eq!(unique(&all), unique(&expected), "no span has another id, parent or trace than before");
    let twice = all.len() - unique(&all).len();
    assert!((1..=sent.len()).contains(&twice), "{twice} twice of {} that were sent", sent.len());
    let noted = unique(&shown(&service, &requests[..10]));
    assert!(all.iter().filter(|span| noted.contains(*span)).count() == noted.len(), "noted ones came once");
}

#[test]
fn rules_decide_what_goes_out() {
    let (receiver, address) = Receiver::start();
    let service = exporting(&format!("http://{address}"), "[export.keep]\nshare = 0\ndenials = false");
    let mix = Mix::new(9).starting(1_795_290_064_000, 1_000);
    let failed: Vec<Request> = (0..4).map(|n| mix.request_as(n, Story::Timeout)).collect();
    let fine: Vec<Request> = (10..16).map(|n| mix.request_as(n, Story::Plain)).collect();
    let records = send(&service, &failed, |_| true) + send(&service, &fine, |_| true);
    service.wait_stored(records);
    wait_decided(&service, "exported", 4);
    wait_decided(&service, "left_out", 6);
    assert_eq!(receiver.spans(), shown(&service, &failed));
}

#[test]
fn over_tls_with_a_configured_authority_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = write("cert.pem", made.cert.pem());
    let key = write("key.pem", made.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = write("other.pem", other.cert.pem());
    let receiver = Receiver::default();
    let address = receiver.serve("127.0.0.1:0".parse().unwrap(), Some((cert.clone(), key)));
    let requests = requests(10, 3);
    for (ca_file, trusted) in [(other, false), (cert, true)] {
        let endpoint = format!("https://localhost:{}", address.port());
        let service = exporting(&endpoint, &format!("ca_file = '{}'", ca_file.display()));
        send(&service, &requests, |_| true);
        if trusted {
            wait_decided(&service, "exported", 3);
            assert_eq!(receiver.spans(), shown(&service, &requests));
        } else {
            eventually("it does not trust", || {
                service.log.lock().unwrap().contains("certificate").then_some(())
            });
            assert!(receiver.calls().is_empty());
        }
    }
}

#[test]
fn traces_leave_soon_after_they_settle() {
    let (receiver, address) = Receiver::start();
    let service = exporting(&format!("http://{address}"), "");
    let requests = requests(11, 20);
    for request in &requests {
        send(&service, std::slice::from_ref(request), |_| true);
        std::thread::sleep(Duration::from_millis(100));
    }
    let since = Instant::now();
    wait_decided(&service, "exported", requests.len());
    // The last one: sealed after a second, shipped, the window, a tick; and room for a machine that is busy.
    let limit = Duration::from_secs(1) + SETTLE + Duration::from_secs(2) + Duration::from_secs(5);
    assert!(since.elapsed() < limit, "{:?}", since.elapsed());
    assert_eq!(receiver.spans(), shown(&service, &requests));
    assert_eq!(metric(&service, "throughline_correlation_lease"), 1.0);
    assert_eq!(metric(&service, "throughline_correlation_groups"), 0.0);
    assert_eq!(metric(&service, "throughline_correlation_pending_bytes"), 0.0);
}
