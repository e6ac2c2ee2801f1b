//! Who takes part: cache servers, gateways, services with their pods, each with its clock and its log formats.

use std::net::Ipv4Addr;

use decode::Origin;
use event::{Direction, Hop};

use super::plan::{Clients, Logs, Plan};
use super::pools::Pools;
use crate::population::Pod;
use crate::rng::Rng;

/// How a server writes its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Our VCL format.
    Vcl,
    /// Fastly's default JSON with the ids kept: whole seconds.
    CoarseVcl,
    /// Istio's JSON labels, the ids and the node.
    JsonIds,
    /// Istio's default JSON.
    Json,
    /// Istio's default TEXT.
    Text,
    /// ALS with the id headers.
    Als,
    /// OTLP with labels, the ids among them.
    OtlpLabels,
    /// OTLP as Istio's default: the TEXT line as body.
    OtlpText,
}

/// One writer of logs.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) who: Who,
    pub(super) form: Form,
    /// A second transport that gets every record, too.
    pub(super) twin: Option<Form>,
    /// Whether the receiver's configuration says whose lines these are; else they come through a collector of many.
    pub(super) is_known: bool,
    offset_ns: i64,
    /// What the clock gains in a second, nanoseconds.
    drift_ns: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Who {
    Cache { pop: &'static str, identity: String },
    Proxy(Pod),
}

/// A service of the mesh.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) name: &'static str,
    /// Sidecars speak HTTP/2 to it and put many requests on one connection; else HTTP/1.1 with keep-alive.
    pub(super) is_h2: bool,
    /// Whether its application hands `x-request-id` on, where the plan leaves that to the service.
    pub(super) hands_request_id_on: bool,
}

const fn service(name: &'static str, is_h2: bool, hands_request_id_on: bool) -> Service {
    Service { name, is_h2, hands_request_id_on }
}

/// The first three are called by the gateway.
pub(super) const SERVICES: [Service; 8] = [
    service("storefront", true, true),
    service("catalog", false, false),
    service("search", true, true),
    service("cart", false, true),
    service("pricing", true, false),
    service("inventory", true, true),
    service("users", false, false),
    service("payment", true, true),
];
pub(super) const ENTRY_SERVICES: u64 = 3;
pub(super) const PORT: u16 = 8080;

const POPS: [&str; 6] = ["FRA", "AMS", "LHR", "IAD", "NRT", "SYD"];
const SHIELD: &str = "IAD";
const CACHES_EACH: usize = 3;
const SHIELD_CACHES: usize = 4;
const GATEWAYS: usize = 3;
const FIRST_SHIELD: usize = POPS.len() * CACHES_EACH;
const FIRST_GATEWAY: usize = FIRST_SHIELD + SHIELD_CACHES;
const FIRST_POD: usize = FIRST_GATEWAY + GATEWAYS;

const US: i64 = 1_000;
const MS: i64 = 1_000_000;

/// Everybody, and the connections between them.
#[derive(Debug, Clone)]
pub(super) struct Mesh {
    pub(super) servers: Vec<Server>,
    pub(super) pools: Pools,
    pods_each: usize,
}

impl Mesh {
    pub(super) fn new(plan: &Plan, seed: u64) -> Self {
        let mut rng = Rng::stream(seed, u64::MAX - 1);
        let mut servers = Vec::new();
        let mut add = |who: Who, rng: &mut Rng| {
            let (offset_ns, drift_ns) = clock(plan.has_wild_clocks, rng);
            let (form, twin) = forms(plan, &who, servers.len());
            let is_known = !matches!(form, Form::Text | Form::Json) || servers.len() % 3 != 0;
            servers.push(Server { who, form, twin, is_known, offset_ns, drift_ns });
        };
        let caches = POPS.iter().flat_map(|&pop| (0..CACHES_EACH).map(move |_| pop));
        for (number, pop) in caches.chain([SHIELD; SHIELD_CACHES]).enumerate() {
            let lower = pop.to_ascii_lowercase();
            let identity = format!("cache-{lower}-et{lower}{}-{pop}", 8_220_000 + number * 13);
            add(Who::Cache { pop, identity }, &mut rng);
        }
        for number in 0..GATEWAYS {
            add(proxy("istio-ingressgateway", "istio-system", number, &mut rng), &mut rng);
        }
        for service in SERVICES {
            for number in 0..plan.pods_each {
                add(proxy(service.name, "shop", number, &mut rng), &mut rng);
            }
        }
        for (number, server) in servers.iter_mut().enumerate() {
            if let Who::Proxy(pod) = &mut server.who {
                pod.address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 8, 2, 10)) + number as u32 * 3);
            }
        }
        Self { servers, pools: Pools::default(), pods_each: plan.pods_each }
    }

    pub(super) fn edge(&self, rng: &mut Rng) -> usize {
        rng.below(FIRST_SHIELD as u64) as usize
    }

    /// A shield for an edge server; none in the shield's own POP.
    pub(super) fn shield(&self, edge: usize, rng: &mut Rng) -> Option<usize> {
        let is_there = matches!(&self.servers[edge].who, Who::Cache { pop, .. } if *pop == SHIELD);
        (!is_there).then(|| FIRST_SHIELD + rng.below(SHIELD_CACHES as u64) as usize)
    }

    pub(super) fn gateway(&self, rng: &mut Rng) -> usize {
        FIRST_GATEWAY + rng.below(GATEWAYS as u64) as usize
    }

    pub(super) fn pod(&self, service: usize, rng: &mut Rng) -> usize {
        FIRST_POD + service * self.pods_each + rng.below(self.pods_each as u64) as usize
    }

    /// The service of a pod's server; `None` for gateways and caches.
    pub(super) fn service_of(&self, server: usize) -> Option<usize> {
        server.checked_sub(FIRST_POD).map(|pod| pod / self.pods_each)
    }

    /// The address of a proxy.
    pub(super) fn address(&self, server: usize) -> Ipv4Addr {
        match &self.servers[server].who {
            Who::Proxy(pod) => pod.address,
            Who::Cache { .. } => Ipv4Addr::new(192, 0, 2, (server % 250) as u8 + 1),
        }
    }
}

impl Server {
    /// What this server's clock shows at a true time.
    pub(super) fn clock(&self, at: i64) -> i64 {
        let seconds = (at - super::workload::START_NS) / 1_000_000_000;
        at + self.offset_ns + self.drift_ns * seconds
    }

    pub(super) fn name(&self) -> String {
        match &self.who {
            Who::Cache { identity, .. } => identity.clone(),
            Who::Proxy(pod) => pod.node(),
        }
    }

    /// What the receiver's configuration says of this server's lines.
    pub(super) fn origin(&self, form: Form) -> Origin {
        let Who::Proxy(pod) = &self.who else { return Origin::default() };
        if !self.is_known || !matches!(form, Form::Text | Form::Json) {
            return Origin::default();
        }
        Origin {
            hop: Hop::Unknown,
            direction: Direction::Unknown,
            node: pod.node(),
            pod: pod.name.clone(),
            namespace: pod.namespace.to_owned(),
            workload: pod.workload.to_owned(),
            mesh_cluster: String::new(),
        }
    }
}

/// Cluster name that a caller's Envoy has for a service.
pub(super) fn outbound_cluster(service: usize) -> String {
    format!("outbound|{PORT}||{}", host_of(service))
}

pub(super) fn host_of(service: usize) -> String {
    format!("{}.shop.svc.cluster.local", SERVICES[service].name)
}

/// The address that callers ask for.
pub(super) fn cluster_address(service: usize) -> String {
    format!("10.96.3.{}:{PORT}", 7 + service)
}

fn proxy(workload: &'static str, namespace: &'static str, number: usize, rng: &mut Rng) -> Who {
    let name = format!("{workload}-{:08x}-{:05x}{number}", rng.next_u64() as u32, rng.below(1 << 20));
    let gateway = namespace == "istio-system";
    Who::Proxy(Pod { workload, namespace, name, address: Ipv4Addr::UNSPECIFIED, gateway })
}

/// With NTP most clocks are within a millisecond and one in eight is off by up to 20 ms. Without it: seconds, and a
/// quartz that is 50 millionths off.
fn clock(is_wild: bool, rng: &mut Rng) -> (i64, i64) {
    let around = |bound: i64, rng: &mut Rng| rng.below(2 * bound as u64) as i64 - bound;
    if is_wild {
        return (around(6_000 * MS, rng), around(50 * US, rng));
    }
    let bound = if rng.below(8) == 0 { 20 * MS } else { MS };
    (around(bound, rng), 0)
}

fn forms(plan: &Plan, who: &Who, number: usize) -> (Form, Option<Form>) {
    const IDS: [Form; 3] = [Form::JsonIds, Form::Als, Form::OtlpLabels];
    const DEFAULTS: [Form; 5] = [Form::Text, Form::Json, Form::Text, Form::Json, Form::OtlpText];
    let is_gateway = match who {
        Who::Cache { .. } if plan.has_coarse_edge => return (Form::CoarseVcl, None),
        Who::Cache { .. } => return (Form::Vcl, None),
        Who::Proxy(pod) => pod.gateway,
    };
    let has_ids = match plan.logs {
        Logs::Ids => true,
        Logs::Defaults => is_gateway,
        Logs::Mixed => is_gateway || number.is_multiple_of(2),
    };
    let form = if has_ids { IDS[number % IDS.len()] } else { DEFAULTS[number % DEFAULTS.len()] };
    let is_twin = plan.clients == Clients::Protocols && form == Form::Als && number.is_multiple_of(2);
    (form, is_twin.then_some(Form::Text))
}
