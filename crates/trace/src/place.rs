//! What a record says of its place: its role on the way, its pod, its addresses, and whether it went on at all.

use event::{Direction, Hop, HopEvent, Precision};

/// What part a record plays in a request, which decides what it may hang under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// A Fastly POP that took the request from a client (or from another Fastly service).
    Edge,
    /// A Fastly POP behind another.
    Shield,
    /// The mesh's way in.
    Gateway,
    /// A proxy taking a call for its workload.
    Inbound,
    /// A proxy passing its workload's call on.
    Outbound,
    /// An outbound record that says no more: a gateway's or a sidecar's.
    Call,
    /// A workload, or an origin, that logs for itself.
    Service,
    /// The mesh's way out.
    Egress,
    /// Says nothing of its place.
    Open,
}

impl Role {
    pub(crate) fn of(event: &HopEvent<'_>) -> Self {
        match (event.hop, event.direction) {
            (Hop::Edge, _) => Self::Edge,
            (Hop::Shield, _) => Self::Shield,
            (Hop::Gateway, _) => Self::Gateway,
            (Hop::Egress, _) => Self::Egress,
            (Hop::Service | Hop::Origin, _) => Self::Service,
            (Hop::Sidecar | Hop::Ztunnel | Hop::Waypoint, Direction::Outbound) => Self::Outbound,
            (Hop::Sidecar | Hop::Ztunnel | Hop::Waypoint, _) => Self::Inbound,
            (Hop::Unknown, Direction::Inbound) => Self::Inbound,
            (Hop::Unknown, Direction::Outbound) => Self::Call,
            (Hop::Unknown, Direction::Unknown) => Self::Open,
        }
    }

    /// Whether Fastly wrote it.
    pub(crate) fn is_fastly(self) -> bool {
        matches!(self, Self::Edge | Self::Shield)
    }

    /// Whether a proxy's record of this role tells of a call to another workload.
    pub(crate) fn calls(self) -> bool {
        matches!(self, Self::Gateway | Self::Outbound | Self::Call | Self::Egress)
    }
}

/// An address with its port, as Envoy writes it. Nothing for Unix sockets, names and port 0 (an address that was taken
/// out of `X-Forwarded-For`).
pub(crate) fn endpoint(text: &str) -> Option<(&str, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|&port| port != 0)?;
    let is_address =
        address.starts_with('[') || address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (is_address && !address.is_empty()).then_some((address, port))
}

/// An address that tells a machine from others: no loopback.
fn host_address(text: &str) -> Option<&str> {
    let (address, _) = endpoint(text)?;
    (!address.starts_with("127.") && address != "[::1]").then_some(address)
}

/// The address of the pod whose proxy wrote the record: where it was reached, or where it called from.
pub(crate) fn pod_address<'e>(event: &'e HopEvent<'_>) -> Option<&'e str> {
    match Role::of(event) {
        Role::Inbound => host_address(&event.downstream_local),
        Role::Gateway | Role::Outbound | Role::Call | Role::Egress => host_address(&event.upstream_local),
        _ => None,
    }
}

/// The address that a record's call went to, without the port.
pub(crate) fn called_address<'e>(event: &'e HopEvent<'_>) -> Option<&'e str> {
    host_address(&event.upstream_remote)
}

/// The address that an inbound record was called from, where the record did not take it out of a header.
pub(crate) fn caller_address<'e>(event: &'e HopEvent<'_>) -> Option<&'e str> {
    host_address(&event.downstream_remote)
}

/// Whether two records come from the proxy of one pod; `None` if that cannot be told.
pub(crate) fn same_pod(a: &HopEvent<'_>, b: &HopEvent<'_>) -> Option<bool> {
    if !a.node.is_empty() && !b.node.is_empty() {
        return Some(a.node == b.node);
    }
    if !a.pod.is_empty() && !b.pod.is_empty() {
        return Some(a.pod == b.pod);
    }
    if let (Some(a), Some(b)) = (pod_address(a), pod_address(b)) {
        return Some(a == b);
    }
    if !a.workload.is_empty() && !b.workload.is_empty() && a.workload != b.workload {
        return Some(false);
    }
    None
}

/// Port and host of an Istio cluster name: `outbound|8080|v1|orders.shop.svc.cluster.local`.
pub(crate) fn cluster_target(cluster: &str) -> Option<(&str, &str)> {
    let mut parts = cluster.strip_prefix("outbound|")?.splitn(3, '|');
    let (port, _subset, host) = (parts.next()?, parts.next()?, parts.next()?);
    (!host.is_empty()).then_some((port, host))
}

/// Port and host of the server name that Istio's proxies ask for: `outbound_.8080_._.orders.shop.svc.cluster.local`.
fn sni_target(sni: &str) -> Option<(&str, &str)> {
    let mut parts = sni.strip_prefix("outbound_.")?.splitn(3, "_.");
    let (port, _subset, host) = (parts.next()?, parts.next()?, parts.next()?);
    (!host.is_empty()).then_some((port, host))
}

/// Whether a call's target is the workload of an inbound record, by the names both give; `None` if they give none that
/// can be compared. A service may have another name than the workload behind it, so only a server name says no.
pub(crate) fn names_target(call: &HopEvent<'_>, inbound: &HopEvent<'_>) -> Option<bool> {
    let target = cluster_target(&call.upstream_cluster);
    if let (Some(target), Some(asked)) = (target, sni_target(&inbound.sni)) {
        return Some(target == asked);
    }
    let is = |name: &str, own: &str| !own.is_empty() && name == own;
    let named = |service: &str, namespace: &str| {
        (is(service, &inbound.workload) || is(service, &inbound.service))
            && (namespace.is_empty() || inbound.namespace.is_empty() || namespace == inbound.namespace)
    };
    if !call.peer_workload.is_empty() && named(&call.peer_workload, &call.peer_namespace) {
        return Some(true);
    }
    let mut labels = target?.1.split('.');
    let (service, namespace) = (labels.next()?, labels.next().unwrap_or(""));
    named(service, namespace).then_some(true)
}

/// Whether a proxy's record says that it called nobody: a local reply, or no connection to anyone.
pub(crate) fn called_nobody(event: &HopEvent<'_>) -> bool {
    !Role::of(event).is_fastly()
        && event.upstream_remote.is_empty()
        && !event.details.is_empty()
        && event.details != "via_upstream"
}

/// Whether a record is of a TCP connection: no method and no status. Nothing on it is an id that another hop writes.
pub(crate) fn is_tcp(event: &HopEvent<'_>) -> bool {
    event.method.is_empty() && event.status == 0 && !Role::of(event).is_fastly()
}

/// How many calls to the next hop a Fastly record stands for at most.
pub(crate) fn fastly_calls(event: &HopEvent<'_>) -> usize {
    let restarts = event.restarts.unwrap_or(0) as usize;
    let answered_itself = event.cache_result == "hit" || matches!(&*event.verdict, "deny" | "rate_limited");
    let went_on = event.upstream_rx_first_ns.is_some() && event.cache_result != "hit";
    restarts + usize::from(!answered_itself || went_on)
}

/// The span id that a hop sends on, where it is the hop's own making: the edge's own, or that of a proxy with a tracer.
/// Without a tracer the logged `traceparent` is the caller's; so it is in a local reply, which never left.
pub(crate) fn sent_span(event: &HopEvent<'_>) -> Option<u64> {
    let sent = match Role::of(event) {
        Role::Edge | Role::Shield => event.span_id,
        _ if event.span_id != 0 && !event.upstream_remote.is_empty() => event.parent_span_id,
        _ => 0,
    };
    (sent != 0).then_some(sent)
}

/// The width of one step of a clock, in nanoseconds. A time of receipt stands in for a start that was not logged: a
/// second is a guess at how late a record may be.
pub(crate) fn step_ns(precision: Precision) -> i64 {
    match precision {
        Precision::Received | Precision::Second => 1_000_000_000,
        Precision::Millisecond => 1_000_000,
        Precision::Microsecond => 1_000,
        Precision::Nanosecond => 1,
    }
}

/// End by the hop's own clock; the start where the duration is not known.
pub(crate) fn end_ns(event: &HopEvent<'_>) -> i64 {
    event.start_ns.saturating_add_unsigned(event.duration_ns.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_with_ports() {
        assert_eq!(endpoint("10.8.1.2:8080"), Some(("10.8.1.2", 8080)));
        assert_eq!(endpoint("[2001:db8::1]:80"), Some(("[2001:db8::1]", 80)));
        assert_eq!(endpoint("203.0.113.7:0"), None, "taken from X-Forwarded-For");
        assert_eq!(endpoint("envoy://internal/"), None);
        assert_eq!(host_address("127.0.0.6:443"), None, "loopback tells no machine from another");
    }

    #[test]
    fn clusters_and_server_names_say_the_same() {
        let call = HopEvent {
            upstream_cluster: "outbound|8080||orders.shop.svc.cluster.local".into(),
            ..HopEvent::default()
        };
        let sni = |sni: &'static str| HopEvent { sni: sni.into(), ..HopEvent::default() };
        assert_eq!(names_target(&call, &sni("outbound_.8080_._.orders.shop.svc.cluster.local")), Some(true));
        assert_eq!(names_target(&call, &sni("outbound_.8080_._.cart.shop.svc.cluster.local")), Some(false));
        let workload = |name: &'static str| HopEvent { workload: name.into(), ..HopEvent::default() };
        assert_eq!(names_target(&call, &workload("orders")), Some(true));
        assert_eq!(names_target(&call, &workload("orders-v2")), None, "a service may have another name");
    }

    #[test]
    fn a_local_reply_called_nobody() {
        let denied = HopEvent { hop: Hop::Gateway, details: "route_not_found".into(), ..HopEvent::default() };
        assert!(called_nobody(&denied));
        assert!(!called_nobody(&HopEvent { upstream_remote: "10.0.0.1:80".into(), ..denied.clone() }));
        assert!(!called_nobody(&HopEvent { details: "".into(), ..denied }), "the record may not say");
    }

    #[test]
    fn a_cache_hit_calls_nobody_and_a_restart_calls_once_more() {
        let edge = HopEvent { hop: Hop::Edge, cache_result: "miss".into(), ..HopEvent::default() };
        assert_eq!(fastly_calls(&edge), 1);
        assert_eq!(fastly_calls(&HopEvent { cache_result: "hit".into(), ..edge.clone() }), 0);
        assert_eq!(fastly_calls(&HopEvent { restarts: Some(1), ..edge }), 2);
    }
}
