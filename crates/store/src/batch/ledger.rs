//! One segment's part of the completeness ledger: what was counted at acceptance, as it came with the records, and what
//! shipping found of them. Two countings of the same things, so that either shows what the other lost.

use std::borrow::Cow;
use std::collections::BTreeMap;

use event::{Counter, Counts, Tally};

use super::put;
use crate::native::{Block, Cell, Layout};

/// Events of the segment that the store took.
pub(crate) const SHIPPED_EVENTS: &str = "shipped_events";
/// Rejects of the segment.
pub(crate) const SHIPPED_REJECTS: &str = "shipped_rejects";
/// Events of the segment that the store refused for good: they are rejects now.
pub(crate) const STORE_REFUSED: &str = "store_refused";
/// Records that were erased: on their way, or rows of before.
pub const ERASED: &str = "erased";

const MINUTE_NS: i64 = 60_000_000_000;

/// What shipping found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    events: u64,
    rejects: u64,
    refused: u64,
    erased: u64,
}

#[derive(Debug, Default)]
struct Entry {
    counted: Counts,
    found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    tenant: String,
    source: String,
    minute_s: u32,
}

/// Entries by tenant, source and minute of receipt: as many as sources sent within one segment, which are configured.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Place, Entry>,
    /// Whose the records before were, with their sums: those of one source lie together in a segment.
    run: Option<(Place, Found)>,
    has_tallies: bool,
}

impl Ledger {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Counts an event of the segment.
    pub(crate) fn event(&mut self, tenant: &str, source: &str, received_ns: i64) {
        self.found(tenant, source, received_ns).events += 1;
    }

    /// Counts a reject of the segment.
    pub(crate) fn reject(&mut self, tenant: &str, source: &str, received_ns: i64) {
        self.found(tenant, source, received_ns).rejects += 1;
    }

    /// Counts an event that the store refused for good.
    pub(crate) fn refuse(&mut self, tenant: &str, source: &str, received_ns: i64) {
        self.found(tenant, source, received_ns).refused += 1;
    }

    /// Counts a record that is erased before it becomes a row.
    pub(crate) fn erase(&mut self, tenant: &str, source: &str, received_ns: i64) {
        self.found(tenant, source, received_ns).erased += 1;
    }

    /// Adds what was counted at acceptance.
    pub(crate) fn tally(&mut self, tally: &Tally<'_>) {
        self.has_tallies = true;
        let place = Place {
            tenant: tally.tenant.to_string(),
            source: tally.source.to_string(),
            minute_s: minute_s(tally.received_ns),
        };
        self.entries.entry(place).or_default().counted.add_all(&tally.counts);
    }

    fn found(&mut self, tenant: &str, source: &str, received_ns: i64) -> &mut Found {
        let minute_s = minute_s(received_ns);
        let goes_on = self.run.as_ref().is_some_and(|(place, _)| {
            place.minute_s == minute_s && place.source == source && place.tenant == tenant
        });
        if !goes_on {
            self.end_run();
        }
        let place = || Place { tenant: tenant.to_owned(), source: source.to_owned(), minute_s };
        &mut self.run.get_or_insert_with(|| (place(), Found::default())).1
    }

    fn end_run(&mut self) {
        if let Some((place, found)) = self.run.take() {
            let sum = &mut self.entries.entry(place).or_default().found;
            sum.events += found.events;
            sum.rejects += found.rejects;
            sum.refused += found.refused;
            sum.erased += found.erased;
        }
    }

    /// The rows, with the events that the store refused taken off those that it has.
    ///
    /// A segment of a version without a ledger has no countings of acceptance: its records are taken at their word.
    pub(crate) fn block(&self, refused: &mut Self) -> Block {
        use Layout::Text;
        let mut rows = Block::new([
            ("tenant", "String", Text),
            ("minute", "DateTime('UTC')", u32::LAYOUT),
            ("source", "String", Text),
            ("counter", "String", Text),
            ("total", u64::TYPE, u64::LAYOUT),
        ]);
        refused.end_run();
        let mut all: BTreeMap<&Place, (Counts, Found)> =
            self.entries.iter().map(|(place, entry)| (place, (entry.counted, entry.found))).collect();
        if let Some((place, found)) = &self.run {
            let sum = &mut all.entry(place).or_default().1;
            sum.events += found.events;
            sum.rejects += found.rejects;
            sum.erased += found.erased;
        }
        for (place, entry) in &refused.entries {
            all.entry(place).or_default().1.refused += entry.found.refused;
        }
        for (place, (mut counted, found)) in all {
            if !self.has_tallies {
                // An erased record may have been either; it is missed in neither.
                counted.add(Counter::Accepted, found.events + found.erased);
                counted.add(Counter::Rejected, found.rejects);
            }
            let found = [
                (SHIPPED_EVENTS, found.events.saturating_sub(found.refused)),
                (SHIPPED_REJECTS, found.rejects),
                (STORE_REFUSED, found.refused),
                (ERASED, found.erased),
            ];
            let counted = counted.present().map(|(counter, total)| (counter.name(), total));
            for (counter, total) in counted.chain(found.into_iter().filter(|(_, total)| *total > 0)) {
                let mut columns = rows.columns.iter_mut();
                put(&mut columns, &Cow::Borrowed(place.tenant.as_str()));
                put(&mut columns, &place.minute_s);
                put(&mut columns, &Cow::Borrowed(place.source.as_str()));
                put(&mut columns, &Cow::Borrowed(counter));
                put(&mut columns, &total);
                rows.rows += 1;
            }
        }
        rows
    }

    /// Events and rejects found, by tenant and source, for metrics.
    pub(crate) fn stored(&self) -> BTreeMap<(String, String), u64> {
        let mut stored = BTreeMap::new();
        let runs = self.run.iter().map(|(place, found)| (place, found));
        for (place, found) in self.entries.iter().map(|(place, entry)| (place, &entry.found)).chain(runs) {
            let key = (place.tenant.clone(), place.source.clone());
            *stored.entry(key).or_default() += found.events + found.rejects;
        }
        stored
    }
}

/// The minute of a receipt, unix seconds.
fn minute_s(received_ns: i64) -> u32 {
    ((received_ns - received_ns.rem_euclid(MINUTE_NS)) / 1_000_000_000).clamp(0, i64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ledger: &Ledger, refused: &mut Ledger) -> Vec<(String, String)> {
        let block = ledger.block(refused);
        (0..block.rows)
            .map(|row| {
                let texts: Vec<_> = block.texts_of_row(row).map(|(_, text)| text).collect();
                (texts[..2].join("/"), texts[2].clone())
            })
            .collect()
    }

    #[test]
    fn what_was_counted_and_what_was_found_stand_side_by_side() {
        let mut ledger = Ledger::default();
        for _ in 0..3 {
            ledger.event("t", "a", MINUTE_NS + 5);
        }
        ledger.reject("t", "b", MINUTE_NS + 5);
        ledger.event("t", "a", 2 * MINUTE_NS);
        let mut counts = Counts::default();
        counts.add(Counter::Accepted, 4);
        ledger.tally(&Tally { received_ns: MINUTE_NS, tenant: "t".into(), source: "a".into(), counts });
        let mut refused = Ledger::default();
        refused.refuse("t", "a", MINUTE_NS);
        let found = rows(&ledger, &mut refused);
        let expected = [
            ("t/a", "accepted"),
            ("t/a", SHIPPED_EVENTS),
            ("t/a", STORE_REFUSED),
            ("t/a", SHIPPED_EVENTS),
            ("t/b", SHIPPED_REJECTS),
        ];
        assert_eq!(found, expected.map(|(place, counter)| (place.to_owned(), counter.to_owned())));
        assert_eq!(ledger.stored().into_values().collect::<Vec<_>>(), [4, 1]);
    }

    #[test]
    fn a_segment_from_before_the_ledger_is_taken_at_its_word() {
        let mut ledger = Ledger::default();
        ledger.event("t", "a", 0);
        let found = rows(&ledger, &mut Ledger::default());
        let counters: Vec<_> = found.into_iter().map(|(_, counter)| counter).collect();
        assert_eq!(counters, ["accepted", SHIPPED_EVENTS]);
    }
}
