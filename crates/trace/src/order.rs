//! The order of the hops of one request as far as places and clocks tell; links refine it.
//!
//! Hops are ordered by their place on the way (edge before shield before gateway), then by start, then by direction.
//! Starts are compared no finer than the coarsest clock among the events of that hop: a start in whole milliseconds
//! says nothing about the order within one. Clocks of different servers are not corrected here.

use std::collections::BTreeMap;

use event::{Direction, Hop};

use crate::fold::Seen;
use crate::place::step_ns;

/// Sorts the events of one request into the order of travel. Total: equal only for equal events.
pub(crate) fn sort(seen: &mut [Seen]) {
    let mut coarsest: BTreeMap<Hop, i64> = BTreeMap::new();
    for Seen { event, .. } in seen.iter() {
        let step = step_ns(event.start_precision);
        coarsest.entry(event.hop).and_modify(|known| *known = step.max(*known)).or_insert(step);
    }
    seen.sort_by_cached_key(|Seen { event, .. }| {
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

#[cfg(test)]
mod tests {
    use event::{HopEvent, Precision};

    use super::*;

    const MS: i64 = 1_000_000;

    fn hop(hop: Hop, direction: Direction, pod: &str, start_ns: i64) -> Seen {
        let event = HopEvent {
            hop,
            direction,
            pod: pod.to_owned().into(),
            start_ns,
            start_precision: Precision::Microsecond,
            event_key: start_ns as u64,
            ..HopEvent::default()
        };
        Seen { event, deliveries: 1, also: Vec::new() }
    }

    #[test]
    fn starts_are_not_compared_finer_than_the_coarsest_clock() {
        let mut inbound = hop(Hop::Sidecar, Direction::Inbound, "a", 7 * MS + 900);
        let mut outbound = hop(Hop::Sidecar, Direction::Outbound, "a", 7 * MS);
        outbound.event.start_precision = Precision::Millisecond;
        inbound.event.event_key = 1;
        let mut events = vec![outbound, inbound];
        sort(&mut events);
        assert_eq!(events[0].event.direction, Direction::Inbound);
    }

    #[test]
    fn skewed_clocks_do_not_put_the_gateway_before_the_edge() {
        let mut events = vec![
            hop(Hop::Gateway, Direction::Inbound, "gw", 0),
            hop(Hop::Edge, Direction::Unknown, "", 50 * MS),
        ];
        sort(&mut events);
        assert_eq!(events[0].event.hop, Hop::Edge);
    }
}
