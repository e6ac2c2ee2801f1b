//! Which events are one request.
//!
//! Events are one request if a chain of per-request ids (correlation id, Envoy's request id, Fastly's request id) links
//! them, and no link contradicts it:
//! - a trace id never links, a weak id never links, an id on more than [`EVENTS_PER_REQUEST`] events never links;
//! - events with different correlation ids are different requests, whatever else they share. An id that two of them
//!   share is torn: it links nothing and is reported ([`Request::shared_ids`]).

use std::collections::{BTreeMap, BTreeSet};

use correlation::IdKind;
use event::HopEvent;

use crate::ids::EventIds;
use crate::model::{Confidence, Evidence, Link, Moment, Request, RequestId, Span};
use crate::order;
use crate::span::span_id;

/// Events of one id above which it is weak by use: some ten hops, retries at each, and a fan-out leave ample room.
pub const EVENTS_PER_REQUEST: usize = 512;

/// Puts events together to requests, in the order of their starts.
///
/// All events must be of one tenant: nothing joins across tenants, and events of several are kept apart. Redeliveries
/// (equal tenant and event key) are folded and counted. Any order of events gives the same answer.
pub fn requests(events: Vec<HopEvent<'static>>, _moment: Moment) -> Vec<Request> {
    let mut tenants: BTreeMap<String, BTreeMap<u64, Folded>> = BTreeMap::new();
    for event in events {
        let of_tenant = tenants.entry(event.tenant.to_string()).or_default();
        match of_tenant.entry(event.event_key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Folded { event, deliveries: 1 });
            }
            std::collections::btree_map::Entry::Occupied(mut place) => place.get_mut().fold(event),
        }
    }
    let mut found: Vec<Request> =
        tenants.into_values().flat_map(|folded| of_one_tenant(folded.into_values().collect())).collect();
    found.sort_by_cached_key(|request| {
        let first = request.entry().map(|hop: &Span| (hop.event.start_ns, hop.event.event_key));
        (first, request.canonical())
    });
    found
}

/// An event with the count of its deliveries.
struct Folded {
    event: HopEvent<'static>,
    deliveries: usize,
}

impl Folded {
    /// Redeliveries may differ in when and where they came in; the first received stands, whatever the order here.
    fn fold(&mut self, other: HopEvent<'static>) {
        self.deliveries += 1;
        let rank = |event: &HopEvent<'_>| {
            let mut bytes = Vec::new();
            event::wire::put_event(event, &mut bytes);
            (event.received_ns, bytes)
        };
        if rank(&other) < rank(&self.event) {
            self.event = other;
        }
    }
}

fn of_one_tenant(events: Vec<Folded>) -> Vec<Request> {
    let ids: Vec<EventIds> = events.iter().map(|folded| EventIds::from(&folded.event)).collect();
    let torn = torn(&ids);
    let mut groups = Groups::new(ids.len());
    for event_list in holders(&ids, &torn).into_values() {
        groups.join(&event_list);
    }
    // A chain of ids that are each sound may still tie two correlation ids together: then only the correlation ids
    // stand, and events without one hold together among themselves.
    for members in groups.members() {
        if correlations(&ids, &members).len() > 1 {
            groups.split(&members);
            let parted: Vec<usize> = members;
            for list in holders(&ids, &torn).into_values() {
                let of_group: Vec<usize> = list.into_iter().filter(|at| parted.contains(at)).collect();
                let (with, without): (Vec<usize>, Vec<usize>) =
                    of_group.into_iter().partition(|&at| ids[at].value(IdKind::Correlation) != 0);
                groups.join(&without);
                for same in by_correlation(&ids, &with).into_values() {
                    groups.join(&same);
                }
            }
        }
    }
    let mut slots: Vec<Option<Folded>> = events.into_iter().map(Some).collect();
    let members = groups.members();
    let owners = owners(&ids, &members);
    members
        .iter()
        .map(|members| {
            let folded = members.iter().filter_map(|&at| slots[at].take()).collect();
            assemble(folded, &owners)
        })
        .collect()
}

/// Per-request ids that events of different correlation ids carry, or that are on too many events.
fn torn(ids: &[EventIds]) -> BTreeSet<(IdKind, u128)> {
    let mut seen: BTreeMap<(IdKind, u128), (BTreeSet<u128>, usize)> = BTreeMap::new();
    for event in ids {
        let correlation = event.value(IdKind::Correlation);
        for id in event.bridging() {
            let (correlations, events) = seen.entry(id).or_default();
            *events += 1;
            if correlation != 0 {
                correlations.insert(correlation);
            }
        }
    }
    seen.into_iter()
        .filter(|((kind, _), (correlations, events))| {
            *events > EVENTS_PER_REQUEST || (*kind != IdKind::Correlation && correlations.len() > 1)
        })
        .map(|(id, _)| id)
        .collect()
}

/// The events of every id that links.
fn holders(ids: &[EventIds], torn: &BTreeSet<(IdKind, u128)>) -> BTreeMap<(IdKind, u128), Vec<usize>> {
    let mut holders: BTreeMap<(IdKind, u128), Vec<usize>> = BTreeMap::new();
    for (at, event) in ids.iter().enumerate() {
        for id in event.bridging().filter(|id| !torn.contains(id)) {
            holders.entry(id).or_default().push(at);
        }
    }
    holders
}

fn correlations(ids: &[EventIds], members: &[usize]) -> BTreeSet<u128> {
    members.iter().map(|&at| ids[at].value(IdKind::Correlation)).filter(|&value| value != 0).collect()
}

fn by_correlation(ids: &[EventIds], members: &[usize]) -> BTreeMap<u128, Vec<usize>> {
    let mut grouped: BTreeMap<u128, Vec<usize>> = BTreeMap::new();
    for &at in members {
        grouped.entry(ids[at].value(IdKind::Correlation)).or_default().push(at);
    }
    grouped
}

/// In how many requests each per-request id occurs, counted where it is more than one.
fn owners(ids: &[EventIds], groups: &[Vec<usize>]) -> BTreeSet<(IdKind, u128)> {
    let mut first: BTreeMap<(IdKind, u128), usize> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for (group, members) in groups.iter().enumerate() {
        for &at in members {
            for id in ids[at].all().filter(|&(kind, _)| kind != IdKind::Trace) {
                if *first.entry(id).or_insert(group) != group {
                    shared.insert(id);
                }
            }
        }
    }
    shared
}

/// One request out of its events: ordered, with depths, offsets and ids.
fn assemble(mut folded: Vec<Folded>, shared: &BTreeSet<(IdKind, u128)>) -> Request {
    let deliveries: BTreeMap<u64, usize> =
        folded.iter().map(|one| (one.event.event_key, one.deliveries)).collect();
    let mut events: Vec<HopEvent<'static>> = folded.drain(..).map(|one| one.event).collect();
    order::sort(&mut events);
    let mut counts: BTreeMap<(IdKind, u128), usize> = BTreeMap::new();
    for event in &events {
        for id in EventIds::from(event).all() {
            *counts.entry(id).or_default() += 1;
        }
    }
    let shared_ids = counts.keys().filter(|id| shared.contains(id)).copied().collect();
    let ids = counts
        .into_iter()
        .map(|((kind, value), records)| RequestId { kind, value, records, tied_by: 0 })
        .collect();
    let start_ns = events.first().map_or(0, |event| event.start_ns);
    let trace_id = events.first().map_or(0, |event| event.trace_id);
    let depths = order::depths(&events);
    let spans = events
        .into_iter()
        .zip(depths)
        .enumerate()
        .map(|(at, (event, depth))| Span {
            link: (at > 0).then(|| Link {
                parent: at - 1,
                confidence: Confidence::Likely,
                evidence: vec![Evidence::HopOrder],
            }),
            span_id: span_id(&event),
            depth,
            offset_ns: event.start_ns.saturating_sub(start_ns),
            deliveries: deliveries.get(&event.event_key).copied().unwrap_or(1),
            also: Vec::new(),
            event,
        })
        .collect();
    Request { ids, spans, gaps: Vec::new(), related: Vec::new(), shared_ids, trace_id }
}

/// Disjoint sets of events, by index.
struct Groups {
    parent: Vec<usize>,
}

impl Groups {
    fn new(count: usize) -> Self {
        Self { parent: (0..count).collect() }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    fn join(&mut self, events: &[usize]) {
        for pair in events.windows(2) {
            let (a, b) = (self.root(pair[0]), self.root(pair[1]));
            // The smaller index stays the root, so a group's order does not depend on the order of joins.
            self.parent[a.max(b)] = a.min(b);
        }
    }

    /// Every member a group of its own again; `members` must be a whole group.
    fn split(&mut self, members: &[usize]) {
        for &at in members {
            self.parent[at] = at;
        }
    }

    fn members(&mut self) -> Vec<Vec<usize>> {
        let mut grouped: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.parent.len() {
            let root = self.root(at);
            grouped.entry(root).or_default().push(at);
        }
        grouped.into_values().collect()
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
