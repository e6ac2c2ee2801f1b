//! Where a request was decided: the hop nearest to the cause of a failure, or the one that answered.
//!
//! One failure looks different at each hop: a timeout at the gateway is `504 UT` there, `0 DC` at every hop below and
//! `504` at the edge. It is followed from the entry downwards as long as a record says that it only passed on what
//! came from below, and some record below failed, too.

use event::{Direction, Hop};

use super::outcome::{Outcome, has_failed, is_tunnel, tells_no_end};
use crate::model::{Request, Span};

/// The way from a span down to the one that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    /// The spans on it, top first; never empty.
    pub(crate) spans: Vec<usize>,
    /// What the last of them says.
    pub(crate) outcome: Outcome,
}

impl Way {
    /// The span that decided.
    pub(crate) fn end(&self) -> usize {
        self.spans.last().copied().unwrap_or(0)
    }
}

/// Where a request failed: the record nearest to the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Index of the span whose record tells it best.
    pub span: usize,
    /// What happened there, in one word: `denied`, `timed_out`, `no_route` and so on; `answered` where a workload
    /// answered with an error.
    pub what: &'static str,
}

/// Where and how a request failed; `None` for one that did not, or that has not ended.
pub fn failed_at(request: &Request) -> Option<Failed> {
    let entry = &request.spans.first()?.event;
    if entry.intermediate || is_tunnel(entry) || tells_no_end(entry) {
        return None;
    }
    let way = way_from(request, 0);
    let has_failed = has_failed(entry) || has_failed(&request.spans[way.end()].event);
    has_failed.then(|| Failed { span: way.end(), what: way.outcome.name() })
}

/// From `top` down to the hop that decided what `top` shows: the cause where it failed, else who answered.
pub(crate) fn way_from(request: &Request, top: usize) -> Way {
    let mut spans = vec![top];
    let mut at = top;
    loop {
        let span = &request.spans[at];
        let outcome = Outcome::of(&span.event);
        let next = if has_failed(&span.event) {
            if outcome.may_come_from_below() && !ends_at_workload(span) {
                failed_child(request, at)
            } else {
                None
            }
        } else if outcome == Outcome::Passed && !ends_at_workload(span)
            || is_tunnel(&span.event) && !is_inbound(span)
        {
            answering_child(request, at)
        } else {
            None
        };
        match next {
            Some(next) => at = next,
            None => return Way { spans, outcome },
        }
        spans.push(at);
    }
}

/// What is behind an inbound sidecar is the workload, and a call that the workload makes is another matter: how it
/// went does not say why the workload answered as it did.
fn ends_at_workload(span: &Span) -> bool {
    // A reset may still have come from further below only if the record below shows one.
    is_inbound(span) || matches!(span.event.hop, Hop::Service | Hop::Origin)
}

pub(crate) fn is_inbound(span: &Span) -> bool {
    span.event.hop == Hop::Sidecar && span.event.direction == Direction::Inbound
}

/// The child whose failure a span passed on: of several tries the last. A child that only saw its client leave is a
/// consequence.
fn failed_child(request: &Request, parent: usize) -> Option<usize> {
    let is_cause = |span: &Span| has_failed(&span.event) && Outcome::of(&span.event) != Outcome::ClientLeft;
    let status = request.spans[parent].event.status;
    let mut same = None;
    let mut any = None;
    for (at, child) in request.children(parent).filter(|(_, child)| is_cause(child)) {
        any = Some(at);
        if child.event.status == status {
            same = Some(at);
        }
    }
    same.or(any)
}

/// The child that gave the answer: of several tries the last that did not fail.
fn answering_child(request: &Request, parent: usize) -> Option<usize> {
    let status = request.spans[parent].event.status;
    let same = |child: &Span| {
        child.event.status == status || child.event.status == 0 || status == 0 || status == 304
    };
    let last = |failed: bool| {
        let children = request.children(parent);
        children
            .filter(|(_, child)| has_failed(&child.event) == failed && same(child))
            .map(|(at, _)| at)
            .last()
    };
    // A failure that does not show in the status (gRPC, an answer that broke off) is not seen by the hop above.
    last(false).or_else(|| last(true))
}

/// The tries that a span made, each by the span of its last record below: empty where it made one.
pub(crate) fn tries(request: &Request, parent: usize) -> Vec<usize> {
    let event = &request.spans[parent].event;
    if is_inbound(&request.spans[parent]) || matches!(event.hop, Hop::Service | Hop::Origin) {
        return Vec::new();
    }
    let mut tries: Vec<(u16, usize)> = request
        .children(parent)
        .filter(|(_, child)| is_inbound(child))
        .map(|(at, child)| (child.event.attempt, at))
        .collect();
    tries.sort_unstable();
    if tries.len() < 2 { Vec::new() } else { tries.into_iter().map(|(_, at)| at).collect() }
}

/// Calls of workloads below `top` that failed, deepest cause left to [`way_from`]: a proxy record away from its
/// workload, not itself below another failed call.
pub(crate) fn failed_calls(request: &Request, top: usize) -> Vec<usize> {
    let mut failed: Vec<usize> = Vec::new();
    for (at, span) in request.spans.iter().enumerate().skip(top + 1) {
        let is_call = span.event.hop == Hop::Sidecar && span.event.direction == Direction::Outbound
            || span.event.hop == Hop::Egress;
        if is_call
            && has_failed(&span.event)
            && Outcome::of(&span.event) != Outcome::ClientLeft
            && is_below(request, at, top)
            && !failed.iter().any(|&above| is_below(request, at, above))
        {
            failed.push(at);
        }
    }
    failed
}

/// Whether a span hangs under another, however far.
fn is_below(request: &Request, mut at: usize, top: usize) -> bool {
    while at > top {
        match request.spans.get(at).and_then(|span| span.link.as_ref()) {
            Some(link) => at = link.parent,
            None => return false,
        }
    }
    at == top
}
