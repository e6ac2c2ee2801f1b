//! The query API: `/api/v1`, health, metrics. Reads the store; knows no SQL.

pub(crate) mod answer;
pub(crate) mod backup;
mod coverage;
mod crowd;
pub(crate) mod erase;
pub(crate) mod events;
mod health;
mod ledger;
pub(crate) mod lookups;
mod openapi;
mod problem;
mod rejects;
#[cfg(test)]
mod schema;
mod service;
mod sources;
#[cfg(test)]
mod tables_tests;
mod tempo;
pub(crate) mod traces;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use store::{Store, StoreError};
use tokio::sync::watch;

pub(crate) use answer::time_text;
pub(crate) use crowd::{Crowd, as_called, take_turns};
pub(crate) use health::Readiness;
pub(crate) use problem::Problem;
pub(crate) use service::Standing;

use crate::accept::unix_ns;
use crate::access::{AddressList, Audit, Caller, Keyring, Role, TokenHash, is_local};
use crate::backup::Backups;
use crate::config::{Reader, Settings};
use crate::erase::Erasures;
use crate::metrics::Metrics;

/// What every query handler needs; clones share it.
#[derive(Clone)]
pub(crate) struct Api {
    store: watch::Receiver<Option<Store>>,
    readers: Arc<[Reader]>,
    /// Configured inputs with their tenants.
    sources: Arc<[(String, answer::ConfiguredSource)]>,
    /// Who a request without a token is; `None` where a token is needed.
    open: Option<Caller>,
    is_loopback: bool,
    answer_rows: usize,
    /// How long the tables surely keep rows, seconds.
    rows_kept_s: i64,
    /// How long after its last record a request may still grow.
    settle_ns: i64,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Where lookups are written down; `None` where they are not.
    audit: Option<Audit>,
    /// Every token's hash, of sources as well: none of them is shown in the audit log.
    keyrings: Arc<[Arc<Keyring>]>,
    proxies: Option<Arc<AddressList>>,
    erasures: Arc<Erasures>,
    redactor: Arc<decode::Redactor>,
    backups: Arc<Backups>,
    standing: Arc<Standing>,
}

impl Api {
    pub(crate) fn new(
        settings: &Settings,
        audit: Option<Audit>,
        store: watch::Receiver<Option<Store>>,
        metrics: Arc<Metrics>,
        readiness: Readiness,
        (erasures, redactor): (Arc<Erasures>, Arc<decode::Redactor>),
        backups: Arc<Backups>,
    ) -> Self {
        let open =
            settings.readers.is_empty() && (settings.http.address.ip().is_loopback() || settings.insecure);
        Self {
            store,
            readers: settings.readers.clone().into(),
            sources: ledger::configured(settings).into(),
            open: open.then(|| Caller::open(settings.http.address.ip().is_loopback())),
            is_loopback: settings.http.address.ip().is_loopback(),
            answer_rows: settings.limits.answer_rows,
            rows_kept_s: ledger::rows_kept_s(&settings.retention),
            settle_ns: i64::try_from(settings.correlate.settle.as_nanos()).unwrap_or(i64::MAX),
            metrics,
            readiness,
            audit,
            keyrings: settings.keyrings().collect(),
            proxies: settings.trusted_proxies.clone(),
            erasures,
            redactor,
            backups,
            standing: Arc::default(),
        }
    }

    /// With what the instance says of itself.
    pub(crate) fn standing(self, standing: Standing) -> Self {
        Self { standing: Arc::new(standing), ..self }
    }

    /// Who asks, if its token is a reader's.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if let Some(open) = &self.open {
            if self.is_loopback && !is_local(headers) {
                return Err(Problem::forbidden(
                    "without a [[reader]] questions are answered only to an address or to `localhost`; configure a reader",
                ));
            }
            return Ok(open.clone());
        }
        let presented = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        self.presenter(presented).map(|(caller, _)| caller).ok_or_else(|| {
            Problem::unauthorized(
                "send `Authorization: Bearer TOKEN` with the token of a configured [[reader]]",
            )
        })
    }

    /// The reader whose token a header or a form presents, and which token it is.
    pub(crate) fn presenter(&self, presented: &[u8]) -> Option<(Caller, TokenHash)> {
        let now_s = (unix_ns() / 1_000_000_000).unsigned_abs();
        self.readers.iter().find_map(|reader| {
            let token = reader.tokens.admits(presented, now_s)?;
            Some((Caller::from(reader), token))
        })
    }

    /// The reader of this name as it is configured, if the token (still) is one of its tokens.
    pub(crate) fn holder(&self, name: &str, token: TokenHash) -> Option<Caller> {
        let reader = self.readers.iter().find(|reader| reader.name == name)?;
        reader.tokens.holds(token).then(|| Caller::from(reader))
    }

    /// Whether questions are answered without a token.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Who asks, if it may do this: whose records it sees, and whether personal fields among them.
    pub(crate) fn reader(&self, headers: &HeaderMap, role: Role) -> Result<Caller, Problem> {
        let caller = self.caller(headers)?;
        caller.may(role)?;
        Ok(caller)
    }

    /// What answers do not show yet: how many records wait in this instance's spool, and since when.
    pub(crate) fn not_yet_visible(&self) -> Option<(u64, Duration)> {
        self.readiness.not_yet_visible()
    }

    /// The store as it is reachable now.
    pub(crate) fn store(&self) -> Result<Store, Problem> {
        self.store
            .borrow()
            .clone()
            .ok_or_else(|| Problem::unavailable("the engine is restarting; try again in a second"))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The inside of the store is for the log; the client learns whether to try again.
        tracing::warn!(%error, "a query failed");
        if error.retryable() {
            Self::unavailable("the store is busy or away; try again")
        } else {
            Self::unavailable("the store cannot answer; the service's log says why")
        }
    }
}

/// The header of answers while records wait in this instance's spool for more than a few seconds.
pub(crate) const NOT_YET_VISIBLE: &str = "x-throughline-not-yet-visible";

/// Every route of this room.
pub(crate) fn routes(api: Api) -> Router {
    let lookups = Router::new()
        .route("/api/v1/traces/{id}", get(traces::trace))
        .route("/api/v1/traces/{id}/why", get(traces::why))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/rejects", get(rejects::rejects))
        .route("/api/v1/backup", post(backup::backup))
        .route("/api/v1/erase", post(erase::erase))
        .route("/api/v1/erasures/{id}", get(erase::receipt))
        .route("/api/v1/sources", get(sources::sources))
        .route("/api/v1/ledger", get(ledger::ledger))
        .route("/api/v1/coverage", get(coverage::coverage))
        .nest("/tempo", tempo::lookups())
        .route_layer(from_fn_with_state(api.clone(), lookups::noted));
    lookups
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/api/v1/service", get(service::service))
        .nest("/tempo", tempo::routes())
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(|| async { Problem::not_found("no such path; /api/v1/openapi.json lists them") })
        .layer(map_response_with_state(api.clone(), tell_what_waits))
        .with_state(api)
}

/// Every answer, "not found" above all, says what it cannot know of yet.
async fn tell_what_waits(State(api): State<Api>, mut response: Response) -> Response {
    if let Some((records, age)) = api.readiness.not_yet_visible() {
        let text = format!("records={records}, oldest_ms={}", age.as_millis());
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(HeaderName::from_static(NOT_YET_VISIBLE), value);
        }
    }
    response
}
