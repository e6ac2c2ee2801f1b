//! How well one record fits under another: the evidence for a link, as far as two records tell.

use correlation::IdKind;
use event::HopEvent;

use crate::ids::EventIds;
use crate::model::Evidence;
use crate::place::{
    Role, called_nobody, caller_address, end_ns, endpoint, names_target, pod_address, same_pod, sent_span,
    step_ns,
};

/// Clocks of two servers that agree this closely are said to agree.
pub(crate) const AGREE_NS: i64 = 1_000_000;

/// What speaks for a link. Fits are compared by `score` alone; its weights only have to keep the order: where a call
/// went outranks how alike two records are, and that outranks what clocks say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) score: i32,
    pub(crate) evidence: Vec<Evidence>,
}

impl Fit {
    fn add(&mut self, evidence: Evidence, weight: i32) {
        self.evidence.push(evidence);
        self.score += weight;
    }

    pub(crate) fn has(&self, evidence: Evidence) -> bool {
        self.evidence.contains(&evidence)
    }

    /// Adds what both share as an id, and puts the evidence into its order.
    pub(crate) fn with_ids(mut self, parent: &HopEvent<'_>, child: &HopEvent<'_>) -> Self {
        if sent_span(parent)
            .is_some_and(|sent| sent == child.parent_span_id && parent.trace_id == child.trace_id)
        {
            self.add(Evidence::SpanId, 8);
        }
        if let Some(kind) = shared_id(parent, child) {
            self.evidence.push(Evidence::SameId(kind));
        }
        self.evidence.sort_unstable();
        self
    }
}

/// The strongest per-request id that both carry.
pub(crate) fn shared_id(a: &HopEvent<'_>, b: &HopEvent<'_>) -> Option<IdKind> {
    let other = EventIds::from(b);
    EventIds::from(a).bridging().find(|&(kind, value)| other.strong(kind) == value).map(|(kind, _)| kind)
}

/// A Fastly hop, or the gateway, under the Fastly hop before it: the only way, so its order says enough.
pub(crate) fn under_fastly(parent: &HopEvent<'_>, child: &HopEvent<'_>) -> Option<Fit> {
    let mut fit = Fit::default();
    fit.add(Evidence::HopOrder, 1);
    if parent.to_shield == Some(true) && Role::of(child) == Role::Shield {
        fit.score += 4;
    }
    alike(parent, child, &mut fit);
    within(parent, child, &mut fit);
    Some(fit)
}

/// An inbound record under the call that led to it; `None` if it cannot have.
pub(crate) fn under_call(call: &HopEvent<'_>, inbound: &HopEvent<'_>) -> Option<Fit> {
    if called_nobody(call) || (inbound.attempt > call.attempt && call.attempt != 0) {
        return None;
    }
    let mut fit = Fit::default();
    let last = match (endpoint(&call.upstream_remote), endpoint(&inbound.downstream_local)) {
        (Some(called), Some(own)) if called == own => {
            fit.add(Evidence::Address, 40);
            true
        }
        // A call names the host of its last attempt only; an earlier one may have gone elsewhere, and failed.
        (Some(_), Some(_)) if call.attempt == 1 || call.attempt != 0 && call.attempt == inbound.attempt => {
            return None;
        }
        (Some(_), Some(_)) if inbound.attempt == 0 && !has_failed(inbound) => return None,
        (Some(_), Some(_)) => false,
        _ => true,
    };
    match names_target(call, inbound) {
        Some(true) => fit.add(Evidence::Destination, 20),
        Some(false) => return None,
        None => {}
    }
    if !last && fit.evidence.is_empty() && inbound.attempt == 0 {
        return None;
    }
    if call.attempt > 1 && inbound.attempt != 0 {
        fit.add(Evidence::Attempt, 4);
    }
    match (endpoint(&call.upstream_local), endpoint(&inbound.downstream_remote)) {
        (Some(own), Some(peer)) if own == peer && last => fit.add(Evidence::Connection, 15),
        (Some(_), Some(_)) => fit.score -= 5,
        _ => {}
    }
    if last {
        alike(call, inbound, &mut fit);
    }
    within(call, inbound, &mut fit);
    Some(fit)
}

/// A call under the inbound record of its own pod; `None` if it is another pod's, or began before. One proxy, one clock:
/// what it says of before and after holds.
pub(crate) fn under_own(inbound: &HopEvent<'_>, call: &HopEvent<'_>) -> Option<Fit> {
    let mut fit = Fit::default();
    match same_pod(inbound, call) {
        Some(true) => fit.add(Evidence::SamePod, 30),
        Some(false) => return None,
        None => {}
    }
    let step = step_ns(inbound.start_precision).max(step_ns(call.start_precision));
    if fit.has(Evidence::SamePod) && call.start_ns < inbound.start_ns.saturating_sub(step) {
        return None;
    }
    within(inbound, call, &mut fit);
    Some(fit)
}

/// A record under the one above the one that is missing between them.
pub(crate) fn under_missing(above: &HopEvent<'_>, child: &HopEvent<'_>) -> Fit {
    let mut fit = Fit::default();
    match Role::of(child) {
        // The missing call came from the pod of `above`.
        Role::Inbound => {
            let is_caller = caller_address(child).is_some_and(|peer| pod_address(above) == Some(peer));
            let is_named = !child.peer_workload.is_empty() && child.peer_workload == above.workload;
            if is_caller {
                fit.add(Evidence::Address, 40);
            } else if is_named {
                fit.add(Evidence::Destination, 20);
            }
        }
        // The missing inbound record is of the pod that `above` called.
        _ if Role::of(above).calls() => {
            let own = pod_address(child);
            if own.is_some() && crate::place::called_address(above) == own {
                fit.add(Evidence::Address, 40);
            } else if names_target(above, child) == Some(true) {
                fit.add(Evidence::Destination, 20);
            }
        }
        _ => {}
    }
    fit
}

/// Whether the records say the same of the request itself.
fn alike(parent: &HopEvent<'_>, child: &HopEvent<'_>, fit: &mut Fit) {
    let both = |a: &str, b: &str| !a.is_empty() && !b.is_empty();
    if both(&parent.method, &child.method) && parent.method != child.method {
        fit.score -= 20;
        return;
    }
    let mut points = 0;
    if both(&parent.path, &child.path) {
        if parent.path != child.path && parent.upstream_path != child.path {
            fit.score -= 12;
            return;
        }
        points += 4;
    }
    let sizes = [(parent.response_bytes, child.response_bytes), (parent.request_bytes, child.request_bytes)];
    for (a, b) in sizes.into_iter().filter_map(|(a, b)| Some((a?, b?))) {
        points += if a == b { 3 } else { -3 };
    }
    if parent.status == child.status && child.status != 0 {
        points += 2;
    }
    if points >= 6 {
        fit.add(Evidence::Likeness, points);
    } else {
        fit.score += points;
    }
}

/// Whether the child lies within the parent by raw clocks, no finer than the coarser of both.
fn within(parent: &HopEvent<'_>, child: &HopEvent<'_>, fit: &mut Fit) {
    let step = step_ns(parent.start_precision).max(step_ns(child.start_precision)).max(AGREE_NS);
    let sent = parent.start_ns.saturating_add_unsigned(parent.upstream_tx_first_ns.unwrap_or(0));
    let (start, end) = (sent.saturating_sub(step), end_ns(parent).saturating_add(step));
    if child.start_ns >= start && (end_ns(child) <= end || child.duration_ns.is_none()) {
        fit.add(Evidence::Time, 10);
    } else if child.start_ns < end && end_ns(child) > start {
        fit.score += 3;
    } else {
        fit.score -= 6;
    }
}

/// Whether a record is of a try that a proxy would repeat.
pub(crate) fn has_failed(event: &HopEvent<'_>) -> bool {
    event.status == 0 || event.status >= 500 || event.status == 409 || event.status == 429
}
