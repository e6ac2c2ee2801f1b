//! From events to spool batches: encodes each event at once and hands a batch on when it is full, so that no delivery is
//! held as events, and none is held encoded as a whole: attributes of an OTLP resource count for each of its records.
//!
//! Each batch ends with its entry of the ledger: what is counted is durable exactly when what it counts is.

use decode::{Delivery, Sink};
use event::{Counter, Counts, HopEvent, Reject, Tally, wire};
use spool::Batch;
use tokio::sync::mpsc;

use super::{Receipt, RejectLine};

/// A large delivery becomes several batches: each must fit a segment, and smaller ones share its fsync.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_RECORDS: u32 = 20_000;
/// Rejects that the answer names; the rest is counted.
const NAMED_REJECTS: usize = 5;

/// Where full batches go.
enum Out {
    /// Gathered, for deliveries that are small by their transport.
    Held(Vec<Batch>),
    /// To whoever appends them while decoding goes on. Waits when that one is behind.
    Sent(mpsc::Sender<Batch>),
}

/// Encodes one delivery.
pub(crate) struct SpoolSink {
    out: Out,
    open: Batch,
    scratch: Vec<u8>,
    receipt: Receipt,
    of: Of,
    /// Of the open batch.
    counts: Counts,
}

/// Whose entries the ledger gets.
#[derive(Default)]
struct Of {
    tenant: String,
    source: String,
    received_ns: i64,
}

impl SpoolSink {
    /// A sink that gathers its batches.
    pub(super) fn holding() -> Self {
        Self::to(Out::Held(Vec::new()))
    }

    /// A sink that sends its batches on. Only for a thread that may block.
    pub(super) fn sending(batches: mpsc::Sender<Batch>) -> Self {
        Self::to(Out::Sent(batches))
    }

    fn to(out: Out) -> Self {
        Self {
            out,
            open: Batch::new(),
            scratch: Vec::with_capacity(2048),
            receipt: Receipt::default(),
            of: Of::default(),
            counts: Counts::default(),
        }
    }

    /// Says whose delivery it is, before its first record.
    pub(super) fn begin(&mut self, delivery: &Delivery<'_>, payload_bytes: u64) {
        self.of = Of {
            tenant: delivery.tenant.to_owned(),
            source: delivery.source.to_owned(),
            received_ns: delivery.received_ns,
        };
        self.receipt.payload_bytes = payload_bytes;
    }

    /// The batches that were not sent, and the receipt that holds once all of them are durable.
    pub(super) fn finish(mut self) -> (Vec<Batch>, Receipt) {
        // The last batch says that the delivery is whole. One without a record leaves nothing to count.
        if self.receipt.accepted + self.receipt.rejected > 0 {
            self.counts.add(Counter::Deliveries, 1);
            self.counts.add(Counter::PayloadBytes, self.receipt.payload_bytes);
            self.close_batch();
        }
        match self.out {
            Out::Held(batches) => (batches, self.receipt),
            Out::Sent(_) => (Vec::new(), self.receipt),
        }
    }

    fn close_batch(&mut self) {
        self.scratch.clear();
        let tally = Tally {
            received_ns: self.of.received_ns,
            tenant: self.of.tenant.as_str().into(),
            source: self.of.source.as_str().into(),
            counts: std::mem::take(&mut self.counts),
        };
        wire::put_tally(&tally, &mut self.scratch);
        self.open.push(&self.scratch);
        let batch = std::mem::take(&mut self.open);
        match &mut self.out {
            Out::Held(batches) => batches.push(batch),
            // Nobody takes it when an append has failed: the delivery is refused as a whole then.
            Out::Sent(batches) => drop(batches.blocking_send(batch)),
        }
    }

    fn push_scratch(&mut self) {
        self.open.push(&self.scratch);
        if self.open.bytes() >= BATCH_BYTES || self.open.records() >= BATCH_RECORDS {
            self.close_batch();
        }
    }
}

impl Sink for SpoolSink {
    fn event(&mut self, event: &HopEvent<'_>) {
        self.scratch.clear();
        wire::put_event(event, &mut self.scratch);
        self.receipt.accepted += 1;
        self.counts.add(Counter::Accepted, 1);
        self.push_scratch();
    }

    fn reject(&mut self, reject: Reject<'_>) {
        self.scratch.clear();
        wire::put_reject(&reject, &mut self.scratch);
        let reason = reject.reason.name();
        self.receipt.rejected += 1;
        self.counts.add(Counter::Rejected, 1);
        *self.receipt.by_reason.entry(reason).or_default() += 1;
        if self.receipt.first.len() < NAMED_REJECTS {
            let detail = reject.detail.into_owned();
            self.receipt.first.push(RejectLine { reason, offset: reject.offset, detail });
        }
        self.push_scratch();
    }
}
