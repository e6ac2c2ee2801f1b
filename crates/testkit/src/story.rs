//! What happens in a request, and how each hop sees it.

use std::net::Ipv4Addr;

use event::{Direction, Hop};

use crate::population::{Pod, Population};
use crate::request::{Request, Server, TrueHop};
use crate::rng::Rng;

/// What happens in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// All goes well: six records.
    Plain,
    /// The edge answers from its cache: one record.
    Hit,
    /// The service behind takes too long: the gateway gives up with 504 UT, every proxy below sees its client leave.
    Timeout,
    /// A policy of the entry workload refuses: 403 by RBAC there, 403 via_upstream above.
    Denied,
    /// The first try fails with 503 and the gateway's second one succeeds: seven records.
    Retried,
    /// The gateway cannot connect to the workload: 503 URX,UF and nothing below.
    Refused,
}

impl Story {
    /// Every story.
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Hit, Self::Timeout, Self::Denied, Self::Retried, Self::Refused];

    /// A story by its share: 92 % plain, 2 % cache hits, 6 % trouble.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.below(1000) {
            0..920 => Self::Plain,
            920..940 => Self::Hit,
            940..955 => Self::Timeout,
            955..970 => Self::Denied,
            970..990 => Self::Retried,
            _ => Self::Refused,
        }
    }
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
/// The gateway's route timeout.
const ROUTE_TIMEOUT: u64 = 3_000 * MS;
const REFUSED: &str = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
const DENIED: &str = "rbac_access_denied_matched_policy[ns[shop]-policy[deny-partners]-rule[0]]";

/// What one hop does: how long it takes to pass on, how long the way to the next hop is, and what it reports.
struct Leg {
    hop: Hop,
    direction: Direction,
    server: Server,
    status: u16,
    flags: &'static str,
    details: &'static str,
    cache_state: &'static str,
}

/// Fills in the hops of a request that starts at the edge at `start_ns`.
pub(crate) fn travel(
    request: &mut Request,
    population: &Population,
    (pop, entry): (&'static str, usize),
    start_ns: i64,
    rng: &mut Rng,
) {
    let edge = fastly(pop, rng);
    let shield = fastly(Population::shield(), rng);
    let gateway = population.gateway(rng).clone();
    let front = population.pod(entry, false, rng).clone();
    let other = population.pod(entry, false, rng).clone();
    let behind = population.pod(entry, true, rng).clone();

    // Work of the innermost hop; each hop around it adds its own and the way there and back.
    let work = rng.between(2 * MS, 60 * MS) + if rng.below(20) == 0 { rng.between(0, 400 * MS) } else { 0 };
    let bytes = 300 + rng.below(60_000);
    let story = request.story;
    if story == Story::Hit {
        let leg = Leg {
            hop: Hop::Edge,
            direction: Direction::Unknown,
            server: edge,
            status: 200,
            flags: "",
            details: "",
            cache_state: "HIT",
        };
        let duration = rng.between(120 * US, 900 * US);
        let mut hop = record(leg, start_ns, duration, bytes);
        (hop.first_byte_ns, hop.attempts) = (Some(duration / 2), 0);
        request.hops.push(hop);
        return;
    }

    let (status, below) = match story {
        Story::Timeout => (504, 0),
        Story::Denied => (403, 403),
        Story::Refused => (503, 0),
        _ => (200, 200),
    };
    let via = |story: Story| match story {
        Story::Timeout => "downstream_remote_disconnect",
        _ => "via_upstream",
    };
    let below_flags = if story == Story::Timeout { "DC" } else { "" };
    let (gateway_flags, gateway_details) = match story {
        Story::Timeout => ("UT", "response_timeout"),
        Story::Refused => ("UF,URX", REFUSED),
        _ => ("", "via_upstream"),
    };
    let fastly_state = match (story, request.method) {
        (Story::Timeout | Story::Refused, _) => "ERROR",
        (_, "POST") => "PASS",
        _ => "MISS",
    };
    let leg = |hop, direction, server, status, flags, details, cache_state| Leg {
        hop,
        direction,
        server,
        status,
        flags,
        details,
        cache_state,
    };
    let mut legs = vec![
        leg(Hop::Edge, Direction::Unknown, edge, status, "", "", fastly_state),
        leg(Hop::Shield, Direction::Unknown, shield, status, "", "", fastly_state),
        leg(
            Hop::Gateway,
            Direction::Unknown,
            Server::Proxy(gateway.clone()),
            status,
            gateway_flags,
            gateway_details,
            "",
        ),
    ];
    if story != Story::Refused {
        let details = if story == Story::Denied { DENIED } else { via(story) };
        legs.push(leg(
            Hop::Sidecar,
            Direction::Inbound,
            Server::Proxy(front.clone()),
            below,
            below_flags,
            details,
            "",
        ));
    }
    if !matches!(story, Story::Refused | Story::Denied) {
        legs.push(leg(
            Hop::Sidecar,
            Direction::Outbound,
            Server::Proxy(front.clone()),
            below,
            below_flags,
            via(story),
            "",
        ));
        legs.push(leg(
            Hop::Sidecar,
            Direction::Inbound,
            Server::Proxy(behind.clone()),
            below,
            below_flags,
            via(story),
            "",
        ));
    }

    // From the outside in: when each hop starts. From the inside out: how long it takes.
    let way = |hop: Hop, rng: &mut Rng| match hop {
        Hop::Edge => rng.between(8 * MS, 90 * MS),
        Hop::Shield => rng.between(4 * MS, 12 * MS),
        Hop::Gateway => rng.between(250 * US, 900 * US),
        _ => rng.between(150 * US, 2 * MS),
    };
    let ways: Vec<u64> = legs.iter().map(|leg| way(leg.hop, rng)).collect();
    let failed_try = if story == Story::Retried { rng.between(3 * MS, 25 * MS) } else { 0 };
    let mut starts = Vec::with_capacity(legs.len());
    let mut at = start_ns;
    for (leg, way) in legs.iter().zip(&ways) {
        starts.push(at);
        at += *way as i64 + if leg.hop == Hop::Gateway { failed_try as i64 } else { 0 };
    }
    let innermost = match story {
        Story::Refused => rng.between(400 * US, 3 * MS),
        Story::Denied => rng.between(80 * US, 300 * US),
        _ => work,
    };
    let mut durations = vec![0; legs.len()];
    let mut inner = innermost;
    for index in (0..legs.len()).rev() {
        let own = rng.between(60 * US, 400 * US);
        durations[index] = match index + 1 == legs.len() {
            true => inner,
            false => {
                inner + 2 * ways[index] + own + if legs[index].hop == Hop::Gateway { failed_try } else { 0 }
            }
        };
        if story == Story::Timeout && legs[index].hop == Hop::Gateway {
            durations[index] = ROUTE_TIMEOUT + own;
        }
        inner = durations[index];
    }
    if story == Story::Timeout {
        // The gateway gives up; the hops below learn it one after the other, a moment later.
        let end = starts[2] + durations[2] as i64;
        for index in 3..legs.len() {
            durations[index] = (end - starts[index]) as u64 + ways[index] / 2 + index as u64 * 40 * US;
        }
    }
    let last = legs.len() - 1;
    for (index, leg) in legs.into_iter().enumerate() {
        let bytes = match leg.status {
            200 => bytes,
            504 => 24,
            503 => 121,
            403 => 19,
            _ => 0,
        };
        let mut hop = record(leg, starts[index], durations[index], bytes);
        if index < last {
            let sent = ways[index] / 3;
            hop.sent_ns = Some(sent);
            hop.answered_ns =
                (hop.status != 0 && hop.flags != "UT").then_some(hop.duration_ns - hop.duration_ns / 50 - 1);
        } else if hop.details == "via_upstream" || hop.flags == "DC" {
            hop.sent_ns = Some(90 * US);
            hop.answered_ns = (hop.status != 0).then_some(hop.duration_ns - hop.duration_ns / 20 - 1);
        }
        hop.first_byte_ns =
            (hop.status != 0).then(|| hop.answered_ns.unwrap_or(hop.duration_ns) + hop.duration_ns / 100);
        request.hops.push(hop);
    }
    connect(request, &gateway, &front, &behind, rng);
    if story == Story::Retried {
        retry(request, &other, failed_try);
    }
}

fn record(leg: Leg, start_ns: i64, duration_ns: u64, response_bytes: u64) -> TrueHop {
    let skew_ns = match &leg.server {
        Server::Fastly { identity, .. } => skew(identity),
        Server::Proxy(pod) => skew(&pod.name),
    };
    TrueHop {
        hop: leg.hop,
        direction: leg.direction,
        server: leg.server,
        start_ns,
        skew_ns,
        duration_ns,
        sent_ns: None,
        answered_ns: None,
        first_byte_ns: None,
        status: leg.status,
        flags: leg.flags,
        details: leg.details,
        cache_state: leg.cache_state,
        response_bytes,
        upstream_cluster: String::new(),
        upstream_host: String::new(),
        server_name: String::new(),
        local_address: String::new(),
        remote_address: String::new(),
        attempts: 1,
        attempt: 1,
    }
}

/// Who talks to whom.
fn connect(request: &mut Request, gateway: &Pod, front: &Pod, behind: &Pod, rng: &mut Rng) {
    let client = request.client;
    let service = |pod: &Pod| format!("{}.{}.svc.cluster.local", pod.workload, pod.namespace);
    let mut port = || 32_768 + rng.below(28_000);
    for hop in &mut request.hops {
        let (cluster, upstream, name, local, remote) = match (&hop.server, hop.direction) {
            (Server::Fastly { .. }, _) => {
                let backend = if hop.hop == Hop::Edge { "shield_iad_va_us" } else { "F_istio_ingress" };
                (backend.to_owned(), String::new(), String::new(), String::new(), String::new())
            }
            (Server::Proxy(pod), _) if pod.gateway => (
                format!("outbound|8080||{}", service(front)),
                format!("{}:8080", front.address),
                request.host.to_owned(),
                format!("{}:8443", pod.address),
                format!("{client}:0"),
            ),
            (Server::Proxy(pod), Direction::Outbound) => (
                format!("outbound|8080||{}", service(behind)),
                format!("{}:8080", behind.address),
                String::new(),
                // The address of the service that the application asked for.
                format!(
                    "{}:8080",
                    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 3, 7)) + u32::from(behind.address) % 97)
                ),
                format!("{}:{}", pod.address, port()),
            ),
            (Server::Proxy(pod), _) => (
                "inbound|8080||".to_owned(),
                format!("{}:8080", pod.address),
                format!("outbound_.8080_._.{}", service(pod)),
                format!("{}:8080", pod.address),
                format!("{}:{}", if pod == front { gateway.address } else { front.address }, port()),
            ),
        };
        (hop.upstream_cluster, hop.server_name, hop.local_address, hop.remote_address) =
            (cluster, name, local, remote);
        // Who was refused by a policy was sent nowhere.
        if hop.sent_ns.is_some() || !hop.flags.is_empty() {
            hop.upstream_host = upstream;
        }
    }
}

/// A first try at another pod of the entry workload, which answers 503 itself.
fn retry(request: &mut Request, other: &Pod, failed_try: u64) {
    let Some(index) = request.hops.iter().position(|hop| hop.hop == Hop::Sidecar) else { return };
    let mut first = request.hops[index].clone();
    first.server = Server::Proxy(other.clone());
    first.skew_ns = skew(&other.name);
    first.start_ns -= failed_try as i64;
    first.duration_ns = failed_try.saturating_sub(failed_try / 5).max(1);
    first.sent_ns = Some(first.duration_ns / 10);
    first.answered_ns = Some(first.duration_ns / 2);
    first.first_byte_ns = first.answered_ns;
    (first.status, first.response_bytes) = (503, 95);
    first.local_address = format!("{}:8080", other.address);
    first.upstream_host.clone_from(&first.local_address);
    request.hops[index].attempt = 2;
    request.hops[index - 1].attempts = 2;
    request.hops.insert(index, first);
}

fn fastly(pop: &'static str, rng: &mut Rng) -> Server {
    let rack = 8_220_000 + rng.below(12) * 13;
    let lower = pop.to_ascii_lowercase();
    Server::Fastly { pop, identity: format!("cache-{lower}-et{lower}{rack}-{pop}") }
}

/// Every server has its own clock error: most are within a millisecond, one in eight is off by up to 20 ms.
fn skew(server: &str) -> i64 {
    let seed = server.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut rng = Rng::new(seed);
    let bound = if rng.below(8) == 0 { 20 * MS } else { MS };
    rng.below(2 * bound) as i64 - bound as i64
}
