//! `GET /api/v1/sources`: what each input brought lately.

use axum::extract::State;
use axum::http::HeaderMap;

use super::answer::{ReasonCount, SourceAnswer, SourcesAnswer, time_text};
use super::lookups::{self, Answered};
use super::{Api, Problem};
use crate::access::Role;

/// Inputs with their counts over the last seven days.
#[utoipa::path(
    get,
    path = "/api/v1/sources",
    responses(
        (status = 200, description = "Inputs by name", body = SourcesAnswer),
        (status = 403, description = "The reader has not the role", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn sources(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Answered<SourcesAnswer>, Problem> {
    let caller = api.reader(&headers, Role::Search)?;
    let rows = api.store()?.sources(&caller.tenant).await?;
    let sources: Vec<_> = rows
        .into_iter()
        .map(|row| SourceAnswer {
            source: row.source,
            first_received: time_text(row.first_received_ns),
            last_received: time_text(row.last_received_ns),
            events: row.events,
            rejects: row.rejects.into_iter().map(|(reason, count)| ReasonCount { reason, count }).collect(),
        })
        .collect();
    Ok(lookups::rows(sources.len(), SourcesAnswer { sources }))
}
