//! Entries of the completeness ledger that belong to no record: refusals, deliveries that could not be read, what senders
//! report of themselves. Counted in memory by minute, and written into the spool as a batch of their own, so that they
//! reach the store as records do: once, and without a store being there.
//!
//! A kill loses what was counted within the last [`WRITE_EVERY`]; of what is refused nothing was acknowledged, so no
//! record is lost with it. After a failing disk a count may come twice.

pub(crate) mod reported;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::{Counter, Counts, Tally, wire};
use spool::{Batch, Spool};
use tokio_util::sync::CancellationToken;

use crate::accept::unix_ns;
use crate::config::DEFAULT_TENANT;
use crate::ship::SPOOL_SOURCE;

/// How often entries go to the spool, if there are any: each time costs an fsync.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// Entries beyond which a minute's counts are added to the minute before: a day of minutes of some sources, while the
/// spool has no room for entries.
const MOST_ENTRIES: usize = 10_000;
const MINUTE_NS: i64 = 60_000_000_000;

/// Tenant, source and minute of receipt.
type Place = (String, String, i64);

/// What was counted and is not in the spool yet.
#[derive(Debug, Default)]
pub(crate) struct Books {
    entries: Mutex<BTreeMap<Place, Counts>>,
    /// Records that a full spool had deleted when it was last looked at.
    dropped: AtomicU64,
}

impl Books {
    /// Counts something that happens now.
    pub(crate) fn note(&self, tenant: &str, source: &str, counter: Counter, count: u64) {
        if count == 0 {
            return;
        }
        let mut counts = Counts::default();
        counts.add(counter, count);
        let now_ns = unix_ns();
        self.add((tenant.to_owned(), source.to_owned(), now_ns - now_ns.rem_euclid(MINUTE_NS)), &counts);
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Place, Counts>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, mut place: Place, counts: &Counts) {
        let mut entries = self.entries();
        if entries.len() >= MOST_ENTRIES && !entries.contains_key(&place) {
            let (tenant, source, _) = &place;
            let begin = (tenant.clone(), source.clone(), i64::MIN);
            let last = entries.range(begin..place.clone()).next_back();
            place = last.map_or(place, |(before, _)| before.clone());
        }
        entries.entry(place).or_default().add_all(counts);
    }

    /// Writes what was counted into the spool; what has no room there is kept for the next time.
    pub(crate) async fn write(&self, spool: &Spool) {
        let dropped = spool.stats().dropped_records;
        let before = self.dropped.swap(dropped, Ordering::Relaxed);
        self.note(DEFAULT_TENANT, SPOOL_SOURCE, Counter::LostRecords, dropped.saturating_sub(before));
        let entries = std::mem::take(&mut *self.entries());
        if entries.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        let mut record = Vec::new();
        for ((tenant, source, received_ns), counts) in &entries {
            record.clear();
            let (tenant, source) = (tenant.as_str().into(), source.as_str().into());
            wire::put_tally(
                &Tally { received_ns: *received_ns, tenant, source, counts: *counts },
                &mut record,
            );
            batch.push(&record);
        }
        if let Err(error) = spool.append(batch).await {
            tracing::debug!(%error, "entries of the ledger wait for room in the spool");
            for (place, counts) in entries {
                self.add(place, &counts);
            }
        }
    }

    /// Writes every few seconds until told to stop. Whoever stops it writes the last time, when nothing more comes.
    pub(crate) async fn keep(&self, spool: &Spool, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(WRITE_EVERY) => self.write(spool).await,
                () = stopping.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(books: &Books, counter: Counter) -> u64 {
        books.entries().values().map(|counts| counts.of(counter)).sum()
    }

    #[test]
    fn minutes_beyond_the_bound_are_added_to_the_one_before_and_nothing_is_lost() {
        let books = Books::default();
        let mut counts = Counts::default();
        counts.add(Counter::RefusedBusy, 2);
        for minute in 0..MOST_ENTRIES as i64 + 100 {
            books.add(("t".to_owned(), "s".to_owned(), minute * MINUTE_NS), &counts);
        }
        assert_eq!(books.entries().len(), MOST_ENTRIES);
        assert_eq!(sum(&books, Counter::RefusedBusy), 2 * (MOST_ENTRIES as u64 + 100));
    }

    #[tokio::test]
    async fn what_the_spool_takes_is_written_once_and_what_it_refuses_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(directory.path(), spool::Options::default()).await.unwrap();
        let books = Books::default();
        books.note("t", "s", Counter::TooLarge, 3);
        books.write(&spool).await;
        books.write(&spool).await;
        assert_eq!((spool.stats().appended_records, sum(&books, Counter::TooLarge)), (1, 0));
        spool.close().await.unwrap();
        books.note("t", "s", Counter::TooLarge, 4);
        books.write(&spool).await;
        assert_eq!(sum(&books, Counter::TooLarge), 4);
    }
}
