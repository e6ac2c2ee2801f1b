//! Tempo's HTTP API under `/tempo`, so that Grafana's own Tempo data source works without a plugin.
//!
//! A trace is what an id leads to: any id that a record carries, not only a W3C trace id. Spans are those of
//! `trace::otlp`, every hop of them. Searching reads a bounded number of records, newest first, and assembles what it
//! finds; an answer is what the assembly says, never what a single record seems to.

mod json;
mod logfmt;
mod lookup;
mod search;
mod tags;
mod trace;
mod traceql;
#[cfg(test)]
#[path = "views_tests.rs"]
mod views;

use axum::Router;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use store::query::tempo::Range;

use super::{Api, Problem};

/// The version of Tempo whose API this is: Grafana asks for it to know which endpoints there are.
const TEMPO_VERSION: &str = "2.8.0";

/// Routes of this room, below `/tempo`, that show no records.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/ready", get(|| async { "ready\n" }))
        .route("/api/echo", get(|| async { "echo" }))
        .route("/api/status/buildinfo", get(build))
        .fallback(|| async {
            Problem::not_found("no such endpoint of Tempo here; docs/grafana.md lists those that there are")
        })
}

/// Those that show records.
pub(super) fn lookups() -> Router<Api> {
    Router::new()
        .route("/api/traces/{id}", get(trace::trace))
        .route("/api/v2/traces/{id}", get(trace::trace_v2))
        .route("/api/search", get(search::search))
        .route("/api/search/tags", get(tags::names))
        .route("/api/v2/search/tags", get(tags::names_v2))
        .route("/api/search/tag/{name}/values", get(tags::values))
        .route("/api/v2/search/tag/{name}/values", get(tags::values_v2))
}

/// Whose API it is, and what it is in truth.
async fn build() -> axum::Json<Value> {
    let revision = concat!("throughline-", env!("CARGO_PKG_VERSION"));
    axum::Json(json!({ "version": TEMPO_VERSION, "revision": revision, "branch": "", "buildUser": "",
        "buildDate": "", "goVersion": "" }))
}

/// When spans began, as Tempo's parameters say it: whole seconds of unix time.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Seconds {
    start: Option<u32>,
    end: Option<u32>,
}

impl Seconds {
    fn range(self) -> Result<Range, Problem> {
        if let (Some(start), Some(end)) = (self.start, self.end)
            && start >= end
        {
            return Err(Problem::bad_request(&format!("`start` = {start} is not before `end` = {end}")));
        }
        let ns = |seconds: u32| i64::from(seconds) * 1_000_000_000;
        // The end is a second that still counts.
        Ok(Range { from_ns: self.start.map(ns), to_ns: self.end.map(|end| ns(end.saturating_add(1))) })
    }
}

/// Query parameters, with an error for the person who wrote them.
type Parameters<T> = Result<axum::extract::Query<T>, axum::extract::rejection::QueryRejection>;

fn parameters<T>(query: Parameters<T>) -> Result<T, Problem> {
    query.map(|axum::extract::Query(query)| query).map_err(|error| Problem::bad_request(&error.body_text()))
}
