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
use spool::Spool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub(crate) use gate::{Gate, Hold};
pub(crate) use receipt::{Receipt, Refusal, RejectLine};
pub(crate) use sink::SpoolSink;

use crate::config::Source;
use crate::metrics::Metrics;

/// Deliveries decoded at once. Decoding is pure CPU work: more than the cores would only hold more memory.
fn decode_slots() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Accepts deliveries; cheap to clone.
#[derive(Clone)]
pub(crate) struct Acceptor {
    rules: Arc<Rules>,
    spool: Arc<Spool>,
    gate: Gate,
    slots: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Acceptor {
    pub(crate) fn new(
        rules: Arc<Rules>,
        spool: Arc<Spool>,
        in_flight_bytes: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(decode_slots()));
        Self { rules, spool, gate: Gate::new(in_flight_bytes), slots, metrics }
    }

    /// The budget that transports draw on while a body comes in.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Makes a delivery durable and answers with what was in it.
    ///
    /// `decode` runs on a blocking thread; `hold` is released when all is durable or refused. Cancel-safe: the work
    /// goes on if the caller is dropped.
    pub(crate) async fn accept(
        &self,
        source: &Arc<Source>,
        hold: Hold,
        decode: impl FnOnce(&Delivery<'_>, &Rules, &mut dyn Sink) + Send + 'static,
    ) -> Result<Receipt, Refusal> {
        let (acceptor, source) = (self.clone(), Arc::clone(source));
        let task = tokio::spawn(async move {
            let slot = Arc::clone(&acceptor.slots).acquire_owned().await.map_err(|_| Refusal::Stopped)?;
            let decoding = acceptor.clone();
            let of = Arc::clone(&source);
            let sink = tokio::task::spawn_blocking(move || {
                let sink = decoding.decode_here(&of, decode);
                drop(slot);
                sink
            })
            .await
            .map_err(|_| Refusal::Stopped)?;
            let receipt = acceptor.append(sink).await;
            acceptor.metrics.delivered(&source, &receipt);
            drop(hold);
            receipt
        });
        task.await.unwrap_or(Err(Refusal::Stopped))
    }

    /// Decodes on the calling thread: for deliveries that are small by their transport, and for senders whose
    /// decoder keeps state.
    pub(crate) fn decode_here(
        &self,
        source: &Source,
        decode: impl FnOnce(&Delivery<'_>, &Rules, &mut dyn Sink),
    ) -> SpoolSink {
        let mut sink = SpoolSink::new();
        let delivery = Delivery {
            tenant: &source.tenant,
            source: &source.name,
            received_ns: unix_ns(),
            id: uuid::Uuid::new_v4().as_u128(),
            origin: &source.origin,
        };
        decode(&delivery, &self.rules, &mut sink);
        sink
    }

    /// Appends what a sink gathered; every batch must be durable before the receipt is given.
    async fn append(&self, sink: SpoolSink) -> Result<Receipt, Refusal> {
        let (batches, receipt) = sink.finish();
        let mut appends = JoinSet::new();
        for batch in batches {
            let spool = Arc::clone(&self.spool);
            appends.spawn(async move { spool.append(batch).await });
        }
        let mut outcome = Ok(receipt);
        while let Some(joined) = appends.join_next().await {
            // One failed batch refuses the delivery; the sender's second try is folded by event key.
            match joined {
                Ok(Ok(())) => {}
                Ok(Err(error)) => outcome = Err(Refusal::Spool(error)),
                Err(_) => outcome = Err(Refusal::Stopped),
            }
        }
        outcome
    }

    /// As [`Self::append`], for senders that cannot be asked to come back: waits for room, so that the transport
    /// pushes back instead.
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
        self.metrics.delivered(source, &outcome);
        outcome
    }
}

/// The service's clock, unix nanoseconds. The pure crates take time as an argument; this is where it comes from.
pub(crate) fn unix_ns() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}
