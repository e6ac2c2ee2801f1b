//! Hop events without the way through lines and decoders, for benches of what comes after decoding.

use correlation::{Id, IdKind};
use event::key::{Place, event_key};
use event::{Hop, HopEvent, Precision};

use crate::mix::Mix;
use crate::request::{Request, Server, TrueHop};
use crate::{fastly, istio};

/// How long after its start an event of the mix counts as received.
const RECEIVED_AFTER_NS: i64 = 2_000_000_000;

impl Mix {
    /// Every event of the first `count` requests, as the decoders would make it of our recommended formats.
    pub fn events(&self, count: u64) -> impl Iterator<Item = HopEvent<'static>> {
        self.requests(count).flat_map(|request| {
            let events: Vec<_> = request.hops.iter().map(|hop| hop_event(&request, hop)).collect();
            events
        })
    }
}

/// The event of one hop.
pub fn hop_event(request: &Request, hop: &TrueHop) -> HopEvent<'static> {
    let mut event = HopEvent {
        tenant: "default".into(),
        received_ns: hop.logged_start_ns() + hop.duration_ns as i64 + RECEIVED_AFTER_NS,
        hop: hop.hop,
        direction: hop.direction,
        correlation_id: request.correlation_id,
        trace_id: request.trace_id,
        parent_span_id: request.edge_span_id,
        start_ns: hop.logged_start_ns(),
        duration_ns: Some(hop.duration_ns),
        upstream_tx_first_ns: hop.sent_ns,
        upstream_rx_first_ns: hop.answered_ns,
        first_byte_ns: hop.first_byte_ns,
        method: request.method.into(),
        host: request.host.into(),
        path: request.path().to_owned().into(),
        query: request.query().to_owned().into(),
        protocol: "HTTP/1.1".into(),
        status: hop.status,
        response_flags: hop.flags.into(),
        details: hop.details.into(),
        user_agent: request.user_agent.clone().into(),
        response_bytes: Some(hop.response_bytes),
        client_address: request.client.to_ipv6_mapped().to_bits(),
        upstream_cluster: hop.upstream_cluster.clone().into(),
        ..HopEvent::default()
    };
    match &hop.server {
        Server::Fastly { pop, identity } => fill_fastly(&mut event, request, hop, pop, identity),
        Server::Proxy(pod) => {
            event.source = "envoy".into();
            event.format = "istio-json".into();
            event.start_precision = Precision::Millisecond;
            let id = Id::parse(IdKind::Request, &request.request_text(hop));
            if let Some(id) = id {
                (event.request_id, event.request_id_reason) = (id.value, id.trace_reason);
            }
            event.forwarded_for = istio::forwarded_for(request, hop).into();
            event.downstream_local = hop.local_address.clone().into();
            event.downstream_remote = hop.remote_address.clone().into();
            event.upstream_remote = hop.upstream_host.clone().into();
            event.sni = hop.server_name.clone().into();
            event.route = "default".into();
            event.node = pod.node().into();
            event.pod = pod.name.clone().into();
            event.namespace = pod.namespace.into();
            event.workload = pod.workload.into();
            event.service = pod.workload.into();
            event.attempt = hop.attempt;
        }
    }
    event.event_key = event_key(&event, Place { delivery: 0, index: 0 });
    event
}

fn fill_fastly(
    event: &mut HopEvent<'static>,
    request: &Request,
    hop: &TrueHop,
    pop: &'static str,
    identity: &str,
) {
    let edge = hop.hop == Hop::Edge;
    event.source = "fastly".into();
    event.format = "fastly-vcl".into();
    event.start_precision = Precision::Microsecond;
    event.country = request.country.into();
    event.asn = request.asn;
    event.tls_version = "TLSv1.3".into();
    event.pop = pop.into();
    event.server = identity.to_owned().into();
    event.service_id = fastly::SERVICE_ID.into();
    event.service_version = fastly::SERVICE_VERSION.to_string().into();
    event.cache_state = hop.cache_state.into();
    event.cache_result = hop.cache_state.to_ascii_lowercase().into();
    event.restarts = Some(0);
    event.visits = Some(if edge { 0 } else { 2 });
    event.to_shield = Some(edge && hop.cache_state != "HIT");
    event.completed = Some(true);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_event_has_its_own_key_and_its_ids() {
        let events: Vec<_> = Mix::new(2).events(2_000).collect();
        let keys: HashSet<u64> = events.iter().map(|event| event.event_key).collect();
        assert_eq!(keys.len(), events.len());
        assert!(events.iter().all(|event| event.correlation_id != 0 && event.trace_id != 0));
        assert!(events.iter().all(|event| (event.request_id != 0) == (event.source == "envoy")));
    }
}
