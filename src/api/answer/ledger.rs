//! The completeness ledger as it is answered: what came in, what became of it, and what does not add up.

use std::collections::BTreeMap;

use event::Counter;
use serde::{Deserialize, Serialize};
use store::query::{KeyedRow, LedgerRow};
use utoipa::ToSchema;

use super::time_text;

/// The ledger of a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LedgerAnswer {
    /// Begin of the window, RFC 3339.
    pub(crate) since: String,
    /// Its end, not included.
    pub(crate) until: String,
    /// Seconds that one line sums up.
    pub(crate) step_s: u32,
    /// Whether received and stored agree in every line that was judged.
    pub(crate) balanced: bool,
    /// Whether events were compared with each other: `duplicated` and what follows it is there. Not done for
    /// windows of more than two million events.
    pub(crate) compared: bool,
    /// Whether the window has more lines than an answer may have: ask for a shorter one, or a longer step.
    pub(crate) truncated: bool,
    /// Since when there is a ledger, RFC 3339; absent where there always was. Lines before it are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begins: Option<String>,
    /// RFC 3339. Of lines that end later only losses are told: rows are stored before their entry, so a surplus may be
    /// on its way.
    pub(crate) settled: String,
    /// The whole window, a line a source.
    pub(crate) sums: Vec<LedgerLine>,
    /// Step by step, oldest first, a line a source.
    pub(crate) lines: Vec<LedgerLine>,
    /// Configured inputs of the tenant, on the instance that answers.
    pub(crate) sources: Vec<ConfiguredSource>,
    /// The instance that answers.
    pub(crate) instance: InstanceAnswer,
}

/// What became of what one source sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LedgerLine {
    /// Begin of the step, RFC 3339; absent in sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    /// Its configured name; `spool` for what the service's own disk cost.
    pub(crate) source: String,
    /// Deliveries acknowledged.
    pub(crate) deliveries: u64,
    /// Bytes of their payloads, unpacked.
    pub(crate) payload_bytes: u64,
    /// Records in what was acknowledged: accepted and rejected.
    pub(crate) received: u64,
    /// Records that became events.
    pub(crate) accepted: u64,
    /// Records that became rejects.
    pub(crate) rejected: u64,
    /// Deliveries refused, to be sent again, by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) refused: BTreeMap<String, u64>,
    /// Deliveries not read to their end, by cause: what was in them is lost unless the sender sends it again unasked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unread: BTreeMap<String, u64>,
    /// Events in the store, redelivered ones as often as they came.
    pub(crate) stored_events: u64,
    /// Rejects in the store.
    pub(crate) stored_rejects: u64,
    /// Events that the store refused for good; they are rejects now.
    pub(crate) store_refused: u64,
    /// Events and rejects that were erased.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) erased: u64,
    /// Received, and neither in the store nor erased; below 0: in the store, and not in the ledger. Absent where it cannot be told: from
    /// before the ledger, or past the retention of events or rejects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<i64>,
    /// Deliveries of events that had come before within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duplicated: Option<u64>,
    /// Events whose request was exported as a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exported: Option<u64>,
    /// Events without any id of their request: nothing can be joined to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) without_id: Option<u64>,
    /// Events that begin more than a minute after they were received: a clock is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock_ahead: Option<u64>,
    /// Events whose time, or its zone, is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time_guessed: Option<u64>,
    /// What its senders report of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sender: Option<SenderAnswer>,
    /// Spool segments that could not be read whole.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) set_aside: u64,
    /// Records of theirs that could not be saved, entries of the ledger included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lost_records: u64,
}

/// What senders report of themselves, by their statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SenderAnswer {
    /// Records they say they wrote.
    pub(crate) written: u64,
    /// Records they say they dropped.
    pub(crate) dropped: u64,
    /// Written, and not received; below 0 where not every sender of the source is asked.
    pub(crate) missing: i64,
}

/// A configured input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ConfiguredSource {
    /// Its name.
    pub(crate) source: String,
    /// What it speaks.
    pub(crate) kind: String,
}

/// One instance, now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct InstanceAnswer {
    /// Disk taken by records that are not in the store yet.
    pub(crate) spool_used_bytes: u64,
    /// Disk that they may take.
    pub(crate) spool_most_bytes: u64,
    /// Sealed segments that wait to be shipped.
    pub(crate) segments_waiting: u64,
    /// Age of the oldest record that is not in the store.
    pub(crate) oldest_waiting_s: f64,
    /// Segments set aside as damaged since the start.
    pub(crate) set_aside: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What can be told of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Nothing: it has rows without entries by right, or the reverse.
    Not,
    /// What is missing in the store.
    Losses,
    /// That, and what is missing in the ledger.
    Whole,
}

const REFUSED: [(Counter, &str); 6] = [
    (Counter::RefusedBusy, "busy"),
    (Counter::RefusedSpoolFull, "spool_full"),
    (Counter::RefusedSpoolFailed, "spool_failed"),
    (Counter::RefusedStopped, "stopped"),
    (Counter::RefusedRate, "rate"),
    (Counter::RefusedStranger, "stranger"),
];
const UNREAD: [Counter; 2] = [Counter::TooLarge, Counter::BrokenOff];

impl LedgerLine {
    /// The line of a row.
    pub(crate) fn new(row: &LedgerRow, judged: Judged) -> Self {
        let of = |counter: Counter| row.counts.get(counter.name()).copied().unwrap_or_default();
        let some = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
            counts.filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
        };
        let (accepted, rejected) = (of(Counter::Accepted), of(Counter::Rejected));
        let received = accepted + rejected;
        let erased = row.counts.get(store::ERASED).copied().unwrap_or_default();
        let stored = row.stored_events + row.stored_rejects + row.store_refused + erased;
        let (written, dropped) = (of(Counter::SenderWritten), of(Counter::SenderDropped));
        let sender = (written + dropped > 0).then(|| SenderAnswer {
            written,
            dropped,
            missing: difference(written, received),
        });
        Self {
            at: Some(time_text(i64::from(row.at_s) * 1_000_000_000)),
            source: row.source.clone(),
            deliveries: of(Counter::Deliveries),
            payload_bytes: of(Counter::PayloadBytes),
            received,
            accepted,
            rejected,
            refused: some(&mut REFUSED.iter().map(|(counter, cause)| (*cause, of(*counter)))),
            unread: some(&mut UNREAD.iter().map(|counter| (counter.name(), of(*counter)))),
            stored_events: row.stored_events,
            stored_rejects: row.stored_rejects,
            store_refused: row.store_refused,
            erased,
            missing: match judged {
                Judged::Not => None,
                Judged::Losses => Some(difference(received, stored).max(0)),
                Judged::Whole => Some(difference(received, stored)),
            },
            duplicated: None,
            exported: None,
            without_id: None,
            clock_ahead: None,
            time_guessed: None,
            sender,
            set_aside: of(Counter::SetAside),
            lost_records: of(Counter::LostRecords),
        }
    }

    /// Adds what comparing the events told.
    pub(crate) fn compared(&mut self, keyed: Option<&KeyedRow>) {
        self.duplicated = Some(keyed.map_or(0, |row| row.duplicated));
        self.exported = Some(keyed.map_or(0, |row| row.exported));
        self.without_id = Some(keyed.map_or(0, |row| row.without_id));
        self.clock_ahead = Some(keyed.map_or(0, |row| row.clock_ahead));
        self.time_guessed = Some(keyed.map_or(0, |row| row.time_guessed));
    }

    /// Adds another line of the same source.
    fn add(&mut self, line: &Self) {
        self.deliveries += line.deliveries;
        self.payload_bytes += line.payload_bytes;
        self.received += line.received;
        self.accepted += line.accepted;
        self.rejected += line.rejected;
        for (sums, counts) in [(&mut self.refused, &line.refused), (&mut self.unread, &line.unread)] {
            for (cause, count) in counts {
                *sums.entry(cause.clone()).or_default() += count;
            }
        }
        self.stored_events += line.stored_events;
        self.stored_rejects += line.stored_rejects;
        self.store_refused += line.store_refused;
        self.erased += line.erased;
        // Deficits and surpluses of different minutes are both wrong; adding them would hide either.
        self.missing = match (self.missing, line.missing) {
            (Some(a), Some(b)) if a.signum() * b.signum() < 0 => Some(if a.abs() > b.abs() { a } else { b }),
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        for (sum, count) in [
            (&mut self.duplicated, line.duplicated),
            (&mut self.exported, line.exported),
            (&mut self.without_id, line.without_id),
            (&mut self.clock_ahead, line.clock_ahead),
            (&mut self.time_guessed, line.time_guessed),
        ] {
            *sum = sum.zip(count).map(|(a, b)| a + b).or(*sum).or(count);
        }
        if let Some(line) = line.sender {
            let sum = self.sender.get_or_insert_default();
            sum.written += line.written;
            sum.dropped += line.dropped;
        }
        self.set_aside += line.set_aside;
        self.lost_records += line.lost_records;
    }

    /// A line a source, over all lines.
    pub(crate) fn sums(lines: &[Self]) -> Vec<Self> {
        let mut sums: BTreeMap<&str, Self> = BTreeMap::new();
        for line in lines {
            let sum = sums
                .entry(&line.source)
                .or_insert_with(|| Self { source: line.source.clone(), ..Self::default() });
            sum.add(line);
            // Written in one minute and received in the next is no loss: compared over all of the window only.
            let received = sum.received;
            if let Some(sender) = &mut sum.sender {
                sender.missing = difference(sender.written, received);
            }
        }
        sums.into_values().collect()
    }
}

fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(accepted: u64, rejected: u64, stored_events: u64, stored_rejects: u64) -> LedgerRow {
        let counts =
            [("accepted", accepted), ("rejected", rejected), ("refused_busy", 1), ("sender_written", 12)];
        let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let source = "a".to_owned();
        LedgerRow { source, counts, stored_events, stored_rejects, ..LedgerRow::default() }
    }

    #[test]
    fn what_was_received_and_is_not_stored_is_missing() {
        assert_eq!(LedgerLine::new(&row(8, 2, 8, 2), Judged::Whole).missing, Some(0));
        assert_eq!(LedgerLine::new(&row(8, 2, 7, 2), Judged::Losses).missing, Some(1));
        assert_eq!(LedgerLine::new(&row(8, 2, 9, 2), Judged::Whole).missing, Some(-1));
        assert_eq!(LedgerLine::new(&row(8, 2, 9, 2), Judged::Losses).missing, Some(0));
        assert_eq!(LedgerLine::new(&row(8, 2, 9, 2), Judged::Not).missing, None);
    }

    #[test]
    fn sums_keep_a_loss_that_a_surplus_would_hide() {
        let lines = [
            LedgerLine::new(&row(8, 2, 5, 2), Judged::Whole),
            LedgerLine::new(&row(8, 2, 9, 2), Judged::Whole),
            LedgerLine::new(&row(1, 0, 0, 0), Judged::Not),
        ];
        let sums = LedgerLine::sums(&lines);
        let [sum] = sums.as_slice() else { panic!("one source") };
        assert_eq!((sum.received, sum.stored_events, sum.missing), (21, 14, Some(3)));
        assert_eq!((sum.refused.get("busy"), sum.sender.map(|s| s.missing)), (Some(&3), Some(36 - 21)));
    }
}
