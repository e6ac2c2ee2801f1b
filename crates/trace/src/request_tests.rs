//! Tests of [`super`]: what is one request and what is not, by example and by property.

use event::{Direction, Hop, Notes};
use proptest::prelude::*;

use super::*;
use crate::forming::EVENTS_PER_REQUEST;
use crate::ids::EventIds;

fn event(event_key: u64, hop: Hop, correlation: u128, request: u128) -> HopEvent<'static> {
    HopEvent {
        tenant: "default".into(),
        event_key,
        hop,
        correlation_id: correlation,
        request_id: request,
        start_ns: 1_000 * event_key as i64,
        ..HopEvent::default()
    }
}

#[test]
fn ids_on_one_record_bridge() {
    let found = requests(
        vec![
            event(3, Hop::Sidecar, 0, 20),
            event(1, Hop::Edge, 10, 0),
            event(2, Hop::Gateway, 10, 20),
            event(9, Hop::Edge, 11, 0),
        ],
        Moment::FINAL,
    );
    let sizes: Vec<usize> = found.iter().map(|request| request.spans.len()).collect();
    assert_eq!(sizes, [3, 1]);
    let first = &found[0];
    assert_eq!(
        first.canonical().map(|id| (id.kind, id.value, id.records)),
        Some((IdKind::Correlation, 10, 2))
    );
    assert_eq!(
        first.spans.iter().map(|hop| hop.event.hop).collect::<Vec<_>>(),
        [Hop::Edge, Hop::Gateway, Hop::Sidecar]
    );
    assert_eq!(first.spans[2].offset_ns, 2_000);
    assert!(first.shared_ids.is_empty());
}

#[test]
fn redeliveries_are_folded_and_counted() {
    let late = HopEvent { received_ns: 9, ..event(1, Hop::Edge, 10, 0) };
    let early = HopEvent { received_ns: 3, ..event(1, Hop::Edge, 10, 0) };
    for events in [vec![late.clone(), early.clone()], vec![early, late]] {
        let found = requests(events, Moment::FINAL);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].spans[0].deliveries, 2);
        assert_eq!(found[0].spans[0].event.received_ns, 3);
    }
}

#[test]
fn a_reused_request_id_does_not_merge_two_correlation_ids() {
    let found = requests(
        vec![event(1, Hop::Edge, 10, 20), event(2, Hop::Edge, 11, 20), event(3, Hop::Sidecar, 0, 20)],
        Moment::FINAL,
    );
    assert_eq!(found.len(), 3, "whose the sidecar's record is, its id does not say");
    assert!(found.iter().all(|request| request.shared_ids == [(IdKind::Request, 20)]));
}

#[test]
fn a_chain_of_sound_ids_does_not_merge_two_correlation_ids_either() {
    let between = HopEvent { edge_request_id: 30, ..event(3, Hop::Shield, 0, 20) };
    let second = HopEvent { edge_request_id: 30, ..event(2, Hop::Edge, 11, 0) };
    let found = requests(vec![event(1, Hop::Edge, 10, 20), second, between], Moment::FINAL);
    assert_eq!(found.len(), 2, "Envoy's request id outranks Fastly's");
    assert!(found.iter().all(|request| request.shared_ids == [(IdKind::EdgeRequest, 30)]));
    assert_eq!(found[0].related[0].why, RelatedBy::Conflict(IdKind::EdgeRequest));
}

#[test]
fn nothing_joins_across_tenants() {
    let other = HopEvent { tenant: "other".into(), ..event(2, Hop::Gateway, 10, 0) };
    assert_eq!(requests(vec![event(1, Hop::Edge, 10, 0), other], Moment::FINAL).len(), 2);
}

#[test]
fn an_id_on_absurdly_many_events_is_no_request() {
    let many = EVENTS_PER_REQUEST as u64 + 1;
    let found = requests((0..many).map(|key| event(key, Hop::Gateway, 0, 20)).collect(), Moment::FINAL);
    assert_eq!(found.len(), many as usize);
}

#[test]
fn no_events_are_no_requests() {
    assert!(requests(Vec::new(), Moment::FINAL).is_empty());
}

/// Events with few different ids, so that they clash.
fn any_event() -> impl Strategy<Value = HopEvent<'static>> {
    let ids = (0u128..4, 0u128..4, 0u128..4, 0u128..3);
    (0u64..40, ids, 0u8..10, 0u8..3, 0i64..5_000_000, any::<bool>(), 0i64..3).prop_map(
        |(event_key, (correlation, request, edge, trace), hop, direction, start_ns, weak, received_ns)| {
            HopEvent {
                tenant: "default".into(),
                event_key,
                received_ns,
                hop: Hop::from_number(hop).unwrap_or_default(),
                direction: Direction::from_number(direction).unwrap_or_default(),
                correlation_id: correlation,
                request_id: if request == 0 { 0 } else { 100 + request },
                edge_request_id: if edge == 0 { 0 } else { 200 + edge },
                trace_id: if trace == 0 { 0 } else { 300 + trace },
                notes: if weak { Notes::WEAK_ID } else { Notes::NONE },
                attributes: if weak { vec![("edge_request_id".into(), "12ab".into())] } else { Vec::new() },
                start_ns,
                ..HopEvent::default()
            }
        },
    )
}

fn any_events() -> impl Strategy<Value = Vec<HopEvent<'static>>> {
    proptest::collection::vec(any_event(), 0..24)
}

/// Whether two events are linked by anything that may link.
fn linked(a: &HopEvent<'_>, b: &HopEvent<'_>) -> bool {
    let (a, b) = (EventIds::from(a), EventIds::from(b));
    a.bridging().any(|id| b.bridging().any(|other| id == other))
}

proptest! {
    #[test]
    fn any_order_gives_the_same_answer(
        (events, shuffled) in any_events().prop_flat_map(|events| {
            (Just(events.clone()), Just(events).prop_shuffle())
        })
    ) {
        prop_assert_eq!(requests(events, Moment::FINAL), requests(shuffled, Moment::FINAL));
    }

    #[test]
    fn duplicates_change_only_the_count(events in any_events()) {
        let mut once = requests(events.clone(), Moment::FINAL);
        let twice = requests([events.clone(), events].concat(), Moment::FINAL);
        for hop in once.iter_mut().flat_map(|request| &mut request.spans) {
            hop.deliveries *= 2;
        }
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn every_event_is_in_exactly_one_request(events in any_events()) {
        let keys: BTreeSet<u64> = events.iter().map(|event| event.event_key).collect();
        let found = requests(events, Moment::FINAL);
        let placed: Vec<u64> =
            found.iter().flat_map(|request| &request.spans).map(|hop| hop.event.event_key).collect();
        prop_assert_eq!(placed.len(), keys.len());
        prop_assert_eq!(placed.into_iter().collect::<BTreeSet<_>>(), keys);
    }

    #[test]
    fn a_request_has_one_correlation_id(events in any_events()) {
        for request in requests(events, Moment::FINAL) {
            let count = request.ids.iter().filter(|id| id.kind == IdKind::Correlation).count();
            prop_assert!(count <= 1);
        }
    }

    #[test]
    fn every_event_of_a_request_is_linked_into_it(events in any_events()) {
        // Neither a shared trace id nor a weak id puts an event into a request.
        for request in requests(events, Moment::FINAL).iter().filter(|request| request.spans.len() > 1) {
            for hop in &request.spans {
                let link = request.spans.iter().any(|other| other != hop && linked(&hop.event, &other.event));
                prop_assert!(link, "{:?} has no link", hop.event.event_key);
            }
        }
    }

    #[test]
    fn a_shared_trace_id_alone_never_merges(mut events in any_events()) {
        for event in &mut events {
            (event.correlation_id, event.request_id, event.edge_request_id) = (0, 0, 0);
            event.trace_id = 300;
        }
        prop_assert!(requests(events, Moment::FINAL).iter().all(|request| request.spans.len() == 1));
    }

    #[test]
    fn a_shared_weak_id_alone_never_merges(mut events in any_events()) {
        for event in &mut events {
            (event.correlation_id, event.request_id, event.edge_request_id) = (0, 0, 200);
            event.notes = Notes::WEAK_ID;
            event.attributes = vec![("edge_request_id".into(), "12ab".into())];
        }
        prop_assert!(requests(events, Moment::FINAL).iter().all(|request| request.spans.len() == 1));
    }
}
