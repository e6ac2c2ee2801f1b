//! Traces to the OTLP receiver: bounded batches, repeated until taken or refused for good, then noted in the store.
//!
//! A dead receiver holds up this room only: the batch under way is repeated with growing pauses, the queue before it
//! fills, correlation reads no further, and what it has not read waits in the store. Ingest never notices. What is
//! sent and not yet noted when the process dies is sent again, with the same span ids: at least once.

mod answer;
mod keep;
mod transport;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use store::{Decision, Store};
use tokio::sync::{mpsc, watch};

use crate::correlate::Outgoing;
use crate::metrics::Metrics;
use answer::Answer;
pub(crate) use transport::Transport;

/// Batches between correlation and here: one waits while one is under way.
pub(crate) const BATCHES_AHEAD: usize = 1;
/// Encoded bytes and spans of one request to the receiver: a quarter of what receivers take by default.
const REQUEST_BYTES: usize = 1 << 20;
const REQUEST_SPANS: u32 = 4_000;
/// Requests to the receiver at once: one is packed while others are under way.
const LANES: usize = 4;
/// Pauses after failures: the first, doubling up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the same trouble is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Requests that settled together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Told back when all of it is decided and noted.
    pub(crate) number: u64,
    pub(crate) outgoing: Vec<Outgoing>,
    /// The store's clock when it was last read, and when that was.
    pub(crate) now_us: i64,
    pub(crate) looked: Instant,
}

/// Sends batches one after the other.
pub(crate) struct Exporter {
    pub(crate) transport: Transport,
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Until when the lease allows it.
    pub(crate) act_until: watch::Receiver<Instant>,
    pub(crate) log: Rarely,
}

/// A part of a batch that goes out in one request.
struct Part {
    spans: u32,
    /// Index of a request and an encoded message of it.
    pieces: Vec<(usize, u32, Vec<u8>)>,
}

impl Exporter {
    /// Until correlation ends. Numbers of finished batches go to `done`.
    pub(crate) async fn run(self, mut batches: mpsc::Receiver<Batch>, done: mpsc::Sender<u64>) {
        while let Some(batch) = batches.recv().await {
            let number = batch.number;
            self.export(batch).await;
            if done.send(number).await.is_err() {
                return;
            }
        }
    }

    async fn export(&self, mut batch: Batch) {
        let parts = parts(&mut batch.outgoing);
        let refusals: Vec<(usize, String)> = futures_util::stream::iter(parts)
            .map(|part| self.send(part))
            .buffer_unordered(LANES)
            .collect::<Vec<_>>()
            .await
            .concat();
        for (index, why) in refusals {
            if let Some(outgoing) = batch.outgoing.get_mut(index) {
                (outgoing.decided.decision, outgoing.decided.rule) = (Decision::Refused, why);
            }
        }
        let (decided, last_us): (Vec<_>, Vec<_>) =
            batch.outgoing.into_iter().map(|outgoing| (outgoing.decided, outgoing.last_us)).unzip();
        let token = uuid::Uuid::new_v4().as_u128();
        let mut pause = FIRST_PAUSE;
        while let Err(why) = self.note(&decided, token).await {
            if self.log.now("note") {
                tracing::warn!(
                    error = why,
                    "cannot note what was exported; trying again before the next is sent"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        let mut counts: HashMap<Decision, u64> = HashMap::new();
        for (one, last_us) in decided.iter().zip(last_us) {
            *counts.entry(one.decision).or_default() += 1;
            if one.decision == Decision::Exported {
                let waited_us = batch.now_us.saturating_sub(last_us).max(0).unsigned_abs();
                self.metrics
                    .correlation
                    .exported_after(Duration::from_micros(waited_us) + batch.looked.elapsed());
            }
        }
        for (decision, count) in counts {
            self.metrics.correlation.decided(decision, count);
        }
    }

    async fn note(&self, decided: &[store::Decided], token: u128) -> Result<(), String> {
        let store = self.store.borrow().clone().ok_or("the engine is restarting")?;
        store.note_decisions(decided, token).await.map_err(|error| error.to_string())
    }

    /// Sends a part until the receiver has it or refuses it for good; which requests it refused, and why.
    async fn send(&self, part: Part) -> Vec<(usize, String)> {
        let mut refused = Vec::new();
        let mut parts = vec![part];
        while let Some(part) = parts.pop() {
            match self.deliver(&part).await {
                Ok(()) => {}
                Err(Refused::TooLarge(_)) if part.pieces.len() > 1 => parts.extend(part.halves()),
                Err(Refused::TooLarge(why) | Refused::Never(why)) => {
                    if self.log.now("refused") {
                        tracing::error!(
                            error = why,
                            spans = part.spans,
                            "the trace receiver refused spans for good; they are noted as refused"
                        );
                    }
                    self.metrics.correlation.refused_spans.inc_by(part.spans.into());
                    refused.extend(part.pieces.into_iter().map(|(index, _, _)| (index, why.clone())));
                }
            }
        }
        refused
    }

    async fn deliver(&self, part: &Part) -> Result<(), Refused> {
        let message =
            part.pieces.iter().map(|(_, _, message)| message.as_slice()).collect::<Vec<_>>().concat();
        let transport = self.transport.clone();
        let packed = tokio::task::spawn_blocking(move || transport.pack(message)).await;
        let body = match packed {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(Refused::Never(error.to_string())),
            Err(_) => return Err(Refused::Never("packing it failed".to_owned())),
        };
        let mut pause = FIRST_PAUSE;
        loop {
            self.may_act().await;
            let (why, asked) = match self.transport.send(body.clone()).await {
                Answer::Taken { refused, message } => {
                    let refused = refused.min(part.spans.into());
                    if (refused > 0 || !message.is_empty()) && self.log.now("partial") {
                        tracing::warn!(
                            refused,
                            spans = part.spans,
                            message,
                            "the trace receiver took spans with reservations"
                        );
                    }
                    self.metrics.correlation.spans.inc_by(u64::from(part.spans) - refused);
                    self.metrics.correlation.refused_spans.inc_by(refused);
                    return Ok(());
                }
                Answer::TooLarge { why } => return Err(Refused::TooLarge(why)),
                Answer::Never { why } => return Err(Refused::Never(why)),
                Answer::Later { why, pause } => (why, pause),
            };
            self.metrics.correlation.retries.inc();
            let wait = asked.unwrap_or_else(|| jittered(pause));
            if self.log.now("retry") {
                tracing::warn!(error = why, retry_in = ?wait, "cannot send traces; they wait in the store");
            }
            tokio::time::sleep(wait).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Waits while another instance may have taken over.
    async fn may_act(&self) {
        let mut until = self.act_until.clone();
        while Instant::now() >= *until.borrow_and_update() {
            if until.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Why a part is not repeated.
enum Refused {
    TooLarge(String),
    Never(String),
}

impl Part {
    fn halves(mut self) -> [Self; 2] {
        let second = self.pieces.split_off(self.pieces.len() / 2);
        [self.pieces, second].map(Self::of)
    }

    fn of(pieces: Vec<(usize, u32, Vec<u8>)>) -> Self {
        Self { spans: pieces.iter().map(|(_, spans, _)| spans).sum(), pieces }
    }
}

/// Takes the messages out of `outgoing` and puts them together to requests of a good size.
fn parts(outgoing: &mut [Outgoing]) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut open, mut spans, mut bytes) = (Vec::new(), 0, 0);
    for (index, one) in outgoing.iter_mut().enumerate() {
        for (count, message) in one.pieces.drain(..) {
            let full = spans + count > REQUEST_SPANS || bytes + message.len() > REQUEST_BYTES;
            if full && !open.is_empty() {
                parts.push(Part::of(std::mem::take(&mut open)));
                (spans, bytes) = (0, 0);
            }
            spans += count;
            bytes += message.len();
            open.push((index, count, message));
        }
    }
    if !open.is_empty() {
        parts.push(Part::of(open));
    }
    parts
}

/// Between half of a pause and all of it, so that instances do not come back together.
fn jittered(pause: Duration) -> Duration {
    let drawn = uuid::Uuid::new_v4().as_u128() as u32;
    pause / 2 + (pause / 2).mul_f64(f64::from(drawn) / f64::from(u32::MAX))
}

/// Says whether it is time again to log a trouble of a kind.
#[derive(Debug, Default)]
pub(crate) struct Rarely(std::sync::Mutex<HashMap<&'static str, Instant>>);

impl Rarely {
    /// Whether the last time was long ago; it counts as logged then.
    pub(crate) fn now(&self, kind: &'static str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.get(kind).is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if due {
            last.insert(kind, Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_and_keep_whose_pieces_they_hold() {
        let decided = store::Decided {
            tenant: "t".into(),
            id: None,
            trace_id: 1,
            decision: Decision::Exported,
            rule: String::new(),
            spans: 0,
            event_keys: Vec::new(),
        };
        let one = |spans: u32, bytes: usize| Outgoing {
            decided: decided.clone(),
            pieces: vec![(spans, vec![0; bytes])],
            last_us: 0,
        };
        let mut outgoing: Vec<_> = (0..10).map(|_| one(1000, 10)).collect();
        outgoing.push(one(1, REQUEST_BYTES));
        outgoing.push(one(1, REQUEST_BYTES + 1));
        outgoing.push(Outgoing { decided, pieces: Vec::new(), last_us: 0 });
        let parts = parts(&mut outgoing);
        let shape: Vec<_> = parts.iter().map(|part| (part.spans, part.pieces.len())).collect();
        assert_eq!(shape, [(4000, 4), (4000, 4), (2000, 2), (1, 1), (1, 1)]);
        let whose: Vec<usize> =
            parts.iter().flat_map(|part| part.pieces.iter().map(|(index, _, _)| *index)).collect();
        assert_eq!(whose, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn a_trouble_is_logged_once_a_minute_by_kind() {
        let log = Rarely::default();
        assert!(log.now("a") && !log.now("a") && log.now("b"));
    }
}
