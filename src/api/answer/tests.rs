//! Tests of [`super`]: every field has its place in the answer, and the schema says what is written.

use ::event::{Direction, Hop, HopEvent, Notes, Precision};
use correlation::IdKind;
use serde_json::Value;
use utoipa::PartialSchema as _;

use super::*;

/// Every field present, by setting each to something that is not its default.
fn full() -> HopEvent<'static> {
    let mut event = HopEvent {
        received_ns: 1,
        event_key: 0xabc,
        hop: Hop::Edge,
        direction: Direction::Inbound,
        notes: Notes(Notes::REDACTED.0 | Notes::WEAK_ID.0),
        correlation_id: 0x0192_f0c4_8a4e_7cc3_98c4_dc0c_0c07_398f,
        request_id: 2,
        edge_request_id: Id::parse(IdKind::EdgeRequest, "974e67f6").map_or(0, |id| id.value),
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
        span_id: 5,
        parent_span_id: 6,
        request_id_reason: 9,
        start_ns: 1_763_728_496_123_456_789,
        start_precision: Precision::Nanosecond,
        intermediate: true,
        status: 503,
        grpc_status: Some(14),
        client_address: 0xffff_c000_0201,
        asn: 3320,
        restarts: Some(0),
        visits: Some(0),
        to_shield: Some(false),
        completed: Some(true),
        attempt: 1,
        sample_rate: 10.0,
        attributes: vec![
            ("edge_request_id".into(), "974e67f6".into()),
            ("x".into(), "1".into()),
            ("x".into(), "2".into()),
        ],
        ..HopEvent::default()
    };
    macro_rules! set { ($value:expr => $($field:ident)*) => { $( event.$field = $value; )* }; }
    set!("t".into() => tenant source format log_type method scheme host path query upstream_path protocol
        response_flags details termination_details transport_failure route user_agent referer content_type
        forwarded_for downstream_remote downstream_local upstream_remote upstream_local upstream_cluster sni
        tls_version tls_cipher ja3 ja4 downstream_peer upstream_peer country pop server service_id service_version
        cache_state cache_result node pod namespace workload workload_revision mesh_cluster service peer_workload
        peer_namespace verdict verdict_rule verdict_reason policy_version subject issuer key_id);
    set!(Some(7) => duration_ns request_rx_ns upstream_tx_first_ns upstream_tx_last_ns upstream_rx_first_ns
        upstream_rx_last_ns first_byte_ns last_byte_ns upstream_service_ns request_bytes response_bytes
        request_header_bytes response_header_bytes);
    event
}

#[test]
fn every_field_of_the_schema_is_in_the_answer() {
    let answer = EventAnswer::from(&full());
    let missing: Vec<_> = HopEvent::FIELDS
        .iter()
        .map(|field| field.name)
        .filter(|name| !answer.0.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "add to `put!`: {missing:?}");
    assert_eq!(answer.0.len(), HopEvent::FIELDS.len());
}

#[test]
fn absent_fields_are_left_out() {
    let answer = EventAnswer::from(&HopEvent::default());
    assert_eq!(answer.0.len(), 3, "{answer:?}");
}

#[test]
fn ids_times_and_addresses_are_text() {
    let answer = EventAnswer::from(&full());
    assert_eq!(answer.text("correlation_id"), "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f");
    assert_eq!(answer.text("edge_request_id"), "974e67f6", "opaque text stays as it was logged");
    assert_eq!(answer.text("trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(answer.text("span_id"), "0000000000000005");
    assert_eq!(answer.text("start_ns"), "2025-11-21T12:34:56.123456789Z");
    assert_eq!(answer.text("client_address"), "192.0.2.1");
    assert_eq!(answer.0["attributes"]["x"], serde_json::json!(["1", "2"]));
    assert_eq!(answer.number("restarts"), Some(0), "a zero that was logged is there");
}

#[test]
fn the_schema_has_every_member_with_the_type_that_is_written() {
    let schema = serde_json::to_value(EventAnswer::schema()).unwrap();
    for (name, value) in &EventAnswer::from(&full()).0 {
        let described = schema["properties"][name]["type"].as_str().unwrap();
        let written = match value {
            Value::String(_) => "string",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Null => "null",
        };
        assert_eq!(described, written, "{name}");
    }
}

#[test]
fn an_answer_comes_back_as_it_was() {
    let other = HopEvent { event_key: 1, trace_id: full().trace_id, ..HopEvent::default() };
    let requests = trace::requests(vec![full(), other], trace::Moment::FINAL);
    let answer = TraceAnswer::new("0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f", &requests, &[], None).unwrap();
    assert_eq!(answer.requests().map(|request| request.only_related).collect::<Vec<_>>(), [false, true]);
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<TraceAnswer>(&text).unwrap(), answer);
}

#[test]
fn asked_by_trace_id_no_request_is_only_related() {
    let other = HopEvent { event_key: 1, trace_id: full().trace_id, ..HopEvent::default() };
    let requests = trace::requests(vec![full(), other], trace::Moment::FINAL);
    let answer = TraceAnswer::new("4bf92f3577b34da6a3ce929d0e0e4736", &requests, &[], None).unwrap();
    assert!(answer.requests().all(|request| !request.only_related));
    assert_eq!(answer.requests().count(), 2);
}
