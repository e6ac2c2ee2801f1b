//! Health tied to progress: alive is not ready, and ready means that a delivery would be accepted now.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use spool::Spool;
use tokio_util::sync::CancellationToken;

use super::{Api, Problem};
use crate::ship::Progress;

/// An I/O error of the spool this recent means that deliveries are refused.
const RECENT_ERROR: Duration = Duration::from_secs(5);
/// Sealing and shipping take one second or two; an answer need not mention that.
const USUAL_WAIT: Duration = Duration::from_secs(4);
/// Records this old without a shipped segment in between: shipping hangs. Longer than any restart of the engine.
const SHIPPING_STUCK: Duration = Duration::from_secs(120);

/// What readiness is judged by; clones share it.
#[derive(Clone)]
pub(crate) struct Readiness {
    spool: Arc<Spool>,
    progress: Arc<Progress>,
    prepared: Arc<AtomicBool>,
    stopping: CancellationToken,
}

impl Readiness {
    pub(crate) fn new(spool: Arc<Spool>, progress: Arc<Progress>, stopping: CancellationToken) -> Self {
        Self { spool, progress, prepared: Arc::default(), stopping }
    }

    /// The store's schema is current: queries can be answered.
    pub(crate) fn prepared(&self) {
        self.prepared.store(true, Ordering::Release);
    }

    pub(crate) fn spool(&self) -> spool::Stats {
        self.spool.stats()
    }

    /// What answers do not show yet: records that wait in this instance's spool for longer than is usual.
    pub(crate) fn not_yet_visible(&self) -> Option<(u64, Duration)> {
        let stats = self.spool.stats();
        let age = stats.oldest_age.filter(|age| *age > USUAL_WAIT)?;
        (stats.waiting_records > 0).then_some((stats.waiting_records, age))
    }

    /// Why a sender should go elsewhere, and what is slow but works.
    fn judge(&self) -> (Vec<String>, Vec<String>) {
        let stats = self.spool.stats();
        let (mut down, mut slow) = (Vec::new(), Vec::new());
        if self.stopping.is_cancelled() || stats.closed {
            down.push("draining".to_owned());
        }
        if !self.prepared.load(Ordering::Acquire) {
            down.push("the store's schema is not prepared yet".to_owned());
        }
        if stats.below_floor {
            down.push("the spool's disk has less room than `spool.min_free`".to_owned());
        }
        if stats.used_bytes >= stats.max_bytes {
            down.push(format!("the spool is full ({} of {} bytes)", stats.used_bytes, stats.max_bytes));
        }
        if let Some((error, ago)) = stats.last_error.filter(|(_, ago)| *ago < RECENT_ERROR) {
            down.push(format!("the spool's disk failed {ago:.0?} ago: {error}"));
        }
        // Senders need not go elsewhere for this: what they send is durable and waits.
        if let Some(age) = stats.oldest_age.filter(|age| (*age).min(self.progress.since()) > SHIPPING_STUCK) {
            slow.push(format!(
                "nothing was shipped for {:.0?}; the oldest waiting record is {age:.0?} old",
                self.progress.since()
            ));
        }
        (down, slow)
    }
}

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// 200 where a delivery would be accepted now, 503 with the reasons where not.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let (down, slow) = api.readiness.judge();
    let mut body = if down.is_empty() { "ready\n".to_owned() } else { "not ready\n".to_owned() };
    for reason in down.iter().chain(&slow) {
        let _ = writeln!(body, "- {reason}");
    }
    let status = if down.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

/// Prometheus exposition.
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let uses = api.keyrings.iter().flat_map(|keyring| {
        let (kind, name) = keyring.owner();
        keyring.uses().into_iter().map(move |(token, at)| (kind, name.to_owned(), token.short(), at))
    });
    api.metrics.set_tokens(uses);
    let text = api
        .metrics
        .text(&api.readiness.spool())
        .map_err(|_| Problem::unavailable("metrics cannot be written"))?;
    let kind = (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([kind], text).into_response())
}
