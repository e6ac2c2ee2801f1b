//! Hop events to requests: fold, form, assemble, relate.

use std::collections::{BTreeMap, BTreeSet};

use correlation::IdKind;
use event::HopEvent;

use crate::fold::{Seen, fold};
use crate::forming::{Formed, form};
use crate::model::{Moment, Related, RelatedBy, Request, Span};
use crate::tree::assemble;

/// Most related requests that one request names: a page load has some dozens. The first by start are kept.
pub const MOST_RELATED: usize = 32;

/// Puts events together to requests, in the order of their starts.
///
/// Nothing joins across tenants. Redeliveries (equal tenant and event key) are folded and counted. Any order of events
/// gives the same answer.
pub fn requests(events: Vec<HopEvent<'static>>, moment: Moment) -> Vec<Request> {
    let mut tenants: BTreeMap<String, Vec<HopEvent<'static>>> = BTreeMap::new();
    for event in events {
        match tenants.get_mut(event.tenant.as_ref()) {
            Some(known) => known.push(event),
            None => _ = tenants.insert(event.tenant.to_string(), vec![event]),
        }
    }
    let mut found: Vec<Request> =
        tenants.into_values().flat_map(|events| of_one_tenant(events, moment)).collect();
    found.sort_by_cached_key(|request| {
        let first = request.entry().map(|span: &Span| (span.event.start_ns, span.event.event_key));
        (first, request.canonical())
    });
    found
}

fn of_one_tenant(events: Vec<HopEvent<'static>>, moment: Moment) -> Vec<Request> {
    let seen = fold(events);
    let Formed { groups, worn, conflicts } = form(&seen);
    let unsound: BTreeSet<(IdKind, u128)> = worn.union(&conflicts).copied().collect();
    let mut slots: Vec<Option<Seen>> = seen.into_iter().map(Some).collect();
    let mut requests: Vec<Request> = groups
        .iter()
        .map(|members| {
            let seen = members.iter().filter_map(|&at| slots[at].take()).collect();
            assemble(seen, &unsound, moment)
        })
        .collect();
    requests.sort_by_cached_key(|request| {
        request.entry().map(|span| (span.event.start_ns, span.event.event_key))
    });
    relate(&mut requests, &conflicts);
    requests
}

/// Names for every request the others that share an id with it.
fn relate(requests: &mut [Request], conflicts: &BTreeSet<(IdKind, u128)>) {
    if requests.len() < 2 {
        return;
    }
    let mut carriers: BTreeMap<(IdKind, u128), Vec<usize>> = BTreeMap::new();
    for (at, request) in requests.iter().enumerate() {
        for id in &request.ids {
            carriers.entry((id.kind, id.value)).or_default().push(at);
        }
    }
    let mut related: Vec<Vec<Related>> = vec![Vec::new(); requests.len()];
    // Strongest kinds come first, so a request is named with the strongest id that both carry.
    for (&(kind, value), carriers) in carriers.iter().filter(|(_, carriers)| carriers.len() > 1) {
        let why = match kind {
            IdKind::Trace => RelatedBy::Trace,
            _ if conflicts.contains(&(kind, value)) => RelatedBy::Conflict(kind),
            _ => RelatedBy::SharedId(kind),
        };
        for &at in carriers {
            for &other in carriers.iter().filter(|&&other| other != at).take(MOST_RELATED) {
                let name = &requests[other];
                let Some(id) = name.canonical() else { continue };
                let one = Related { trace_id: name.trace_id, kind: id.kind, value: id.value, why };
                let known = related[at].iter().any(|known| {
                    (known.kind, known.value, known.trace_id) == (one.kind, one.value, one.trace_id)
                });
                if !known && related[at].len() < MOST_RELATED {
                    related[at].push(one);
                }
            }
        }
    }
    for (request, related) in requests.iter_mut().zip(related) {
        request.related = related;
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
