//! Who and what takes part: paths, user agents, clients, POPs, workloads and their pods.

use std::net::Ipv4Addr;

use crate::rng::{Rng, Zipf};

/// How many of each there are: the sample mix.
pub(crate) const PATHS: usize = 10_000;
pub(crate) const USER_AGENTS: usize = 5_000;
pub(crate) const CLIENTS: u64 = 1_000_000;
/// Pods of all workloads and of the gateway.
pub(crate) const PODS: usize = GATEWAY_PODS + WORKLOADS.len() * PODS_EACH;

const GATEWAY_PODS: usize = 12;
const PODS_EACH: usize = 16;

/// Workloads of the mesh: the first half is called by the gateway, each of them calls its partner in the second.
const WORKLOADS: [&str; 18] = [
    "storefront",
    "catalog",
    "search",
    "account",
    "cart",
    "checkout",
    "reviews",
    "media",
    "help", // entry
    "orders",
    "inventory",
    "index",
    "identity",
    "pricing",
    "payment",
    "ratings",
    "images",
    "tickets", // behind
];

const POPS: [(&str, &str); 12] = [
    ("FRA", "de"),
    ("AMS", "nl"),
    ("LHR", "gb"),
    ("CDG", "fr"),
    ("MAD", "es"),
    ("WAW", "pl"),
    ("IAD", "us"),
    ("SJC", "us"),
    ("CHI", "us"),
    ("GRU", "br"),
    ("NRT", "jp"),
    ("SYD", "au"),
];

/// Where all misses go before they go to the origin.
const SHIELD: &str = "IAD";

/// One proxy of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Workload name, such as `orders`.
    pub workload: &'static str,
    /// Kubernetes namespace.
    pub namespace: &'static str,
    /// Pod name.
    pub name: String,
    /// Pod address.
    pub address: Ipv4Addr,
    /// Whether it is an ingress gateway's.
    pub gateway: bool,
}

impl Pod {
    /// Envoy's node id as Istio makes it.
    pub fn node(&self) -> String {
        let role = if self.gateway { "router" } else { "sidecar" };
        let Self { address, name, namespace, .. } = self;
        format!("{role}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local")
    }
}

/// Everybody who may take part in a request.
#[derive(Debug, Clone)]
pub struct Population {
    paths: Vec<String>,
    path_ranks: Zipf,
    user_agents: Vec<String>,
    user_agent_ranks: Zipf,
    pods: Vec<Pod>,
}

impl Population {
    /// The population of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, u64::MAX);
        Self {
            paths: (0..PATHS).map(|index| path(index, &mut rng)).collect(),
            path_ranks: Zipf::new(PATHS),
            user_agents: (0..USER_AGENTS).map(user_agent).collect(),
            user_agent_ranks: Zipf::new(USER_AGENTS),
            pods: pods(&mut rng),
        }
    }

    /// Every pod: the gateway's first, then those of each workload.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// A path by its frequency, and the number of the entry workload that serves it.
    pub(crate) fn path(&self, rng: &mut Rng) -> (&str, usize) {
        let rank = self.path_ranks.rank(rng);
        (&self.paths[rank], rank % (WORKLOADS.len() / 2))
    }

    pub(crate) fn user_agent(&self, rng: &mut Rng) -> &str {
        &self.user_agents[self.user_agent_ranks.rank(rng)]
    }

    /// One of a million addresses of the block for carrier-grade NAT, which is nobody's on the internet.
    pub(crate) fn client(rng: &mut Rng) -> Ipv4Addr {
        let number = rng.below(CLIENTS) as u32;
        Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 0)) + number)
    }

    /// POP and country of a client.
    pub(crate) fn pop(rng: &mut Rng) -> (&'static str, &'static str) {
        POPS[rng.below(POPS.len() as u64) as usize]
    }

    pub(crate) fn shield() -> &'static str {
        SHIELD
    }

    pub(crate) fn gateway(&self, rng: &mut Rng) -> &Pod {
        &self.pods[rng.below(GATEWAY_PODS as u64) as usize]
    }

    /// A pod of an entry workload, or of the one behind it.
    pub(crate) fn pod(&self, entry: usize, behind: bool, rng: &mut Rng) -> &Pod {
        let workload = if behind { entry + WORKLOADS.len() / 2 } else { entry };
        &self.pods[GATEWAY_PODS + workload * PODS_EACH + rng.below(PODS_EACH as u64) as usize]
    }
}

fn path(index: usize, rng: &mut Rng) -> String {
    const AREAS: [&str; 9] =
        ["", "catalog", "search", "account", "cart", "checkout", "reviews", "media", "help"];
    const THINGS: [&str; 8] = ["boots", "lamps", "tents", "bikes", "chairs", "radios", "watches", "gloves"];
    if index == 0 {
        return "/".to_owned();
    }
    let area = AREAS[index % AREAS.len()];
    let thing = THINGS[(index / AREAS.len()) % THINGS.len()];
    let slash = if area.is_empty() { "" } else { "/" };
    format!("{slash}{area}/{thing}/{index:05}-{:06x}", rng.below(1 << 24))
}

fn user_agent(index: usize) -> String {
    const SYSTEMS: [&str; 5] = [
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "X11; Linux x86_64",
        "Linux; Android 15; Pixel 9",
        "iPhone; CPU iPhone OS 18_2 like Mac OS X",
    ];
    let system = SYSTEMS[index % SYSTEMS.len()];
    let (major, build) = (100 + index % 40, 4000 + index * 7 % 2999);
    match index % 11 {
        10 => format!("shop-app/{}.{} (build {build}; {system})", 3 + index % 4, index % 100),
        9 => format!("Mozilla/5.0 ({system}; rv:{major}.0) Gecko/20100101 Firefox/{major}.0.{build}"),
        _ => format!(
            "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{build}.{} Safari/537.36",
            index % 200
        ),
    }
}

fn pods(rng: &mut Rng) -> Vec<Pod> {
    let gateway = ("istio-ingressgateway", "istio-system", GATEWAY_PODS);
    let workloads = WORKLOADS.iter().map(|&name| (name, "shop", PODS_EACH));
    let mut pods = Vec::with_capacity(PODS);
    for (workload, namespace, count) in std::iter::once(gateway).chain(workloads) {
        let replica_set = rng.next_u64() as u32;
        for _ in 0..count {
            let number = pods.len() as u32;
            pods.push(Pod {
                workload,
                namespace,
                name: format!("{workload}-{replica_set:08x}-{}", letters(rng)),
                address: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 8, 1, 10)) + number * 3),
                gateway: namespace == "istio-system",
            });
        }
    }
    pods
}

/// Five characters as Kubernetes puts them at the end of a pod name.
fn letters(rng: &mut Rng) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(ALPHABET[rng.below(ALPHABET.len() as u64) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_mix_has_its_size() {
        let population = Population::new(1);
        assert_eq!(population.pods.len(), 300);
        assert_eq!(population.paths.iter().collect::<HashSet<_>>().len(), PATHS);
        assert_eq!(population.user_agents.iter().collect::<HashSet<_>>().len(), USER_AGENTS);
        assert_eq!(population.pods.iter().map(|pod| &pod.name).collect::<HashSet<_>>().len(), PODS);
    }
}
