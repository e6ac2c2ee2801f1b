//! The gateway, and what it shares with outbound sidecars: sending a request on, in tries, over a connection.

use event::{Direction, Hop};

use super::edge::arriving;
use super::journey::{Headers, Journey, MS, Outcome, SECOND, Story, US};
use super::mesh::{self, PORT, SERVICES};
use super::plan::Clients;
use super::view::Kind;

/// The gateway's route timeout.
const ROUTE_TIMEOUT: i64 = 3 * SECOND;
/// Timeout of one try.
const TRY_TIMEOUT: i64 = 40 * MS;

const REFUSED: &str = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
const DENIED_AT_GATEWAY: &str = "rbac_access_denied_matched_policy[none]";

/// What becomes of a request at an inbound sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Works,
    Denied,
    /// Answers 503.
    Fails,
    /// Does not answer while anybody waits.
    Hangs,
    /// Cannot be connected to: there is no record of it.
    Unreachable,
}

/// A proxy that calls a service.
pub(super) struct Call {
    pub(super) view: usize,
    pub(super) service: usize,
    /// Depth of the service that is called: the entry is 1.
    pub(super) depth: u32,
    /// When the caller's caller gives up; what is under way then ends.
    pub(super) deadline: Option<i64>,
    pub(super) tries: u16,
    /// No try even connects.
    pub(super) is_refused: bool,
}

impl Journey<'_> {
    /// The request arrives at a gateway. `fails`: it cannot connect this time.
    pub(super) fn gateway(
        &mut self,
        parent: Option<usize>,
        headers: &Headers,
        at: i64,
        fails: bool,
    ) -> Outcome {
        let server = self.mesh.gateway(&mut self.rng);
        let mut headers = headers.clone();
        if !self.keeps_request_id || headers.request_id.is_empty() {
            headers.request_id = correlation::uuid_text(self.rng.uuid_v4());
        }
        let view = self.open(parent, (Hop::Gateway, Direction::Unknown), server, at, &headers);
        let service = self.rng.below(mesh::ENTRY_SERVICES) as usize;
        let peer_port = 20_000 + self.rng.below(12_000);
        let peer = headers.forwarded_for.rsplit(',').next().unwrap_or_default().to_owned();
        let own = self.mesh.address(server);
        let view_now = &mut self.views[view];
        view_now.host = "shop.example.com".to_owned();
        view_now.local = format!("{own}:8443");
        view_now.remote = format!("{}:0", view_now.client);
        view_now.direct_remote = format!("{peer}:{peer_port}");
        view_now.server_name = "shop.example.com".to_owned();
        view_now.protocol = if self.kind == Kind::Grpc { "HTTP/2" } else { "HTTP/1.1" };
        if self.plan.has_tracer
            && let Some((trace, _)) = headers.traceparent
        {
            self.views[view].own_span = Some((trace, self.span_id()));
        }
        if self.story == Story::NoRoute {
            return self.local_reply(view, 404, ("NR", "route_not_found"));
        }
        self.views[view].cluster = mesh::outbound_cluster(service);
        if self.story == Story::DeniedAtGateway {
            return self.local_reply(view, 403, ("", DENIED_AT_GATEWAY));
        }
        let has_timeout = self.kind == Kind::Http && self.story != Story::Long;
        let tries = if fails || self.story == Story::Refused {
            2
        } else if self.owes(Story::GatewayRetry) {
            2 + self.rng.below(2) as u16
        } else {
            1
        };
        let deadline = has_timeout.then_some(at + ROUTE_TIMEOUT);
        let is_refused = fails || self.story == Story::Refused;
        let call = Call { view, service, depth: 1, deadline, tries, is_refused };
        let outcome = self.call(call, &headers);
        let is_over = deadline.is_some_and(|deadline| outcome.status == 0 && outcome.end_ns >= deadline);
        let view_now = &mut self.views[view];
        if is_over {
            (view_now.flags, view_now.details) = ("UT", "response_timeout");
            view_now.answered_ns = None;
            let end_ns = at + ROUTE_TIMEOUT + 80 * US;
            let first_ns = Some(end_ns - 30 * US);
            return self.close(view, Outcome { first_ns, end_ns, status: 504, grpc_status: None, bytes: 24 });
        }
        if self.kind == Kind::WebSocket {
            view_now.flags = "DC";
        }
        self.close(view, outcome)
    }

    /// Answered by the proxy: nothing is sent on, and the caller's `traceparent` is what is logged.
    pub(super) fn local_reply(
        &mut self,
        view: usize,
        status: u16,
        (flags, details): (&'static str, &'static str),
    ) -> Outcome {
        let took = self.between(60 * US, 300 * US);
        let view_now = &mut self.views[view];
        (view_now.flags, view_now.details) = (flags, details);
        view_now.is_local_reply = true;
        view_now.attempts = 0;
        let end_ns = view_now.start_ns + took;
        self.close(
            view,
            Outcome { first_ns: Some(end_ns - 10 * US), end_ns, status, grpc_status: None, bytes: 19 },
        )
    }

    /// Sends a request on to a service, in as many tries as it takes, and fills what the caller's record says of it.
    pub(super) fn call(&mut self, call: Call, headers: &Headers) -> Outcome {
        let Call { view, service, .. } = call;
        let caller = self.views[view].server;
        let is_gateway = self.views[view].hop == Hop::Gateway;
        let mut at = self.views[view].start_ns + self.between(60 * US, 300 * US);
        let mut last_pod = usize::MAX;
        for attempt in 1..=call.tries {
            let mut pod = self.mesh.pod(service, &mut self.rng);
            if pod == last_pod {
                pod = self.mesh.pod(service, &mut self.rng);
            }
            last_pod = pod;
            let is_last = attempt == call.tries;
            let mut onward = headers.clone();
            if self.plan.has_tracer
                && let Some((trace, own)) = self.views[view].own_span
            {
                // A gateway makes a child span of each try; a sidecar's one span stands for both.
                let sent = if is_gateway { self.span_id() } else { own };
                onward.traceparent = Some((trace, sent));
            }
            let host = format!("{}:{PORT}", self.mesh.address(pod));
            let view_now = &mut self.views[view];
            view_now.attempts = attempt;
            view_now.upstream_host = host;
            view_now.traceparent = onward.traceparent;
            let way = self.between(200 * US, 900 * US);
            let fate = self.fate(&call, is_last);
            if fate == Fate::Unreachable {
                at += self.between(400 * US, 3 * MS);
                if is_last {
                    let view_now = &mut self.views[view];
                    (view_now.flags, view_now.details) = ("URX,UF", REFUSED);
                    let (first_ns, end_ns) = (Some(at), at + 40 * US);
                    return Outcome { first_ns, end_ns, status: 503, grpc_status: None, bytes: 121 };
                }
                at += self.between(5 * MS, 25 * MS);
                continue;
            }
            let try_ends = (fate == Fate::Hangs).then_some(at + TRY_TIMEOUT);
            let deadline = [call.deadline, try_ends].into_iter().flatten().min();
            let arrival = (at + way, attempt);
            let below =
                self.inbound((view, pod), arrival, (fate, call.depth), deadline.map(|at| at + way), &onward);
            let child = below.1;
            let below = arriving(below.0, way);
            self.connect((view, child), (caller, pod), service, (at, below.end_ns));
            if !is_last {
                at = try_ends.unwrap_or(below.end_ns) + self.between(5 * MS, 25 * MS);
                continue;
            }
            let own = self.between(30 * US, 150 * US);
            let view_now = &mut self.views[view];
            view_now.sent_ns = Some(at);
            if let Some(end_ns) = deadline.filter(|_| below.status == 0) {
                return Outcome { first_ns: None, end_ns, ..below };
            }
            view_now.answered_ns = below.first_ns;
            view_now.details = "via_upstream";
            return arriving(below, own);
        }
        // `tries` is at least 1, so the loop has answered.
        Outcome { first_ns: None, end_ns: at, status: 0, grpc_status: None, bytes: 0 }
    }

    /// What becomes of a try. All but the last one fail, each in its way.
    fn fate(&mut self, call: &Call, is_last: bool) -> Fate {
        if call.is_refused {
            return Fate::Unreachable;
        }
        if !is_last {
            return [Fate::Fails, Fate::Hangs, Fate::Unreachable][self.rng.below(3) as usize];
        }
        let is_denied = match call.depth {
            1 => self.story == Story::Denied,
            _ => self.owes(Story::DeniedInside),
        };
        if is_denied { Fate::Denied } else { Fate::Works }
    }

    /// Both ends of the connection that a call went over.
    fn connect(
        &mut self,
        (view, child): (usize, usize),
        (caller, pod): (usize, usize),
        service: usize,
        taken: (i64, i64),
    ) {
        let is_h2 = SERVICES[service].is_h2 || self.kind == Kind::Grpc || self.plan.clients == Clients::Crowd;
        let port = self.mesh.pools.lease((caller, pod), is_h2, taken, self.began_ns);
        let local = format!("{}:{port}", self.mesh.address(caller));
        let child = &mut self.views[child];
        // A sidecar takes the last address of `X-Forwarded-For` for its peer, and that has no port.
        child.remote = match child.forwarded_for.rsplit(',').next() {
            Some(last) if !last.is_empty() => format!("{last}:0"),
            _ => local.clone(),
        };
        child.direct_remote.clone_from(&local);
        child.protocol = if is_h2 { "HTTP/2" } else { "HTTP/1.1" };
        self.views[view].upstream_local = local;
    }
}
