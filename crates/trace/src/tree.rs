//! The events of one request as a tree in the order of travel, with ids, depths and offsets.

use std::collections::{BTreeMap, BTreeSet};

use correlation::IdKind;

use crate::fold::Seen;
use crate::gaps;
use crate::ids::EventIds;
use crate::links::links;
use crate::model::{Moment, Request, RequestId, Span};
use crate::order;
use crate::span::{span_id, trace_id};

/// Assembles one request. `unsound` are the ids that other requests carry, too.
pub(crate) fn assemble(mut seen: Vec<Seen>, unsound: &BTreeSet<(IdKind, u128)>, moment: Moment) -> Request {
    order::sort(&mut seen);
    let mut found = {
        let events: Vec<_> = seen.iter().map(|one| &one.event).collect();
        links(&events)
    };
    let travel = travel(&found);
    let mut place_of = vec![0; seen.len()];
    for (place, &at) in travel.iter().enumerate() {
        place_of[at] = place;
    }
    let start_ns = travel.first().map_or(0, |&root| seen[root].event.start_ns);
    let mut slots: Vec<Option<Seen>> = seen.into_iter().map(Some).collect();
    let mut spans: Vec<Span> = Vec::with_capacity(slots.len());
    for at in travel {
        let Some(Seen { event, deliveries, also }) = slots[at].take() else { continue };
        let mut link = found[at].take();
        if let Some(link) = &mut link {
            link.parent = place_of[link.parent];
        }
        let depth =
            link.as_ref().and_then(|link| spans.get(link.parent)).map_or(0, |parent| parent.depth + 1);
        spans.push(Span {
            span_id: span_id(&event),
            deliveries,
            also,
            link,
            depth,
            offset_ns: event.start_ns.saturating_sub(start_ns),
            event,
        });
    }
    let ids = ids(&spans);
    let shared_ids = ids.iter().map(|id| (id.kind, id.value)).filter(|id| unsound.contains(id)).collect();
    let canonical = ids.first().map(|id| (id.kind, id.value));
    let trace_id = spans.first().map_or(0, |root| trace_id(&root.event, canonical));
    let gaps = gaps::gaps(&spans, moment);
    Request { ids, spans, gaps, related: Vec::new(), shared_ids, trace_id }
}

/// Indices with every parent before its children, siblings in their order.
fn travel(links: &[Option<crate::model::Link>]) -> Vec<usize> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); links.len()];
    let mut pending = Vec::new();
    for (at, link) in links.iter().enumerate().rev() {
        match link {
            Some(link) => children[link.parent].push(at),
            None => pending.push(at),
        }
    }
    let mut order = Vec::with_capacity(links.len());
    while let Some(at) = pending.pop() {
        order.push(at);
        pending.append(&mut children[at]);
    }
    order
}

/// Every id of a request with how many spans carry it and which ties it to the ids before it.
fn ids(spans: &[Span]) -> Vec<RequestId> {
    let mut carriers: BTreeMap<(IdKind, u128), Vec<usize>> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate() {
        let ids: BTreeSet<(IdKind, u128)> =
            span.records().flat_map(|event| EventIds::from(event).all().collect::<Vec<_>>()).collect();
        for id in ids {
            carriers.entry(id).or_default().push(at);
        }
    }
    let mut tied: BTreeSet<usize> = BTreeSet::new();
    let mut ids = Vec::with_capacity(carriers.len());
    for ((kind, value), carriers) in carriers {
        let first = carriers.first().copied().unwrap_or(0);
        let tied_by = carriers.iter().copied().find(|at| tied.contains(at)).unwrap_or(first);
        ids.push(RequestId { kind, value, records: carriers.len(), tied_by });
        tied.extend(carriers);
    }
    ids
}
