//! Makes the requests of a plan, one after the other, and the scenario out of them.

use std::collections::BTreeMap;

use correlation::{uuid_text, uuid_v7};

use super::contract::{Scenario, TrueRecord};
use super::deliver;
use super::journey::{Headers, Journey, SECOND, Story};
use super::mesh::Mesh;
use super::plan::{Clients, Plan};
use super::view::{Kind, View};
use crate::mix::DEFAULT_START_MS;
use crate::rng::Rng;

/// When the first request starts.
pub(super) const START_NS: i64 = DEFAULT_START_MS as i64 * 1_000_000;

/// Requests of a page load or login flow, which share a trace id.
const REQUESTS_OF_A_FLOW: usize = 40;
const PATHS: u64 = 60;

/// How a request comes in.
pub(super) struct Entry {
    pub(super) at: i64,
    pub(super) headers: Headers,
    pub(super) path: String,
    /// Else straight at the gateway.
    pub(super) via_edge: bool,
}

/// What the edge mints for a request.
pub(super) struct Ids {
    correlation: u128,
    pub(super) trace: u128,
    pub(super) span: u64,
    edge_request: u128,
}

impl Ids {
    pub(super) fn correlation_text(&self) -> String {
        uuid_text(self.correlation)
    }

    pub(super) fn edge_request_text(&self) -> String {
        format!("{:032x}", self.edge_request)
    }
}

/// A plan under way.
pub(super) struct Workload<'p> {
    plan: &'p Plan,
    seed: u64,
    /// `x-request-id` of each request so far at its gateway; empty where it saw none.
    pub(super) request_ids: Vec<String>,
}

/// Makes the scenario of a plan.
pub(super) fn scenario(plan: &Plan, seed: u64, requests: usize) -> Scenario {
    // Each scenario has its own requests, whatever the order in which they are made.
    let seed = plan.name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut workload = Workload { plan, seed, request_ids: Vec::with_capacity(requests) };
    let mut mesh = Mesh::new(plan, seed);
    let mut views = Vec::with_capacity(requests * 10);
    for n in 0..requests {
        workload.travel(n, &mut mesh, &mut views);
    }
    let mut rng = Rng::stream(seed, u64::MAX - 2);
    for view in &mut views {
        view.is_lost = rng.below(1_000) < plan.faults.lost_per_mille;
    }
    let (deliveries, copies) = deliver::all(&views, &mesh, plan, &mut rng);
    let records = views.iter().zip(copies).enumerate().map(|(tag, (view, copies))| {
        let record = TrueRecord {
            request: view.request,
            parent: view.parent,
            hop: view.hop,
            direction: view.direction,
            server: mesh.servers[view.server].name(),
            start_ns: view.start_ns,
            end_ns: view.end_ns,
            lost: view.is_lost,
            cancelled: view.is_cancelled,
            copies,
        };
        (tag as u32, record)
    });
    let records: BTreeMap<u32, TrueRecord> = records.collect();
    Scenario { name: plan.name, deliveries, records, requests, promise: plan.promise }
}

impl Workload<'_> {
    /// What the edge mints for request `n`, made again whenever it is asked for.
    pub(super) fn ids(&self, n: usize) -> Ids {
        let mut rng = Rng::stream(self.seed ^ 0x1d5, n as u64);
        Ids {
            correlation: uuid_v7((self.start_ns(n) / 1_000_000) as u64, rng.next_u128()),
            trace: rng.next_u128().max(1),
            span: rng.next_u64().max(1),
            edge_request: rng.next_u128().max(1),
        }
    }

    pub(super) fn start_ns(&self, n: usize) -> i64 {
        let interval = self.plan.interval_us as i64 * 1_000;
        let jitter = Rng::stream(self.seed ^ 0x717, n as u64).below(interval as u64);
        START_NS + n as i64 * interval + jitter as i64
    }

    pub(super) fn path(&self, n: usize) -> String {
        if self.plan.clients == Clients::Crowd {
            return "/checkout".to_owned();
        }
        format!("/shop/item/{}", Rng::stream(self.seed ^ 0xa7, n as u64).below(PATHS))
    }

    /// The entry of a client that forges nothing, with what the edge minted.
    pub(super) fn honest(&self, n: usize) -> Entry {
        let ids = self.ids(n);
        let trace = match self.plan.clients {
            Clients::Browsers => self.ids(n / REQUESTS_OF_A_FLOW * REQUESTS_OF_A_FLOW).trace,
            _ => ids.trace,
        };
        let headers = Headers {
            correlation: ids.correlation_text(),
            request_id: String::new(),
            edge_request_id: ids.edge_request_text(),
            traceparent: Some((trace, ids.span)),
            forwarded_for: String::new(),
        };
        Entry { at: self.start_ns(n), headers, path: self.path(n), via_edge: true }
    }

    fn travel(&mut self, n: usize, mesh: &mut Mesh, views: &mut Vec<View>) {
        let mut rng = Rng::stream(self.seed, n as u64);
        let clients = self.plan.clients;
        let mut entry = match clients {
            Clients::Hostile => self.forged(n, &mut rng),
            _ => self.honest(n),
        };
        let kind = match rng.below(100) {
            _ if clients != Clients::Protocols => Kind::Http,
            0..18 => Kind::Grpc,
            18..26 => Kind::WebSocket,
            26..42 => Kind::Tcp,
            _ => Kind::Http,
        };
        if kind == Kind::Grpc {
            entry.path = "/shop.Storefront/Get".to_owned();
        }
        let first = views.len();
        let mut journey = Journey {
            mesh,
            views,
            plan: self.plan,
            request: n as u32,
            story: Story::draw(self.plan, &mut rng),
            kind,
            method: if kind == Kind::Grpc || rng.below(8) == 0 { "POST" } else { "GET" },
            path: entry.path,
            client: format!("100.64.{}.{}", rng.below(64), 1 + rng.below(250)),
            is_sampled: rng.below(4) == 0,
            keeps_request_id: clients == Clients::Hostile,
            // A forged request may start a little before its turn.
            began_ns: entry.at - SECOND,
            hangs_at: 1 + rng.below(3) as u32,
            is_owed: true,
            rng,
        };
        if matches!(kind, Kind::WebSocket) {
            journey.story = Story::Plain;
        }
        let headers = entry.headers;
        if kind == Kind::Tcp {
            journey.tcp(entry.at);
        } else if entry.via_edge {
            journey.edge(&headers, entry.at);
        } else {
            let headers = Headers { forwarded_for: journey.client.clone(), ..headers };
            journey.gateway(None, &headers, entry.at, false);
        }
        let gateway = views[first..].iter().rfind(|view| view.hop == event::Hop::Gateway);
        self.request_ids.push(gateway.map(|view| view.request_id.clone()).unwrap_or_default());
    }
}
