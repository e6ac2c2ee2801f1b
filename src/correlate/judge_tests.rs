//! What goes out the first time, what when more of a request comes, and what never.

use correlation::IdKind;
use event::{Direction, Hop, Precision};
use trace::Moment;

use super::*;

const MS: i64 = 1_000_000;

fn judge() -> Judge {
    Judge {
        mode: Mode::All,
        keep: Keep { share: 1.0, errors: true, denials: true, slow: None },
        own: Some(("otel:4317".into(), "/export".into())),
    }
}

fn edge() -> HopEvent<'static> {
    HopEvent {
        tenant: "shop".into(),
        event_key: 1,
        hop: Hop::Edge,
        correlation_id: 10,
        start_ns: 1_000 * MS,
        start_precision: Precision::Microsecond,
        duration_ns: Some(100 * MS as u64),
        status: 200,
        cache_result: "miss".into(),
        ..HopEvent::default()
    }
}

fn gateway() -> HopEvent<'static> {
    HopEvent {
        event_key: 2,
        hop: Hop::Gateway,
        direction: Direction::Unknown,
        request_id: 20,
        start_ns: 1_010 * MS,
        duration_ns: Some(50 * MS as u64),
        cache_result: "".into(),
        ..edge()
    }
}

fn one(events: &[HopEvent<'static>]) -> Request {
    let mut requests = trace::requests(events.to_vec(), Moment::FINAL);
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Trace id, span id, parent and links of every span that goes out.
fn sent(outgoing: &Outgoing) -> Vec<(u128, u64, u64, Vec<u128>)> {
    let id = |bytes: &[u8]| bytes.iter().fold(0u128, |id, &byte| id << 8 | u128::from(byte));
    let mut spans = Vec::new();
    for (count, message) in &outgoing.pieces {
        let message = ExportTraceServiceRequest::decode(message.as_slice()).unwrap();
        let before = spans.len();
        for span in message.resource_spans.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans) {
            let links = span.links.iter().map(|link| id(&link.trace_id)).collect();
            spans.push((
                id(&span.trace_id),
                id(&span.span_id) as u64,
                id(&span.parent_span_id) as u64,
                links,
            ));
        }
        assert_eq!(spans.len() - before, *count as usize);
    }
    spans
}

#[test]
fn a_request_goes_out_whole_and_once() {
    let request = one(&[edge(), gateway()]);
    let (root, child) = (request.spans[0].span_id, request.spans[1].span_id);
    let first = judge().decide(request.clone(), &[], 5).unwrap();
    assert_eq!(sent(&first), [(request.trace_id, root, 0, vec![]), (request.trace_id, child, root, vec![])]);
    let decided = &first.decided;
    assert_eq!((decided.decision, decided.rule.as_str(), decided.spans), (Decision::Exported, "share", 2));
    assert_eq!(decided.id, Some((IdKind::Correlation, 10)));
    assert_eq!((decided.tenant.as_str(), &decided.event_keys, first.last_us), ("shop", &vec![1, 2], 5));
    assert!(judge().decide(request, &[decided], 6).is_none(), "a redelivery brings nothing new");
}

#[test]
fn a_late_record_goes_to_the_trace_that_was_sent() {
    let first = judge().decide(one(&[gateway()]), &[], 0).unwrap();
    // With the edge comes another trace id; what was sent cannot be taken back.
    let edge = HopEvent { trace_id: 77, ..edge() };
    let request = one(&[edge, gateway()]);
    assert_eq!(request.trace_id, 77);
    let second = judge().decide(request.clone(), &[&first.decided], 0).unwrap();
    let root = request.spans[0].span_id;
    assert_eq!(sent(&second), [(first.decided.trace_id, root, 0, vec![77])]);
    assert_eq!(
        (second.decided.event_keys.clone(), second.decided.trace_id),
        (vec![1], first.decided.trace_id)
    );
    assert!(judge().decide(request, &[&first.decided, &second.decided], 0).is_none());
}

#[test]
fn two_parts_that_turn_out_to_be_one_are_tied() {
    let sidecar = HopEvent {
        event_key: 3,
        hop: Hop::Sidecar,
        direction: Direction::Inbound,
        correlation_id: 0,
        start_ns: 1_020 * MS,
        ..gateway()
    };
    let top = judge().decide(one(&[edge()]), &[], 0).unwrap();
    let bottom = judge().decide(one(std::slice::from_ref(&sidecar)), &[], 0).unwrap();
    assert_ne!(top.decided.trace_id, bottom.decided.trace_id);
    let request = one(&[edge(), gateway(), sidecar]);
    let bridge = judge().decide(request.clone(), &[&top.decided, &bottom.decided], 0).unwrap();
    let (root, between) = (request.spans[0].span_id, request.spans[1].span_id);
    let expected = (top.decided.trace_id, between, root, vec![bottom.decided.trace_id]);
    assert_eq!(sent(&bridge), [expected]);
}

#[test]
fn an_id_that_somebody_else_used_decides_nothing() {
    let stranger = HopEvent { event_key: 99, ..edge() };
    let theirs = judge().decide(one(&[stranger]), &[], 0).unwrap();
    let ours = judge().decide(one(&[edge()]), &[&theirs.decided], 0).unwrap();
    assert_eq!(ours.decided.spans, 1);
}

#[test]
fn what_was_left_out_goes_out_whole_when_an_error_comes_late() {
    let judge = Judge { keep: Keep { share: 0.0, ..judge().keep }, ..judge() };
    let left = judge.decide(one(&[edge()]), &[], 0).unwrap();
    assert_eq!((left.decided.decision, left.pieces.len()), (Decision::LeftOut, 0));
    let failed = HopEvent { status: 503, ..gateway() };
    let kept = judge.decide(one(&[edge(), failed.clone()]), &[&left.decided], 0).unwrap();
    assert_eq!(
        (kept.decided.decision, kept.decided.rule.as_str(), kept.decided.spans),
        (Decision::Exported, "errors", 2)
    );
    // And what comes after that follows, whatever it is.
    let sidecar = HopEvent { event_key: 3, hop: Hop::Sidecar, direction: Direction::Inbound, ..gateway() };
    let more = judge.decide(one(&[edge(), failed, sidecar]), &[&left.decided, &kept.decided], 0).unwrap();
    assert_eq!((more.decided.decision, more.decided.spans), (Decision::Exported, 1));
}

#[test]
fn what_runs_waits_for_its_end_and_our_own_calls_stay_out() {
    let running = HopEvent { intermediate: true, log_type: "DownstreamPeriodic".into(), ..gateway() };
    let waits = judge().decide(one(std::slice::from_ref(&running)), &[], 0).unwrap();
    assert_eq!((waits.decided.decision, waits.pieces.len()), (Decision::Running, 0));
    assert!(waits.decided.event_keys.is_empty(), "it is decided anew when it ends");
    let ended = HopEvent { event_key: 5, ..gateway() };
    let sent = judge().decide(one(&[running, ended]), &[&waits.decided], 0).unwrap();
    assert_eq!((sent.decided.decision, sent.decided.spans), (Decision::Exported, 1));
    let call = HopEvent { host: "otel:4317".into(), path: "/export".into(), ..gateway() };
    assert_eq!(judge().decide(one(&[call]), &[], 0).unwrap().decided.decision, Decision::Own);
}

#[test]
fn a_more_precise_record_of_a_sent_event_changes_no_span_id() {
    let before = judge().decide(one(&[edge(), gateway()]), &[], 0).unwrap();
    let mut request = one(&[edge(), gateway()]);
    // As folding leaves it: the new record stands for the event, the sent one is beside it.
    let sent_as = request.spans[0].span_id;
    let fine = HopEvent { event_key: 8, ..edge() };
    let known = std::mem::replace(&mut request.spans[0].event, fine);
    request.spans[0].also.push(known);
    request.spans[0].span_id = span_id(&request.spans[0].event);
    assert_ne!(request.spans[0].span_id, sent_as);
    request.spans.push(request.spans[1].clone());
    request.spans[2].event.event_key = 9;
    request.spans[2].span_id = 9;
    let after = judge().decide(request, &[&before.decided], 0).unwrap();
    assert_eq!(sent(&after), [(before.decided.trace_id, 9, sent_as, vec![])]);
    assert_eq!(after.decided.event_keys, [8, 9]);
}

#[test]
fn a_request_of_thousands_of_spans_goes_out_in_pieces() {
    let children = (0..3000u64).map(|n| HopEvent {
        event_key: 100 + n,
        hop: Hop::Sidecar,
        direction: Direction::Outbound,
        user_agent: "x".repeat(600).into(),
        start_ns: 1_020 * MS + n as i64,
        upstream_remote: format!("10.0.{}.{}:80", n / 250, n % 250).into(),
        ..gateway()
    });
    let mut events: Vec<_> = children.take(1900).collect();
    events.push(edge());
    let out = judge().decide(one(&events), &[], 0).unwrap();
    assert!(out.pieces.len() > 1);
    assert!(out.pieces.iter().all(|(_, piece)| piece.len() <= 2 * PIECE_BYTES));
    assert_eq!(sent(&out).len(), out.decided.spans as usize);
}

#[test]
fn filling_leaves_out_what_a_tracer_reported_and_hangs_the_rest_under_it() {
    let judge = Judge { mode: Mode::Fill, ..judge() };
    let traced = HopEvent { span_id: 500, parent_span_id: 500, trace_id: 77, ..gateway() };
    let sidecar = HopEvent {
        event_key: 3,
        hop: Hop::Sidecar,
        direction: Direction::Inbound,
        start_ns: 1_020 * MS,
        ..gateway()
    };
    let request = one(&[edge(), traced.clone(), sidecar]);
    let out = judge.decide(request.clone(), &[], 0).unwrap();
    let (root, last) = (request.spans[0].span_id, request.spans[2].span_id);
    let found = sent(&out);
    assert_eq!(
        found.iter().map(|span| (span.0, span.1, span.2)).collect::<Vec<_>>(),
        [(77, root, 0), (77, last, 500)]
    );
    assert_eq!(out.decided.event_keys, [1, 2, 3], "what a tracer sent is decided, too");
    let only = judge.decide(one(&[traced]), &[], 0).unwrap();
    assert_eq!((only.decided.decision, only.decided.spans, only.pieces.len()), (Decision::Exported, 0, 0));
}
