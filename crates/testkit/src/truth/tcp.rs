//! TCP connections, whose records hold no id but a random one of each hop's own.

use event::{Direction, Hop};

use super::journey::{Headers, Journey, MS, SECOND, US};
use super::mesh::{self, PORT, SERVICES};

impl Journey<'_> {
    /// A TCP connection from the gateway, or from a workload, to a database-like service: it has no ids at all.
    pub(super) fn tcp(&mut self, at: i64) {
        let headers = Headers::default();
        let service = self.rng.below(SERVICES.len() as u64) as usize;
        let is_from_gateway = self.rng.below(2) == 0;
        let (caller, place) = if is_from_gateway {
            (self.mesh.gateway(&mut self.rng), (Hop::Gateway, Direction::Unknown))
        } else {
            let other = (service + 1) % SERVICES.len();
            (self.mesh.pod(other, &mut self.rng), (Hop::Sidecar, Direction::Outbound))
        };
        let pod = self.mesh.pod(service, &mut self.rng);
        let outer = self.open(None, place, caller, at, &headers);
        let (own, way) = (self.between(60 * US, 300 * US), self.between(200 * US, 900 * US));
        let inner = self.open(Some(outer), (Hop::Sidecar, Direction::Inbound), pod, at + own + way, &headers);
        let lasts = self.between(MS, 40 * SECOND);
        let end = at + own + way + lasts;
        let (address, callee) = (self.mesh.address(caller), self.mesh.address(pod));
        // Each TCP connection has its own upstream connection.
        let port = self.mesh.pools.lease((caller, usize::MAX / 2 - pod), false, (at, end + SECOND), at);
        let bytes = self.rng.below(1 << 20);
        let peer_port = 20_000 + self.rng.below(40_000);
        for (view, until) in [(outer, end + way), (inner, end)] {
            let stream = correlation::uuid_text(self.rng.uuid_v4());
            let view_now = &mut self.views[view];
            view_now.end_ns = until;
            view_now.request_id = stream;
            view_now.response_bytes = bytes;
            (view_now.method, view_now.protocol) = ("", "");
            view_now.path.clear();
            view_now.upstream_host = format!("{callee}:{PORT}");
        }
        let local = format!("{address}:{port}");
        let client = self.client.clone();
        let outer = &mut self.views[outer];
        outer.cluster = mesh::outbound_cluster(service);
        outer.upstream_local.clone_from(&local);
        (outer.local, outer.remote) = if is_from_gateway {
            (format!("{address}:9000"), format!("{client}:{peer_port}"))
        } else {
            (mesh::cluster_address(service), format!("{address}:{peer_port}"))
        };
        outer.direct_remote.clone_from(&outer.remote);
        let inner = &mut self.views[inner];
        inner.cluster = format!("inbound|{PORT}||");
        inner.upstream_local = format!("127.0.0.6:{peer_port}");
        inner.local = format!("{callee}:{PORT}");
        (inner.remote, inner.direct_remote) = (local.clone(), local);
        inner.server_name = format!("outbound_.{PORT}_._.{}", mesh::host_of(service));
    }
}
