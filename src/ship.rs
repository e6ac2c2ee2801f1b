//! Sealed segments to the store: read, build columns, insert under the segment's token, delete.
//!
//! A segment is deleted only when all its inserts are durable. Any failure before that means that the same segment is
//! shipped again, whole, under the same tokens: the store drops what it already has.

mod adopt;
mod room;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event::wire::{self, WireError};
use event::{Counter, Record, Reject, RejectReason};
use spool::{FileLayer as _, ReadError, Sealed, SegmentReader, Spool, StdFiles};
use store::{Batch, Store};
use tokio::sync::watch;

pub(crate) use adopt::Adopter;
pub(crate) use room::RoomKeeper;

use crate::accept::unix_ns;
use crate::books::Books;
use crate::config::DEFAULT_TENANT;
use crate::correlate::Packer;
use crate::erase::Erasures;
use crate::metrics::Metrics;

/// Segments under way at once: while the store writes one, the next is decoded into columns.
pub(crate) const LANES: usize = 2;
/// First pause after a failed insert; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause: how long after its return a store waits for us.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The source of what the spool itself has to say: of a segment that cannot be read nobody knows whose it was.
pub(crate) const SPOOL_SOURCE: &str = "spool";

/// Ships segments until the spool is closed and empty.
pub(crate) struct Shipper {
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) instance: String,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) books: Arc<Books>,
    pub(crate) progress: Arc<Progress>,
    /// Segments that a newer version wrote: kept from the queue, where they would come next again and again.
    pub(crate) held: Mutex<Vec<Sealed>>,
    /// Whether events are stored once more in the form that correlation reads.
    pub(crate) recent: bool,
    /// What must not become rows.
    pub(crate) erasures: Arc<Erasures>,
    /// The directory of an engine of our own, and the room on its disk below which nothing is shipped: an engine
    /// that has filled its disk can neither merge nor delete.
    pub(crate) floor: Option<(PathBuf, u64)>,
    /// What was received today is more than the store may take.
    pub(crate) full: Arc<AtomicBool>,
}

/// When shipping last got anywhere, for readiness.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    last_ns: AtomicI64,
}

impl Progress {
    fn note(&self) {
        self.last_ns.store(unix_ns(), Ordering::Relaxed);
    }

    /// Since a segment was last shipped (or shipping began).
    pub(crate) fn since(&self) -> Duration {
        let elapsed = unix_ns().saturating_sub(self.last_ns.load(Ordering::Relaxed));
        Duration::from_nanos(elapsed.max(0).unsigned_abs())
    }
}

impl Shipper {
    /// One lane. Several run side by side; which segment goes first does not matter.
    pub(crate) async fn run(self: Arc<Self>, spool: Arc<Spool>) {
        self.progress.note();
        while let Some(sealed) = spool.next_sealed().await {
            self.ship(sealed).await;
        }
    }

    /// Ships one segment and deletes it. Returns early only where it cannot be read; it is back in its queue then.
    pub(crate) async fn ship(&self, sealed: Sealed) {
        let reader = match sealed.read().await {
            Ok(reader) => reader,
            Err(error @ ReadError::Damaged { .. }) => return self.set_aside(sealed, &error).await,
            Err(error) => {
                // Dropping the segment puts it back in the queue.
                tracing::warn!(%error, "cannot read a segment; trying again");
                drop(sealed);
                return tokio::time::sleep(LONGEST_PAUSE).await;
            }
        };
        let (segment, recent) = (sealed.id(), self.recent);
        let erasures = Arc::clone(&self.erasures);
        let columns = move || -> std::io::Result<_> {
            let doomed = erasures.doomed(&reader)?;
            Ok(columns(&reader, recent.then_some(segment), &doomed))
        };
        let batch = match tokio::task::spawn_blocking(columns).await {
            Ok(Ok(Ok(batch))) => Arc::new(batch),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot note what an erasure takes out of a segment; trying again");
                drop(sealed);
                return tokio::time::sleep(LONGEST_PAUSE).await;
            }
            Ok(Ok(Err(newer))) => {
                tracing::error!(segment = sealed.sequence(), error = %newer, "a newer version wrote this segment; it waits for one");
                self.metrics.held();
                return self.held.lock().unwrap_or_else(PoisonError::into_inner).push(sealed);
            }
            Err(_) => return,
        };
        let mut pause = FIRST_PAUSE;
        while let Err(why) = self.insert(&batch, sealed.id()).await {
            self.metrics.ship_failed();
            tracing::warn!(segment = sealed.sequence(), error = why, retry_in = ?pause, "cannot ship a segment; it waits in the spool");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        let events = batch.len() as u64;
        if let Err(error) = sealed.done().await {
            tracing::warn!(%error, "cannot delete a shipped segment; it is shipped again and dropped by its token");
        }
        self.metrics.shipped(events, batch.records_by_source());
        self.progress.note();
    }

    async fn insert(&self, batch: &Batch, segment: [u8; 16]) -> Result<(), String> {
        let Some(store) = self.store.borrow().clone() else {
            return Err("the engine is restarting".to_owned());
        };
        if self.full.load(Ordering::Relaxed) {
            return Err("what was received today is more than `retention.max_bytes`: raise it".to_owned());
        }
        if let Some((directory, floor)) = &self.floor
            && let Ok(Some(free)) = StdFiles.free_bytes(directory)
            && free < *floor
        {
            return Err(format!(
                "the engine's disk has {free} bytes left, less than half of `spool.min_free`: free some"
            ));
        }
        let inserted =
            store.insert(batch, segment, &self.instance).await.map_err(|error| error.to_string())?;
        if inserted.refused > 0 {
            tracing::error!(rows = inserted.refused, "the store refused rows for good; they are rejects now");
        }
        Ok(())
    }

    async fn set_aside(&self, sealed: Sealed, error: &ReadError) {
        tracing::error!(segment = sealed.sequence(), %error, "a segment cannot be read whole; the original is kept in corrupt/");
        self.metrics.set_aside();
        let records = sealed.records();
        match sealed.set_aside().await {
            Ok(aside) => {
                let lost = records.saturating_sub(aside.rescued_records);
                self.books.note(DEFAULT_TENANT, SPOOL_SOURCE, Counter::SetAside, 1);
                self.books.note(DEFAULT_TENANT, SPOOL_SOURCE, Counter::LostRecords, lost);
            }
            Err(error) => {
                tracing::error!(%error, "cannot set a damaged segment aside");
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
        }
    }
}

/// A segment's records as the store's columns. Fails only for what a newer version wrote: all of the segment waits
/// then. A record that no version can read (its checksum held, so a defect of ours wrote it) becomes a reject.
///
/// With a segment id its events are packed for correlation, too. `doomed` are the places of records that are erased.
fn columns(
    reader: &SegmentReader,
    recent: Option<[u8; 16]>,
    doomed: &HashSet<usize>,
) -> Result<Batch, WireError> {
    let mut batch = Batch::new();
    let mut packer = Packer::default();
    let push_recent =
        |batch: &mut Batch, chunk: std::io::Result<Option<(u32, Vec<u8>)>>| match (recent, chunk) {
            (Some(segment), Ok(Some((events, packed)))) => batch.push_recent(segment, events, &packed),
            (_, Ok(_)) => {}
            // Only for want of memory; correlation says which segments it could not read.
            (_, Err(error)) => {
                tracing::error!(%error, "cannot pack events for correlation; they are stored all the same");
            }
        };
    for (place, record) in reader.records().enumerate() {
        match wire::read(record) {
            Ok(Record::Event(event)) if doomed.contains(&place) => {
                batch.push_erased(&event.tenant, &event.source, event.received_ns);
            }
            Ok(Record::Reject(reject)) if doomed.contains(&place) => {
                batch.push_erased(&reject.tenant, &reject.source, reject.received_ns);
            }
            Ok(Record::Event(event)) => {
                batch.push_event(&event);
                if recent.is_some() {
                    push_recent(&mut batch, packer.push(record));
                }
            }
            Ok(Record::Reject(reject)) => batch.push_reject(&reject),
            Ok(Record::Tally(tally)) => batch.push_tally(&tally),
            Err(newer @ (WireError::Version(_) | WireError::NewerFields)) => return Err(newer),
            Err(error) => batch.push_reject(&Reject {
                received_ns: unix_ns(),
                tenant: DEFAULT_TENANT.into(),
                source: SPOOL_SOURCE.into(),
                format: "".into(),
                reason: RejectReason::UnknownFormat,
                detail: format!("a record of the spool cannot be read: {error}").into(),
                offset: 0,
                length: record.len() as u64,
                // Its content was redacted before it was spooled.
                bytes: record[..record.len().min(Reject::MAX_BYTES)].into(),
            }),
        }
    }
    push_recent(&mut batch, packer.finish());
    Ok(batch)
}
