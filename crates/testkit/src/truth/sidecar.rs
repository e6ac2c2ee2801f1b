//! Sidecars: a workload's record of what it receives, what its application does with it, and its own calls.

use event::{Direction, Hop};

use super::journey::{Headers, Journey, MS, Outcome, SECOND, Story, US, sampled};
use super::mesh::{self, PORT, SERVICES};
use super::plan::{Clients, HandsOn, Shape};
use super::proxy::{Call, Fate};
use super::view::Kind;

/// Services below each other, the entry included.
const DEEPEST: u32 = 4;
/// Longer than anybody waits.
const HANGS: i64 = 30 * SECOND;

const DENIED: &str = "rbac_access_denied_matched_policy[ns[shop]-policy[deny-partners]-rule[0]]";

impl Journey<'_> {
    /// A request at a workload's sidecar, and what the application does with it.
    pub(super) fn inbound(
        &mut self,
        (caller, pod): (usize, usize),
        (at, attempt): (i64, u16),
        (fate, depth): (Fate, u32),
        deadline: Option<i64>,
        headers: &Headers,
    ) -> (Outcome, usize) {
        let mut headers = headers.clone();
        if self.is_sampled {
            headers.request_id = sampled(&headers.request_id);
        }
        let view = self.open(Some(caller), (Hop::Sidecar, Direction::Inbound), pod, at, &headers);
        let service = self.mesh.service_of(pod).unwrap_or_default();
        let (path, host) = (self.views[caller].path.clone(), self.views[caller].host.clone());
        let address = self.mesh.address(pod);
        let app_port = 40_000 + self.rng.below(20_000);
        let view_now = &mut self.views[view];
        (view_now.path, view_now.host) = (path, host);
        view_now.attempt = attempt;
        view_now.cluster = format!("inbound|{PORT}||");
        view_now.server_name = format!("outbound_.{PORT}_._.{}", mesh::host_of(service));
        view_now.local = format!("{address}:{PORT}");
        if self.plan.has_tracer
            && let Some((trace, _)) = headers.traceparent
        {
            let own = self.span_id();
            self.views[view].own_span = Some((trace, own));
            if fate != Fate::Denied {
                headers.traceparent = Some((trace, own));
                self.views[view].traceparent = headers.traceparent;
            }
        }
        if fate == Fate::Denied {
            return (self.local_reply(view, 403, ("", DENIED)), view);
        }
        let own = self.between(50 * US, 250 * US);
        let view_now = &mut self.views[view];
        view_now.sent_ns = Some(at + own);
        view_now.upstream_host = format!("{address}:{PORT}");
        view_now.upstream_local = format!("127.0.0.6:{app_port}");
        let done = self.application((view, service, pod), at + own, (fate, depth), deadline, &headers);
        if let Some(deadline) = deadline.filter(|&deadline| done > deadline) {
            let late = self.between(20 * US, 200 * US);
            let view_now = &mut self.views[view];
            (view_now.flags, view_now.details) = ("DC", "downstream_remote_disconnect");
            view_now.is_cancelled = true;
            let gone =
                Outcome { first_ns: None, end_ns: deadline + late, status: 0, grpc_status: None, bytes: 0 };
            return (self.close(view, gone), view);
        }
        let (status, bytes) = match (fate, self.kind) {
            (Fate::Fails, _) => (503, 95),
            (_, Kind::WebSocket) => (101, self.rng.below(9_000)),
            _ => (200, self.size_of(view)),
        };
        let streams = matches!(self.kind, Kind::WebSocket) || self.story == Story::Long && depth == 1;
        let body =
            if streams { self.between(20 * SECOND, 50 * SECOND) } else { self.between(20 * US, 900 * US) };
        let back = self.between(40 * US, 200 * US);
        let grpc_status = (self.kind == Kind::Grpc).then(|| [0, 0, 0, 5, 14][self.rng.below(5) as usize]);
        let view_now = &mut self.views[view];
        view_now.answered_ns = Some(done);
        view_now.details = "via_upstream";
        view_now.flags = if self.kind == Kind::WebSocket { "UC" } else { "" };
        let (first_ns, end_ns) = (Some(done + back), done + back + body);
        (self.close(view, Outcome { first_ns, end_ns, status, grpc_status, bytes }), view)
    }

    /// When the application begins to answer. It works, calls others, and works again.
    fn application(
        &mut self,
        (view, service, pod): (usize, usize, usize),
        at: i64,
        (fate, depth): (Fate, u32),
        deadline: Option<i64>,
        headers: &Headers,
    ) -> i64 {
        let is_over = |at: i64| deadline.is_some_and(|deadline| at >= deadline);
        let mut now = at + self.work();
        if fate == Fate::Fails {
            return now;
        }
        let calls =
            if self.kind == Kind::WebSocket || fate == Fate::Hangs { 0 } else { self.calls_at(depth) };
        let hangs = self.story == Story::Timeout && (depth >= self.hangs_at || calls == 0);
        if fate == Fate::Hangs || hangs {
            return at + HANGS;
        }
        let is_parallel = self.rng.below(2) == 0;
        let first = (service + 1 + self.rng.below(SERVICES.len() as u64 - 1) as usize) % SERVICES.len();
        let mut ends = now;
        for number in 0..calls {
            if is_over(now) {
                break;
            }
            // Every other call goes to the service of the first one.
            let target = if number % 2 == 1 { first } else { self.other_than(service, first, number) };
            let end = self.outbound((view, pod), target, now, depth + 1, deadline, headers);
            ends = ends.max(end);
            now = if is_parallel { now + self.between(15 * US, 400 * US) } else { end + self.work() / 3 };
        }
        ends.max(now) + self.work()
    }

    fn other_than(&mut self, service: usize, first: usize, number: u64) -> usize {
        if number == 0 {
            return first;
        }
        (service + 1 + self.rng.below(SERVICES.len() as u64 - 1) as usize) % SERVICES.len()
    }

    fn calls_at(&mut self, depth: u32) -> u64 {
        if depth >= DEEPEST {
            return 0;
        }
        match (self.plan.shape, depth) {
            (Shape::Usual, 1) => self.rng.between(0, 4),
            (Shape::Usual, 2) => self.rng.below(3),
            (Shape::Wide, 1) => self.rng.between(3, 9),
            (Shape::Wide, 2) => self.rng.below(4),
            _ => self.rng.below(2),
        }
    }

    /// A few milliseconds, sometimes many.
    fn work(&mut self) -> i64 {
        let bound = if self.rng.below(12) == 0 { 40 * MS } else { 6 * MS };
        self.between(200 * US, bound)
    }

    /// A call of an application, through its own sidecar. Answers when it is over.
    fn outbound(
        &mut self,
        (caller, pod): (usize, usize),
        service: usize,
        at: i64,
        depth: u32,
        deadline: Option<i64>,
        received: &Headers,
    ) -> i64 {
        let from = self.mesh.service_of(pod).unwrap_or_default();
        let mut headers = match self.plan.hands_on {
            HandsOn::Nothing => Headers::default(),
            _ => Headers { forwarded_for: String::new(), ..received.clone() },
        };
        if self.plan.hands_on == HandsOn::Correlation && !SERVICES[from].hands_request_id_on {
            headers.request_id.clear();
        }
        if headers.request_id.is_empty() {
            headers.request_id = correlation::uuid_text(self.rng.uuid_v4());
        }
        let start = at + self.between(30 * US, 120 * US);
        let view = self.open(Some(caller), (Hop::Sidecar, Direction::Outbound), pod, start, &headers);
        let number = self.rng.below(40);
        let path = match (self.kind, self.plan.clients) {
            (Kind::Grpc, _) => format!("/shop.{}/Get", SERVICES[service].name),
            (_, Clients::Crowd) => format!("/internal/{}", SERVICES[service].name),
            _ => format!("/internal/{}/{number}", SERVICES[service].name),
        };
        let address = self.mesh.address(pod);
        let view_now = &mut self.views[view];
        view_now.path = path;
        view_now.host = format!("{}:{PORT}", mesh::host_of(service));
        view_now.cluster = mesh::outbound_cluster(service);
        view_now.local = mesh::cluster_address(service);
        if self.plan.has_tracer
            && let Some((trace, _)) = headers.traceparent
        {
            let own = self.span_id();
            self.views[view].own_span = Some((trace, own));
        }
        let tries = if self.owes(Story::OutboundRetry) { 2 } else { 1 };
        let call = Call { view, service, depth, deadline, tries, is_refused: false };
        let outcome = self.call(call, &headers);
        let outcome = if let Some(deadline) = deadline.filter(|_| outcome.status == 0) {
            let late = self.between(5 * US, 20 * US);
            let view_now = &mut self.views[view];
            (view_now.flags, view_now.details) = ("DC", "downstream_remote_disconnect");
            view_now.is_cancelled = true;
            Outcome { first_ns: None, end_ns: deadline + late, ..outcome }
        } else {
            outcome
        };
        let outcome = self.close(view, outcome);
        // The application's own connection to its sidecar, kept alive like any other.
        let pair = (pod, usize::MAX - service);
        let port = self.mesh.pools.lease(pair, false, (start, outcome.end_ns), self.began_ns);
        let peer = format!("{address}:{port}");
        let view_now = &mut self.views[view];
        view_now.direct_remote.clone_from(&peer);
        view_now.remote = peer;
        outcome.end_ns
    }
}
