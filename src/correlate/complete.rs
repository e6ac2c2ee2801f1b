//! The rest of late requests out of the store: the closure over ids for many requests at once, a few queries for all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use event::HopEvent;
use store::query::{Columns, IdRow, MAX_EVENTS};
use store::{Decided, Locator, Store, StoreError};
use trace::{Bounds, Closure, EventIds};
use xxhash_rust::xxh3::xxh3_64;

/// Ids of one query, over all requests. Each finds a granule in every part of the id table.
const IDS_PER_QUERY: usize = 400;
/// Places of one query.
const PLACES_PER_QUERY: usize = 400;
/// How far a closure goes here: nobody waits for it, but hundreds run at once.
///
/// An id with more rows than `events_per_id` is reused by somebody: rows are sets of ids, of which one request has a
/// dozen. Its rows are passed over, or else every request of such a client would read all the others.
const BOUNDS: Bounds = Bounds { ids: 256, events: 5_000, events_per_id: 200, rounds: 5 };

/// A group of events that may have kin in the store.
#[derive(Debug)]
pub(crate) struct Late {
    /// What settled now, decoded, of one tenant.
    pub(crate) events: Vec<HopEvent<'static>>,
    /// When its last segment was shipped.
    pub(crate) last_us: i64,
}

/// A late group's kin, and what was decided about any of them.
#[derive(Debug)]
pub(crate) struct Completed {
    /// Every event: what settled now and what the store has beside it.
    pub(crate) events: Vec<HopEvent<'static>>,
    pub(crate) decisions: Vec<Decided>,
}

/// Completes groups of one tenant, in their order.
pub(crate) async fn complete(
    store: &Store,
    tenant: &str,
    late: &[Late],
) -> Result<Vec<Completed>, StoreError> {
    let mut searches: Vec<Search> = late.iter().map(Search::of).collect();
    loop {
        let mut asked: BTreeSet<u128> = BTreeSet::new();
        for search in &mut searches {
            search.asked = search.closure.next_ids().into_iter().collect();
            asked.extend(&search.asked);
        }
        if asked.is_empty() {
            break;
        }
        let asked: Vec<u128> = asked.into_iter().collect();
        for ids in asked.chunks(IDS_PER_QUERY) {
            let mut rows = store.ids_of(tenant, ids).await?;
            let mut uses: HashMap<u128, usize> = HashMap::new();
            rows.iter().for_each(|row| *uses.entry(row.id).or_default() += 1);
            rows.retain(|row| uses.get(&row.id).is_some_and(|&uses| uses <= BOUNDS.events_per_id));
            for search in &mut searches {
                search.add(&rows);
            }
        }
    }
    let places: BTreeSet<Locator> =
        searches.iter().flat_map(|search| search.places.iter().copied()).collect();
    let places: Vec<Locator> = places.into_iter().collect();
    let mut found: HashMap<Locator, Vec<HopEvent<'static>>> = HashMap::new();
    for places in places.chunks(PLACES_PER_QUERY) {
        for event in events_at(store, tenant, places).await? {
            found.entry(Locator::of(&event)).or_default().push(event);
        }
    }
    let mut completed = Vec::with_capacity(late.len());
    for (late, search) in late.iter().zip(searches) {
        let mut events: Vec<HopEvent<'static>> = Vec::new();
        for place in &search.places {
            events.extend(found.get(place).into_iter().flatten().cloned());
        }
        // The store has what settled now, too; its own copies stand where it could not be read back.
        let held: HashSet<u64> = events.iter().map(|event| event.event_key).collect();
        events.extend(late.events.iter().filter(|event| !held.contains(&event.event_key)).cloned());
        completed.push(Completed { events, decisions: Vec::new() });
    }
    add_decisions(store, tenant, &mut completed).await?;
    Ok(completed)
}

/// One group's search.
struct Search {
    closure: Closure,
    asked: BTreeSet<u128>,
    places: BTreeSet<Locator>,
}

impl Search {
    fn of(late: &Late) -> Self {
        let mut ids: BTreeSet<u128> = BTreeSet::new();
        for event in &late.events {
            ids.extend(EventIds::from(event).bridging().map(|(_, value)| value));
        }
        // An event without any other id of its own stands where its trace id leads.
        if ids.is_empty() {
            ids.extend(late.events.iter().map(|event| event.trace_id).filter(|&id| id != 0));
        }
        Self { closure: Closure::new(ids, BOUNDS), asked: BTreeSet::new(), places: BTreeSet::new() }
    }

    fn add(&mut self, rows: &[IdRow]) {
        let asked = &self.asked;
        let places = &mut self.places;
        self.closure.add(rows.iter().filter(|row| asked.contains(&row.id)).map(|row| {
            places.insert(row.locator);
            of_row(row)
        }));
    }
}

/// A row of the id table as ids of an event: it has no event key, so its content stands for one. Which ids are weak it
/// does not say; they only gather candidates here.
fn of_row(row: &IdRow) -> EventIds {
    let mut bytes = [0; 76];
    for (place, id) in bytes.chunks_exact_mut(16).zip(row.ids) {
        place.copy_from_slice(&id.to_le_bytes());
    }
    bytes[64..68].copy_from_slice(&row.locator.bucket_s.to_le_bytes());
    bytes[68..].copy_from_slice(&row.locator.key.to_le_bytes());
    EventIds { event_key: xxh3_64(&bytes), values: row.ids, weak: [false; 4] }
}

/// The events at places, however many: an answer that is full is asked for again in halves.
async fn events_at(
    store: &Store,
    tenant: &str,
    places: &[Locator],
) -> Result<Vec<HopEvent<'static>>, StoreError> {
    let mut parts = vec![places];
    let mut events = Vec::new();
    while let Some(part) = parts.pop() {
        let found = store.events_at(tenant, part, Columns::All).await?;
        if found.len() >= MAX_EVENTS && part.len() > 1 {
            let (first, second) = part.split_at(part.len() / 2);
            parts.extend([first, second]);
        } else {
            events.extend(found);
        }
    }
    Ok(events)
}

/// What was decided about any of the requests: under any id that one of their events carries.
async fn add_decisions(store: &Store, tenant: &str, completed: &mut [Completed]) -> Result<(), StoreError> {
    let ids_of = |one: &Completed| -> BTreeSet<u128> {
        one.events
            .iter()
            .flat_map(|event| EventIds::from(event).all().collect::<Vec<_>>())
            .map(|it| it.1)
            .collect()
    };
    let all: BTreeSet<u128> = completed.iter().flat_map(ids_of).collect();
    let all: Vec<u128> = all.into_iter().collect();
    let mut by_id: BTreeMap<u128, Vec<Decided>> = BTreeMap::new();
    for ids in all.chunks(IDS_PER_QUERY) {
        for decided in store.decisions_of(tenant, ids).await? {
            if let Some((_, id)) = decided.id {
                by_id.entry(id).or_default().push(decided);
            }
        }
    }
    for one in completed {
        for id in ids_of(one) {
            one.decisions.extend(by_id.get(&id).into_iter().flatten().cloned());
        }
    }
    Ok(())
}
