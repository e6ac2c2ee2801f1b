//! What settled requests say of clocks, gathered for an hour and written to the store every minute. Display only.
//!
//! The hour is that of assembling, never a sender's: a broken clock must not fill the table with hours of its own. A
//! row of an hour gives way to one that rests on more links, so that a restart in the middle of an hour costs nothing.

use std::collections::BTreeMap;

use store::query::SkewRow;
use trace::skew::{self, Observation};

/// Observations of a pair of servers that are kept for an hour.
const MOST_OF_PAIR: usize = 128;
/// Pairs that are kept for an hour, at some two kilobytes: a hundred pods that all call each other.
const MOST_PAIRS: usize = 10_000;
/// Seconds between two writings.
const WRITE_EVERY_S: i64 = 60;
const HOUR_S: i64 = 3600;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    tenant: String,
    from: String,
    to: String,
}

#[derive(Debug, Default)]
struct Known {
    bounds: Vec<(i64, i64)>,
    changed: bool,
}

/// Observations of this hour.
#[derive(Debug, Default)]
pub(crate) struct Skews {
    hour_s: i64,
    written_s: i64,
    pairs: BTreeMap<Pair, Known>,
}

impl Skews {
    /// Adds what a request of a tenant said.
    pub(crate) fn add(&mut self, tenant: &str, observation: Observation) {
        let Observation { from, to, low_ns, high_ns, at_ns: _ } = observation;
        let room = self.pairs.len() < MOST_PAIRS;
        let pair = Pair { tenant: tenant.to_owned(), from, to };
        if !room && !self.pairs.contains_key(&pair) {
            return;
        }
        let known = self.pairs.entry(pair).or_default();
        if known.bounds.len() < MOST_OF_PAIR {
            known.bounds.push((low_ns, high_ns));
            known.changed = true;
        }
    }

    /// What is to be written now, by the store's clock: nothing most of the time.
    pub(crate) fn due(&mut self, now_s: i64) -> Vec<SkewRow> {
        let hour_s = now_s - now_s.rem_euclid(HOUR_S);
        let turned = hour_s != self.hour_s && self.hour_s != 0;
        if !turned && now_s - self.written_s < WRITE_EVERY_S {
            return Vec::new();
        }
        let of_hour_s = if turned { self.hour_s } else { hour_s };
        let mut rows = Vec::new();
        for (pair, known) in &mut self.pairs {
            if std::mem::take(&mut known.changed) {
                rows.extend(row(pair, known, of_hour_s));
            }
        }
        (self.hour_s, self.written_s) = (hour_s, now_s);
        if turned {
            self.pairs.clear();
        }
        rows
    }
}

fn row(pair: &Pair, known: &Known, hour_s: i64) -> Option<SkewRow> {
    let observations = known.bounds.iter().map(|&(low_ns, high_ns)| Observation {
        from: String::new(),
        to: String::new(),
        at_ns: 0,
        low_ns,
        high_ns,
    });
    let learnt = skew::skews(observations).pop()?;
    Some(SkewRow {
        tenant: pair.tenant.clone(),
        hour_s: hour_s.clamp(0, i64::from(u32::MAX)) as u32,
        from_server: pair.from.clone(),
        to_server: pair.to.clone(),
        low_ns: learnt.low_ns,
        high_ns: learnt.high_ns,
        links: learnt.links,
        // Other rules first, then more links.
        version: (u64::from(skew::VERSION) << 48) | learnt.links,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(low_ns: i64, high_ns: i64) -> Observation {
        Observation { from: "a".into(), to: "b".into(), at_ns: 0, low_ns, high_ns }
    }

    #[test]
    fn an_hour_is_written_as_it_grows_and_begins_anew() {
        let mut skews = Skews::default();
        let hour = 3_600_000;
        assert!(skews.due(hour + 10).is_empty());
        skews.add("t", observation(-5, 20));
        assert!(skews.due(hour + 30).is_empty(), "a minute has not passed");
        let rows = skews.due(hour + 70);
        assert_eq!((rows.len(), rows[0].low_ns, rows[0].high_ns, rows[0].links), (1, -5, 20, 1));
        assert!(skews.due(hour + 130).is_empty(), "nothing is new");
        skews.add("t", observation(3, 30));
        let rows = skews.due(hour + 3600 + 5);
        assert_eq!((i64::from(rows[0].hour_s), rows[0].low_ns, rows[0].high_ns), (hour, 3, 20));
        assert!(rows[0].version > (u64::from(skew::VERSION) << 48));
        skews.add("t", observation(0, 1));
        let rows = skews.due(hour + 3600 + 65);
        assert_eq!((i64::from(rows[0].hour_s), rows[0].links), (hour + 3600, 1));
    }

    #[test]
    fn it_is_bounded() {
        let mut skews = Skews::default();
        for _ in 0..1000 {
            skews.add("t", observation(0, 1));
        }
        for n in 0..MOST_PAIRS + 10 {
            skews.add("t", Observation { to: n.to_string(), ..observation(0, 1) });
        }
        assert_eq!(skews.pairs.len(), MOST_PAIRS);
        assert!(skews.pairs.values().all(|known| known.bounds.len() <= MOST_OF_PAIR));
    }
}
