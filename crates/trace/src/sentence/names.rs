//! What hops and workloads are called in a sentence.

use event::{Direction, Hop, HopEvent};

use super::text::{shown, shown_within};
use crate::model::{Gap, Request};

/// Most characters of a host name, a workload, a POP.
const NAME_MOST: usize = 60;

/// The hop with its article: `the edge in FRA`, `the gateway`, `orders' sidecar`.
pub(crate) fn hop(request: &Request, at: usize) -> String {
    let event = &request.spans[at].event;
    match event.hop {
        Hop::Edge | Hop::Shield if !event.pop.is_empty() => {
            format!("the {} in {}", event.hop.name(), name(&event.pop))
        }
        Hop::Edge | Hop::Shield | Hop::Gateway | Hop::Origin => format!("the {}", event.hop.name()),
        Hop::Ztunnel => "the node proxy (ztunnel)".to_owned(),
        Hop::Egress => "the egress gateway".to_owned(),
        Hop::Waypoint => "the waypoint".to_owned(),
        Hop::Service => workload(request, at).unwrap_or_else(|| "the workload".to_owned()),
        Hop::Sidecar => match workload(request, at) {
            Some(workload) => format!("{} sidecar", possessive(&workload)),
            None => "the sidecar".to_owned(),
        },
        Hop::Unknown if !event.pod.is_empty() => format!("the proxy {}", name(&event.pod)),
        Hop::Unknown => "a proxy".to_owned(),
    }
}

/// `orders'`, `app-a's`.
fn possessive(name: &str) -> String {
    if name.ends_with('s') { format!("{name}'") } else { format!("{name}'s") }
}

/// The hop where the way is told: `FRA`, `gateway`, `orders' sidecar`.
pub(crate) fn short(request: &Request, at: usize) -> String {
    let event = &request.spans[at].event;
    match event.hop {
        Hop::Edge | Hop::Shield if !event.pop.is_empty() => name(&event.pop),
        _ => hop(request, at).trim_start_matches("the ").to_owned(),
    }
}

/// The workload of a span: by its own record, else by the name that its caller used.
pub(crate) fn workload(request: &Request, at: usize) -> Option<String> {
    let span = &request.spans[at];
    let event = &span.event;
    for own in [&event.service, &event.workload] {
        if !own.is_empty() {
            return Some(name(own));
        }
    }
    if event.direction == Direction::Outbound {
        // A call's own record may name only the pod; the one before it names the workload that made the call.
        let served = span.link.as_ref().map(|link| link.parent).filter(|&parent| {
            request.spans.get(parent).is_some_and(|parent| parent.event.direction == Direction::Inbound)
        });
        let pod = || (!event.pod.is_empty()).then(|| name(&event.pod));
        return served.and_then(|parent| workload(request, parent)).or_else(pod);
    }
    let of_caller = || span.link.as_ref().and_then(|link| upstream(&request.spans.get(link.parent)?.event));
    service_of_sni(&event.sni)
        .map(name)
        .or_else(of_caller)
        .or_else(|| (!event.pod.is_empty()).then(|| name(&event.pod)))
}

/// Where a hop sent its request, as its own record names it: by the service that its route names, else by the peer.
pub(crate) fn upstream(event: &HopEvent<'_>) -> Option<String> {
    let peer = || {
        let is_met = event.direction != Direction::Inbound && !event.upstream_remote.is_empty();
        (is_met && !event.peer_workload.is_empty()).then(|| name(&event.peer_workload))
    };
    let cluster = event.upstream_cluster.as_ref();
    if let Some(host) = cluster.strip_prefix("outbound|").and_then(|rest| rest.rsplit('|').next()) {
        return if host.is_empty() { peer() } else { Some(name(first_label(host))) };
    }
    match event.hop {
        Hop::Edge | Hop::Shield if !cluster.is_empty() => Some(format!("backend {}", name(cluster))),
        _ if cluster.is_empty() || cluster.contains('|') || cluster.ends_with("PassthroughCluster") => peer(),
        _ => Some(name(cluster)),
    }
}

/// Where a hop would have sent its request: of a peer that was never met only the service or the address is known.
pub(crate) fn unmet_upstream(event: &HopEvent<'_>) -> Option<String> {
    let service = event.upstream_cluster.rsplit('|').next().filter(|host| !host.is_empty());
    let address = (!event.upstream_remote.is_empty()).then(|| name(&event.upstream_remote));
    service.map(|host| name(first_label(host))).or(address)
}

/// `orders` of `orders.shop.svc.cluster.local`; an outside host stays whole.
fn first_label(host: &str) -> &str {
    if host.contains(".svc") { host.split('.').next().unwrap_or(host) } else { host }
}

/// `orders` of `outbound_.8080_._.orders.shop.svc.cluster.local`.
fn service_of_sni(sni: &str) -> Option<&str> {
    let host = sni.strip_prefix("outbound_.")?.splitn(3, '.').nth(2)?;
    let label = first_label(host);
    (!label.is_empty()).then_some(label)
}

/// What was asked for, as the first record that knows it says.
pub(crate) fn asked(request: &Request) -> String {
    let known = |text: for<'e> fn(&'e HopEvent<'static>) -> &'e str| {
        request.spans.iter().map(|span| text(&span.event)).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let method = name(known(|event| event.method.as_ref()));
    let host = name(known(|event| event.host.as_ref()));
    let path = shown(known(|event| event.path.as_ref()));
    match (method.is_empty(), host.is_empty() && path.is_empty()) {
        (false, false) => format!("{method} {host}{path}"),
        (false, true) => format!("A {method} request"),
        (true, false) => format!("A request for {host}{path}"),
        (true, true) => "A request".to_owned(),
    }
}

/// A missing hop: `the edge`, `orders' sidecar`.
pub(crate) fn gap(gap: &Gap) -> String {
    let named = name(&gap.name);
    match gap.hop {
        Hop::Sidecar if named.is_empty() && gap.direction == Direction::Outbound => {
            "the caller's sidecar".to_owned()
        }
        Hop::Sidecar if named.is_empty() => "the workload's sidecar".to_owned(),
        Hop::Sidecar => format!("{} sidecar", possessive(&named)),
        Hop::Service if named.is_empty() => "the workload".to_owned(),
        Hop::Service => named,
        Hop::Unknown if gap.below => "the next hop".to_owned(),
        Hop::Unknown => "the caller".to_owned(),
        hop => format!("the {}", hop.name()),
    }
}

pub(crate) fn name(text: &str) -> String {
    shown_within(text, NAME_MOST)
}
