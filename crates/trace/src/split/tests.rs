//! Tests of [`super`]: shares add up and are never negative, whatever the records; and what they are, by example.

use event::{Notes, Precision};
use proptest::prelude::*;

use super::*;
use crate::model::{Confidence, Link};
use crate::summary;

const MS: u64 = 1_000_000;

/// A request out of events and the index of each one's parent.
fn request(events: Vec<(HopEvent<'static>, Option<usize>)>) -> Request {
    let spans = events.into_iter().enumerate().map(|(at, (event, parent))| Span {
        event,
        deliveries: 1,
        also: Vec::new(),
        span_id: at as u64 + 1,
        link: parent.map(|parent| Link { parent, confidence: Confidence::Certain, evidence: Vec::new() }),
        depth: 0,
        offset_ns: 0,
    });
    Request {
        ids: Vec::new(),
        spans: spans.collect(),
        gaps: Vec::new(),
        related: Vec::new(),
        shared_ids: Vec::new(),
        trace_id: 1,
    }
}

fn hop(hop: Hop, direction: Direction, start_ms: i64, lasts_ns: u64) -> HopEvent<'static> {
    HopEvent {
        hop,
        direction,
        start_ns: start_ms * MS as i64,
        start_precision: Precision::Microsecond,
        duration_ns: Some(lasts_ns),
        method: "GET".into(),
        status: 200,
        upstream_remote: "10.0.0.5:8080".into(),
        ..HopEvent::default()
    }
}

fn waiting(mut event: HopEvent<'static>, from_ns: u64, to_ns: u64) -> HopEvent<'static> {
    (event.upstream_tx_first_ns, event.upstream_rx_last_ns) = (Some(from_ns), Some(to_ns));
    event
}

/// The shares as `name duration±error`, in microseconds.
fn shares(request: &Request) -> Vec<String> {
    let us = |ns: u64| ns as f64 / 1e3;
    let text = |part: &Part| format!("{} {}±{}", part.places, us(part.duration_ns), us(part.error_ns));
    split(request).iter().map(text).collect()
}

const NONE: Direction = Direction::Unknown;

#[test]
fn every_hop_has_its_share() {
    let edge = waiting(hop(Hop::Edge, NONE, 0, 48_000_123), 1_000_000, 47_000_000);
    let gateway = waiting(hop(Hop::Gateway, NONE, 5, 36_000_001), 500_000, 35_500_000);
    let sidecar = waiting(hop(Hop::Sidecar, Direction::Inbound, 6, 33_000_001), 200_000, 32_800_000);
    let found = request(vec![(edge, None), (gateway, Some(0)), (sidecar, Some(1))]);
    assert_eq!(
        shares(&found),
        [
            "edge 2000.123±0.004",
            "edge_to_gateway_network 9999.999±0.003",
            "gateway 1000.001±0.004",
            "mesh 2400±0.006",
            "workload 32600±0.002"
        ]
    );
}

#[test]
fn whole_milliseconds_leave_an_error() {
    let mut gateway = hop(Hop::Gateway, NONE, 0, 36 * MS);
    gateway.upstream_service_ns = Some(34 * MS);
    let mut sidecar = hop(Hop::Sidecar, Direction::Inbound, 1, 33 * MS);
    sidecar.upstream_service_ns = Some(33 * MS);
    let found = request(vec![(gateway, None), (sidecar, Some(0))]);
    assert_eq!(shares(&found), ["gateway 2000±5000", "mesh 1000±6000", "workload 33000±1000"]);
}

#[test]
fn what_cannot_be_told_apart_is_named_together() {
    let gateway = hop(Hop::Gateway, NONE, 0, 36_000_001);
    let sidecar = hop(Hop::Sidecar, Direction::Inbound, 1, 33_000_001);
    assert_eq!(
        shares(&request(vec![(gateway.clone(), None), (sidecar, Some(0))])),
        ["gateway+mesh 3000±0.002", "mesh+workload 33000.001±0.001"]
    );
    assert_eq!(shares(&request(vec![(gateway, None)])), ["gateway+mesh+workload 36000.001±0.001"]);
    let edge = hop(Hop::Edge, NONE, 0, 48_000_001);
    assert_eq!(
        shares(&request(vec![(edge, None)])),
        ["edge+edge_to_gateway_network+gateway+mesh+workload 48000.001±0.001"]
    );
}

#[test]
fn a_hop_that_answers_by_itself_has_all() {
    let mut hit = hop(Hop::Edge, NONE, 0, 300_001);
    hit.cache_result = "hit".into();
    assert_eq!(shares(&request(vec![(hit, None)])), ["edge 300.001±0.001"]);
    let mut denied = hop(Hop::Gateway, NONE, 0, 300_001);
    denied.upstream_remote = "".into();
    assert_eq!(shares(&request(vec![(denied, None)])), ["gateway 300.001±0.001"]);
    let refused = HopEvent { verdict: "deny".into(), ..hop(Hop::Edge, NONE, 0, 300_001) };
    assert_eq!(shares(&request(vec![(refused, None)])), ["edge 300.001±0.001"]);
}

#[test]
fn calls_side_by_side_count_once() {
    let sidecar = waiting(hop(Hop::Sidecar, Direction::Inbound, 0, 40 * MS + 1), 0, 40 * MS);
    // 10..20 and 15..35 overlap for five milliseconds: those belong to the second, which ended last.
    let first = waiting(hop(Hop::Sidecar, Direction::Outbound, 10, 10 * MS + 1), 0, 10 * MS + 1);
    let second = waiting(hop(Hop::Sidecar, Direction::Outbound, 15, 20 * MS + 1), 0, 20 * MS + 1);
    let found = request(vec![(sidecar, None), (first, Some(0)), (second, Some(0))]);
    let parts = split(&found);
    let of = |places: Places| parts.iter().find(|part| part.places == places).map(|part| part.duration_ns);
    assert_eq!(of(Places::WORKLOAD), Some(15 * MS - 1), "40 ms less the 25 ms in which a call was under way");
    assert_eq!(of(Places::MESH | Places::WORKLOAD), Some(25 * MS + 1));
}

#[test]
fn a_callee_that_outlasts_its_caller_has_what_is_left() {
    let gateway = waiting(hop(Hop::Gateway, NONE, 0, 300 * MS + 1), MS, 300 * MS);
    let sidecar = hop(Hop::Sidecar, Direction::Inbound, 1, 302 * MS + 1);
    let parts = split(&request(vec![(gateway, None), (sidecar, Some(0))]));
    assert_eq!(parts.iter().map(|part| part.duration_ns).sum::<u64>(), 300 * MS + 1);
    assert!(parts.iter().any(|part| part.error_ns >= 2 * MS), "{parts:?}");
}

#[test]
fn no_duration_no_shares() {
    let mut edge = hop(Hop::Edge, NONE, 0, 0);
    edge.duration_ns = None;
    assert!(split(&request(vec![(edge, None)])).is_empty());
}

fn any_time() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(prop_oneof![
        0..5_000_000_000u64,
        Just(0),
        Just(u64::MAX),
        (0..5_000u64).prop_map(|ms| ms * MS)
    ])
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<String>(),
        Just("UT,URX".to_owned()),
        Just("deny".to_owned()),
        Just("upstream_reset_before_response_started{connection_termination}".to_owned()),
        Just("outbound|80||orders.shop.svc.cluster.local".to_owned()),
    ]
}

fn any_event() -> impl Strategy<Value = HopEvent<'static>> {
    let place = (0u8..10, 0u8..3, any::<i64>(), 0u16..600, any::<bool>());
    let times = (any_time(), any_time(), any_time(), any_time(), any_time(), any_time());
    let texts = (any_text(), any_text(), any_text(), any_text(), any_text(), any_text());
    (place, times, texts).prop_map(|(place, times, texts)| {
        let (hop, direction, start_ns, status, intermediate) = place;
        HopEvent {
            hop: Hop::from_number(hop).unwrap_or_default(),
            direction: Direction::from_number(direction).unwrap_or_default(),
            start_ns,
            status,
            intermediate,
            duration_ns: times.0,
            upstream_tx_first_ns: times.1,
            upstream_rx_first_ns: times.2,
            upstream_rx_last_ns: times.3,
            upstream_service_ns: times.4,
            first_byte_ns: times.5,
            details: texts.0.into(),
            response_flags: texts.1.into(),
            verdict: texts.2.into(),
            upstream_cluster: texts.3.into(),
            path: texts.4.into(),
            upstream_remote: texts.5.into(),
            notes: Notes::NONE,
            ..HopEvent::default()
        }
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    proptest::collection::vec((any_event(), any::<proptest::sample::Index>()), 1..12).prop_map(|events| {
        let linked = events.into_iter().enumerate();
        request(linked.map(|(at, (event, parent))| (event, (at > 0).then(|| parent.index(at)))).collect())
    })
}

proptest! {
    #[test]
    fn shares_add_up_to_the_entry(request in any_request()) {
        let parts = split(&request);
        let total: u128 = parts.iter().map(|part| u128::from(part.duration_ns)).sum();
        prop_assert_eq!(total, u128::from(request.spans[0].event.duration_ns.unwrap_or(0)));
        for (at, part) in parts.iter().enumerate() {
            prop_assert!(part.places != Places::NONE);
            prop_assert!(!parts[..at].iter().any(|other| other.places == part.places), "named twice");
        }
    }

    #[test]
    fn any_request_has_a_sentence(request in any_request()) {
        let sentence = summary(&request);
        prop_assert!(sentence.ends_with('.') && !sentence.chars().any(char::is_control), "{sentence:?}");
        prop_assert!(sentence.chars().count() < 1_500, "{} characters", sentence.chars().count());
    }
}
