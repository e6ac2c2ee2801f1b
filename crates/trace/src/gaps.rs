//! What should be there and is not, by what the records beside it say.
//!
//! A gap is named only where a record says that somebody was called, or was calling: a cache hit expects nothing, a
//! local reply expects nothing, a failed connection expects nothing, a host outside of the mesh expects nothing, and a
//! record without an id (TCP) expects nothing, for what it led to could not be told.

use event::{Direction, Hop, HopEvent};

use crate::ids::EventIds;
use crate::model::{Evidence, Gap, GapReason, Moment, Span};
use crate::place::{Role, called_nobody, cluster_target, fastly_calls, is_tcp};

/// The gaps of one request.
pub(crate) fn gaps(spans: &[Span], moment: Moment) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut has_child = vec![false; spans.len()];
    for link in spans.iter().filter_map(|span| span.link.as_ref()) {
        has_child[link.parent] = true;
    }
    for (at, span) in spans.iter().enumerate() {
        // What has no id could not be found, so that it was not found says nothing.
        if is_tcp(&span.event) || EventIds::from(&span.event).bridging().next().is_none() {
            continue;
        }
        if let Some((hop, direction, name)) = above(spans, span) {
            gaps.push(Gap { hop, direction, name, beside: at, below: false, reason: GapReason::NotSeen });
        }
        if let Some((hop, direction, name)) = below(spans, at, has_child[at]) {
            gaps.push(Gap { hop, direction, name, beside: at, below: true, reason: GapReason::NotSeen });
        }
    }
    if !gaps.is_empty() {
        let last_ns = spans.iter().flat_map(Span::records).map(|event| event.received_ns).max().unwrap_or(0);
        let settling = moment.now_ns != 0 && moment.now_ns.saturating_sub(last_ns) < moment.settle_ns;
        for gap in &mut gaps {
            gap.reason = reason(spans, gap, settling);
        }
    }
    gaps
}

type Expected = (Hop, Direction, String);

/// Who must have called this hop, where it hangs under nobody who can have.
fn above(spans: &[Span], span: &Span) -> Option<Expected> {
    let event = &span.event;
    let parent = span.link.as_ref().map(|link| (Role::of(&spans[link.parent].event), link));
    match (Role::of(event), parent) {
        (Role::Shield, None) => Some((Hop::Edge, Direction::Unknown, String::new())),
        // An id of the edge is on it, so an edge there was.
        (Role::Gateway, None) if event.correlation_id != 0 || event.edge_request_id != 0 => {
            Some((Hop::Edge, Direction::Unknown, String::new()))
        }
        (Role::Inbound, None) if !event.downstream_peer.is_empty() || event.sni.starts_with("outbound_.") => {
            Some(caller(event))
        }
        // Under the pod that called, without its call; or under the edge, without the gateway.
        (Role::Inbound, Some((Role::Inbound, _))) => Some(caller(event)),
        (Role::Inbound, Some((Role::Edge | Role::Shield, _))) => {
            Some((Hop::Gateway, Direction::Unknown, String::new()))
        }
        (Role::Inbound, Some((role, link)))
            if role.calls() && link.evidence.contains(&Evidence::HopOrder) =>
        {
            Some(caller(event))
        }
        (Role::Outbound, Some((role, _))) if role.calls() || role.is_fastly() => {
            Some((Hop::Sidecar, Direction::Inbound, own_name(event)))
        }
        _ => None,
    }
}

/// Who an inbound record says called it: the gateway, another workload, or somebody.
fn caller(event: &HopEvent<'_>) -> Expected {
    let identity = event.downstream_peer.rsplit_once("/sa/").map_or("", |(_, account)| account);
    let name = if event.peer_workload.is_empty() { identity } else { &event.peer_workload };
    if name.is_empty() {
        return (Hop::Unknown, Direction::Outbound, String::new());
    }
    if name.contains("gateway") {
        return (Hop::Gateway, Direction::Unknown, name.to_owned());
    }
    (Hop::Sidecar, Direction::Outbound, name.to_owned())
}

/// Whom this hop called, where nobody hangs under it.
fn below(spans: &[Span], at: usize, has_child: bool) -> Option<Expected> {
    let event = &spans[at].event;
    match Role::of(event) {
        Role::Edge if event.to_shield == Some(true) => {
            let mut children =
                spans.iter().filter(|it| it.link.as_ref().is_some_and(|link| link.parent == at));
            let shielded = children.any(|child| Role::of(&child.event).is_fastly());
            (!shielded && fastly_calls(event) > 0).then(|| (Hop::Shield, Direction::Unknown, String::new()))
        }
        _ if has_child || event.intermediate => None,
        Role::Edge | Role::Shield => (fastly_calls(event) > 0 && went_on(event))
            .then(|| (Hop::Gateway, Direction::Unknown, event.upstream_cluster.to_string())),
        Role::Gateway | Role::Outbound | Role::Call | Role::Egress => {
            let (_, host) = cluster_target(&event.upstream_cluster)?;
            let in_mesh = host.contains(".svc.");
            (in_mesh && !called_nobody(event) && !failed_to_connect(event)).then(|| {
                (Hop::Sidecar, Direction::Inbound, host.split('.').next().unwrap_or(host).to_owned())
            })
        }
        Role::Inbound | Role::Service | Role::Open => None,
    }
}

/// A Fastly record of a format that says nothing of caches or origins is no reason to expect anything.
fn went_on(event: &HopEvent<'_>) -> bool {
    matches!(&*event.cache_result, "miss" | "pass") || event.upstream_rx_first_ns.is_some()
}

/// Flags of a call that reached no host.
fn failed_to_connect(event: &HopEvent<'_>) -> bool {
    event.response_flags.split(',').any(|flag| matches!(flag, "UF" | "UH" | "UO" | "NR" | "NC" | "DF"))
}

fn own_name(event: &HopEvent<'_>) -> String {
    [&event.workload, &event.service, &event.pod]
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or_else(String::new, |name| name.to_string())
}

fn reason(spans: &[Span], gap: &Gap, settling: bool) -> GapReason {
    let is_fastly = matches!(gap.hop, Hop::Edge | Hop::Shield);
    let kin =
        || spans.iter().flat_map(Span::records).filter(move |event| Role::of(event).is_fastly() == is_fastly);
    if settling {
        GapReason::Settling
    } else if kin().any(|event| event.sample_rate > 1.0) {
        GapReason::SampledOut
    } else if !is_fastly
        && kin().any(|event| event.format.starts_with("envoy-als") || event.format.starts_with("otlp"))
    {
        GapReason::LossySender
    } else {
        GapReason::NotSeen
    }
}
