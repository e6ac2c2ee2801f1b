//! Ids and places to assembled requests.

use std::collections::HashSet;

use correlation::Id;
use event::HopEvent;
use store::Store;
use store::query::Columns;
use store::query::tempo::Place;
use trace::{Bounds, EventIds, Request};

use crate::access::Caller;
use crate::api::traces::{Found, Gathered, gather};
use crate::api::{Api, Problem};

/// Requests that are put together at once in a search: their records fit in one answer of the store.
pub(super) const REQUESTS_AT_ONCE: usize = 32;
/// How far the closure over so many requests goes.
const BOUNDS: Bounds =
    Bounds { ids: 4_096, events: 10_000, events_per_id: trace::EVENTS_PER_REQUEST, rounds: 8 };

/// The requests that carry an id, of whatever kind: logged, or the trace id that was made of what was logged. With the
/// trace id that they are asked by, if it is one.
pub(super) async fn by_id(api: &Api, caller: &Caller, asked: &str) -> Result<(Found, Option<u128>), Problem> {
    let store = api.store()?;
    let values = values(asked);
    let mut found =
        gather(&store, &caller.tenant, values.clone(), Bounds::default()).await?.assembled(api, caller);
    found.requests.retain(|request| request.carries(&values));
    let of_trace = |request: &Request| {
        let carried = request.spans.iter().map(|span| span.event.trace_id);
        carried.chain([request.trace_id]).find(|id| *id != 0 && values.contains(id))
    };
    if found.requests.is_empty()
        && let Some(made) = values.iter().copied().find(|_| asked.len() == 32)
    {
        let records = store.events_of_made_trace(&caller.tenant, made).await?;
        let strongest = |event: &HopEvent<'_>| EventIds::from(event).all().next().map(|(_, value)| value);
        let ids = records.iter().filter_map(strongest).collect();
        let without = records.into_iter().filter(|event| strongest(event).is_none()).collect();
        found = around(api, &store, caller, ids, without).await?;
        found.requests.retain(|request| request.trace_id == made);
    }
    let trace_id = found.requests.iter().find_map(of_trace);
    Ok((found, trace_id))
}

/// The values that an asked id may be stored under. Tempo's own trace ids lose their leading zeros.
fn values(asked: &str) -> Vec<u128> {
    let mut values = Id::candidates(asked);
    if asked.len() < 32 && asked.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        values.extend(u128::from_str_radix(asked, 16).ok().filter(|&value| value != 0));
    }
    values
}

/// The requests that records at these places belong to.
pub(super) async fn at_places(
    api: &Api,
    store: &Store,
    caller: &Caller,
    places: &[Place],
) -> Result<Found, Problem> {
    let ids = places.iter().map(|place| place.id).filter(|&id| id != 0).collect();
    let without: Vec<_> = places.iter().filter(|place| place.id == 0).map(|place| place.locator).collect();
    // A record without any id is a request of its own, and no look-up leads to it.
    let records = store.events_at(&caller.tenant, &without, Columns::All).await?;
    around(api, store, caller, ids, records).await
}

/// The requests that ids lead to, and those of records without ids.
async fn around(
    api: &Api,
    store: &Store,
    caller: &Caller,
    ids: HashSet<u128>,
    without_ids: Vec<HopEvent<'static>>,
) -> Result<Found, Problem> {
    let mut gathered = match ids.is_empty() {
        true => Gathered { events: Vec::new(), truncated: None },
        false => gather(store, &caller.tenant, ids.into_iter().collect(), BOUNDS).await?,
    };
    gathered.events.extend(without_ids);
    Ok(gathered.assembled(api, caller))
}
