//! From events to spool batches: encodes each event at once, so that no delivery is held as events.

use decode::Sink;
use event::{HopEvent, Reject, wire};
use spool::Batch;

use super::{Receipt, RejectLine};

/// A large delivery becomes several batches: each must fit a segment, and smaller ones share its fsync.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_RECORDS: u32 = 20_000;
/// Rejects that the answer names; the rest is counted.
const NAMED_REJECTS: usize = 5;

/// Gathers one delivery.
pub(crate) struct SpoolSink {
    full: Vec<Batch>,
    open: Batch,
    scratch: Vec<u8>,
    receipt: Receipt,
}

impl SpoolSink {
    pub(crate) fn new() -> Self {
        Self {
            full: Vec::new(),
            open: Batch::new(),
            scratch: Vec::with_capacity(2048),
            receipt: Receipt::default(),
        }
    }

    /// The batches and the receipt that holds once all of them are durable.
    pub(crate) fn finish(mut self) -> (Vec<Batch>, Receipt) {
        if !self.open.is_empty() {
            self.full.push(self.open);
        }
        (self.full, self.receipt)
    }

    fn push_scratch(&mut self) {
        self.open.push(&self.scratch);
        if self.open.bytes() >= BATCH_BYTES || self.open.records() >= BATCH_RECORDS {
            self.full.push(std::mem::take(&mut self.open));
        }
    }
}

impl Sink for SpoolSink {
    fn event(&mut self, event: &HopEvent<'_>) {
        self.scratch.clear();
        wire::put_event(event, &mut self.scratch);
        self.receipt.accepted += 1;
        self.push_scratch();
    }

    fn reject(&mut self, reject: Reject<'_>) {
        self.scratch.clear();
        wire::put_reject(&reject, &mut self.scratch);
        let reason = reject.reason.name();
        self.receipt.rejected += 1;
        *self.receipt.by_reason.entry(reason).or_default() += 1;
        if self.receipt.first.len() < NAMED_REJECTS {
            let detail = reject.detail.into_owned();
            self.receipt.first.push(RejectLine { reason, offset: reject.offset, detail });
        }
        self.push_scratch();
    }
}
