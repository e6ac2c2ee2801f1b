//! Gateway or sidecar, inbound or outbound: said by the node id where there is one, else inferred and noted, else unknown.
//!
//! What is *not* taken as evidence: `X-Forwarded-For` (applications copy it onward), port 0 in an address, a route named
//! `default`. A line with an `outbound|` cluster and no node may be a gateway's or a sidecar's: its direction is
//! outbound, its hop stays unknown unless the source's configuration says it.

use std::borrow::Cow;

use event::{Direction, Hop, HopEvent, Notes, Text};

use crate::Origin;

/// Fills hop, direction, pod and namespace from what the event holds and what the configuration says of its source.
pub(crate) fn infer(event: &mut HopEvent<'_>, origin: &Origin) {
    let node = if event.node.is_empty() { origin.node.as_str() } else { event.node.as_ref() };
    let stated = kind_of(node);
    if event.hop == Hop::Unknown {
        event.hop = match stated {
            Some(Hop::Gateway) if node.contains("egressgateway") => {
                // A gateway says only `router`; that this one is for egress is Istio's usual name for it.
                event.notes.add(Notes::HOP_INFERRED);
                Hop::Egress
            }
            Some(hop) => hop,
            None => origin.hop,
        };
    }
    if !event.node.is_empty() {
        fill_from_node(event);
    }
    if event.direction == Direction::Unknown {
        event.direction = origin.direction;
    }
    if event.direction == Direction::Unknown
        && !matches!(event.hop, Hop::Gateway | Hop::Egress | Hop::Waypoint)
    {
        let (direction, is_name_only) = direction_of(event);
        event.direction = direction;
        // A sidecar's cluster name states its direction; everything else is inference.
        if direction != Direction::Unknown && (is_name_only || event.hop != Hop::Sidecar) {
            event.notes.add(Notes::HOP_INFERRED);
        }
    }
    if event.hop == Hop::Unknown && event.direction == Direction::Inbound {
        event.hop = Hop::Sidecar;
        event.notes.add(Notes::HOP_INFERRED);
    }
}

/// The role that a node id begins with.
fn kind_of(node: &str) -> Option<Hop> {
    match node.split_once('~')?.0 {
        "router" => Some(Hop::Gateway),
        "sidecar" => Some(Hop::Sidecar),
        "waypoint" => Some(Hop::Waypoint),
        "ztunnel" => Some(Hop::Ztunnel),
        _ => None,
    }
}

/// Direction, and whether it rests on less than the cluster's name.
fn direction_of(event: &HopEvent<'_>) -> (Direction, bool) {
    let cluster = event.upstream_cluster.as_ref();
    if cluster.starts_with("inbound|") || cluster.starts_with("InboundPassthrough") {
        return (Direction::Inbound, false);
    }
    if cluster.starts_with("outbound|") || matches!(cluster, "PassthroughCluster" | "BlackHoleCluster") {
        return (Direction::Outbound, false);
    }
    // Only a sidecar's or gateway's mTLS to the next sidecar has this form of server name.
    if cluster.is_empty() && event.sni.starts_with("outbound_.") {
        return (Direction::Inbound, true);
    }
    match event.downstream_local.rsplit_once(':').map(|(_, port)| port) {
        Some("15006") => (Direction::Inbound, true),
        Some("15001") => (Direction::Outbound, true),
        _ => (by_address(event), true),
    }
}

/// A local reply without a cluster: a call that comes from the pod's own address goes out, one that was sent to it comes in.
fn by_address(event: &HopEvent<'_>) -> Direction {
    let mut parts = event.node.split('~');
    let (Some("sidecar"), Some(own)) = (parts.next(), parts.next()) else { return Direction::Unknown };
    let is_own = |address: &str| {
        address
            .rsplit_once(':')
            .is_some_and(|(host, _)| !own.is_empty() && host.trim_matches(['[', ']']) == own)
    };
    match (is_own(&event.downstream_remote), is_own(&event.downstream_local)) {
        (true, false) => Direction::Outbound,
        (false, true) => Direction::Inbound,
        _ => Direction::Unknown,
    }
}

/// `role~ip~pod.namespace~domain`.
fn fill_from_node(event: &mut HopEvent<'_>) {
    let name: Text<'_> = match &event.node {
        Cow::Borrowed(node) => Cow::Borrowed(node.split('~').nth(2).unwrap_or("")),
        Cow::Owned(node) => Cow::Owned(node.split('~').nth(2).unwrap_or("").to_owned()),
    };
    let (pod, namespace): (Text<'_>, Text<'_>) = match &name {
        Cow::Borrowed(name) => match name.rsplit_once('.') {
            Some((pod, namespace)) => (pod.into(), namespace.into()),
            None => return,
        },
        Cow::Owned(name) => match name.rsplit_once('.') {
            Some((pod, namespace)) => (pod.to_owned().into(), namespace.to_owned().into()),
            None => return,
        },
    };
    if event.pod.is_empty() {
        event.pod = pod;
    }
    if event.namespace.is_empty() {
        event.namespace = namespace;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(event: HopEvent<'static>) -> (Hop, Direction, bool) {
        let mut event = event;
        infer(&mut event, &Origin::default());
        (event.hop, event.direction, event.notes.contains(Notes::HOP_INFERRED))
    }

    #[test]
    fn the_node_id_states_the_hop() {
        let node = "sidecar~10.0.0.1~app-1.shop~shop.svc.cluster.local";
        let sidecar =
            HopEvent { node: node.into(), upstream_cluster: "inbound|80||".into(), ..Default::default() };
        assert_eq!(inferred(sidecar), (Hop::Sidecar, Direction::Inbound, false));
        let router = HopEvent { node: "router~10.0.0.1~gw.istio~x".into(), ..Default::default() };
        assert_eq!(inferred(router), (Hop::Gateway, Direction::Unknown, false));
    }

    #[test]
    fn without_a_node_inbound_is_a_sidecar_and_outbound_stays_open() {
        let inbound = HopEvent { upstream_cluster: "inbound|80||".into(), ..Default::default() };
        assert_eq!(inferred(inbound), (Hop::Sidecar, Direction::Inbound, true));
        let outbound = HopEvent { upstream_cluster: "outbound|80||a.b".into(), ..Default::default() };
        assert_eq!(inferred(outbound), (Hop::Unknown, Direction::Outbound, true));
        assert_eq!(inferred(HopEvent::default()), (Hop::Unknown, Direction::Unknown, false));
    }

    #[test]
    fn a_local_reply_is_told_by_server_name_or_port() {
        let denied = HopEvent { sni: "outbound_.80_._.a.b".into(), ..Default::default() };
        assert_eq!(inferred(denied), (Hop::Sidecar, Direction::Inbound, true));
        let blackhole = HopEvent { downstream_local: "10.0.0.1:15001".into(), ..Default::default() };
        assert_eq!(inferred(blackhole), (Hop::Unknown, Direction::Outbound, true));
    }

    #[test]
    fn a_local_reply_without_a_cluster_is_told_by_the_pods_own_address() {
        let reply = |remote: &'static str, local: &'static str| HopEvent {
            node: "sidecar~10.0.0.1~app-1.shop~shop.svc.cluster.local".into(),
            downstream_remote: remote.into(),
            downstream_local: local.into(),
            ..Default::default()
        };
        assert_eq!(
            inferred(reply("10.0.0.1:40000", "10.96.0.7:80")),
            (Hop::Sidecar, Direction::Outbound, true)
        );
        assert_eq!(
            inferred(reply("10.0.0.9:40000", "10.0.0.1:80")),
            (Hop::Sidecar, Direction::Inbound, true)
        );
        assert_eq!(inferred(reply("192.0.2.1:0", "10.96.0.7:80")), (Hop::Sidecar, Direction::Unknown, false));
    }

    #[test]
    fn the_configured_origin_fills_what_a_line_leaves_open() {
        let origin = Origin { hop: Hop::Gateway, ..Origin::default() };
        let mut event = HopEvent { upstream_cluster: "outbound|80||a.b".into(), ..Default::default() };
        infer(&mut event, &origin);
        assert_eq!(
            (event.hop, event.direction, event.notes),
            (Hop::Gateway, Direction::Unknown, Notes::NONE)
        );
    }
}
