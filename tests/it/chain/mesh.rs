//! Three real Envoys configured as Istio configures them: the gateway, and the sidecars of the pods of app a and app b.
//!
//! They differ from Istio's as [`chain::parts`] says, and in that there is no mTLS, so no server name and no peer identity:
//! the hops have to be told apart by less than a mesh gives.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use chain::Proxy;
use chain::parts::{GATEWAY, Pod, cluster, inbound};
use serde_json::{Value, json};

use super::apps::Apps;
use super::bootstrap::{bootstrap, listener};
use crate::envoy::envoy_binary;

/// The header that tells the test, and nobody else, which call a record is of.
pub(crate) const CALL_HEADER: &str = "x-call";
/// The gateway gives up on a call after so long: by then every hop has it, on a busy machine too, and app b never answers.
const GATEWAY_TIMEOUT: &str = "1.5s";

/// What the proxies are told besides their routes.
pub(crate) struct Setting {
    /// Receives ALS.
    pub(crate) sink: SocketAddr,
    /// Receives the spans that Envoy's OpenTelemetry tracer exports; without it no tracer runs.
    pub(crate) tracer: Option<SocketAddr>,
    /// Which hops write files besides.
    pub(crate) files: Files,
}

/// The second transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// Istio's TEXT format at the sidecar of app a, both directions.
    TextAtA,
    /// Istio's JSON keys at every hop, with the correlation id, `%TRACE_ID%` and `%SPAN_ID%`.
    JsonWithSpanIds,
}

/// One place that logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Edge,
    Gateway,
    InboundA,
    OutboundA,
    InboundB,
}

pub(crate) const A: Pod = Pod {
    role: "sidecar",
    address: Ipv4Addr::new(127, 244, 1, 21),
    name: "app-a-v1-5b9f6d7c4-q8w2z",
    namespace: "default",
    workload: "app-a-v1",
    service: "app-a",
};
pub(crate) const B: Pod = Pod {
    role: "sidecar",
    address: Ipv4Addr::new(127, 244, 2, 33),
    name: "app-b-v1-7c6d5b4f8-j4h7t",
    namespace: "default",
    workload: "app-b-v1",
    service: "app-b",
};

/// The running proxies; ended when dropped.
pub(crate) struct Mesh {
    pub(crate) gateway: SocketAddr,
    places: Vec<(SocketAddr, Place)>,
    _proxies: [Proxy; 3],
}

impl Mesh {
    /// Starts the proxies from the last to the first, as each must know the next one's port. Their files go to `directory`.
    pub(crate) fn start(setting: &Setting, apps: &Apps, directory: &Path) -> Self {
        let start = |pod: &Pod, listeners: &[Value], clusters: &[Value]| {
            let file = directory.join(format!("{}.json", pod.workload));
            let bootstrap = bootstrap(pod, setting, listeners, clusters);
            Proxy::start_with(&envoy_binary(), &bootstrap, &file).expect("start Envoy")
        };
        let listening = |proxy: &mut Proxy, name: &str| proxy.listener(name).expect("a listener");
        let log = |pod: &Pod| directory.join(format!("{}.log", pod.workload));

        let into_app = |pod: &Pod, rules: &[Value]| {
            let route = json!({ "name": "default", "match": { "prefix": "/" },
                "route": { "cluster": "inbound|8080||", "timeout": "0s" } });
            let host = json!({ "name": "inbound|http|8080", "domains": ["*"], "routes": [route] });
            let connection = json!({ "stat_prefix": "inbound_0.0.0.0_8080", "use_remote_address": false,
                "forward_client_cert_details": "APPEND_FORWARD" });
            listener("virtualInbound", pod, setting, connection, rules, &[host], &log(pod))
        };
        let mut b = start(&B, &[into_app(&B, &[])], &[inbound(apps.b)]);
        let inbound_b = listening(&mut b, "virtualInbound");

        let hosts = [("app-b", true), ("down", false)].map(|(name, retries)| {
            let target = format!("{name}.default.svc.cluster.local");
            let retry = json!({ "retry_on": "5xx", "num_retries": 2 });
            let mut route = json!({ "cluster": format!("outbound|8080||{target}"), "timeout": "0s" });
            if retries {
                route["retry_policy"] = retry;
            }
            json!({ "name": format!("{target}:8080"), "domains": [target, format!("{target}:8080")],
                "include_request_attempt_count": true,
                "routes": [{ "name": "default", "match": { "prefix": "/" }, "route": route }] })
        });
        let out = listener(
            "0.0.0.0_8080",
            &A,
            setting,
            json!({ "stat_prefix": "outbound_0.0.0.0_8080", "use_remote_address": false }),
            &[],
            &hosts,
            &log(&A),
        );
        let deny = json!({ "name": "envoy.filters.http.rbac", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "DENY", "policies": { "ns[default]-policy[deny-admin]-rule[0]": {
                "permissions": [{ "url_path": { "path": { "prefix": "/denied" } } }],
                "principals": [{ "any": true }] } } } } });
        // Port 1: nobody listens, so connecting is refused at once.
        let nobody = SocketAddr::from((B.address, 1));
        let mut a = start(
            &A,
            &[into_app(&A, &[deny]), out],
            &[
                inbound(apps.a),
                cluster("outbound|8080||app-b.default.svc.cluster.local", Some(inbound_b)),
                cluster("outbound|8080||down.default.svc.cluster.local", Some(nobody)),
            ],
        );
        let inbound_a = listening(&mut a, "virtualInbound");
        let outbound_a = listening(&mut a, "0.0.0.0_8080");
        apps.know_outbound(outbound_a);

        let mut gateway = start(
            &GATEWAY,
            &[way_in(setting, &log(&GATEWAY))],
            &[cluster("outbound|8080||app-a.default.svc.cluster.local", Some(inbound_a))],
        );
        let address = listening(&mut gateway, "0.0.0.0_8080");
        let places = vec![
            (address, Place::Gateway),
            (inbound_a, Place::InboundA),
            (outbound_a, Place::OutboundA),
            (inbound_b, Place::InboundB),
        ];
        Self { gateway: address, places, _proxies: [gateway, a, b] }
    }

    /// The place whose listener has this address.
    pub(crate) fn place(&self, local: &str) -> Option<Place> {
        let local: SocketAddr = local.parse().ok()?;
        self.places.iter().find(|(address, _)| *address == local).map(|&(_, place)| place)
    }
}

/// The gateway's listener. It has no route for `/nowhere`.
fn way_in(setting: &Setting, log: &Path) -> Value {
    let to_a = |name: &str, prefix: &str, more: Value| {
        let mut route =
            json!({ "cluster": "outbound|8080||app-a.default.svc.cluster.local", "timeout": "0s" });
        for (key, value) in more.as_object().into_iter().flatten() {
            route[key] = value.clone();
        }
        json!({ "name": name, "match": { "prefix": prefix }, "route": route })
    };
    let retry = json!({ "retry_on": "5xx", "num_retries": 2 });
    let mut impatient = retry.clone();
    impatient["per_try_timeout"] = json!(GATEWAY_TIMEOUT);
    let host = json!({ "name": "shop.example.com:443", "domains": ["shop.example.com", "shop.example.com:*"],
        "include_request_attempt_count": true, "routes": [
            to_a("late", "/late", json!({ "timeout": GATEWAY_TIMEOUT })),
            to_a("retry", "/retry", json!({ "retry_policy": retry })),
            to_a("impatient", "/impatient", json!({ "retry_policy": impatient })),
            to_a("shop", "/shop", json!({})),
            to_a("denied", "/denied", json!({})),
        ] });
    let connection = json!({ "stat_prefix": "outbound_0.0.0.0_8080", "use_remote_address": true,
        "xff_num_trusted_hops": 1, "forward_client_cert_details": "SANITIZE_SET" });
    listener("0.0.0.0_8080", &GATEWAY, setting, connection, &[], &[host], log)
}
