//! `GET /api/v1/traces/{id}`: the path of the requests that an id leads to, whatever kind of id it is.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use correlation::Id;
use event::HopEvent;
use store::query::Columns;
use store::{Locator, Store};
use trace::{Bounds, Closure, EventIds};

use super::answer::TraceAnswer;
use super::{Api, Problem};

/// The path of one request, by correlation id, request id or trace id, without being told which.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{id}",
    params(("id" = String, Path, description = "Any id that a record of the request carries")),
    responses(
        (status = 200, description = "Every request that the id leads to", body = TraceAnswer),
        (status = 400, description = "Not an id", body = Problem),
        (status = 404, description = "No record carries the id", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn trace(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(asked): Path<String>,
) -> Result<Json<TraceAnswer>, Problem> {
    let tenant = api.tenant(&headers)?;
    let candidates = Id::candidates(&asked);
    if candidates.is_empty() {
        return Err(Problem::bad_request(&format!(
            "{asked:?} is not an id: give 1 to {} characters, as a record carries them",
            correlation::MAX_ID_BYTES
        )));
    }
    let gathered = gather(&api.store()?, &tenant, candidates).await?;
    if gathered.events.is_empty() {
        return Err(Problem::not_found(&format!(
            "no record carries {asked:?}: it may not have arrived yet, or its retention has passed"
        )));
    }
    let requests = trace::requests(gathered.events, trace::Moment::FINAL);
    Ok(Json(TraceAnswer::new(&asked, &requests, gathered.truncated)))
}

struct Gathered {
    events: Vec<HopEvent<'static>>,
    truncated: Option<String>,
}

/// Follows ids from record to record until there is nothing new, or a bound is reached.
async fn gather(store: &Store, tenant: &str, asked: Vec<u128>) -> Result<Gathered, Problem> {
    let mut closure = Closure::new(asked, Bounds::default());
    let mut places: Vec<Locator> = Vec::new();
    let mut events = Vec::new();
    loop {
        let ids = closure.next_ids();
        if ids.is_empty() {
            break;
        }
        let mut new: Vec<Locator> = store.ids_of(tenant, &ids).await?.iter().map(|row| row.locator).collect();
        new.sort_unstable();
        new.dedup();
        new.retain(|place| !places.contains(place));
        if new.is_empty() {
            continue;
        }
        let found = store.events_at(tenant, &new, Columns::All).await?;
        closure.add(found.iter().map(EventIds::from));
        events.extend(found);
        places.extend(new);
    }
    let held: std::collections::BTreeSet<u64> = closure.event_keys().collect();
    events.retain(|event| held.contains(&event.event_key));
    Ok(Gathered { events, truncated: closure.truncation().map(|bound| bound.to_string()) })
}
