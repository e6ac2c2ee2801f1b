//! What the mix says is true must come out of the decoders: ids, status, duration, hop.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use decode::envoy::{AlsStream, Formats};
use decode::fastly::Presets;
use decode::{Delivery, Origin, Redactor, Rules, Sink, envoy, fastly as fastly_lines, otlp as otlp_logs};
use event::{Hop, HopEvent, Reject, wire};
use testkit::{Mix, Request, Story, TrueHop, als, fastly, istio, otlp};

/// Keeps what it is handed; rejects are failures here.
#[derive(Default)]
struct Kept {
    events: Vec<HopEvent<'static>>,
}

impl Sink for Kept {
    fn event(&mut self, event: &HopEvent<'_>) {
        // Through the byte form of the spool, which also makes it independent of the payload.
        let mut bytes = Vec::new();
        wire::put_event(event, &mut bytes);
        match wire::read(bytes.leak()) {
            Ok(event::Record::Event(event)) => self.events.push(*event),
            other => panic!("{other:?}"),
        }
    }

    fn reject(&mut self, reject: Reject<'_>) {
        panic!("{}: {} in {}", reject.reason.name(), reject.detail, String::from_utf8_lossy(&reject.bytes));
    }
}

fn rules() -> Rules {
    Rules {
        redactor: Redactor::default(),
        fastly: Presets::built_in().unwrap(),
        envoy: Formats::istio_defaults(),
    }
}

/// One record through one decoder.
fn decoded(decode: impl FnOnce(&Delivery<'_>, &Rules, &mut dyn Sink)) -> HopEvent<'static> {
    let origin = Origin::default();
    let delivery = Delivery { tenant: "default", source: "test", received_ns: 1, id: 7, origin: &origin };
    let mut kept = Kept::default();
    decode(&delivery, &rules(), &mut kept);
    assert_eq!(kept.events.len(), 1);
    kept.events.remove(0)
}

/// Some requests of every story.
fn requests() -> Vec<Request> {
    let mix = Mix::new(11);
    (0..30).map(|n| mix.request_as(n, Story::ALL[n as usize % Story::ALL.len()])).collect()
}

fn hops(requests: &[Request], fastly: bool) -> impl Iterator<Item = (&Request, &TrueHop)> {
    let pairs = requests.iter().flat_map(|request| request.hops.iter().map(move |hop| (request, hop)));
    pairs.filter(move |(_, hop)| hop.is_fastly() == fastly)
}

/// What every format tells. Times are compared at the resolution that the format has.
fn assert_same(event: &HopEvent<'_>, request: &Request, hop: &TrueHop, resolution_ns: i64) {
    assert_eq!(event.status, hop.status);
    assert_eq!((&*event.method, &*event.host, &*event.path), (request.method, request.host, request.path()));
    assert_eq!(event.query, request.query());
    assert_eq!(event.user_agent, request.user_agent);
    assert_eq!(event.response_bytes, Some(hop.response_bytes));
    let difference = hop.logged_start_ns() - event.start_ns;
    assert!((0..resolution_ns).contains(&difference), "start is off by {difference} ns");
    if let Some(duration_ns) = event.duration_ns {
        assert!(
            (hop.duration_ns - duration_ns) < resolution_ns as u64,
            "{duration_ns} for {}",
            hop.duration_ns
        );
    }
}

fn assert_ids(event: &HopEvent<'_>, request: &Request) {
    assert_eq!(event.correlation_id, request.correlation_id);
    assert_eq!(event.trace_id, request.trace_id);
}

fn assert_proxy(event: &HopEvent<'_>, request: &Request, hop: &TrueHop) {
    assert_eq!(event.request_id, request.request_id);
    assert_eq!(event.response_flags, hop.flags);
    assert_eq!(event.upstream_cluster, hop.upstream_cluster);
    assert_eq!(event.upstream_remote, hop.upstream_host);
}

fn assert_pod(event: &HopEvent<'_>, hop: &TrueHop) {
    let pod = hop.pod().unwrap();
    assert_eq!((event.hop, event.direction), (hop.hop, hop.direction));
    assert_eq!((&*event.pod, &*event.namespace), (&*pod.name, pod.namespace));
}

#[test]
fn fastly_vcl_lines() {
    let requests = requests();
    for (request, hop) in hops(&requests, true) {
        let line = fastly::vcl_line(request, hop);
        let event =
            decoded(|delivery, rules, sink| fastly_lines::decode(line.as_bytes(), delivery, rules, sink));
        assert_same(&event, request, hop, 1_000);
        assert_ids(&event, request);
        assert!(event.duration_ns.is_some(), "{line}");
        assert_eq!(event.hop, hop.hop);
        assert_eq!(event.cache_state, hop.cache_state);
        assert_eq!(event.client_address, request.client.to_ipv6_mapped().to_bits());
    }
}

#[test]
fn fastly_default_lines() {
    let requests = requests();
    for (request, hop) in hops(&requests, true) {
        let line = fastly::default_line(request, hop);
        let event =
            decoded(|delivery, rules, sink| fastly_lines::decode(line.as_bytes(), delivery, rules, sink));
        assert_same(&event, request, hop, 1_000_000_000);
        assert_eq!((event.correlation_id, event.duration_ns), (0, None));
        assert_eq!(event.hop, hop.hop);
    }
}

#[test]
fn istio_lines() {
    let requests = requests();
    for (request, hop) in hops(&requests, false) {
        let read = |line: String| {
            decoded(|delivery, rules, sink| envoy::decode_lines(line.as_bytes(), delivery, rules, sink))
        };
        let with_ids = read(istio::json_line_with_ids(request, hop));
        assert_ids(&with_ids, request);
        assert_pod(&with_ids, hop);
        assert_eq!(with_ids.attempt, hop.attempt);
        let default = read(istio::json_line(request, hop));
        let text = read(istio::text_line(request, hop) + "\n");
        for event in [&with_ids, &default, &text] {
            assert_same(event, request, hop, 1_000_000);
            assert_proxy(event, request, hop);
        }
        assert_eq!((default.correlation_id, text.correlation_id), (0, 0));
    }
}

#[test]
fn als_messages() {
    let requests = requests();
    for (request, hop) in hops(&requests, false) {
        let message = als::message(hop.pod().unwrap(), true, [(request, hop)]);
        let event = decoded(|delivery, rules, sink| {
            AlsStream::new("test").decode(&message, delivery, rules, sink);
        });
        assert_same(&event, request, hop, 1_000);
        assert_proxy(&event, request, hop);
        assert_ids(&event, request);
        assert_pod(&event, hop);
        assert_eq!(event.upstream_rx_first_ns, hop.answered_ns);
    }
}

#[test]
fn otlp_requests() {
    let requests = requests();
    for (request, hop) in hops(&requests, false) {
        let read = |shape| {
            let body = otlp::logs(shape, [(request, hop)]);
            decoded(|delivery, rules, sink| {
                assert_eq!(otlp_logs::decode_protobuf(&body, delivery, rules, sink), 1);
            })
        };
        let labels = read(otlp::Shape::Labels);
        assert_ids(&labels, request);
        assert_pod(&labels, hop);
        let text = read(otlp::Shape::TextBody);
        for event in [&labels, &text] {
            assert_same(event, request, hop, 1_000_000);
            assert_proxy(event, request, hop);
        }
    }
}

/// Batches: a whole body of many records gives them all, in order.
#[test]
fn bodies_of_many_lines() {
    let requests = requests();
    let body: String =
        hops(&requests, true).map(|(request, hop)| fastly::vcl_line(request, hop) + "\n").collect();
    let origin = Origin::default();
    let delivery = Delivery { tenant: "default", source: "test", received_ns: 1, id: 7, origin: &origin };
    let mut kept = Kept::default();
    fastly_lines::decode(body.as_bytes(), &delivery, &rules(), &mut kept);
    let ids: Vec<u128> = kept.events.iter().map(|event| event.correlation_id).collect();
    let expected: Vec<u128> = hops(&requests, true).map(|(request, _)| request.correlation_id).collect();
    assert_eq!(ids, expected);
    assert!(kept.events.iter().all(|event| matches!(event.hop, Hop::Edge | Hop::Shield)));
}
