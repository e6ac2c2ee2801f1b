//! `GET /api/v1/rejects`: what could not be read, newest first.

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use event::RejectReason;
use serde::{Deserialize, Serialize};
use store::query::RejectFilter;

use super::answer::time_text;
use super::lookups::{self, Answered};
use super::{Api, Problem};
use crate::access::Role;

/// Which rejects.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectsQuery {
    /// Only of this input.
    source: Option<String>,
    /// Only with this reason, such as `bad_json`.
    reason: Option<String>,
    /// At most so many; default 100.
    #[serde(default)]
    limit: usize,
}

/// A page of rejects.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RejectsAnswer {
    rejects: Vec<RejectAnswer>,
}

/// One record that could not be read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RejectAnswer {
    /// When it was accepted, RFC 3339.
    received: String,
    /// The input that received it.
    source: String,
    /// The decoder that gave up, if one was chosen.
    format: String,
    /// Why, as a word.
    reason: &'static str,
    /// Why, in a sentence.
    detail: String,
    /// Where it began in its delivery, in bytes after decompression.
    offset: u64,
    /// How long it was, in bytes.
    length: u64,
    /// Its first bytes, redacted; what is not UTF-8 is replaced. `[masked]` without the role `personal`.
    text: String,
}

/// Records that could not be read, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/rejects",
    params(RejectsQuery),
    responses(
        (status = 200, description = "Rejects, newest first", body = RejectsAnswer),
        (status = 400, description = "A filter cannot be read", body = Problem),
        (status = 403, description = "The reader has not the role", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn rejects(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Result<Query<RejectsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Answered<RejectsAnswer>, Problem> {
    let caller = api.reader(&headers, Role::Search)?;
    let Query(query) = query.map_err(|error| Problem::bad_request(&error.body_text()))?;
    let reason = query.reason.as_deref().map(reason).transpose()?;
    let filter = RejectFilter {
        source: query.source,
        reason,
        before_ns: None,
        limit: query.limit.min(api.answer_rows),
    };
    let rows = api.store()?.rejects(&caller.tenant, &filter).await?;
    let rejects: Vec<_> = rows
        .into_iter()
        .map(|row| RejectAnswer {
            received: time_text(row.received_ns),
            source: row.source.into_owned(),
            format: row.format.into_owned(),
            reason: row.reason.name(),
            detail: row.detail.into_owned(),
            offset: row.offset,
            length: row.length,
            // What could not be read may hold anything.
            text: match caller.sees_personal() {
                true => String::from_utf8_lossy(&row.bytes).into_owned(),
                false => event::MASK.to_owned(),
            },
        })
        .collect();
    Ok(lookups::rows(rejects.len(), RejectsAnswer { rejects }))
}

fn reason(name: &str) -> Result<RejectReason, Problem> {
    RejectReason::ALL.iter().copied().find(|reason| reason.name() == name).ok_or_else(|| {
        let known: Vec<_> = RejectReason::ALL.iter().map(|reason| reason.name()).collect();
        Problem::bad_request(&format!("`reason` = {name:?} is none of {}", known.join(", ")))
    })
}
