//! An entry of the completeness ledger: how much of what a source brought in one minute.
//!
//! What is counted of a delivery lies in the spool beside its records, in the same batch: it becomes durable with them
//! and reaches the store with them, once. What has no records (refusals, what senders report of themselves) is an entry
//! of its own.

use crate::fields::Text;

macro_rules! counters {
    ($( $(#[$doc:meta])* $variant:ident = $number:literal $name:literal ),* $(,)?) => {
        /// What is counted. The numbers are stored: never renumber, only append.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Counter { $( $(#[$doc])* $variant = $number ),* }

        impl Counter {
            /// Every counter, by number from 1 on without a gap.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word used in columns and JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The counter of a stored number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }

        /// A number for each counter.
        const COUNTERS: usize = [$($number),*].len();
    };
}

counters! {
    /// Deliveries of which everything is durable.
    Deliveries = 1 "deliveries",
    /// Bytes of their payloads, unpacked.
    PayloadBytes = 2 "payload_bytes",
    /// Records that became hop events.
    Accepted = 3 "accepted",
    /// Records that became rejects.
    Rejected = 4 "rejected",
    /// Deliveries refused because too much was in flight, to be sent again.
    RefusedBusy = 5 "refused_busy",
    /// Deliveries refused because the spool was full, to be sent again.
    RefusedSpoolFull = 6 "refused_spool_full",
    /// Deliveries refused because the spool's disk failed, to be sent again.
    RefusedSpoolFailed = 7 "refused_spool_failed",
    /// Deliveries refused because the service went down, to be sent again.
    RefusedStopped = 8 "refused_stopped",
    /// Deliveries larger than the limit, answered so that they do not come again.
    TooLarge = 9 "too_large",
    /// Deliveries whose connection broke before their end.
    BrokenOff = 10 "broken_off",
    /// Records that senders say they have written.
    SenderWritten = 11 "sender_written",
    /// Records that senders say they have dropped.
    SenderDropped = 12 "sender_dropped",
    /// Spool segments that could not be read whole.
    SetAside = 13 "set_aside",
    /// Records of theirs that could not be saved.
    LostRecords = 14 "lost_records",
    /// Deliveries refused because their source was over its rate, to be sent again.
    RefusedRate = 15 "refused_rate",
    /// Deliveries refused because their sender is not one of the source's, to be sent again when that is mended.
    RefusedStranger = 16 "refused_stranger",
}

/// Numbers of some counters; the others are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts([u64; COUNTERS]);

impl Counts {
    /// Adds to a counter.
    pub fn add(&mut self, counter: Counter, count: u64) {
        if let Some(own) = self.0.get_mut(counter as usize - 1) {
            *own = own.saturating_add(count);
        }
    }

    /// Adds all of another's.
    pub fn add_all(&mut self, other: &Self) {
        for (counter, count) in other.present() {
            self.add(counter, count);
        }
    }

    /// The number of a counter.
    pub fn of(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize - 1).copied().unwrap_or_default()
    }

    /// Counters that are not 0, in order.
    pub fn present(&self) -> impl Iterator<Item = (Counter, u64)> {
        Counter::ALL.iter().map(|counter| (*counter, self.of(*counter))).filter(|(_, count)| *count > 0)
    }

    /// Whether all are 0.
    pub fn is_empty(&self) -> bool {
        self.present().next().is_none()
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally<'a> {
    /// When it was counted, unix nanoseconds; of a delivery the time of its receipt, so that it falls into the minute of
    /// its records.
    pub received_ns: i64,
    /// Whose it is.
    pub tenant: Text<'a>,
    /// The configured input.
    pub source: Text<'a>,
    /// How much of what.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_gap_and_lead_back() {
        for (at, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, at + 1);
            assert_eq!(Counter::from_number(at as u8 + 1), Some(*counter));
        }
        assert_eq!(Counter::from_number(0), None);
    }

    #[test]
    fn counts_add_up() {
        let mut counts = Counts::default();
        assert!(counts.is_empty());
        counts.add(Counter::Accepted, 2);
        let mut sum = counts;
        sum.add_all(&counts);
        sum.add(Counter::LostRecords, u64::MAX);
        sum.add(Counter::LostRecords, 1);
        let present: Vec<_> = sum.present().collect();
        assert_eq!(present, [(Counter::Accepted, 4), (Counter::LostRecords, u64::MAX)]);
    }
}
