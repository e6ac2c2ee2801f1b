//! Three real Envoys as Istio configures them with `deploy/istio` applied: the ingress gateway and the sidecars of orders
//! and stock, with TLS between all of them and each with its own way of logging.
//!
//! | proxy | lets in | logs by |
//! |---|---|---|
//! | gateway | TLS; only with the edge's token (`jwt_authn` with the edge's own key set, RBAC) | ALS |
//! | orders' sidecar | mutual TLS, only the gateway, and nobody to `/shop/report` | OTLP over gRPC |
//! | stock's sidecar | mutual TLS, only orders | JSON lines in a file that the service follows |

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::envoy::Proxy;
use crate::gate::{edge_keys, edge_token, require_edge_token};
use crate::parts::{
    self, Pod, als_log, bootstrap, cluster, filter, grpc_cluster, inbound, json_log, listener, otlp_log,
};
use crate::pki::{Authority, Certificate, identity, only_from};
use crate::workload::Workloads;

/// The gateway gives up on `/shop/slow` after so long: by then every hop has it, on a busy machine too.
const GATEWAY_TIMEOUT: &str = "1.5s";
/// Host under which the shop is asked for.
pub const SHOP_HOST: &str = "shop.example.com";
/// The path that orders' sidecar lets nobody to, and Istio's name for that rule.
pub(crate) const REPORT_PATH: &str = "/shop/report";
pub(crate) const REPORT_POLICY: &str = "ns[shop]-policy[no-reports]-rule[0]";

/// The ingress gateway; the addresses are not those of other tests, as its port is chosen before it is bound.
pub(crate) const GATEWAY: Pod = Pod { address: Ipv4Addr::new(127, 245, 0, 10), ..parts::GATEWAY };
pub(crate) const ORDERS: Pod = Pod {
    role: "sidecar",
    address: Ipv4Addr::new(127, 245, 1, 21),
    name: "orders-v1-5b9f6d7c4-q8w2z",
    namespace: "shop",
    workload: "orders-v1",
    service: "orders",
};
pub(crate) const STOCK: Pod = Pod {
    role: "sidecar",
    address: Ipv4Addr::new(127, 245, 2, 33),
    name: "stock-v1-7c6d5b4f8-j4h7t",
    namespace: "shop",
    workload: "stock-v1",
    service: "stock",
};

/// One place that logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The edge service.
    Edge,
    /// The ingress gateway.
    Gateway,
    /// Orders' sidecar, on the way in.
    Orders,
    /// Orders' sidecar, on the way out: the call of stock.
    Call,
    /// Stock's sidecar, on the way in.
    Stock,
}

/// What the proxies are started with.
pub(crate) struct Setting<'s> {
    /// The program.
    pub(crate) envoy: &'s Path,
    /// Where bootstraps and logs go.
    pub(crate) directory: &'s Path,
    /// Takes ALS and OTLP.
    pub(crate) sink: SocketAddr,
    pub(crate) authority: &'s Authority,
}

/// The running proxies; ended when dropped, from the first to the last.
#[derive(Debug)]
pub(crate) struct Mesh {
    /// Where each place listens; the edge is not among them.
    pub(crate) places: Vec<(SocketAddr, Place)>,
    _gateway: Proxy,
    _sidecars: Sidecars,
}

/// The sidecars, which know nothing of edge and gateway.
#[derive(Debug)]
pub(crate) struct Sidecars {
    _orders: Proxy,
    _stock: Proxy,
    into_orders: SocketAddr,
    places: Vec<(SocketAddr, Place)>,
}

/// Where the gateway will listen: the edge must know it before the gateway can fetch the edge's keys.
pub(crate) fn choose_gateway_address() -> anyhow::Result<SocketAddr> {
    let free = TcpListener::bind((GATEWAY.address, 0)).context("find a free port for the gateway")?;
    free.local_addr().context("the gateway's address")
}

/// The file that stock's sidecar logs to.
pub(crate) fn stock_log(directory: &Path) -> std::path::PathBuf {
    directory.join("stock-access.log")
}

impl Sidecars {
    /// Starts them from the last to the first, as each must know the next one's port.
    pub(crate) fn start(setting: &Setting<'_>, workloads: &Workloads) -> anyhow::Result<Self> {
        let of_orders = certificate(setting, &ORDERS)?;
        let of_stock = certificate(setting, &STOCK)?;

        let more =
            [("x_envoy_attempt_count", "%REQ(X-ENVOY-ATTEMPT-COUNT)%"), ("stream_id", "%STREAM_ID%"), PEER];
        let log = json_log(&stock_log(setting.directory), &more);
        let filters = [only_from("ns[shop]-policy[only-orders]-rule[0]", &identity(&ORDERS))];
        let way_in = into_workload(&STOCK, &of_stock, &filters, log);
        let mut stock = start(setting, &STOCK, &[way_in], &[inbound(workloads.stock)])?;
        let into_stock = stock.listener(INBOUND)?;

        let more = [
            ("x_envoy_attempt_count", "%REQ(X-ENVOY-ATTEMPT-COUNT)%"),
            ("upstream_request_attempt_count", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
            ("stream_id", "%STREAM_ID%"),
            PEER,
        ];
        let log = otlp_log(SINK, &more);
        let filters = [only_from("ns[shop]-policy[only-gateway]-rule[0]", &identity(&GATEWAY)), no_reports()];
        let way_in = into_workload(&ORDERS, &of_orders, &filters, log.clone());
        let connection = connection("outbound_0.0.0.0_8080", false, log);
        let way_out = listener(OUTBOUND, &ORDERS, connection, &[], &[calls_of(&STOCK)]);
        let to_stock = to_pod(&STOCK, into_stock, &of_orders);
        let mut orders = start(setting, &ORDERS, &[way_in, way_out], &[inbound(workloads.orders), to_stock])?;
        let (into_orders, call) = (orders.listener(INBOUND)?, orders.listener(OUTBOUND)?);
        workloads.know_outbound(call);
        let places = vec![(into_orders, Place::Orders), (call, Place::Call), (into_stock, Place::Stock)];
        Ok(Self { _orders: orders, _stock: stock, into_orders, places })
    }
}

impl Mesh {
    /// Starts the gateway before its sidecars, at the address chosen for it, with the key set of the edge at `edge`.
    pub(crate) fn start(
        setting: &Setting<'_>,
        sidecars: Sidecars,
        address: SocketAddr,
        edge: SocketAddr,
    ) -> anyhow::Result<Self> {
        let own =
            setting.authority.certificate(GATEWAY.workload, &[identity(&GATEWAY), SHOP_HOST.to_owned()])?;
        let headers = ["x-correlation-id", "traceparent", "x-envoy-attempt-count", "x-edge-jti"];
        let mut connection = connection("outbound_0.0.0.0_8443", true, als_log(SINK, &headers));
        // What deploy/istio merges in: the edge set these ids, and it is the one proxy before this one.
        connection["preserve_external_request_id"] = json!(true);
        connection["xff_num_trusted_hops"] = json!(1);
        connection["forward_client_cert_details"] = json!("SANITIZE_SET");
        let filters = [edge_token(edge), require_edge_token()];
        let mut way_in = listener(GATEWAY_LISTENER, &GATEWAY, connection, &filters, &[shop()]);
        way_in["address"] = parts::socket(address);
        way_in["filter_chains"][0]["transport_socket"] = own.server(false);
        let to_orders = to_pod(&ORDERS, sidecars.into_orders, &own);
        let mut gateway = start(setting, &GATEWAY, &[way_in], &[to_orders, edge_keys(edge)])?;
        let listening = gateway.listener(GATEWAY_LISTENER)?;
        let mut places = vec![(listening, Place::Gateway)];
        places.extend(&sidecars.places);
        Ok(Self { places, _gateway: gateway, _sidecars: sidecars })
    }
}

const SINK: &str = "throughline";
const INBOUND: &str = "virtualInbound";
const OUTBOUND: &str = "0.0.0.0_8080";
const GATEWAY_LISTENER: &str = "0.0.0.0_8443";
const PEER: (&str, &str) = ("downstream_peer_uri_san", "%DOWNSTREAM_PEER_URI_SAN%");

fn certificate(setting: &Setting<'_>, pod: &Pod) -> anyhow::Result<Certificate> {
    setting.authority.certificate(pod.workload, &[identity(pod)])
}

fn start(setting: &Setting<'_>, pod: &Pod, listeners: &[Value], clusters: &[Value]) -> anyhow::Result<Proxy> {
    let mut clusters = clusters.to_vec();
    clusters.push(grpc_cluster(SINK, setting.sink));
    let file = setting.directory.join(format!("{}.json", pod.workload));
    let proxy = Proxy::start_with(setting.envoy, &bootstrap(pod, listeners, &clusters), &file);
    proxy.with_context(|| format!("the proxy of {}", pod.service))
}

/// A connection manager's own settings. Its trace decision is not written into the request id, as deploy/istio has it.
fn connection(statistics: &str, is_first: bool, log: Value) -> Value {
    let percent = |value: f64| json!({ "value": value });
    json!({
        "stat_prefix": statistics, "use_remote_address": is_first, "access_log": [log],
        "request_id_extension": { "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            "pack_trace_reason": false } },
        // Istio's default without a tracer: no spans.
        "tracing": { "client_sampling": percent(100.0), "random_sampling": percent(1.0),
            "overall_sampling": percent(100.0) },
    })
}

/// A sidecar's way in.
fn into_workload(pod: &Pod, own: &Certificate, filters: &[Value], log: Value) -> Value {
    let route = json!({ "name": "default", "match": { "prefix": "/" },
        "route": { "cluster": "inbound|8080||", "timeout": "0s" } });
    let host = json!({ "name": "inbound|http|8080", "domains": ["*"], "routes": [route] });
    let mut connection = connection("inbound_0.0.0.0_8080", false, log);
    connection["forward_client_cert_details"] = json!("APPEND_FORWARD");
    connection["set_current_client_cert_details"] = json!({ "uri": true });
    let mut way_in = listener(INBOUND, pod, connection, filters, &[host]);
    way_in["filter_chains"][0]["transport_socket"] = own.server(true);
    way_in
}

/// A way to another pod's sidecar, with Istio's server name.
fn to_pod(pod: &Pod, address: SocketAddr, own: &Certificate) -> Value {
    let mut cluster = cluster(&pod.outbound(), Some(address));
    let server_name = format!("outbound_.8080_._.{}", pod.host());
    cluster["transport_socket"] = own.client(&server_name, &identity(pod));
    cluster
}

/// Istio's default: two more tries where a 503 says that nothing was done.
fn retries() -> Value {
    json!({ "num_retries": 2, "retriable_status_codes": [503],
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "retry_back_off": { "base_interval": "0.025s", "max_interval": "0.1s" } })
}

fn calls_of(pod: &Pod) -> Value {
    let host = pod.host();
    let route = json!({ "name": "default", "match": { "prefix": "/" },
        "route": { "cluster": pod.outbound(), "timeout": "0s", "retry_policy": retries() } });
    json!({ "name": format!("{host}:8080"), "domains": [host, format!("{host}:8080")],
        "include_request_attempt_count": true, "routes": [route] })
}

/// The gateway's routes.
fn shop() -> Value {
    let to_orders = |name: &str, prefix: &str, timeout: &str| {
        json!({ "name": name, "match": { "prefix": prefix },
            "route": { "cluster": ORDERS.outbound(), "timeout": timeout, "retry_policy": retries() } })
    };
    json!({ "name": format!("{SHOP_HOST}:443"), "domains": [SHOP_HOST, format!("{SHOP_HOST}:*")],
        "include_request_attempt_count": true,
        "routes": [to_orders("slow", "/shop/slow", GATEWAY_TIMEOUT), to_orders("shop", "/", "0s")] })
}

/// Nobody may read reports, whoever the edge let in.
fn no_reports() -> Value {
    filter(
        "envoy.filters.http.rbac",
        "http.rbac.v3.RBAC",
        json!({ "rules": { "action": "DENY", "policies": { REPORT_POLICY: {
            "permissions": [{ "url_path": { "path": { "exact": REPORT_PATH } } }],
            "principals": [{ "any": true }] } } } }),
    )
}
