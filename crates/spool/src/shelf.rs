//! The sealed segments, oldest first: which wait, which are handed out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::layout::SegmentId;

/// A sealed segment as its header and trailer describe it.
#[derive(Debug, Clone)]
pub(crate) struct SealedMeta {
    pub(crate) sequence: u64,
    pub(crate) id: SegmentId,
    pub(crate) payload_version: u32,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) batches: u64,
    pub(crate) created_unix_ms: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<u64, SealedMeta>,
    /// Sequence number, time of the first append, records.
    out: BTreeMap<u64, (u64, u64)>,
    closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    state: Mutex<State>,
    arrived: Notify,
}

/// The shelf's share of [`crate::Stats`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShelfCount {
    pub(crate) waiting: usize,
    pub(crate) out: usize,
    pub(crate) oldest_unix_ms: Option<u64>,
    pub(crate) records: u64,
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a segment up, or puts one back.
    pub(crate) fn put(&self, meta: SealedMeta) {
        let mut state = self.state();
        state.out.remove(&meta.sequence);
        state.waiting.insert(meta.sequence, meta);
        drop(state);
        self.arrived.notify_one();
    }

    /// The oldest waiting segment; waits for one. `None` once closed and nothing waits.
    ///
    /// Cancel-safe: a segment is taken in the same poll that returns it.
    pub(crate) async fn next(&self) -> Option<SealedMeta> {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Registered before looking, so an arrival in between is not missed.
            arrived.as_mut().enable();
            {
                let mut state = self.state();
                if let Some((sequence, meta)) = state.waiting.pop_first() {
                    state.out.insert(sequence, (meta.created_unix_ms, meta.records));
                    return Some(meta);
                }
                if state.closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Takes the oldest waiting segment off the shelf to be deleted; one that is handed out is not waiting.
    pub(crate) fn take_oldest(&self) -> Option<SealedMeta> {
        self.state().waiting.pop_first().map(|(_, meta)| meta)
    }

    /// A handed-out segment is gone for good.
    pub(crate) fn finished(&self, sequence: u64) {
        self.state().out.remove(&sequence);
    }

    /// Nothing new will arrive.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_waiters();
    }

    pub(crate) fn count(&self) -> ShelfCount {
        let state = self.state();
        let waiting = state.waiting.values().map(|meta| meta.created_unix_ms);
        ShelfCount {
            waiting: state.waiting.len(),
            out: state.out.len(),
            oldest_unix_ms: waiting.chain(state.out.values().map(|(created, _)| *created)).min(),
            records: state.waiting.values().map(|meta| meta.records).sum::<u64>()
                + state.out.values().map(|(_, records)| records).sum::<u64>(),
        }
    }
}
