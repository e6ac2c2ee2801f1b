//! The Fastly part of the way: edge, shield, caches, restarts.

use event::{Direction, Hop};

use super::journey::{Headers, Journey, MS, Outcome, Story, US};
use super::view::Kind;

/// Who answers a fetch.
#[derive(Clone, Copy)]
struct Fetch {
    /// Tag of the cache server that fetches.
    from: usize,
    at: i64,
    /// The gateway fails this one, so that the edge restarts.
    fails: bool,
}

impl Journey<'_> {
    /// The request enters at an edge server at `at`.
    pub(super) fn edge(&mut self, headers: &Headers, at: i64) -> Outcome {
        let server = self.mesh.edge(&mut self.rng);
        let view = self.open(None, (Hop::Edge, Direction::Unknown), server, at, headers);
        let own = self.between(60 * US, 400 * US);
        self.views[view].protocol = "HTTP/2";
        if self.story == Story::Hit {
            self.views[view].cache_state = "HIT";
            let bytes = self.size_of(view);
            let first_ns = Some(at + own);
            let end_ns = at + own + self.between(20 * US, 600 * US);
            return self.close(view, Outcome { first_ns, end_ns, status: 200, grpc_status: None, bytes });
        }
        let uses_shield = self.kind == Kind::Http && self.rng.below(3) != 0;
        let shield = if uses_shield { self.mesh.shield(server, &mut self.rng) } else { None };
        let mut sent = at + own;
        if self.owes(Story::Restart) {
            let failed = self.fetch(Fetch { from: view, at: sent, fails: true }, shield, headers);
            sent = failed.end_ns + self.between(4 * MS, 9 * MS);
            self.views[view].restarts = 1;
        }
        let outcome = self.fetch(Fetch { from: view, at: sent, fails: false }, shield, headers);
        let view_now = &mut self.views[view];
        view_now.to_shield = shield.is_some();
        view_now.cluster = if shield.is_some() { "shield_iad_va_us" } else { "F_istio_ingress" }.to_owned();
        self.fetched(view, sent, outcome)
    }

    /// One fetch, over the shield if there is one. The outcome is as the edge sees it arrive.
    fn fetch(&mut self, fetch: Fetch, shield: Option<usize>, headers: &Headers) -> Outcome {
        let Some(server) = shield else { return self.origin(fetch, headers) };
        let way = self.between(8 * MS, 90 * MS);
        let at = fetch.at + way;
        let view = self.open(Some(fetch.from), (Hop::Shield, Direction::Unknown), server, at, headers);
        let own = self.between(60 * US, 400 * US);
        let outcome = if self.story == Story::ShieldHit {
            self.views[view].cache_state = "HIT";
            let bytes = self.size_of(view);
            let (first_ns, end_ns) = (Some(at + own), at + own + 200 * US);
            self.close(view, Outcome { first_ns, end_ns, status: 200, grpc_status: None, bytes })
        } else {
            let outcome = self.origin(Fetch { from: view, at: at + own, ..fetch }, headers);
            self.views[view].cluster = "F_istio_ingress".to_owned();
            self.fetched(view, at + own, outcome)
        };
        arriving(outcome, way)
    }

    fn origin(&mut self, fetch: Fetch, headers: &Headers) -> Outcome {
        let way = self.between(4 * MS, 12 * MS);
        let headers = self.to_gateway(headers, fetch.from);
        let outcome = self.gateway(Some(fetch.from), &headers, fetch.at + way, fetch.fails);
        arriving(outcome, way)
    }

    /// What the gateway receives: it adds the cache server as the last address.
    fn to_gateway(&self, headers: &Headers, from: usize) -> Headers {
        let cache = self.mesh.address(self.views[from].server);
        Headers { forwarded_for: format!("{},{cache}", self.client), ..headers.clone() }
    }

    /// A cache server passes on what it fetched.
    fn fetched(&mut self, view: usize, sent: i64, outcome: Outcome) -> Outcome {
        let own = self.between(40 * US, 250 * US);
        let is_miss = outcome.status == 200 && self.method == "GET" && self.kind == Kind::Http;
        let view_now = &mut self.views[view];
        view_now.sent_ns = Some(sent);
        view_now.answered_ns = outcome.first_ns;
        view_now.cache_state = if is_miss { "MISS" } else { "PASS" };
        self.close(view, arriving(outcome, own))
    }
}

/// An outcome as it is seen one way further out.
pub(super) fn arriving(outcome: Outcome, way: i64) -> Outcome {
    Outcome { first_ns: outcome.first_ns.map(|at| at + way), end_ns: outcome.end_ns + way, ..outcome }
}
