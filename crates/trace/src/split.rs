//! Where the time of a request went: edge, the way to the gateway, gateway, mesh, workload; each with its error.
//!
//! Only durations are used, each measured by one hop on its own clock, and differences of them: clocks of different
//! servers that disagree do not matter. For a hop P that called a hop C:
//!
//! - C's share is C's own duration;
//! - the way between them is what P waited for C beyond that: `upstream_rx_last - upstream_tx_first` of P less C's
//!   duration, or, where P knows only the first byte, `upstream_rx_first - upstream_tx_first` (or Envoy's
//!   `x-envoy-upstream-service-time`) less the time that C took to send its first byte;
//! - P's own share is the rest of P's duration.
//!
//! Applied from the entry down: edge and shield POPs are `edge`, the ways between POPs and to the gateway are
//! `edge_to_gateway_network`, gateways are `gateway`, sidecars and the ways between them are `mesh`, what a sidecar
//! waited for the application beside it is `workload`, less what that application's own calls took, which are split
//! the same way.
//!
//! - **What cannot be told apart is merged** and named by all its places ([`Places`]): `gateway+mesh` where the
//!   gateway logged no upstream times, `mesh+workload` where nothing behind the gateway logged.
//! - **Fan-out**: calls of one application are intervals on the clock of its one proxy. What counts is their union;
//!   where calls overlap, an instant belongs to the call that ended last (the critical path). Tries of one call come
//!   one after the other.
//! - **Cache hits** and replies that a hop made by itself are all that hop's.
//! - **Timeouts and streaming**: a callee may outlast its caller. No share is larger than what is left of the
//!   caller's; the excess is added to the error.
//!
//! Shares are never negative and add up to the duration of the entry. The error of a share is the sum of the steps
//! of the durations in it (whole milliseconds where a record writes them so), and of the excess cut off. Fastly
//! Compute ends its duration before the body is sent, so its entry is shorter than what the client waited.

mod places;
mod times;

pub use places::Places;

use event::{Direction, Hop, HopEvent};

use self::times::{Step, between, step_ns, waited};
use crate::model::{Request, Span};

/// One share of a request's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Where it was spent; several places where they cannot be told apart.
    pub places: Places,
    /// How long, nanoseconds.
    pub duration_ns: u64,
    /// How far off that may be, either way.
    pub error_ns: u64,
}

/// Calls followed one below the other: more is a loop or an attack, and counts as the last hop's own time.
const DEEPEST: usize = 64;

/// The shares of a request's time in the order of travel; none where the entry logged no duration.
pub fn split(request: &Request) -> Vec<Part> {
    let Some(duration_ns) = request.entry().and_then(|entry| entry.event.duration_ns) else {
        return Vec::new();
    };
    let mut shares = Shares { request, parts: Vec::new() };
    shares.spend(0, duration_ns, 0);
    let mut parts = shares.parts;
    parts.sort_unstable_by_key(|part| part.places.order());
    parts
}

/// What the proxy of a workload waited for it, where it says so.
pub(crate) fn in_workload(span: &Span) -> Option<u64> {
    (place_of(&span.event) == Places::MESH && span.event.direction == Direction::Inbound)
        .then(|| waited(&span.event))
        .flatten()
        .map(|wait| wait.ns)
}

struct Shares<'a> {
    request: &'a Request,
    parts: Vec<Part>,
}

impl Shares<'_> {
    /// Distributes what a span had: `budget_ns` of its duration.
    fn spend(&mut self, at: usize, budget_ns: u64, deep: usize) {
        let request = self.request;
        let span = &request.spans[at];
        let event = &span.event;
        let place = place_of(event);
        let step = step_ns(event);
        let callees: Vec<(usize, &Span)> =
            request.children(at).filter(|(_, child)| child.event.duration_ns.is_some()).collect();
        if callees.is_empty() || deep >= DEEPEST {
            return self.spend_alone(event, place, budget_ns);
        }
        if is_inbound(event) {
            return self.spend_in_workload(event, &callees, budget_ns, deep);
        }
        let ways: Option<Vec<Step>> =
            callees.iter().map(|(_, callee)| between(event, &callee.event, callees.len())).collect();
        let mut left = budget_ns;
        let mut excess = 0;
        for &(callee_at, callee) in &callees {
            let duration = callee.event.duration_ns.unwrap_or(0);
            let share = duration.min(left);
            excess = sum([excess, duration - share]);
            left -= share;
            self.spend(callee_at, share, deep + 1);
        }
        let callee_step = sum(callees.iter().map(|(_, callee)| step_ns(&callee.event)));
        let to = way_to(place, &callees[0].1.event);
        match ways {
            Some(ways) => {
                let way_ns = sum(ways.iter().map(|way| way.ns)).min(left);
                let error_ns = sum(ways.iter().map(|way| way.error_ns).chain([excess]));
                self.add(to, way_ns, error_ns);
                self.add(place, left - way_ns, sum([step, error_ns]));
            }
            None => self.add(place | to, left, sum([step, callee_step, excess])),
        }
    }

    /// A span with nothing below it: its own, and what it waited for somebody who logged nothing.
    fn spend_alone(&mut self, event: &HopEvent<'_>, place: Places, budget_ns: u64) {
        let step = step_ns(event);
        let beyond = if is_answered_here(event) { Places::NONE } else { beyond(event, place) };
        match waited(event) {
            _ if beyond == Places::NONE => self.add(place, budget_ns, step),
            Some(wait) => {
                let wait_ns = wait.ns.min(budget_ns);
                self.add(beyond, wait_ns, wait.error_ns);
                self.add(place, budget_ns - wait_ns, sum([step, wait.error_ns]));
            }
            None => self.add(place | beyond, budget_ns, step),
        }
    }

    /// A sidecar before its workload, whose calls are below it.
    fn spend_in_workload(
        &mut self,
        event: &HopEvent<'_>,
        callees: &[(usize, &Span)],
        budget_ns: u64,
        deep: usize,
    ) {
        let step = step_ns(event);
        let wait = waited(event);
        // Where the wait is not told, the workload may have had all of it.
        let wait_ns = wait.map_or(budget_ns, |wait| wait.ns.min(budget_ns));
        let wait_error = wait.map_or(step, |wait| wait.error_ns);
        let mut left = wait_ns;
        let mut error_ns = wait_error;
        for (at, covered_ns) in critical(callees) {
            let share = covered_ns.min(left);
            left -= share;
            error_ns = sum([error_ns, step_ns(&self.request.spans[at].event), covered_ns - share]);
            self.spend(at, share, deep + 1);
        }
        match wait {
            Some(_) => {
                self.add(Places::WORKLOAD, left, error_ns);
                self.add(Places::MESH, budget_ns - wait_ns, sum([step, wait_error]));
            }
            None => self.add(Places::MESH | Places::WORKLOAD, left, error_ns),
        }
    }

    fn add(&mut self, places: Places, duration_ns: u64, error_ns: u64) {
        match self.parts.iter_mut().find(|part| part.places == places) {
            Some(part) => {
                part.duration_ns += duration_ns;
                part.error_ns = part.error_ns.saturating_add(error_ns);
            }
            None => self.parts.push(Part { places, duration_ns, error_ns }),
        }
    }
}

/// Records may claim durations of centuries: errors stop at the largest number.
fn sum(ns: impl IntoIterator<Item = u64>) -> u64 {
    ns.into_iter().fold(0, u64::saturating_add)
}

/// The place of a hop's own time.
fn place_of(event: &HopEvent<'_>) -> Places {
    match event.hop {
        Hop::Edge | Hop::Shield => Places::EDGE,
        Hop::Gateway => Places::GATEWAY,
        Hop::Ztunnel | Hop::Waypoint | Hop::Sidecar | Hop::Egress => Places::MESH,
        Hop::Service | Hop::Origin => Places::WORKLOAD,
        // An Envoy that does not say whether it is a gateway or a sidecar.
        Hop::Unknown => Places::GATEWAY | Places::MESH,
    }
}

fn is_inbound(event: &HopEvent<'_>) -> bool {
    event.hop == Hop::Sidecar && event.direction == Direction::Inbound
}

/// The places on the way from a hop to the one that it called, those of hops without a record included.
fn way_to(from: Places, callee: &HopEvent<'_>) -> Places {
    let to = place_of(callee);
    match (from, to) {
        (Places::EDGE, Places::EDGE | Places::GATEWAY) => Places::NETWORK,
        (Places::EDGE, _) => Places::NETWORK | Places::GATEWAY | Places::MESH,
        _ => Places::MESH,
    }
}

/// The places of all that is behind a hop below which nothing was logged.
fn beyond(event: &HopEvent<'_>, place: Places) -> Places {
    match place {
        Places::EDGE => Places::NETWORK | Places::GATEWAY | Places::MESH | Places::WORKLOAD,
        Places::WORKLOAD => Places::NONE,
        _ if is_inbound(event) => Places::WORKLOAD,
        _ => Places::MESH | Places::WORKLOAD,
    }
}

/// Whether the hop answered by itself, by what its record says of an upstream.
fn is_answered_here(event: &HopEvent<'_>) -> bool {
    match event.hop {
        // An edge that decides by itself names no backend for what it answers by itself.
        Hop::Edge | Hop::Shield => {
            matches!(event.cache_result.as_ref(), "hit" | "synth")
                || !event.verdict.is_empty()
                    && event.upstream_cluster.is_empty()
                    && event.upstream_tx_first_ns.is_none()
        }
        _ => {
            event.upstream_remote.is_empty()
                && event.upstream_tx_first_ns.is_none()
                && event.upstream_service_ns.is_none()
        }
    }
}

/// The calls on the critical path of one application, each with how much of its time counts: the union of their
/// intervals, where an instant belongs to the call that ended last. They are on one clock, their proxy's.
fn critical(callees: &[(usize, &Span)]) -> Vec<(usize, u64)> {
    let mut calls: Vec<(i64, i64, usize)> =
        callees.iter().map(|&(at, span)| (span.event.start_ns, span.end_ns(), at)).collect();
    calls.sort_unstable_by_key(|&(start, end, at)| (std::cmp::Reverse(end), start, at));
    let mut until = i64::MAX;
    let mut path = Vec::new();
    for (start, end, at) in calls {
        let covered = end.min(until).saturating_sub(start);
        if covered > 0 {
            path.push((at, covered.unsigned_abs()));
            until = start;
        } else if end <= start && start <= until {
            // Shorter than the clock can tell.
            path.push((at, 0));
        }
    }
    path.reverse();
    path
}

#[cfg(test)]
#[path = "split/tests.rs"]
mod tests;
