//! The order of the hops of one request, and how deep each lies.
//!
//! Hops are ordered by their place on the way (edge before shield before gateway), then by start, then by direction.
//! Starts are compared no finer than the coarsest clock among the events of that hop: a start in whole milliseconds
//! says nothing about the order within one. Clocks of different servers are not corrected here.

use std::collections::BTreeMap;

use event::{Direction, Hop, HopEvent, Precision};

/// Sorts the events of one request into the order of travel. Total: equal only for equal events.
pub(crate) fn sort(events: &mut [HopEvent<'static>]) {
    let mut coarsest: BTreeMap<Hop, i64> = BTreeMap::new();
    for event in events.iter() {
        let step = step_ns(event.start_precision);
        coarsest.entry(event.hop).and_modify(|known| *known = step.max(*known)).or_insert(step);
    }
    events.sort_by_cached_key(|event| {
        let step = coarsest.get(&event.hop).copied().unwrap_or(1);
        (
            place(event.hop),
            event.visits.unwrap_or(0),
            event.start_ns.div_euclid(step),
            event.intermediate,
            direction(event.direction),
            event.attempt,
            event.restarts.unwrap_or(0),
            event.start_ns,
            event.event_key,
        )
    });
}

/// The depth of every event of a sorted request: edge 0, shield 1, gateway 2, then each proxy one below the one that
/// called it as far as the records tell: sidecar inbound 3, its outbound 4, the next inbound 5.
pub(crate) fn depths(sorted: &[HopEvent<'_>]) -> Vec<u32> {
    let mut depths: Vec<u32> = Vec::with_capacity(sorted.len());
    for (at, event) in sorted.iter().enumerate() {
        let before = || sorted[..at].iter().zip(depths.iter().copied());
        let deepest = || before().map(|(_, depth)| depth).max();
        let below_deepest = || deepest().map_or(0, |depth| depth + 1);
        let depth = match (event.hop, event.direction) {
            (Hop::Edge, _) => 0,
            (Hop::Shield, _) => 1,
            (Hop::Gateway, _) => 2,
            (Hop::Ztunnel | Hop::Waypoint, _) => 3,
            // An outbound record lies below the inbound one of its own workload.
            (Hop::Sidecar, Direction::Outbound) => before()
                .rfind(|(other, _)| is_inbound(other) && same_workload(other, event))
                .map_or(4, |(_, depth)| depth + 1),
            // An inbound record lies below the outbound one that named its workload, else below the last outbound one
            // of another workload, else below the gateway.
            (Hop::Sidecar, _) => before()
                .rfind(|(other, _)| is_outbound(other) && leads_to(other, event))
                .or_else(|| before().rfind(|(other, _)| is_outbound(other) && !same_workload(other, event)))
                .map_or(3, |(_, depth)| depth + 1),
            (Hop::Service, _) => before()
                .rfind(|(other, _)| is_inbound(other) && same_workload(other, event))
                .map_or_else(below_deepest, |(_, depth)| depth + 1),
            (Hop::Egress | Hop::Origin | Hop::Unknown, _) => below_deepest(),
        };
        depths.push(depth);
    }
    depths
}

fn is_inbound(event: &HopEvent<'_>) -> bool {
    event.hop == Hop::Sidecar && event.direction == Direction::Inbound
}

fn is_outbound(event: &HopEvent<'_>) -> bool {
    event.hop == Hop::Sidecar && event.direction == Direction::Outbound
}

/// Whether both records come from one workload, by the narrowest name that both give.
fn same_workload(a: &HopEvent<'_>, b: &HopEvent<'_>) -> bool {
    [(&a.node, &b.node), (&a.pod, &b.pod), (&a.workload, &b.workload), (&a.service, &b.service)]
        .into_iter()
        .find(|(a, b)| !a.is_empty() && !b.is_empty())
        .is_some_and(|(a, b)| a == b)
}

/// Whether an outbound record names the workload of an inbound one as where it went.
fn leads_to(outbound: &HopEvent<'_>, inbound: &HopEvent<'_>) -> bool {
    let peer_matches = |peer: &str, own: &str| !peer.is_empty() && peer == own;
    peer_matches(&outbound.peer_workload, &inbound.workload)
        || peer_matches(&outbound.upstream_remote, &inbound.downstream_local)
}

/// Hops in the order of travel; a hop that is not known comes last, for nothing says where it belongs.
fn place(hop: Hop) -> u8 {
    match hop {
        Hop::Unknown => u8::MAX,
        known => known as u8,
    }
}

/// At one instant a workload is called before it calls.
fn direction(direction: Direction) -> u8 {
    match direction {
        Direction::Inbound => 0,
        Direction::Unknown => 1,
        Direction::Outbound => 2,
    }
}

/// The width of one step of a clock. A time of receipt stands in for a start that was not logged: a second is a guess
/// at how late a record may be.
fn step_ns(precision: Precision) -> i64 {
    match precision {
        Precision::Received | Precision::Second => 1_000_000_000,
        Precision::Millisecond => 1_000_000,
        Precision::Microsecond => 1_000,
        Precision::Nanosecond => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn hop(hop: Hop, direction: Direction, pod: &str, start_ns: i64) -> HopEvent<'static> {
        HopEvent {
            hop,
            direction,
            pod: pod.to_owned().into(),
            start_ns,
            start_precision: Precision::Microsecond,
            event_key: start_ns as u64,
            ..HopEvent::default()
        }
    }

    #[test]
    fn a_chain_goes_down_step_by_step() {
        let mut events = vec![
            hop(Hop::Sidecar, Direction::Inbound, "b", 6 * MS),
            hop(Hop::Sidecar, Direction::Outbound, "a", 5 * MS),
            hop(Hop::Sidecar, Direction::Inbound, "a", 4 * MS),
            hop(Hop::Gateway, Direction::Inbound, "gw", 3 * MS),
            hop(Hop::Shield, Direction::Unknown, "", 2 * MS),
            hop(Hop::Edge, Direction::Unknown, "", MS),
        ];
        sort(&mut events);
        assert_eq!(depths(&events), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn retries_lie_side_by_side() {
        let mut events = vec![
            hop(Hop::Gateway, Direction::Inbound, "gw", 0),
            hop(Hop::Sidecar, Direction::Inbound, "b-1", MS),
            hop(Hop::Sidecar, Direction::Inbound, "b-2", 2 * MS),
        ];
        sort(&mut events);
        assert_eq!(depths(&events), [2, 3, 3]);
    }

    #[test]
    fn the_two_calls_of_one_workload_lie_side_by_side() {
        let mut events = vec![
            hop(Hop::Sidecar, Direction::Inbound, "a", 0),
            hop(Hop::Sidecar, Direction::Outbound, "a", MS),
            hop(Hop::Sidecar, Direction::Inbound, "b", 2 * MS),
            hop(Hop::Sidecar, Direction::Outbound, "a", 3 * MS),
            hop(Hop::Sidecar, Direction::Inbound, "c", 4 * MS),
        ];
        sort(&mut events);
        assert_eq!(depths(&events), [3, 4, 5, 4, 5]);
    }

    #[test]
    fn starts_are_not_compared_finer_than_the_coarsest_clock() {
        let mut inbound = hop(Hop::Sidecar, Direction::Inbound, "a", 7 * MS + 900);
        let mut outbound = hop(Hop::Sidecar, Direction::Outbound, "a", 7 * MS);
        outbound.start_precision = Precision::Millisecond;
        inbound.event_key = 1;
        let mut events = vec![outbound, inbound];
        sort(&mut events);
        assert_eq!(events[0].direction, Direction::Inbound);
    }

    #[test]
    fn skewed_clocks_do_not_put_the_gateway_before_the_edge() {
        let mut events = vec![
            hop(Hop::Gateway, Direction::Inbound, "gw", 0),
            hop(Hop::Edge, Direction::Unknown, "", 50 * MS),
        ];
        sort(&mut events);
        assert_eq!(events[0].hop, Hop::Edge);
    }
}
