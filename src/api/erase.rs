//! `POST /api/v1/erase`: everything of one person, counted or deleted; `GET /api/v1/erasures/{id}`: its receipt.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{Api, Problem};
use crate::accept::unix_ns;
use crate::access::Role;
use crate::erase::{self, Asked, EraseError, Erasure, Kind, LEAST_TEXT_BYTES, Match, PENDING_MOST, Receipt};

/// How long an answer waits for the erasure: most take a second, and half a minute more until old parts are off the disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// What to erase.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EraseQuery {
    /// By what the person is named.
    pub(crate) kind: Kind,
    /// The name, pseudonym, address or id.
    pub(crate) value: String,
    /// Only what was received at or after, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// Only what was received until then; at the latest now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Only by the record's own fields: not where the value stands in a text (path, query, attributes, rejects).
    #[serde(default)]
    pub(crate) exact: bool,
    /// Delete every original of a damaged segment, also those in which the value is not found.
    #[serde(default)]
    pub(crate) delete_corrupt: bool,
    /// Delete; without it what would be deleted is counted.
    #[serde(default)]
    pub(crate) confirm: bool,
}

/// Erases everything of one person in the reader's tenant, or counts it.
#[utoipa::path(
    post,
    path = "/api/v1/erase",
    request_body = EraseQuery,
    responses(
        (status = 200, description = "The receipt: counted, under way, or done", body = Receipt),
        (status = 400, description = "The value is not what its kind says", body = Problem),
        (status = 401, description = "Token missing or unknown", body = Problem),
        (status = 403, description = "The reader is no admin", body = Problem),
        (status = 413, description = "Too many events at once", body = Problem),
        (status = 503, description = "The store (dry run) or the disk cannot answer now", body = Problem),
    )
)]
pub(super) async fn erase(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Result<Json<EraseQuery>, JsonRejection>,
) -> Result<Json<Receipt>, Problem> {
    let caller = api.reader(&headers, Role::Admin)?;
    let Json(query) = body.map_err(|error| Problem::bad_request(&error.body_text()))?;
    let asked = asked(&api, &caller.tenant, &query)?;
    let what = Match::new(asked, []).map_err(|sentence| Problem::bad_request(&sentence))?;
    let id = uuid::Uuid::new_v4().as_u128();
    let mut receipt = erase::empty_receipt(id, &what.asked, &caller.name, erase::State::DryRun);
    if query.kind == Kind::Subject && !query.exact && query.value.trim().len() < LEAST_TEXT_BYTES {
        receipt.out_of_reach.push(format!(
            "Texts: the name is shorter than {LEAST_TEXT_BYTES} bytes and is not looked for inside of them."
        ));
    }
    if !query.confirm {
        erase::look(&api.store()?, &what, &mut receipt).await?;
        let waiting = api.readiness.spool();
        if waiting.sealed_waiting + waiting.sealed_out > 0 || waiting.open_records > 0 {
            receipt.waiting.push("records wait in the spool; they are not counted here".to_owned());
        }
        return Ok(Json(receipt));
    }
    if api.erasures.active().len() >= PENDING_MOST {
        return Err(Problem::unavailable("too many erasures are under way; try again when some are done"));
    }
    // One that can be known to be too large is refused before it is in force.
    if let Ok(store) = api.store() {
        // A store that is away or slow does not keep an erasure from being noted.
        let mut counted = receipt.clone();
        let looked = tokio::time::timeout(PATIENCE, erase::look(&store, &what, &mut counted)).await;
        if let Ok(Err(error @ EraseError::TooMany)) = looked {
            return Err(error.into());
        }
    }
    receipt.state = erase::State::Pending;
    let erasures = Arc::clone(&api.erasures);
    let begin = move || erasures.begin(Erasure { id, what, receipt: receipt.into() });
    let begun = tokio::task::spawn_blocking(begin).await;
    let erasure = begun.map_err(std::io::Error::other).flatten().map_err(EraseError::Disk)?;
    let done = async {
        loop {
            let moved = api.erasures.moved.notified();
            if erasure.receipt().state == erase::State::Done {
                return;
            }
            moved.await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, done).await;
    Ok(Json(erasure.receipt()))
}

/// The receipt of an erasure.
#[utoipa::path(
    get,
    path = "/api/v1/erasures/{id}",
    params(("id" = String, Path, description = "The `id` of its receipt")),
    responses(
        (status = 200, description = "The receipt as it stands", body = Receipt),
        (status = 401, description = "Token missing or unknown", body = Problem),
        (status = 403, description = "The reader is no admin", body = Problem),
        (status = 404, description = "This instance knows no such erasure", body = Problem),
    )
)]
pub(super) async fn receipt(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Receipt>, Problem> {
    let caller = api.reader(&headers, Role::Admin)?;
    let found = u128::from_str_radix(&id, 16).ok().and_then(|id| api.erasures.receipt(id));
    found
        .filter(|receipt| *receipt.tenant == *caller.tenant)
        .map(Json)
        .ok_or_else(|| Problem::not_found("no erasure of this id on this instance"))
}

fn asked(api: &Api, tenant: &str, query: &EraseQuery) -> Result<Asked, Problem> {
    let now_ns = unix_ns();
    let moment = |name: &str, text: &Option<String>| -> Result<Option<i64>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            Problem::bad_request(&format!("`{name}` = {text:?} is no time such as 2026-11-21T12:00:00Z"))
        })?;
        Ok(Some(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)))
    };
    let value = query.value.trim();
    let pseudonym = if query.kind == Kind::Subject { api.redactor.subject(value) } else { String::new() };
    // The key of pseudonyms keys this too; the words before keep it apart from a pseudonym.
    let value_hash = api.redactor.subject(&format!("erasure\n{:?}\n{value}", query.kind));
    Ok(Asked {
        tenant: tenant.to_owned(),
        kind: query.kind,
        value: value.to_owned(),
        pseudonym,
        from_ns: moment("from", &query.from)?.unwrap_or(0),
        until_ns: moment("to", &query.to)?.unwrap_or(now_ns).min(now_ns),
        exact: query.exact,
        delete_corrupt: query.delete_corrupt,
        asked_ns: now_ns,
        value_hash,
    })
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::Store(error) => error.into(),
            EraseError::TooMany => Self::too_large(&error.to_string()),
            error => {
                tracing::error!(%error, "an erasure could not begin");
                Self::unavailable("the erasure could not be noted on the disk; nothing was deleted")
            }
        }
    }
}
