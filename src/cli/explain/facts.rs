//! What records say, counted per hop and format while they are read: enough to tell why they join or do not.

use std::collections::HashSet;

use correlation::IdKind;
use event::{Direction, Hop, HopEvent, Notes, Precision};
use trace::EventIds;

/// Places (POPs, pods, servers) that are told apart; more are as good as many.
const PLACES_MOST: usize = 10_000;

/// What the records of one hop in one format say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HopFacts {
    /// Events.
    pub(super) records: u64,
    /// Events that carry an id of each kind, by [`IdKind::ALL`].
    pub(super) with_id: [u64; 4],
    /// Events of which an id is weak.
    pub(super) weak: u64,
    /// Events that carry no id that could join them.
    pub(super) unjoinable: u64,
    /// Events without a duration.
    pub(super) without_duration: u64,
    /// Events without headers, which can carry no id: TCP connections, and bytes that were no request.
    pub(super) headless: u64,
    /// Events by the precision of their start, by [`Precision::ALL`].
    pub(super) precisions: [u64; 5],
    /// First and last start.
    pub(super) range: Option<(i64, i64)>,
    /// Hashes of the places.
    pub(super) places: HashSet<u64>,
}

/// Facts by hop, direction and format.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts(pub(super) Vec<(Hop, Direction, String, HopFacts)>);

impl Facts {
    /// Counts one event.
    pub(super) fn add(&mut self, event: &HopEvent<'_>, ids: &EventIds) {
        self.of(event.hop, event.direction, &event.format).add(event, ids);
    }

    /// Adds what another reader counted.
    pub(super) fn merge(&mut self, other: Self) {
        for (hop, direction, format, facts) in other.0 {
            self.of(hop, direction, &format).merge(facts);
        }
    }

    fn of(&mut self, hop: Hop, direction: Direction, format: &str) -> &mut HopFacts {
        // A handful of entries: looking through them is quicker than hashing.
        let known = self.0.iter().position(|(h, d, f, _)| *h == hop && *d == direction && f == format);
        let at = known.unwrap_or_else(|| {
            self.0.push((hop, direction, format.to_owned(), HopFacts::default()));
            self.0.len() - 1
        });
        &mut self.0[at].3
    }

    /// Everything that `is_wanted` says, as one.
    pub(super) fn sum(&self, is_wanted: impl Fn(Hop, Direction, &str) -> bool) -> HopFacts {
        let mut sum = HopFacts::default();
        for (_, _, _, facts) in
            self.0.iter().filter(|(hop, direction, format, _)| is_wanted(*hop, *direction, format))
        {
            sum.merge(facts.clone());
        }
        sum
    }

    /// Hops and directions, in the order of travel.
    pub(super) fn hops(&self) -> Vec<(Hop, Direction)> {
        let mut hops: Vec<(Hop, Direction)> =
            self.0.iter().map(|(hop, direction, _, _)| (*hop, *direction)).collect();
        // What does not say its place comes last.
        hops.sort_unstable_by_key(|&(hop, direction)| (hop == Hop::Unknown, hop, direction));
        hops.dedup();
        hops
    }
}

impl HopFacts {
    fn add(&mut self, event: &HopEvent<'_>, ids: &EventIds) {
        self.records += 1;
        for (kind, _) in ids.all() {
            self.with_id[kind as usize - 1] += 1;
        }
        self.weak += u64::from(event.notes.contains(Notes::WEAK_ID));
        let is_headless = event.method.is_empty() && event.host.is_empty() && event.path.is_empty();
        self.headless += u64::from(is_headless);
        self.unjoinable += u64::from(!is_headless && ids.bridging().next().is_none());
        self.without_duration += u64::from(event.duration_ns.is_none());
        self.precisions[event.start_precision as usize] += 1;
        if event.start_precision != Precision::Received {
            self.extend(event.start_ns, event.start_ns);
        }
        if let Some(server) = trace::skew::server(event)
            && self.places.len() < PLACES_MOST
        {
            self.places.insert(super::hash(&server));
        }
    }

    fn extend(&mut self, first: i64, last: i64) {
        let (known_first, known_last) = self.range.unwrap_or((first, last));
        self.range = Some((known_first.min(first), known_last.max(last)));
    }

    fn merge(&mut self, other: Self) {
        self.records += other.records;
        for (sum, count) in self.with_id.iter_mut().zip(other.with_id) {
            *sum += count;
        }
        self.weak += other.weak;
        self.unjoinable += other.unjoinable;
        self.without_duration += other.without_duration;
        self.headless += other.headless;
        for (sum, count) in self.precisions.iter_mut().zip(other.precisions) {
            *sum += count;
        }
        if let Some((first, last)) = other.range {
            self.extend(first, last);
        }
        if self.places.len() < PLACES_MOST {
            self.places.extend(other.places);
        }
    }

    /// Events with an id of a kind.
    pub(super) fn with(&self, kind: IdKind) -> u64 {
        self.with_id[kind as usize - 1]
    }

    /// The coarsest clock that wrote at least a hundredth of the starts.
    pub(super) fn clock(&self) -> Precision {
        let is_seen =
            |precision: &&Precision| self.precisions[**precision as usize] * 100 >= self.records.max(1);
        Precision::ALL.iter().find(is_seen).copied().unwrap_or_default()
    }
}

/// No method, no path and no status: a TCP connection.
pub(super) fn is_connection(event: &HopEvent<'_>) -> bool {
    event.method.is_empty() && event.path.is_empty() && event.status == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_add_up_over_readers() {
        let event = |hop, correlation_id, start_ns| HopEvent {
            hop,
            correlation_id,
            start_ns,
            start_precision: Precision::Millisecond,
            server: "cache-fra-1".into(),
            method: "GET".into(),
            format: "x".into(),
            ..HopEvent::default()
        };
        let count = |events: &[HopEvent<'_>]| {
            let mut facts = Facts::default();
            for event in events {
                facts.add(event, &EventIds::from(event));
            }
            facts
        };
        let mut sum = count(&[event(Hop::Edge, 1, 5), event(Hop::Edge, 0, 9)]);
        sum.merge(count(&[event(Hop::Edge, 2, 2), event(Hop::Gateway, 2, 3)]));
        assert_eq!(sum.hops(), [(Hop::Edge, Direction::Unknown), (Hop::Gateway, Direction::Unknown)]);
        let edge = sum.sum(|hop, _, _| hop == Hop::Edge);
        assert_eq!((edge.records, edge.with(IdKind::Correlation), edge.unjoinable), (3, 2, 1));
        assert_eq!((edge.range, edge.places.len(), edge.clock()), (Some((2, 9)), 1, Precision::Millisecond));
    }
}
