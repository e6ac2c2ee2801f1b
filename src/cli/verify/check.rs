//! The oracle: what the tables hold against what was sent and acknowledged.
//!
//! A record must have at least as many rows as deliveries of it were acknowledged, and at most as many as may have become
//! durable; all of them alike, as sent, under one event key, so that whoever asks sees it once.

use std::collections::BTreeMap;

use serde::Serialize;
use store::query::{AuditHost, AuditRow, AuditSums};

use super::lane::Lane;
use super::ledger::Books;
use super::record::{Entry, Number};

/// Findings kept in words; the rest is counted.
pub(super) const SHOWN: usize = 20;

/// What was found wrong, and what was found at all.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Verdict {
    /// Records sent.
    pub(super) sent: u64,
    /// Records acknowledged.
    pub(super) acknowledged: u64,
    /// Records stored.
    pub(super) stored: u64,
    /// Rows of `events`: redeliveries are kept and folded when read.
    pub(super) rows: u64,
    /// Acknowledged, and fewer rows than acknowledgements.
    pub(super) lost: u64,
    /// More rows than deliveries, or more than one event key.
    pub(super) duplicated: u64,
    /// Not what was sent, or tables that contradict each other.
    pub(super) corrupted: u64,
    /// Acknowledged, damaged on purpose afterwards, and not served: its original is in `corrupt/`.
    pub(super) corrupt_set_aside: u64,
    /// The first findings in words.
    pub(super) findings: Vec<String>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.corrupted == 0
    }

    fn note(&mut self, finding: String) {
        if self.findings.len() < SHOWN {
            self.findings.push(finding);
        }
    }

    /// Something is not as it was sent.
    pub(super) fn corrupted(&mut self, finding: String) {
        self.corrupted += 1;
        self.note(finding);
    }

    /// Judges the records of a lane from `first` on against the rows of their paths.
    pub(super) fn judge(
        &mut self,
        books: &Books,
        lane: Lane,
        places: std::ops::Range<u64>,
        rows: &[AuditRow],
    ) {
        let mut found: BTreeMap<Number, Vec<&AuditRow>> = BTreeMap::new();
        for row in rows {
            self.rows += row.rows;
            match Number::of_path(&row.path) {
                Some(number) => found.entry(number).or_default().push(row),
                None => self.corrupted(format!("a path that was never sent: {:?}", row.path)),
            }
        }
        let counts = books.counts(lane);
        for (nth, counts) in
            (places.start..places.end).filter_map(|nth| Some((nth, counts.get(nth as usize)?)))
        {
            self.sent += u64::from(counts.sent > 0);
            self.acknowledged += u64::from(counts.acknowledged > 0);
            let number = Number::new(lane, nth);
            let rows = found.remove(&number).unwrap_or_default();
            let there: u64 = rows.iter().map(|row| row.rows).sum();
            self.stored += u64::from(there > 0);
            if there > 0 {
                let entry = Entry::new(books.origin, lane, nth);
                for row in &rows {
                    if row.path != entry.path() {
                        self.corrupted(format!(
                            "{number}: path {:?} instead of {:?}",
                            row.path,
                            entry.path()
                        ));
                    } else if row.contents.as_slice() != [entry.content()] {
                        let what = format!("{:?} instead of {:?}", row.contents, entry.content());
                        self.corrupted(format!("{number}: {what}"));
                    }
                }
            }
            let keys: u64 = rows.iter().map(|row| row.keys).sum();
            if there > u64::from(counts.sent) || keys > 1 {
                self.duplicated += 1;
                let sent = counts.sent;
                self.note(format!("{number} is doubled: {there} rows, {keys} event keys, sent {sent} times"));
            }
            if there < u64::from(counts.acknowledged) {
                if books.is_damaged(number) {
                    self.corrupt_set_aside += 1;
                } else {
                    self.lost += 1;
                    let (times, how) = (counts.acknowledged, lane.acknowledgement());
                    self.note(format!("{number} is lost: {there} rows, acknowledged {times} times by {how}"));
                }
            }
        }
        for number in found.into_keys() {
            self.corrupted(format!("{number} was never sent"));
        }
    }

    /// Judges the tables against each other. Where segments were damaged, tables may have taken them before or after.
    pub(super) fn judge_sums(
        &mut self,
        sums: &AuditSums,
        hosts: &(Vec<AuditHost>, Vec<AuditHost>),
        damaged: u64,
    ) {
        let mut agree = |what: &str, a: u64, b: u64| {
            if a.abs_diff(b) > damaged {
                self.corrupted(format!("{what}: {a} and {b}"));
            }
        };
        agree("events without their ids", sums.events_without_ids, 0);
        agree("ids without their events", sums.ids_without_events, 0);
        agree("events, and those that shipped segments say", sums.events, sums.shipped_events);
        agree("rejects, and those that shipped segments say", sums.rejects, sums.shipped_rejects);
        agree("events, and those kept for correlation", sums.events, sums.recent_events);
        agree("records by which the ledger differs from the tables", sums.ledger_apart, 0);
        if sums.rejects > 0 {
            self.corrupted(format!("{} rejects, although every record can be read", sums.rejects));
        }
        if sums.shipped != sums.segments {
            self.corrupted(format!("{} segments are noted {} times as shipped", sums.segments, sums.shipped));
        }
        if sums.events != self.rows {
            self.corrupted(format!("{} events, of which {} have paths of ours", sums.events, self.rows));
        }
        let (events, rollup) = hosts;
        let differ = |a: &AuditHost, b: &AuditHost| {
            // Tables that took a damaged segment before and after may differ by its records, in bytes by any amount.
            a.host != b.host
                || (a.events - b.events).abs() > damaged as f64
                || (damaged == 0 && (a.response_bytes - b.response_bytes).abs() > 0.0)
        };
        if events.len() != rollup.len() || events.iter().zip(rollup).any(|(a, b)| differ(a, b)) {
            self.corrupted(format!("sums of events {events:?}, of rollups {rollup:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Counts;
    use super::super::record::Origin;
    use super::*;

    const ORIGIN: Origin = Origin { seed: 5, start_ms: 1_795_290_064_000 };

    /// Ten records of a lane, each acknowledged once, and the table that they must make.
    fn books_and_table() -> (Books, Vec<AuditRow>) {
        let mut books = Books::new(ORIGIN);
        books.lanes[Lane::Als as usize] = vec![Counts { sent: 1, acknowledged: 1 }; 10];
        let row = |nth| {
            let entry = Entry::new(ORIGIN, Lane::Als, nth);
            AuditRow { path: entry.path(), rows: 1, keys: 1, contents: vec![entry.content()] }
        };
        (books, (0..10).map(row).collect())
    }

    fn verdict(books: &Books, table: &[AuditRow]) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.judge(books, Lane::Als, 0..10, table);
        verdict
    }

    #[test]
    fn the_table_that_must_be_is_clean() {
        let (books, table) = books_and_table();
        let verdict = verdict(&books, &table);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.sent, verdict.acknowledged, verdict.stored), (10, 10, 10));
    }

    #[test]
    fn a_removed_record_is_lost_and_named() {
        let (books, mut table) = books_and_table();
        table.remove(4);
        let verdict = verdict(&books, &table);
        assert_eq!((verdict.lost, verdict.duplicated, verdict.corrupted), (1, 0, 0));
        assert_eq!(verdict.findings, ["als #4 is lost: 0 rows, acknowledged 1 times by the stream's OK end"]);
    }

    #[test]
    fn a_doubled_record_is_duplicated_by_row_and_by_key() {
        let (books, mut table) = books_and_table();
        table[3].rows = 2;
        table[5].keys = 2;
        assert_eq!(verdict(&books, &table).duplicated, 2);
    }

    #[test]
    fn a_changed_record_is_corrupted_wherever_it_is_changed() {
        let (books, table) = books_and_table();
        let changes: [fn(&mut AuditRow); 6] = [
            |row| row.contents[0].1.push('x'),
            |row| row.contents[0].2 += 1,
            |row| row.contents[0].3 += 1,
            |row| row.contents[0].4 += 1,
            |row| row.contents[0].6.replace_range(..1, "f"),
            |row| row.path.replace_range(30.., "00000"),
        ];
        for change in changes {
            let mut table = table.clone();
            change(&mut table[7]);
            let verdict = verdict(&books, &table);
            assert_eq!((verdict.lost, verdict.duplicated, verdict.corrupted), (0, 0, 1), "{verdict:?}");
        }
    }

    #[test]
    fn a_record_that_nobody_sent_is_noticed() {
        let (mut books, table) = books_and_table();
        books.lanes[Lane::Als as usize].pop();
        assert_eq!(verdict(&books, &table).corrupted, 1);
        // Half a body, for one, must leave nothing.
        books.lanes[Lane::Als as usize][2] = Counts::default();
        assert_eq!(verdict(&books, &table).duplicated, 1);
    }

    #[test]
    fn what_was_not_acknowledged_may_be_there_or_not_and_what_was_damaged_may_be_missing() {
        let (mut books, mut table) = books_and_table();
        books.lanes[Lane::Als as usize][0].acknowledged = 0;
        books.lanes[Lane::Als as usize][1].acknowledged = 0;
        books.damaged.insert(Number::new(Lane::Als, 2).bits());
        table.remove(2);
        table.remove(0);
        let verdict = verdict(&books, &table);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.acknowledged, verdict.stored, verdict.corrupt_set_aside), (8, 8, 1));
    }

    #[test]
    fn tables_that_contradict_each_other_are_noticed() {
        let (books, table) = books_and_table();
        let host = |events| vec![AuditHost { host: "als.verify".to_owned(), events, response_bytes: 5.0 }];
        let sound = AuditSums {
            events: 10,
            rejects: 0,
            events_without_ids: 0,
            ids_without_events: 0,
            shipped: 2,
            segments: 2,
            shipped_events: 10,
            shipped_rejects: 0,
            recent_events: 10,
            ledger_apart: 0,
        };
        let corrupted = |sums: AuditSums, rollup: f64| {
            let mut verdict = verdict(&books, &table);
            verdict.judge_sums(&sums, &(host(10.0), host(rollup)), 0);
            verdict.corrupted
        };
        assert_eq!(corrupted(sound, 10.0), 0);
        assert_eq!(corrupted(sound, 9.0), 1);
        assert_eq!(corrupted(AuditSums { events_without_ids: 1, ..sound }, 10.0), 1);
        assert_eq!(corrupted(AuditSums { ids_without_events: 1, ..sound }, 10.0), 1);
        assert_eq!(corrupted(AuditSums { segments: 1, ..sound }, 10.0), 1);
        assert_eq!(corrupted(AuditSums { shipped_events: 11, ..sound }, 10.0), 1);
        assert_eq!(corrupted(AuditSums { recent_events: 9, ..sound }, 10.0), 1);
        assert_eq!(corrupted(AuditSums { ledger_apart: 1, ..sound }, 10.0), 1);
        assert!(corrupted(AuditSums { rejects: 1, ..sound }, 10.0) > 0);
    }
}
