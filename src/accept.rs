//! The acknowledgement rule, in one place: decode, normalize, redact, spool, durable; only then answer.
//!
//! Every transport comes through [`Acceptor::accept`]. It runs as a task of its own, so a sender that hangs up in
//! the middle neither loses nor doubles what it sent. What is held in memory is bounded by the [`Gate`].

mod gate;
mod receipt;
mod sink;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use decode::{Delivery, Rules, Sink};
use event::Counter;
use spool::{AppendError, Spool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};

pub(crate) use gate::{Gate, Hold, Share};
pub(crate) use receipt::{Receipt, Refusal, RejectLine, Stranger};
pub(crate) use sink::SpoolSink;

use crate::books::Books;
use crate::config::Source;
use crate::metrics::Metrics;

/// Deliveries decoded at once. Decoding is pure CPU work: more than the cores would only hold more memory.
fn decode_slots() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Batches of one delivery between its decoder and the disk: one under way, one waiting. More would only hold memory.
const BATCHES_AHEAD: usize = 2;

/// Accepts deliveries; cheap to clone.
#[derive(Clone)]
pub(crate) struct Acceptor {
    rules: Arc<Rules>,
    spool: Arc<Spool>,
    gate: Gate,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    books: Arc<Books>,
}

impl Acceptor {
    pub(crate) fn new(
        rules: Arc<Rules>,
        spool: Arc<Spool>,
        gate: Gate,
        metrics: Arc<Metrics>,
        books: Arc<Books>,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(decode_slots()));
        Self { rules, spool, gate, slots, metrics, books }
    }

    /// Where transports count what only they see.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The budget that sources draw on while a body comes in.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Leave to use a core for one delivery: to unpack it, or to decode it.
    pub(crate) async fn slot(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Refusal::Stopped)
    }

    /// Counts a delivery that was refused before it came to [`Self::accept`], and hands the refusal on.
    pub(crate) fn refuse(&self, source: &Source, refusal: Refusal) -> Refusal {
        let refused = Err(refusal);
        self.settle(source, &refused);
        refused.err().unwrap_or(Refusal::Stopped)
    }

    /// Counts a delivery that was not read to its end and will not come again, or not by our asking.
    pub(crate) fn unread(&self, source: &Source, counter: Counter) {
        self.metrics.unread(source, counter.name());
        self.books.note(&source.tenant, &source.name, counter, 1);
    }

    /// Counts a delivery by its outcome. What is durable carries its own entry of the ledger.
    fn settle(&self, source: &Source, outcome: &Result<Receipt, Refusal>) {
        self.metrics.delivered(source, outcome);
        if let Err(refusal) = outcome {
            self.books.note(&source.tenant, &source.name, refusal.counter(), 1);
        }
    }

    /// Makes a delivery durable and answers with what was in it.
    ///
    /// `payload_bytes` is what it was unpacked, for the ledger. `decode` runs on a blocking thread; `hold` is released
    /// when all is durable or refused. Cancel-safe: the work goes on if the caller is dropped.
    pub(crate) async fn accept(
        &self,
        source: &Arc<Source>,
        hold: Hold,
        payload_bytes: usize,
        decode: impl FnOnce(&Delivery<'_>, &Rules, &mut dyn Sink) + Send + 'static,
    ) -> Result<Receipt, Refusal> {
        let (acceptor, source) = (self.clone(), Arc::clone(source));
        let task = tokio::spawn(async move {
            let receipt = acceptor.decode_and_append(&source, payload_bytes, decode).await;
            acceptor.settle(&source, &receipt);
            drop(hold);
            receipt
        });
        task.await.unwrap_or(Err(Refusal::Stopped))
    }

    /// Decodes on a blocking thread and appends its batches as they fill; the receipt holds when all are durable.
    async fn decode_and_append(
        &self,
        source: &Arc<Source>,
        payload_bytes: usize,
        decode: impl FnOnce(&Delivery<'_>, &Rules, &mut dyn Sink) + Send + 'static,
    ) -> Result<Receipt, Refusal> {
        let slot = self.slot().await?;
        let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
        let (decoding, of) = (self.clone(), Arc::clone(source));
        let decoded = tokio::task::spawn_blocking(move || {
            let sink = SpoolSink::sending(sender);
            let (_, receipt) = decoding.decode_into(sink, &of, payload_bytes, decode).finish();
            drop(slot);
            receipt
        });
        let mut appends = JoinSet::new();
        let mut outcome = Ok(());
        while let Some(batch) = batches.recv().await {
            let spool = Arc::clone(&self.spool);
            appends.spawn(async move { spool.append(batch).await });
            if appends.len() > BATCHES_AHEAD {
                outcome = outcome.and(landed(appends.join_next().await));
            }
            if outcome.is_err() {
                // One failed batch refuses the delivery; the sender's second try is folded by event key.
                batches.close();
            }
        }
        while let Some(append) = appends.join_next().await {
            outcome = outcome.and(landed(Some(append)));
        }
        let receipt = decoded.await.map_err(|_| Refusal::Stopped)?;
        outcome.map(|()| receipt)
    }

    /// Decodes on the calling thread: for deliveries that are small by their transport, and for senders whose
    /// decoder keeps state.
    pub(crate) fn decode_here(
        &self,
        source: &Source,
        payload_bytes: usize,
        decode: impl FnOnce(&Delivery<'_>, &Rules, &mut dyn Sink),
    ) -> SpoolSink {
        self.decode_into(SpoolSink::holding(), source, payload_bytes, decode)
    }

    fn decode_into(
        &self,
        mut sink: SpoolSink,
        source: &Source,
        payload_bytes: usize,
        decode: impl FnOnce(&Delivery<'_>, &Rules, &mut dyn Sink),
    ) -> SpoolSink {
        let delivery = Delivery {
            tenant: &source.tenant,
            source: &source.name,
            received_ns: unix_ns(),
            id: uuid::Uuid::new_v4().as_u128(),
            origin: &source.origin,
        };
        sink.begin(&delivery, payload_bytes as u64);
        decode(&delivery, &self.rules, &mut sink);
        sink
    }

    /// Appends what [`Self::decode_here`] gathered, for senders that cannot be asked to come back: waits for room, so
    /// that the transport pushes back instead.
    pub(crate) async fn append_when_room(
        &self,
        source: &Source,
        sink: SpoolSink,
    ) -> Result<Receipt, Refusal> {
        let (batches, receipt) = sink.finish();
        let mut outcome = Ok(receipt);
        for batch in batches {
            if let Err(error) = self.spool.append_when_room(batch).await {
                outcome = Err(Refusal::Spool(error));
                break;
            }
        }
        self.settle(source, &outcome);
        outcome
    }
}

/// What became of one append.
fn landed(append: Option<Result<Result<(), AppendError>, JoinError>>) -> Result<(), Refusal> {
    match append {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(Refusal::Spool(error)),
        Some(Err(_)) => Err(Refusal::Stopped),
    }
}

/// The service's clock, unix nanoseconds. The pure crates take time as an argument; this is where it comes from.
pub(crate) fn unix_ns() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}
