//! What each scenario asks for.

use super::contract::Promise;

/// What the proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logs {
    /// Correlation id at every hop: JSON with ids, ALS, OTLP labels.
    Ids,
    /// Ids at the gateway; sidecars as Istio logs by default (TEXT, JSON, TEXT in OTLP).
    Defaults,
    /// Every other sidecar as in each of the two.
    Mixed,
}

/// Which ids applications hand on to their own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandsOn {
    /// Correlation id and traceparent; `x-request-id` by every other service only.
    Correlation,
    /// `x-request-id` and the others.
    RequestId,
    /// Nothing.
    Nothing,
}

/// How wide the trees are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A few calls a request, up to four services deep.
    Usual,
    /// Many calls, retries in every other request.
    Wide,
}

/// Who the clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    /// Each request is its own trace.
    Plain,
    /// Browsers and login flows that keep one trace id over many requests.
    Browsers,
    /// Half of the requests come from clients that forge ids.
    Hostile,
    /// All asks for one path at once.
    Crowd,
    /// gRPC, WebSocket, TCP and long requests beside HTTP.
    Protocols,
}

/// What happens to records between sender and service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Faults {
    pub(super) lost_per_mille: u64,
    /// Redeliveries, reordering within and between deliveries, deliveries late by up to an hour.
    pub(super) is_disordered: bool,
}

/// One scenario before it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) logs: Logs,
    pub(super) hands_on: HandsOn,
    pub(super) has_tracer: bool,
    /// Clocks off by seconds and drifting, rather than by milliseconds.
    pub(super) has_wild_clocks: bool,
    /// The edge writes whole seconds.
    pub(super) has_coarse_edge: bool,
    pub(super) shape: Shape,
    pub(super) clients: Clients,
    pub(super) faults: Faults,
    pub(super) pods_each: usize,
    /// Mean time between two requests.
    pub(super) interval_us: u64,
    pub(super) promise: Promise,
}

const EVERY: Promise = Promise { joined: Some(1.0), certain_right: Some(1.0) };
/// Ids at every hop join whatever else happens.
const JOINED: Promise = Promise { joined: Some(1.0), certain_right: None };
const NEARLY: Promise = Promise { joined: Some(0.999), certain_right: None };
const NO_FALSE_JOIN: Promise = Promise { joined: None, certain_right: None };

const MINTED: Plan = Plan {
    name: "minted-id",
    logs: Logs::Ids,
    hands_on: HandsOn::Correlation,
    has_tracer: false,
    has_wild_clocks: false,
    has_coarse_edge: false,
    shape: Shape::Usual,
    clients: Clients::Plain,
    faults: Faults { lost_per_mille: 0, is_disordered: false },
    pods_each: 3,
    interval_us: 5_000,
    promise: EVERY,
};

const DEFAULTS: Plan = Plan {
    name: "istio-defaults",
    logs: Logs::Defaults,
    hands_on: HandsOn::RequestId,
    promise: NEARLY,
    ..MINTED
};

const fn losing(plan: Plan, name: &'static str, lost_per_mille: u64) -> Plan {
    let faults = Faults { lost_per_mille, is_disordered: false };
    Plan { name, faults, promise: NO_FALSE_JOIN, ..plan }
}

/// Every scenario.
pub(super) fn all() -> Vec<Plan> {
    vec![
        MINTED,
        Plan { name: "minted-id-traced", has_tracer: true, ..MINTED },
        DEFAULTS,
        Plan { name: "app-drops-ids", hands_on: HandsOn::Nothing, promise: NO_FALSE_JOIN, ..DEFAULTS },
        Plan { name: "wild-clocks", has_wild_clocks: true, promise: JOINED, ..MINTED },
        Plan { name: "coarse-edge", has_coarse_edge: true, ..DEFAULTS },
        Plan { name: "disorder", faults: Faults { lost_per_mille: 0, is_disordered: true }, ..DEFAULTS },
        losing(MINTED, "loss-1-minted", 10),
        losing(MINTED, "loss-10-minted", 100),
        losing(DEFAULTS, "loss-1-defaults", 10),
        losing(DEFAULTS, "loss-10-defaults", 100),
        Plan { name: "fan-out", shape: Shape::Wide, pods_each: 1, promise: JOINED, ..MINTED },
        Plan {
            name: "fan-out-defaults",
            shape: Shape::Wide,
            pods_each: 1,
            promise: NO_FALSE_JOIN,
            ..DEFAULTS
        },
        // 30 µs apart and some 100 ms long: thousands in flight at any time.
        Plan { name: "crowd", clients: Clients::Crowd, interval_us: 30, ..DEFAULTS },
        Plan { name: "browsers", clients: Clients::Browsers, promise: JOINED, ..MINTED },
        Plan {
            name: "hostile",
            logs: Logs::Mixed,
            clients: Clients::Hostile,
            promise: NO_FALSE_JOIN,
            ..DEFAULTS
        },
        Plan { name: "protocols", clients: Clients::Protocols, promise: NO_FALSE_JOIN, ..MINTED },
    ]
}
