//! From one id to every event that may belong to its request: which ids to look up next.
//!
//! The caller looks ids up in the store and adds what it found; the closure says what to look up after that, until
//! there is nothing left or a bound is reached. Bounds truncate and say so ([`Truncation`]); they never un-join.
//!
//! Two rules keep a hostile or careless id from pulling in the world:
//! - a trace id is followed only from events that were reached without one (it gathers one level of neighbours);
//! - an id found on more events than [`Bounds::events_per_id`] is weak by use: nothing is followed through it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::forming::EVENTS_PER_REQUEST;
use crate::ids::EventIds;

/// How far a closure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Ids looked up, the asked ones included.
    pub ids: usize,
    /// Events held.
    pub events: usize,
    /// Events of one id above which it is weak by use.
    pub events_per_id: usize,
    /// Rounds of look-ups.
    pub rounds: usize,
}

impl Default for Bounds {
    /// A request crosses some ten hops; these leave room for retries and a fan-out of a hundred, and keep an answer
    /// within a few megabytes.
    fn default() -> Self {
        Self { ids: 512, events: 5_000, events_per_id: EVENTS_PER_REQUEST, rounds: 8 }
    }
}

/// Which bound cut an answer short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truncation {
    /// More ids to follow than [`Bounds::ids`].
    Ids(usize),
    /// More events than [`Bounds::events`].
    Events(usize),
    /// An id on more events than [`Bounds::events_per_id`].
    EventsPerId(usize),
    /// Still new ids after [`Bounds::rounds`].
    Rounds(usize),
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(bound) => {
                write!(f, "more than {bound} ids are linked to it; the rest was not followed")
            }
            Self::Events(bound) => {
                write!(f, "more than {bound} events are linked to it; the rest was left out")
            }
            Self::EventsPerId(bound) => {
                write!(f, "an id is on more than {bound} events and was not followed further")
            }
            Self::Rounds(bound) => write!(f, "still new ids after {bound} rounds of look-ups"),
        }
    }
}

/// The gathering of candidates for one asked id.
#[derive(Debug, Clone)]
pub struct Closure {
    bounds: Bounds,
    asked: BTreeSet<u128>,
    looked_up: BTreeSet<u128>,
    events: BTreeMap<u64, EventIds>,
    rounds: usize,
    truncation: Option<Truncation>,
}

impl Closure {
    /// Starts from the values that an asked id may be stored under (`correlation::Id::candidates`).
    pub fn new(asked: impl IntoIterator<Item = u128>, bounds: Bounds) -> Self {
        Self {
            bounds,
            asked: asked.into_iter().filter(|&value| value != 0).collect(),
            looked_up: BTreeSet::new(),
            events: BTreeMap::new(),
            rounds: 0,
            truncation: None,
        }
    }

    /// The ids to look up next, in ascending order; empty when the closure is finished.
    ///
    /// Every call is one round: add what the previous round found first. Ask the store for at most
    /// [`Bounds::events_per_id`] + 1 rows of an id, so that the bound is seen.
    pub fn next_ids(&mut self) -> Vec<u128> {
        let mut wanted: Vec<u128> = self.reachable().difference(&self.looked_up).copied().collect();
        if wanted.is_empty() || matches!(self.truncation, Some(Truncation::Events(_))) {
            return Vec::new();
        }
        if self.rounds == self.bounds.rounds {
            self.truncation = Some(Truncation::Rounds(self.bounds.rounds));
            return Vec::new();
        }
        let room = self.bounds.ids.saturating_sub(self.looked_up.len());
        if wanted.len() > room {
            self.truncation = Some(Truncation::Ids(self.bounds.ids));
            wanted.truncate(room);
        }
        self.rounds += 1;
        self.looked_up.extend(&wanted);
        wanted
    }

    /// Adds the rows that a look-up found; rows of one event, in whatever order, count once.
    pub fn add(&mut self, rows: impl IntoIterator<Item = EventIds>) {
        for row in rows {
            if self.events.len() >= self.bounds.events && !self.events.contains_key(&row.event_key) {
                self.truncation = Some(Truncation::Events(self.bounds.events));
                return;
            }
            self.events.insert(row.event_key, row);
        }
    }

    /// The keys of the events that were gathered, ascending.
    pub fn event_keys(&self) -> impl Iterator<Item = u64> {
        self.events.keys().copied()
    }

    /// The bound that cut the gathering short, if one did.
    pub fn truncation(&self) -> Option<Truncation> {
        self.truncation
    }

    /// Every id that the rules reach from the asked ones over the events held so far.
    fn reachable(&mut self) -> BTreeSet<u128> {
        let mut uses: BTreeMap<u128, usize> = BTreeMap::new();
        for event in self.events.values() {
            for (_, value) in event.all() {
                *uses.entry(value).or_default() += 1;
            }
        }
        let worn = |value: u128| uses.get(&value).is_some_and(|&count| count > self.bounds.events_per_id);
        // `near` was reached without following a trace id, `far` over one.
        let mut near = self.asked.clone();
        let mut far = BTreeSet::new();
        loop {
            let before = (near.len(), far.len());
            for event in self.events.values() {
                let reached_by = |set: &BTreeSet<u128>| {
                    event.all().any(|(_, value)| {
                        set.contains(&value) && (self.asked.contains(&value) || !worn(value))
                    })
                };
                if reached_by(&near) {
                    near.extend(event.bridging().map(|(_, value)| value));
                    far.extend(event.all().map(|(_, value)| value));
                } else if reached_by(&far) {
                    far.extend(event.bridging().map(|(_, value)| value));
                }
            }
            if before == (near.len(), far.len()) {
                break;
            }
        }
        near.append(&mut far);
        if self.truncation.is_none() && near.iter().any(|&value| worn(value)) {
            self.truncation = Some(Truncation::EventsPerId(self.bounds.events_per_id));
        }
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(event_key: u64, correlation: u128, request: u128, trace: u128) -> EventIds {
        EventIds { event_key, values: [correlation, request, 0, trace], weak: [false; 4] }
    }

    /// Runs a closure over a table of rows, as a store would answer.
    fn gather(asked: u128, bounds: Bounds, table: &[EventIds]) -> (Vec<u64>, Option<Truncation>) {
        let mut closure = Closure::new([asked], bounds);
        loop {
            let ids = closure.next_ids();
            if ids.is_empty() {
                return (closure.event_keys().collect(), closure.truncation());
            }
            closure.add(table.iter().copied().filter(|row| row.all().any(|(_, value)| ids.contains(&value))));
        }
    }

    #[test]
    fn ids_lead_on_over_the_events_that_carry_two() {
        let table = [row(1, 10, 0, 0), row(2, 10, 20, 0), row(3, 0, 20, 0), row(4, 11, 21, 0)];
        assert_eq!(gather(10, Bounds::default(), &table), (vec![1, 2, 3], None));
        assert_eq!(gather(20, Bounds::default(), &table), (vec![1, 2, 3], None));
    }

    #[test]
    fn a_trace_id_is_followed_once() {
        // 1 -(trace 90)- 2 -(request 22)- 3 -(trace 91)- 4: the second trace id leads to strangers.
        let table = [row(1, 10, 0, 90), row(2, 0, 22, 90), row(3, 0, 22, 91), row(4, 0, 23, 91)];
        assert_eq!(gather(10, Bounds::default(), &table), (vec![1, 2, 3], None));
    }

    #[test]
    fn an_id_on_too_many_events_is_not_followed_and_the_answer_says_so() {
        let mut table: Vec<EventIds> = (0..20).map(|n| row(n, 0, 100 + u128::from(n), 90)).collect();
        table.push(row(50, 10, 0, 90));
        let bounds = Bounds { events_per_id: 5, ..Bounds::default() };
        let (keys, truncation) = gather(10, bounds, &table);
        assert!(keys.contains(&50));
        assert_eq!(truncation, Some(Truncation::EventsPerId(5)));
    }

    #[test]
    fn every_bound_ends_the_gathering() {
        let chain: Vec<EventIds> =
            (0..100).map(|n| row(n, u128::from(n) + 1, u128::from(n) + 1000, 0)).collect();
        let linked: Vec<EventIds> =
            (0..99).map(|n| row(n + 200, u128::from(n) + 2, u128::from(n) + 1000, 0)).chain(chain).collect();
        let rounds = Bounds { rounds: 3, ..Bounds::default() };
        assert_eq!(gather(1, rounds, &linked).1, Some(Truncation::Rounds(3)));
        let ids = Bounds { ids: 2, ..Bounds::default() };
        assert_eq!(gather(1, ids, &linked).1, Some(Truncation::Ids(2)));
        let events = Bounds { events: 2, ..Bounds::default() };
        let (keys, truncation) = gather(1, events, &linked);
        assert_eq!((keys.len(), truncation), (2, Some(Truncation::Events(2))));
    }

    #[test]
    fn nothing_asked_is_nothing_to_look_up() {
        assert!(Closure::new([0], Bounds::default()).next_ids().is_empty());
    }
}
