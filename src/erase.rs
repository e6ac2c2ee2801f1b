//! Erasing what is held of one person: in the store, in the spool, in what correlation reads, with a receipt.
//!
//! A sealed segment never changes, and what stands in an open one cannot be taken out. So records that wait in the spool
//! are dropped where they turn into columns: an erasure is noted durably in DATA_DIR/erasures before anything else, and
//! from then on no record that it takes becomes a row. It stays in force until every segment that was there at that time
//! is shipped and gone; then the store is gone through once more, for what was under way, and the erasure is done.
//!
//! That also keeps a repeated segment from bringing rows back. The store forgets the token of a part whose rows were all
//! deleted, and would take the segment's block a second time; it comes without those rows.

mod asked;
mod keep;
mod receipt;
mod recent;
mod work;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use event::wire;
use event::{HopEvent, Record};
use spool::SegmentReader;
use tokio::sync::Notify;
use trace::EventIds;

pub(crate) use asked::{Asked, Kind, LEAST_TEXT_BYTES, Match};
pub(crate) use receipt::{Receipt, State, out_of_reach};
pub(crate) use work::{EraseError, Eraser, empty_receipt, look};

/// Erasures at once: each is held against every record that is shipped.
pub(crate) const PENDING_MOST: usize = 100;
/// How long records are held against an erasure that is done: those that were being decoded when it began, and events
/// that correlation holds in memory, for five minutes and a late look. Both end with the process.
const REMEMBERED: Duration = Duration::from_secs(900);

/// One erasure under way.
#[derive(Debug)]
pub(crate) struct Erasure {
    pub(crate) id: u128,
    pub(crate) what: Match,
    pub(crate) receipt: Mutex<Receipt>,
}

impl Erasure {
    /// The receipt as it stands.
    pub(crate) fn receipt(&self) -> Receipt {
        self.receipt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Receipt)) {
        change(&mut self.receipt.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The erasures of this instance: under way, and lately done.
#[derive(Debug)]
pub(crate) struct Erasures {
    data_dir: PathBuf,
    active: RwLock<Vec<Arc<Erasure>>>,
    done: RwLock<Vec<(Instant, Arc<Erasure>)>>,
    /// Something new is to be done, or was done.
    pub(crate) moved: Notify,
}

impl Erasures {
    /// Reads what an earlier run left undone.
    pub(crate) fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let active = keep::read_all(data_dir)?;
        if !active.is_empty() {
            tracing::info!(erasures = active.len(), "erasures go on where they were");
        }
        Ok(Self {
            data_dir: data_dir.to_owned(),
            active: RwLock::new(active.into_iter().map(Arc::new).collect()),
            done: RwLock::default(),
            moved: Notify::new(),
        })
    }

    /// Those under way.
    pub(crate) fn active(&self) -> Vec<Arc<Erasure>> {
        self.active.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes an erasure into force: durable when this returns. Blocks on the disk.
    pub(crate) fn begin(&self, erasure: Erasure) -> std::io::Result<Arc<Erasure>> {
        keep::write(&self.data_dir, &erasure)?;
        let erasure = Arc::new(erasure);
        self.active.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&erasure));
        self.moved.notify_waiters();
        Ok(erasure)
    }

    /// Its receipt is written, its value forgotten. Blocks on the disk.
    fn end(&self, erasure: &Arc<Erasure>) -> std::io::Result<()> {
        keep::write_receipt(&self.data_dir, &erasure.receipt())?;
        keep::remove(&self.data_dir, erasure.id)?;
        let mut done = self.done.write().unwrap_or_else(PoisonError::into_inner);
        done.retain(|(at, _)| at.elapsed() < REMEMBERED);
        done.push((Instant::now(), Arc::clone(erasure)));
        drop(done);
        self.active.write().unwrap_or_else(PoisonError::into_inner).retain(|known| known.id != erasure.id);
        self.moved.notify_waiters();
        Ok(())
    }

    /// The receipt of an erasure, under way or done.
    pub(crate) fn receipt(&self, id: u128) -> Option<Receipt> {
        let active = self.active();
        let found = active.iter().find(|erasure| erasure.id == id).map(|erasure| erasure.receipt());
        found.or_else(|| keep::read_receipt(&self.data_dir, id))
    }

    /// Whether an event goes that correlation holds: by what is under way or was done lately.
    pub(crate) fn takes(&self, event: &HopEvent<'_>) -> bool {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner);
        let done = self.done.read().unwrap_or_else(PoisonError::into_inner);
        active.iter().chain(done.iter().map(|(_, erasure)| erasure)).any(|it| it.what.takes_event(event))
    }

    /// Places of a segment's records that must not become rows. What they tell of requests is durable when this returns:
    /// others of their records may be in the store already. Blocks on the disk.
    pub(crate) fn doomed(&self, reader: &SegmentReader) -> std::io::Result<HashSet<usize>> {
        let mut doomed = HashSet::new();
        let active = self.active();
        let done = self.done.read().unwrap_or_else(PoisonError::into_inner).clone();
        let lately = done.into_iter().filter(|(at, _)| at.elapsed() < REMEMBERED).map(|(_, erasure)| erasure);
        let in_force = active.into_iter().map(|erasure| (erasure, true));
        for (erasure, active) in in_force.chain(lately.map(|erasure| (erasure, false))) {
            let (mut grown, mut events, mut rejects) = (false, 0, 0);
            // A record may lead to one that stands before it.
            loop {
                let mut grew = false;
                for (place, bytes) in reader.records().enumerate() {
                    // What cannot be read is the shipper's to judge.
                    let Ok(record) = wire::read(bytes) else { continue };
                    if doomed.contains(&place) || !erasure.what.takes(&record) {
                        continue;
                    }
                    doomed.insert(place);
                    match record {
                        Record::Event(event) => {
                            events += 1;
                            let ids = EventIds::from(event.as_ref());
                            grew |= erasure.what.grow(ids.bridging().map(|(_, id)| id));
                        }
                        Record::Reject(_) => rejects += 1,
                        Record::Tally(_) => {}
                    }
                }
                grown |= grew;
                if !grew {
                    break;
                }
            }
            // What was counted when it was done is written; its value is forgotten.
            if !active {
                continue;
            }
            if events + rejects > 0 {
                erasure.change(|receipt| receipt.count("spool", events + rejects, None));
            }
            if grown || events + rejects > 0 {
                keep::write(&self.data_dir, &erasure)?;
            }
        }
        Ok(doomed)
    }
}
