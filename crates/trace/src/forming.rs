//! Which events are one request.
//!
//! An id is not a request, so no id is believed because it is equal. It joins the events that carry it as far as they
//! can be one request: one way in (one edge, one gateway, or as many calls as the edge says it made), one correlation
//! id, one stretch of time. Where an id is on more than that, somebody reuses or forges it, and it proves nothing:
//!
//! 1. Envoy's request id is made by the first proxy and handed from proxy to proxy: it holds the mesh's part together.
//! 2. The ids that the edge sends along (correlation id, Fastly's request id, the edge's span id) hang the mesh's part
//!    under the edge's, if the edge can have made that call.
//!
//! A trace id never joins, a weak id never joins, an id on more than [`EVENTS_PER_REQUEST`] events never joins. Events
//! with different correlation ids are different requests, whatever else they share.

use std::collections::{BTreeMap, BTreeSet};

use correlation::IdKind;
use event::HopEvent;

use crate::fit::{AGREE_NS, has_failed};
use crate::fold::Seen;
use crate::ids::EventIds;
use crate::place::{Role, end_ns, fastly_calls, pod_address, sent_span};

/// Events of one id above which it is weak by use: a fan-out of some hundred calls with retries leaves ample room.
pub const EVENTS_PER_REQUEST: usize = 2_000;

/// Events of one id that lie further apart than this, by their clocks and by their receipt, are not one request: no
/// request is silent for so long, and clocks that are worse show in the time of receipt.
const SILENCE_NS: i64 = 10 * 60 * 1_000_000_000;

/// How far clocks may be apart when a call is looked for among several that claim to be it.
const CLOSE_NS: i64 = 2_000_000_000;

/// The requests among the events of one tenant, and the ids that prove nothing.
#[derive(Debug, Default)]
pub(crate) struct Formed {
    /// Members of each request, by index, ascending.
    pub(crate) groups: Vec<Vec<usize>>,
    /// Per-request ids that several requests claim.
    pub(crate) worn: BTreeSet<(IdKind, u128)>,
    /// Per-request ids that tie events of different correlation ids.
    pub(crate) conflicts: BTreeSet<(IdKind, u128)>,
}

/// What may hold events together: an id, or the span id that the edge sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    Id(IdKind, u128),
    Span(u128, u64),
}

/// Forms requests out of the folded events of one tenant.
pub(crate) fn form(seen: &[Seen]) -> Formed {
    let ids: Vec<EventIds> = seen.iter().map(|one| EventIds::from(&one.event)).collect();
    let mut forming = Forming {
        seen,
        correlation: ids.iter().map(|ids| ids.strong(IdKind::Correlation)).collect(),
        gateway: (0..seen.len())
            .map(|at| (Role::of(&seen[at].event) == Role::Gateway).then_some(at))
            .collect(),
        parent: (0..seen.len()).collect(),
        formed: Formed::default(),
    };
    let (mesh, edge) = ties(seen, &ids);
    for (tie, holders) in &mesh {
        for holders in forming.stretches(holders) {
            forming.join_mesh(*tie, &holders);
        }
    }
    for (tie, holders) in &edge {
        for holders in forming.stretches(holders) {
            forming.join_edge(*tie, &holders);
        }
    }
    forming.finish()
}

/// The events of every tie: Envoy's request ids, and what the edge sends along, strongest first.
#[allow(clippy::type_complexity, reason = "two maps of one kind")]
fn ties(seen: &[Seen], ids: &[EventIds]) -> (BTreeMap<Tie, Vec<usize>>, BTreeMap<Tie, Vec<usize>>) {
    let mut mesh: BTreeMap<Tie, Vec<usize>> = BTreeMap::new();
    let mut edge: BTreeMap<Tie, Vec<usize>> = BTreeMap::new();
    let mut sent: BTreeSet<(u128, u64)> = BTreeSet::new();
    for (at, ids) in ids.iter().enumerate() {
        for (kind, value) in ids.bridging() {
            let ties = if kind == IdKind::Request { &mut mesh } else { &mut edge };
            ties.entry(Tie::Id(kind, value)).or_default().push(at);
        }
        sent.extend(sent_span(&seen[at].event).map(|span| (seen[at].event.trace_id, span)));
    }
    for (at, Seen { event, .. }) in seen.iter().enumerate() {
        let own = if Role::of(event).is_fastly() { event.span_id } else { 0 };
        for span in [event.parent_span_id, own] {
            if span != 0 && sent.contains(&(event.trace_id, span)) {
                edge.entry(Tie::Span(event.trace_id, span)).or_default().push(at);
            }
        }
    }
    (mesh, edge)
}

struct Forming<'s> {
    seen: &'s [Seen],
    /// The correlation id of each group, by its root; 0 for none.
    correlation: Vec<u128>,
    /// The gateway of each group, by its root.
    gateway: Vec<Option<usize>>,
    parent: Vec<usize>,
    formed: Formed,
}

impl Forming<'_> {
    /// Parts the holders of an id where nothing happened for long, by their clocks and by their receipt.
    fn stretches(&self, holders: &[usize]) -> Vec<Vec<usize>> {
        let event = |at: usize| &self.seen[at].event;
        let first = holders.iter().map(|&at| event(at).start_ns).min().unwrap_or(0);
        let last = holders.iter().map(|&at| end_ns(event(at))).max().unwrap_or(0);
        if last.saturating_sub(first) <= SILENCE_NS {
            return vec![holders.to_vec()];
        }
        let mut sorted = holders.to_vec();
        sorted.sort_by_key(|&at| (event(at).start_ns, event(at).event_key));
        let mut parts: Vec<Vec<usize>> = Vec::new();
        let mut end = i64::MIN;
        for at in sorted {
            match parts.last_mut() {
                Some(part) if event(at).start_ns.saturating_sub(end) <= SILENCE_NS => part.push(at),
                _ => parts.push(vec![at]),
            }
            end = end.max(end_ns(event(at)));
        }
        // A clock that is hours off shows in when its records came: beside those of a sender whose clock is right.
        let live = |at: usize| event(at).received_ns.saturating_sub(end_ns(event(at))).abs() <= SILENCE_NS;
        let mut whole: Vec<Vec<usize>> = Vec::new();
        for part in parts {
            let beside = whole.iter_mut().find(|known| {
                known.iter().any(|&a| {
                    part.iter().any(|&b| {
                        let apart = event(a).received_ns.saturating_sub(event(b).received_ns).abs();
                        live(a) != live(b) && apart <= SILENCE_NS
                    })
                })
            });
            match beside {
                Some(known) => known.extend(part),
                None => whole.push(part),
            }
        }
        whole
    }

    /// Joins what carries one of Envoy's request ids, if one gateway at most took it in.
    fn join_mesh(&mut self, tie: Tie, holders: &[usize]) {
        let entries = holders.iter().filter(|&&at| self.is_entry(at, holders)).count();
        let edges = self.edges(holders).len();
        let correlations: BTreeSet<u128> =
            holders.iter().map(|&at| self.correlation[at]).filter(|&value| value != 0).collect();
        if correlations.len() > 1 {
            self.report(tie, true);
        } else if entries > 1 || edges > 1 || holders.len() > EVENTS_PER_REQUEST {
            self.report(tie, false);
        } else {
            self.union(holders);
        }
    }

    /// Whether a record is the mesh's way in as far as the others tell: a gateway that no other called, or a call from
    /// a pod that nobody called.
    fn is_entry(&self, at: usize, holders: &[usize]) -> bool {
        let event = &self.seen[at].event;
        let others =
            || holders.iter().filter(move |&&other| other != at).map(|&other| &self.seen[other].event);
        match Role::of(event) {
            Role::Gateway => {
                event.downstream_local.is_empty()
                    || !others().any(|other| {
                        Role::of(other).calls() && other.upstream_remote == event.downstream_local
                    })
            }
            // Where gateways say that they are, a call that does not is a sidecar's whose inbound record is missing.
            Role::Call if others().any(|other| Role::of(other) == Role::Gateway) => false,
            Role::Call => pod_address(event).is_some_and(|own| {
                !others().any(|other| Role::of(other) == Role::Inbound && pod_address(other) == Some(own))
            }),
            _ => false,
        }
    }

    /// Edge records that cannot be hops of one request: those of the Fastly service that has the most.
    fn edges(&self, holders: &[usize]) -> Vec<usize> {
        let mut services: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for &at in holders.iter().filter(|&&at| Role::of(&self.seen[at].event) == Role::Edge) {
            services.entry(&self.seen[at].event.service_id).or_default().push(at);
        }
        services.into_values().max_by_key(Vec::len).unwrap_or_default()
    }

    /// Joins the mesh's part to the edge's by an id that the edge sent along.
    fn join_edge(&mut self, tie: Tie, holders: &[usize]) {
        if holders.len() > EVENTS_PER_REQUEST || self.edges(holders).len() > 1 {
            return self.report(tie, false);
        }
        let (fastly, mesh): (Vec<usize>, Vec<usize>) =
            holders.iter().partition(|&&at| Role::of(&self.seen[at].event).is_fastly());
        self.union_agreeing(tie, &fastly);
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &at in &mesh {
            parts.entry(self.root(at)).or_default().push(at);
        }
        // What a gateway took in is one call of the edge; what none took in belongs to whoever holds the id alone.
        let (calls, mut rest): (Vec<Vec<usize>>, Vec<Vec<usize>>) =
            parts.into_values().partition(|part| self.gateway_of(part).is_some());
        let allowed = if fastly.is_empty() { 1 } else { self.fastly_calls(&fastly) };
        let mut joined = fastly.clone();
        if calls.len() <= allowed {
            joined.extend(calls.iter().flatten());
        } else {
            self.report(tie, false);
            let close: Vec<&Vec<usize>> = calls.iter().filter(|part| self.is_close(&fastly, part)).collect();
            if close.len() <= allowed || self.are_restarts(&fastly, &close) {
                joined.extend(close.into_iter().flatten());
            }
            rest.clear();
        }
        let mesh_only: Vec<usize> = rest.into_iter().flatten().collect();
        if allowed > 0 {
            joined.extend(mesh_only);
        } else {
            self.union_agreeing(tie, &mesh_only);
        }
        self.union_agreeing(tie, &joined);
    }

    /// The gateway among the events that are already joined to those of `part`.
    fn gateway_of(&mut self, part: &[usize]) -> Option<usize> {
        let root = self.root(*part.first()?);
        self.gateway[root]
    }

    /// Calls to the mesh that the last Fastly hop made.
    fn fastly_calls(&self, fastly: &[usize]) -> usize {
        let of = |role: Role| {
            let records =
                fastly.iter().map(|&at| &self.seen[at].event).filter(move |it| Role::of(it) == role);
            let calls: Vec<usize> = records.map(fastly_calls).collect();
            (!calls.is_empty()).then(|| calls.iter().sum::<usize>())
        };
        of(Role::Shield).or_else(|| of(Role::Edge)).unwrap_or(1)
    }

    /// Whether the gateway's record in `part` looks like the call of the last Fastly hop and not like somebody else's with its id.
    fn is_close(&self, fastly: &[usize], part: &[usize]) -> bool {
        let of_part = part.iter().find(|&&at| Role::of(&self.seen[at].event) == Role::Gateway);
        let Some(&gateway) = of_part else { return false };
        let gateway = &self.seen[gateway].event;
        let alike = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
        fastly.iter().map(|&at| &self.seen[at].event).any(|edge| {
            alike(&edge.method, &gateway.method)
                && alike(&edge.path, &gateway.path)
                && (edge.status == gateway.status || edge.restarts != Some(0))
                && gateway.start_ns >= edge.start_ns.saturating_sub(CLOSE_NS)
                && end_ns(gateway) <= end_ns(edge).saturating_add(CLOSE_NS)
                && is_forwarded(edge, gateway)
        })
    }

    /// Whether calls are tries of one Fastly record that does not say how often it restarted: one after the other, each
    /// but the last failed, and all for the client that the record names.
    fn are_restarts(&self, fastly: &[usize], calls: &[&Vec<usize>]) -> bool {
        let mut tries: Vec<&HopEvent<'_>> = calls
            .iter()
            .flat_map(|part| part.iter().map(|&at| &self.seen[at].event))
            .filter(|event| Role::of(event) == Role::Gateway)
            .collect();
        tries.sort_by_key(|event| (event.start_ns, event.event_key));
        let may_restart = |edge: &HopEvent<'_>| {
            edge.restarts.is_none()
                && edge.client_address != 0
                && tries.iter().all(|call| !call.forwarded_for.is_empty() && is_forwarded(edge, call))
        };
        tries
            .windows(2)
            .all(|pair| has_failed(pair[0]) && end_ns(pair[0]) <= pair[1].start_ns.saturating_add(AGREE_NS))
            && fastly.iter().any(|&at| may_restart(&self.seen[at].event))
    }

    fn report(&mut self, tie: Tie, conflict: bool) {
        if let Tie::Id(kind, value) = tie {
            let set = if conflict { &mut self.formed.conflicts } else { &mut self.formed.worn };
            set.insert((kind, value));
        }
    }

    /// Joins events of one correlation id at most. Of several, each keeps its own; whose the events without one are, the
    /// tie does not say.
    fn union_agreeing(&mut self, tie: Tie, events: &[usize]) {
        let mut correlations: BTreeMap<u128, Vec<usize>> = BTreeMap::new();
        for &at in events {
            let root = self.root(at);
            correlations.entry(self.correlation[root]).or_default().push(at);
        }
        if correlations.keys().filter(|&&value| value != 0).count() <= 1 {
            return self.union(events);
        }
        self.report(tie, true);
        for (_, same) in correlations.into_iter().filter(|&(value, _)| value != 0) {
            self.union(&same);
        }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    fn union(&mut self, events: &[usize]) {
        for pair in events.windows(2) {
            let (a, b) = (self.root(pair[0]), self.root(pair[1]));
            // The smaller index stays the root, so a group's order does not depend on the order of joins.
            let (root, gone) = (a.min(b), a.max(b));
            self.parent[gone] = root;
            // The root speaks for its group.
            self.correlation[root] = self.correlation[root].max(self.correlation[gone]);
            self.gateway[root] = self.gateway[root].or(self.gateway[gone]);
        }
    }

    fn finish(mut self) -> Formed {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.parent.len() {
            let root = self.root(at);
            groups.entry(root).or_default().push(at);
        }
        self.formed.groups = groups.into_values().collect();
        self.formed
    }
}

/// Whether the gateway was told of the edge's client; true where either does not say.
fn is_forwarded(edge: &HopEvent<'_>, gateway: &HopEvent<'_>) -> bool {
    if edge.client_address == 0 || gateway.forwarded_for.is_empty() {
        return true;
    }
    gateway.forwarded_for.split(',').filter_map(|part| part.trim().parse::<std::net::IpAddr>().ok()).any(
        |address| {
            let bits = match address {
                std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
                std::net::IpAddr::V6(v6) => v6.to_bits(),
            };
            bits == edge.client_address
        },
    )
}
