//! Requests put together as they settle: shipped segments in, decided requests out. One instance at a time does it.
//!
//! What is read, how far that is, and what was decided are in the store ([`store::Term`], `recent`, `exports`); what is
//! here may be lost at any time and is read again by whoever takes over. A request is settled when no record of it was
//! shipped for `correlate.settle`, by the store's clock. Late records are a way of their own ([`complete`]).

/// Asks the store until there is an answer. Nothing here is worth giving up for: while the store is away there is
/// nothing else to do. A macro, because a closure that makes futures over borrowed values cannot be sent to a thread.
macro_rules! ask {
    ($source:expr, $what:literal, |$store:ident| $question:expr) => {{
        let source: &$crate::correlate::StoreSource = &$source;
        loop {
            let now = source.store.borrow().clone();
            if let Some($store) = now {
                match $question.await {
                    Ok(answer) => break answer,
                    Err(error) => source.trouble($what, &error),
                }
            }
            tokio::time::sleep($crate::correlate::STORE_PAUSE).await;
        }
    }};
}

mod assemble;
mod chunk;
mod complete;
mod judge;
mod pending;
mod seen;
mod segments;
mod skews;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use store::{RENEW_EVERY, Store, StoreError, Term};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use chunk::{Packer, Plain};
pub(crate) use judge::Outgoing;

use crate::config::{CorrelateSettings, ExportSettings};
use crate::erase::Erasures;
use crate::export::{BATCHES_AHEAD, Exporter, Rarely, Transport};
use crate::metrics::Metrics;
use work::Work;

/// Between two looks at a lease that somebody else holds.
const CONTEND_EVERY: Duration = Duration::from_secs(2);
/// After a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Correlates whenever it holds the lease.
pub(crate) struct Correlator {
    pub(crate) source: StoreSource,
    pub(crate) instance: String,
    pub(crate) settings: CorrelateSettings,
    /// How long events are kept for it.
    pub(crate) recent_hours: u32,
    /// Where requests go; `None` to learn clock skew only.
    pub(crate) export: Option<(ExportSettings, Transport)>,
    pub(crate) metrics: Arc<Metrics>,
    /// What must not go out although it was read before it was erased.
    pub(crate) erasures: Arc<Erasures>,
    pub(crate) stopping: CancellationToken,
}

/// The store as it is reachable now, and asking it until it answers.
#[derive(Clone)]
pub(crate) struct StoreSource {
    store: watch::Receiver<Option<Store>>,
    log: Arc<Rarely>,
}

impl StoreSource {
    pub(crate) fn new(store: watch::Receiver<Option<Store>>) -> Self {
        Self { store, log: Arc::default() }
    }

    /// Says why there is no answer, now and then.
    fn trouble(&self, what: &'static str, error: &StoreError) {
        if self.log.now(what) {
            tracing::warn!(%error, "correlation waits for the store");
        }
    }
}

impl Correlator {
    /// Until the service stops.
    pub(crate) async fn run(self) {
        loop {
            let contend = async { ask!(self.source, "contend", |store| store.contend(&self.instance)) };
            let term = tokio::select! {
                () = self.stopping.cancelled() => return,
                term = contend => term,
            };
            match term {
                Some(term) => self.hold(term).await,
                None => tokio::select! {
                    () = self.stopping.cancelled() => return,
                    () = tokio::time::sleep(CONTEND_EVERY) => {}
                },
            }
        }
    }

    /// Correlates until the lease is lost or the service stops.
    async fn hold(&self, term: Term) {
        tracing::info!(term = term.number(), "this instance correlates");
        self.metrics.correlation.lease.set(1);
        let through_us = Arc::new(AtomicI64::new(term.through_us));
        let (act_until, may_act) = watch::channel(term.act_until());
        let lost = CancellationToken::new();
        let renewing = tokio::spawn(renew(
            self.source.clone(),
            term,
            Arc::clone(&through_us),
            act_until,
            lost.clone(),
            self.stopping.clone(),
        ));
        let (batches, queue) = mpsc::channel(BATCHES_AHEAD);
        let (done, finished) = mpsc::channel(BATCHES_AHEAD + 2);
        let exporting = self.export.as_ref().map(|(_, transport)| {
            let exporter = Exporter {
                transport: transport.clone(),
                store: self.source.store.clone(),
                metrics: Arc::clone(&self.metrics),
                act_until: may_act,
                log: Rarely::default(),
            };
            tokio::spawn(exporter.run(queue, done))
        });
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = lost.cancelled() => tracing::warn!("another instance correlates now"),
            () = Work::run(self, batches, finished, &through_us) => {}
        }
        // What is under way is given up: whoever goes on reads it again.
        if let Some(exporting) = exporting {
            exporting.abort();
            let _ = exporting.await;
        }
        lost.cancel();
        let _ = renewing.await;
        self.metrics.correlation.lease.set(0);
    }
}

/// Keeps the term until it is lost; gives it up when the service stops.
async fn renew(
    source: StoreSource,
    mut term: Term,
    through_us: Arc<AtomicI64>,
    act_until: watch::Sender<Instant>,
    lost: CancellationToken,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = lost.cancelled() => {}
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        let Some(store) = source.store.borrow().clone() else { continue };
        let through = through_us.load(Ordering::Relaxed);
        if lost.is_cancelled() {
            if stopping.is_cancelled() {
                // Best effort: without it the next one waits until this one counts as dead.
                let _ = tokio::time::timeout(STORE_PAUSE, store.release(term, through)).await;
            }
            return;
        }
        match store.renew(&mut term, through).await {
            Ok(true) => {
                let _ = act_until.send(term.act_until());
            }
            Ok(false) => lost.cancel(),
            Err(error) if source.log.now("renew") => {
                tracing::warn!(%error, "cannot renew the lease of correlation");
            }
            Err(_) => {}
        }
    }
}
