//! What is one group, when it settles, and that nothing is lost or kept.

use std::collections::BTreeSet;

use super::super::chunk::Packer;
use super::*;

const SETTLE_US: i64 = 15_000_000;

fn event(key: u64, correlation: u128, request: u128) -> HopEvent<'static> {
    HopEvent {
        tenant: "default".into(),
        event_key: key,
        correlation_id: correlation,
        request_id: request,
        ..HopEvent::default()
    }
}

fn packed(events: &[HopEvent<'static>]) -> Bytes {
    let mut packer = Packer::default();
    for event in events {
        let mut bytes = Vec::new();
        event::wire::put_event(event, &mut bytes);
        assert!(packer.push(&bytes).unwrap().is_none());
    }
    packer.finish().unwrap().unwrap().1.into()
}

fn keys(settled: &[Settled]) -> Vec<BTreeSet<u64>> {
    let key = |bytes: &[u8]| match event::wire::read(bytes).unwrap() {
        event::Record::Event(event) => event.event_key,
        _ => panic!("an event"),
    };
    let mut groups: Vec<BTreeSet<u64>> =
        settled.iter().map(|group| group.events().map(key).collect()).collect();
    groups.sort();
    groups
}

fn all_of(pending: &mut Pending) -> Vec<BTreeSet<u64>> {
    let settled = pending.take_settled(i64::MAX, usize::MAX);
    assert_eq!((pending.groups(), pending.first_us()), (0, None));
    assert_eq!(pending.bytes(), 0, "everything is given back");
    assert!(pending.chunks.is_empty() && pending.holders.is_empty());
    keys(&settled)
}

fn sets(groups: &[&[u64]]) -> Vec<BTreeSet<u64>> {
    groups.iter().map(|group| group.iter().copied().collect()).collect()
}

#[test]
fn any_shared_per_request_id_makes_one_group_in_any_order() {
    let events = [event(1, 10, 0), event(2, 10, 20), event(3, 0, 20), event(4, 11, 0), event(5, 0, 0)];
    for order in [[0, 1, 2, 3, 4], [2, 0, 1, 4, 3], [4, 3, 2, 1, 0], [0, 2, 3, 4, 1]] {
        let mut pending = Pending::new(SETTLE_US);
        for (at, index) in order.into_iter().enumerate() {
            let chunk = packed(&[events[index].clone()]);
            assert_eq!(pending.add(chunk, at as i64, |_| false).unwrap(), (1, 0));
        }
        assert_eq!(all_of(&mut pending), sets(&[&[1, 2, 3], &[4], &[5]]));
    }
}

#[test]
fn tenants_never_meet_and_trace_ids_never_tie() {
    let mut pending = Pending::new(SETTLE_US);
    let other = HopEvent { tenant: "other".into(), ..event(2, 10, 0) };
    let traced = |key| HopEvent { trace_id: 7, ..event(key, 0, u128::from(key)) };
    pending.add(packed(&[event(1, 10, 0), other, traced(3), traced(4)]), 0, |_| false).unwrap();
    assert_eq!(all_of(&mut pending), sets(&[&[1], &[2], &[3], &[4]]));
}

#[test]
fn the_span_that_the_edge_sent_ties_what_has_no_other_id_of_the_edge() {
    let mut pending = Pending::new(SETTLE_US);
    let edge = HopEvent { hop: Hop::Edge, trace_id: 7, span_id: 70, ..event(1, 10, 0) };
    let below = HopEvent { hop: Hop::Gateway, trace_id: 7, parent_span_id: 70, ..event(2, 0, 20) };
    let stranger = HopEvent { parent_span_id: 71, ..below.clone() };
    let stranger = HopEvent { event_key: 3, request_id: 21, ..stranger };
    pending.add(packed(&[below, stranger, edge]), 0, |_| false).unwrap();
    assert_eq!(all_of(&mut pending), sets(&[&[1, 2], &[3]]));
}

#[test]
fn a_group_settles_when_nothing_came_for_the_window() {
    let mut pending = Pending::new(SETTLE_US);
    pending.add(packed(&[event(1, 10, 0), event(2, 11, 0)]), 1_000_000, |_| false).unwrap();
    pending.add(packed(&[event(3, 10, 0)]), 9_000_000, |_| false).unwrap();
    assert_eq!(pending.first_us(), Some(1_000_000));
    assert!(pending.take_settled(15_999_999, 100).is_empty());
    assert_eq!(keys(&pending.take_settled(16_000_000, 100)), sets(&[&[2]]));
    assert_eq!(pending.first_us(), Some(1_000_000), "the other began then, too");
    assert!(pending.take_settled(23_999_999, 100).is_empty());
    assert_eq!(keys(&pending.take_settled(24_000_000, 100)), sets(&[&[1, 3]]));
    assert_eq!((pending.bytes(), pending.groups()), (0, 0));
}

#[test]
fn a_group_that_goes_on_for_ever_is_settled_by_its_age() {
    let mut pending = Pending::new(SETTLE_US);
    for second in 0..400 {
        pending.add(packed(&[event(second, 10, 0)]), second as i64 * 1_000_000, |_| false).unwrap();
        let settled = pending.take_settled(second as i64 * 1_000_000, 1000);
        assert_eq!(settled.len(), usize::from(second == 300), "second {second}");
    }
}

#[test]
fn an_id_on_too_many_events_ties_no_more() {
    let mut pending = Pending::new(SETTLE_US);
    let many: Vec<_> = (0..EVENTS_PER_REQUEST as u64 + 10).map(|key| event(key, 10, 0)).collect();
    for part in many.chunks(500) {
        pending.add(packed(part), 0, |_| false).unwrap();
    }
    // Those over the bound stand alone, as they do in an assembly.
    assert_eq!(pending.groups(), 11);
    let groups = all_of(&mut pending);
    assert_eq!(groups.iter().map(BTreeSet::len).max(), Some(EVENTS_PER_REQUEST));
}

#[test]
fn a_chain_of_ids_does_not_weld_the_world_together() {
    let mut pending = Pending::new(SETTLE_US);
    // Each event shares one id with the one before and another with the one after.
    let link = |n: u64| HopEvent {
        edge_request_id: u128::from(n.div_ceil(2)) + 1,
        ..event(n, 0, u128::from(n / 2) + 1)
    };
    let chain: Vec<_> = (1..12_000u64).map(link).collect();
    for part in chain.chunks(500) {
        pending.add(packed(part), 0, |_| false).unwrap();
    }
    let groups = all_of(&mut pending);
    assert_eq!(groups.iter().map(BTreeSet::len).sum::<usize>(), 11_999);
    assert!(groups.iter().all(|group| group.len() <= GROUP_EVENTS + 1));
}

#[test]
fn known_events_are_skipped_and_damage_is_counted() {
    let mut pending = Pending::new(SETTLE_US);
    assert_eq!(pending.add(packed(&[event(1, 1, 0), event(2, 2, 0)]), 0, |key| key == 1).unwrap(), (1, 0));
    let mut packer = Packer::default();
    packer.push(b"no event").unwrap();
    let damaged = packer.finish().unwrap().unwrap().1;
    assert_eq!(pending.add(damaged.into(), 0, |_| false).unwrap(), (0, 1));
    assert_eq!(all_of(&mut pending), sets(&[&[2]]));
}

#[test]
fn under_pressure_the_next_to_settle_go_first() {
    let mut pending = Pending::new(SETTLE_US);
    for second in 0..50 {
        let events: Vec<_> =
            (0..20).map(|n| event(second * 100 + n, u128::from(second * 100 + n + 1), 0)).collect();
        pending.add(packed(&events), second as i64 * 1_000_000, |_| false).unwrap();
    }
    let (full, groups) = (pending.bytes(), pending.groups());
    let taken = pending.take_early(full / 2, usize::MAX);
    assert!(pending.bytes() <= full / 2, "{} of {full}", pending.bytes());
    assert!(taken.len() < groups * 6 / 10, "{} of {groups}", taken.len());
    assert!(taken.iter().all(|group| group.first_us <= 30_000_000));
    assert_eq!(taken.len() + pending.groups(), groups);
}
