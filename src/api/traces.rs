//! `GET /api/v1/traces/{id}`: the path of the requests that an id leads to, whatever kind of id it is.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use correlation::Id;
use event::HopEvent;
use serde::Deserialize;
use store::query::Columns;
use store::{Locator, Store};
use trace::skew::Skew;
use trace::{Bounds, Closure, EventIds, Moment, Request};

use super::answer::{TraceAnswer, WhyAnswer};
use super::lookups::{self, Answered};
use super::{Api, Problem};
use crate::accept::unix_ns;
use crate::access::{Caller, Role};

/// The path of one request, by correlation id, request id or trace id, without being told which.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{id}",
    params(("id" = String, Path, description = "Any id that a record of the request carries")),
    responses(
        (status = 200, description = "Every request that the id leads to", body = TraceAnswer),
        (status = 400, description = "Not an id", body = Problem),
        (status = 404, description = "No record carries the id", body = Problem),
        (status = 403, description = "The reader has not the role", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn trace(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(asked): Path<String>,
) -> Result<Answered<TraceAnswer>, Problem> {
    let caller = api.reader(&headers, Role::Search)?;
    let (records, answer) = answer(&api, &caller, &asked).await?;
    Ok(lookups::rows(records, answer))
}

/// What an id leads to, as the caller may see it, and of how many records it is made. The page shows the same.
pub(crate) async fn answer(api: &Api, caller: &Caller, asked: &str) -> Result<(usize, TraceAnswer), Problem> {
    let found = find(api, caller, asked).await?;
    let learnt = learnt(api, caller, &found.requests).await;
    TraceAnswer::new(asked, &found.requests, &learnt, found.truncated.clone())
        .map(|answer| (found.records(), answer))
        .ok_or_else(|| nothing_carries(asked))
}

/// Requests of one answer whose clocks are looked up; the rest shows what it says itself.
const SKEWED_REQUESTS: usize = 16;

/// What correlation learnt of the clocks that requests crossed. An answer without it is an answer, too: each request
/// also says something of its own clocks.
async fn learnt(api: &Api, caller: &Caller, requests: &[Request]) -> Vec<Skew> {
    let events =
        || requests.iter().take(SKEWED_REQUESTS).flat_map(|request| &request.spans).map(|span| &span.event);
    let servers: BTreeSet<&str> = events().filter_map(trace::skew::server).collect();
    let servers: Vec<&str> = servers.into_iter().collect();
    let times = || events().map(|event| event.received_ns);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Vec::new() };
    let Ok(store) = api.store() else { return Vec::new() };
    let rows = match store.skews(&caller.tenant, &servers, first, last).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(%error, "no clock skew for a trace");
            return Vec::new();
        }
    };
    // Of several hours the one that most links agree on.
    let mut best: BTreeMap<(String, String), Skew> = BTreeMap::new();
    for row in rows {
        let pair = (row.from_server.clone(), row.to_server.clone());
        let skew = Skew {
            from: row.from_server,
            to: row.to_server,
            low_ns: row.low_ns,
            high_ns: row.high_ns,
            links: row.links,
        };
        if best.get(&pair).is_none_or(|known| known.links < skew.links) {
            best.insert(pair, skew);
        }
    }
    best.into_values().collect()
}

/// The two records that are asked about.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhyQuery {
    /// Event key of one record (16 hex digits), or an id that it carries.
    a: String,
    /// The same of the other.
    b: String,
}

/// Why two records are, or are not, one request.
#[utoipa::path(
    get,
    path = "/api/v1/traces/{id}/why",
    params(("id" = String, Path, description = "Any id that leads to both records"), WhyQuery),
    responses(
        (status = 200, description = "The links between them, or what keeps them apart", body = WhyAnswer),
        (status = 400, description = "Not an id", body = Problem),
        (status = 404, description = "The id does not lead to one of them", body = Problem),
        (status = 403, description = "The reader has not the role", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn why(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(asked): Path<String>,
    query: Result<Query<WhyQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Answered<WhyAnswer>, Problem> {
    let caller = api.reader(&headers, Role::Search)?;
    let Query(query) = query.map_err(|error| Problem::bad_request(&error.body_text()))?;
    let found = find(&api, &caller, &asked).await?;
    let key = |text: &str| {
        record(&found.requests, text).ok_or_else(|| {
            Problem::not_found(&format!(
                "no record that {asked:?} leads to has the event key or the id {text:?}"
            ))
        })
    };
    let (a, b) = (key(&query.a)?, key(&query.b)?);
    let why = trace::why(&found.requests, a, b).ok_or_else(|| nothing_carries(&asked))?;
    Ok(lookups::rows(2, WhyAnswer { same: why.same, reasons: why.reasons }))
}

/// The event key that text names: itself, or that of the first record with the id.
fn record(requests: &[Request], text: &str) -> Option<u64> {
    let events = || requests.iter().flat_map(|request| &request.spans).flat_map(trace::Span::records);
    let key = (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    if let Some(key) = key.filter(|&key| events().any(|event| event.event_key == key)) {
        return Some(key);
    }
    let values = Id::candidates(text);
    events()
        .find(|event| EventIds::from(*event).all().any(|(_, value)| values.contains(&value)))
        .map(|it| it.event_key)
}

fn nothing_carries(asked: &str) -> Problem {
    Problem::not_found(&format!(
        "no record carries {asked:?}: it may not have arrived yet, or its retention has passed"
    ))
}

/// The requests that ids lead to, and the bound that cut the reading short, if one did.
pub(super) struct Found {
    pub(super) requests: Vec<Request>,
    pub(super) truncated: Option<String>,
}

impl Found {
    /// How many records the requests are made of.
    pub(super) fn records(&self) -> usize {
        let spans = self.requests.iter().flat_map(|request| &request.spans);
        spans.map(|span| 1 + span.also.len()).sum()
    }
}

/// Looks an id up and assembles what it leads to.
pub(super) async fn find(api: &Api, caller: &Caller, asked: &str) -> Result<Found, Problem> {
    let candidates = Id::candidates(asked);
    if candidates.is_empty() {
        return Err(Problem::bad_request(&format!(
            "{asked:?} is not an id: give 1 to {} characters, as a record carries them",
            correlation::MAX_ID_BYTES
        )));
    }
    let gathered = gather(&api.store()?, &caller.tenant, candidates, Bounds::default()).await?;
    if gathered.events.is_empty() {
        return Err(nothing_carries(asked));
    }
    Ok(gathered.assembled(api, caller))
}

/// Events that belong to the requests that ids lead to.
pub(super) struct Gathered {
    pub(super) events: Vec<HopEvent<'static>>,
    pub(super) truncated: Option<String>,
}

impl Gathered {
    /// The requests, as far as their records are there by now, with what the caller may see of them: addresses help
    /// to put requests together, so they are hidden only afterwards, before anything is made of the requests.
    pub(super) fn assembled(self, api: &Api, caller: &Caller) -> Found {
        let moment = Moment { now_ns: unix_ns(), settle_ns: api.settle_ns };
        let mut requests = trace::requests(self.events, moment);
        if !caller.sees_personal() {
            for span in requests.iter_mut().flat_map(|request| &mut request.spans) {
                span.event.mask_personal();
                span.also.iter_mut().for_each(HopEvent::mask_personal);
            }
        }
        Found { requests, truncated: self.truncated }
    }
}

/// Follows ids from record to record until there is nothing new, or a bound is reached.
pub(super) async fn gather(
    store: &Store,
    tenant: &str,
    asked: Vec<u128>,
    bounds: Bounds,
) -> Result<Gathered, Problem> {
    let mut closure = Closure::new(asked, bounds);
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
    let held: BTreeSet<u64> = closure.event_keys().collect();
    events.retain(|event| held.contains(&event.event_key));
    Ok(Gathered { events, truncated: closure.truncation().map(|bound| bound.to_string()) })
}
