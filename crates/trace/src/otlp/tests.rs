//! Requests as OTLP spans: every row of the table reads what it says, ids and parents hold, modes leave out what they
//! must.

use std::collections::HashSet;

use event::{Attributes, Direction, Hop, HopEvent};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, TracesData};
use prost::Message as _;

use super::*;
use crate::model::{Confidence, Evidence, Link, Moment, Related, RelatedBy};

/// Fields that no attribute shows as such: times and outcome are the span itself, `protocol` and the like are shown
/// in the conventions' form, and three say how the event was received.
const NOT_ATTRIBUTES: &[&str] = &[
    "received_ns",
    "span_id",
    "request_id_reason",
    "start_ns",
    "duration_ns",
    "request_rx_ns",
    "upstream_tx_first_ns",
    "upstream_tx_last_ns",
    "upstream_rx_first_ns",
    "upstream_rx_last_ns",
    "first_byte_ns",
    "last_byte_ns",
    "method",
    "host",
    "protocol",
    "tls_version",
    "service",
    "attributes",
];

#[test]
fn every_field_of_the_schema_is_shown_and_every_name_is_unique() {
    let tags: Vec<_> = RESOURCE_TAGS.iter().chain(SPAN_TAGS).collect();
    for field in HopEvent::FIELDS {
        let shown = tags.iter().any(|tag| tag.column == field.name);
        assert_ne!(shown, NOT_ATTRIBUTES.contains(&field.name), "{}", field.name);
    }
    let names: HashSet<_> = tags.iter().map(|tag| tag.name).collect();
    assert_eq!(names.len(), tags.len());
    for tag in tags {
        let kind = match tag.read(&full()) {
            Some(Reading::Text(_)) => Kind::Text,
            Some(Reading::Int(_)) => Kind::Int,
            Some(Reading::Float(_)) => Kind::Float,
            Some(Reading::Bool(_)) => Kind::Bool,
            None => panic!("{} is not read from an event that has every field", tag.name),
        };
        assert_eq!(kind, tag.kind, "{}", tag.name);
        assert!(
            tag.read(&HopEvent::default()).is_none() || ALWAYS.contains(&tag.name),
            "{} is read from nothing",
            tag.name
        );
    }
}

/// What even an empty event says.
const ALWAYS: &[&str] =
    &["service.name", "throughline.hop", "throughline.direction", "throughline.precision"];

/// An event with something in every field that a tag reads.
fn full() -> HopEvent<'static> {
    let text = || event::Text::from("10.1.2.3:80");
    let mut event = HopEvent {
        hop: Hop::Sidecar,
        direction: Direction::Outbound,
        notes: event::Notes::REPAIRED,
        correlation_id: 1,
        request_id: 2,
        edge_request_id: 3,
        trace_id: 4,
        event_key: 5,
        parent_span_id: 6,
        protocol: "HTTP/2.0".into(),
        path: "/shop.Cart/Add".into(),
        route: "/shop.Cart/{method}".into(),
        method: "XYZZY".into(),
        tls_version: "TLSv1.3".into(),
        status: 503,
        grpc_status: Some(14),
        client_address: 1 << 100,
        intermediate: true,
        sample_rate: 4.0,
        asn: 1,
        attempt: 1,
        attributes: vec![("a".into(), "1".into()), ("b".into(), "2".into()), ("a".into(), "3".into())],
        ..HopEvent::default()
    };
    macro_rules! fill {
        ($value:expr => $($field:ident)*) => { $(event.$field = $value;)* };
    }
    fill!(text() => tenant source format log_type scheme host query upstream_path response_flags details
        termination_details transport_failure user_agent referer content_type forwarded_for downstream_remote
        downstream_local upstream_remote upstream_local upstream_cluster sni tls_cipher ja3 ja4 downstream_peer
        upstream_peer country pop server service_id service_version cache_state cache_result node pod namespace
        workload workload_revision mesh_cluster service peer_workload peer_namespace verdict verdict_rule
        verdict_reason policy_version subject issuer key_id);
    fill!(Some(7) => upstream_service_ns request_bytes response_bytes request_header_bytes response_header_bytes);
    fill!(Some(8) => restarts visits);
    fill!(Some(true) => to_shield completed);
    event
}

fn spans(resources: &[ResourceSpans]) -> Vec<&Span> {
    resources.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans).collect()
}

fn attribute<'s>(span: &'s Span, key: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|it| it.key == key)?.value.as_ref()?.value.as_ref()
}

/// Edge without a tracer, gateway and sidecar with one, the sidecar's trace id being the tracer's.
fn request() -> Request {
    const TRACER: u128 = 0x77;
    let hops = [
        (Hop::Edge, Direction::Unknown, 0xe, 0u128),
        (Hop::Gateway, Direction::Outbound, 0x6, TRACER),
        (Hop::Sidecar, Direction::Inbound, 0, TRACER),
    ];
    let spans = hops.into_iter().enumerate().map(|(at, (hop, direction, span_id, trace_id))| {
        let event = HopEvent {
            hop,
            direction,
            span_id,
            trace_id,
            correlation_id: 9,
            event_key: at as u64 + 1,
            start_ns: 1_000 - at as i64,
            duration_ns: Some(500),
            upstream_rx_first_ns: Some(100),
            status: 200,
            method: "GET".into(),
            service: format!("service-{at}").into(),
            attributes: Attributes::new(),
            ..HopEvent::default()
        };
        crate::Span {
            deliveries: 1,
            also: Vec::new(),
            span_id: crate::span_id(&event),
            link: at.checked_sub(1).map(|parent| Link {
                parent,
                confidence: Confidence::Likely,
                evidence: vec![Evidence::Address, Evidence::Time],
            }),
            depth: at as u32,
            offset_ns: 0,
            event,
        }
    });
    let spans: Vec<_> = spans.collect();
    Request { trace_id: 0x99, spans, ..crate::requests(vec![full()], Moment::FINAL).remove(0) }
}

#[test]
fn all_sends_every_hop_with_raw_times_and_linked_parents() {
    let resources = resource_spans(&request(), &Selection::fresh(Mode::All));
    assert_eq!(resources.len(), 3, "one resource for each service");
    let spans = spans(&resources);
    assert!(spans.iter().all(|span| span.trace_id == 0x99u128.to_be_bytes()));
    assert!(spans[0].parent_span_id.is_empty());
    assert_eq!(spans[0].span_id, 0xeu64.to_be_bytes());
    assert_eq!(spans[1].parent_span_id, 0xeu64.to_be_bytes());
    assert_eq!(spans[2].parent_span_id, 0x6u64.to_be_bytes());
    // A child whose clock runs behind begins before its parent, and stays so.
    assert_eq!((spans[2].start_time_unix_nano, spans[2].end_time_unix_nano), (998, 1_498));
    assert_eq!(spans[2].events[0].time_unix_nano, 1_098);
    assert_eq!(
        attribute(spans[2], "throughline.link.evidence"),
        Some(&Value::StringValue("address,time".into()))
    );
    // The tracer's own trace is another: its span is named.
    assert_eq!(spans[1].links[0].trace_id, 0x77u128.to_be_bytes());
    assert_eq!(spans[1].links[0].span_id, 0x6u64.to_be_bytes());
}

#[test]
fn fill_joins_the_tracers_trace_and_leaves_its_spans_out() {
    let request = request();
    assert_eq!(trace_id(&request, Mode::Fill), 0x77);
    let resources = resource_spans(&request, &Selection::fresh(Mode::Fill));
    let spans = spans(&resources);
    assert_eq!(spans.len(), 2, "edge and sidecar; the gateway's tracer sent its own");
    assert!(spans.iter().all(|span| span.trace_id == 0x77u128.to_be_bytes()));
    assert_eq!(spans[1].parent_span_id, 0x6u64.to_be_bytes(), "the tracer's span is the parent");
}

#[test]
fn what_was_sent_is_left_out_and_the_trace_id_kept() {
    let mut request = request();
    request.related = vec![
        Related {
            trace_id: 0x55,
            kind: IdKind::Correlation,
            value: 4,
            why: RelatedBy::Conflict(IdKind::Request),
        },
        Related { trace_id: 0x99, kind: IdKind::Correlation, value: 5, why: RelatedBy::Trace },
    ];
    let exported = HashSet::from([2]);
    let selection =
        Selection { mode: Mode::All, exported: &exported, trace_id: Some(0x88), previous: &[0x88, 0x44] };
    let resources = resource_spans(&request, &selection);
    let spans = spans(&resources);
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|span| span.trace_id == 0x88u128.to_be_bytes()));
    let links: Vec<_> = spans[0].links.iter().map(|link| link.trace_id.clone()).collect();
    assert_eq!(links, [0x44u128.to_be_bytes().to_vec(), 0x55u128.to_be_bytes().to_vec()]);
    let everything = HashSet::from([1, 2, 3]);
    assert!(resource_spans(&request, &Selection { exported: &everything, ..selection }).is_empty());
}

#[test]
fn unmapped_fields_go_along_and_a_name_that_occurs_twice_is_a_list() {
    let request = crate::requests(vec![full()], Moment::FINAL).remove(0);
    let resources = resource_spans(&request, &Selection::fresh(Mode::All));
    let span = spans(&resources)[0];
    let Some(Value::ArrayValue(list)) = attribute(span, "throughline.attribute.a") else { panic!("no list") };
    assert_eq!(list.values.len(), 2);
    assert_eq!(attribute(span, "throughline.attribute.b"), Some(&Value::StringValue("2".into())));
    let keys: HashSet<_> = span.attributes.iter().map(|it| &it.key).collect();
    assert_eq!(keys.len(), span.attributes.len(), "a key occurs once");
    assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
}

#[test]
fn attributes_are_bounded_and_the_rest_is_counted() {
    let attributes = (0..500).map(|n| (format!("k{n}").into(), "v".into())).collect();
    let request = crate::requests(vec![HopEvent { attributes, ..full() }], Moment::FINAL).remove(0);
    let resources = resource_spans(&request, &Selection::fresh(Mode::All));
    let span = spans(&resources)[0];
    assert_eq!(span.attributes.len(), 128);
    assert!(span.dropped_attributes_count > 400);
}

#[test]
fn the_mix_comes_back_from_protobuf_span_by_span() {
    let events: Vec<_> = testkit::Mix::new(5).events(50).collect();
    let count = events.len();
    let requests = crate::requests(events, Moment::FINAL);
    let mut sent = 0;
    for request in &requests {
        let resource_spans = resource_spans(request, &Selection::fresh(Mode::All));
        let bytes = TracesData { resource_spans: resource_spans.clone() }.encode_to_vec();
        let back = TracesData::decode(bytes.as_slice()).unwrap();
        assert_eq!(back.resource_spans, resource_spans);
        let spans = spans(&back.resource_spans);
        let ids: HashSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
        assert_eq!(ids.len(), spans.len(), "a span id occurs once");
        let hangs = |span: &&Span| span.parent_span_id.is_empty() || ids.contains(&span.parent_span_id);
        assert!(spans.iter().all(hangs));
        assert_eq!(spans.iter().filter(|span| span.parent_span_id.is_empty()).count(), 1);
        sent += spans.len();
    }
    assert_eq!(sent, count);
}

#[test]
fn written_at_once_it_is_the_same_to_the_byte() {
    let same = |request: &Request, selection: &Selection<'_>| {
        let message = TracesData { resource_spans: resource_spans(request, selection) };
        let spans = message.resource_spans.iter().flat_map(|it| &it.scope_spans).map(|it| it.spans.len());
        let (spans, mut bytes) = (spans.sum::<usize>(), Vec::new());
        assert_eq!(encode(request, selection, &mut bytes) as usize, spans);
        assert_eq!(bytes, message.encode_to_vec());
    };
    let mut related = request();
    related.related.push(Related {
        trace_id: 9,
        kind: IdKind::Request,
        value: 8,
        why: RelatedBy::SharedId(IdKind::Request),
    });
    related.shared_ids.push((IdKind::Request, 8));
    // Values of every length that a length may need bytes for.
    let long = |length: usize| HopEvent {
        user_agent: "u".repeat(length).into(),
        attributes: vec![("k".into(), "v".repeat(length).into()), ("k".into(), "again".into())],
        ..full()
    };
    let mut requests = vec![related, request()];
    for length in [0, 100, 110, 127, 128, 16_200, 16_384, 2_100_000] {
        requests.extend(crate::requests(vec![long(length)], Moment::FINAL));
    }
    requests.extend(crate::requests(testkit::Mix::new(3).events(200).collect(), Moment::FINAL));
    let exported: HashSet<u64> =
        requests.iter().flat_map(|it| &it.spans).map(|it| it.event.event_key).step_by(3).collect();
    for request in &requests {
        for mode in [Mode::All, Mode::Fill] {
            same(request, &Selection::fresh(mode));
            same(request, &Selection { mode, exported: &exported, trace_id: Some(5), previous: &[6, 7] });
        }
    }
}
