//! Parts of an Envoy configuration as Istio writes them: pods, listeners, clusters, access logs.
//!
//! Each pod has an address of its own, on loopback (Linux answers for all of 127.0.0.0/8): its listeners and its calls have
//! it, as in a mesh. What differs from Istio: no iptables, so a sidecar's two directions are two ports, and the outbound
//! listener logs its own address where Istio's logs the service's.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::{Map, Value, json};

/// Istio's TEXT format, unchanged from 1.24 to 1.31.
pub const ISTIO_TEXT_FORMAT: &str = concat!(
    r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% "#,
    r#"%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% "#,
    r#"%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "#,
    r#""%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% "#,
    r#"%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%"#,
    "\n"
);

/// Istio's keys, and what a mesh adds to them in `accessLogFormat`.
const ISTIO_KEYS: [(&str, &str); 26] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("x_correlation_id", "%REQ(X-CORRELATION-ID)%"),
    ("traceparent", "%REQ(TRACEPARENT)%"),
];

/// A pod with a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Pod {
    /// `router` for a gateway, else `sidecar`.
    pub role: &'static str,
    /// Its own address on loopback.
    pub address: Ipv4Addr,
    /// Name of the pod.
    pub name: &'static str,
    /// Namespace.
    pub namespace: &'static str,
    /// Name of the deployment.
    pub workload: &'static str,
    /// Name of the service.
    pub service: &'static str,
}

/// Istio's ingress gateway.
pub const GATEWAY: Pod = Pod {
    role: "router",
    address: Ipv4Addr::new(127, 244, 0, 10),
    name: "istio-ingressgateway-6c8b7f9d5-x2k4p",
    namespace: "istio-system",
    workload: "istio-ingressgateway",
    service: "istio-ingressgateway",
};

impl Pod {
    /// Istio's node id.
    pub fn node(&self) -> String {
        let Self { role, address, name, namespace, .. } = self;
        format!("{role}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local")
    }

    /// What Istio calls the tracer's service.
    pub fn traced_as(&self) -> String {
        format!("{}.{}", self.service, self.namespace)
    }

    /// The host by which other pods call it.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.service, self.namespace)
    }

    /// The cluster by which other proxies call it.
    pub fn outbound(&self) -> String {
        format!("outbound|8080||{}", self.host())
    }
}

/// All of one proxy's configuration.
pub fn bootstrap(pod: &Pod, listeners: &[Value], clusters: &[Value]) -> Value {
    let Pod { name, namespace, workload, service, .. } = pod;
    json!({
        "node": {
            "id": pod.node(), "cluster": pod.traced_as(),
            "locality": { "region": "eu-west-1", "zone": "eu-west-1a" },
            "metadata": { "NAME": name, "NAMESPACE": namespace, "WORKLOAD_NAME": workload,
                "CLUSTER_ID": "Kubernetes", "MESH_ID": "cluster.local", "ISTIO_VERSION": "1.30.3",
                "LABELS": { "app": service, "service.istio.io/canonical-name": service,
                    "service.istio.io/canonical-revision": "v1" } } },
        "admin": { "address": socket((Ipv4Addr::LOCALHOST, 0).into()) },
        "cluster_manager": { "upstream_bind_config": { "source_address": source(pod.address) } },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// An HTTP listener of a pod: filters in their order, the router behind them, and the hosts of its routes. `connection`
/// is what the connection manager needs besides: its statistics' name, whose addresses it believes, tracing, logs.
pub fn listener(name: &str, pod: &Pod, mut connection: Value, filters: &[Value], hosts: &[Value]) -> Value {
    let is_inbound = name == "virtualInbound";
    let mut filters = filters.to_vec();
    filters.push(filter("envoy.filters.http.router", "http.router.v3.Router", json!({})));
    connection["@type"] = json!(
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    );
    // A local reply otherwise keeps a closing connection for a second.
    connection["delayed_close_timeout"] = json!("0.1s");
    connection["http_filters"] = json!(filters);
    connection["route_config"] = json!({ "name": name, "virtual_hosts": hosts, "validate_clusters": false });
    json!({ "name": name, "traffic_direction": if is_inbound { "INBOUND" } else { "OUTBOUND" },
        "address": socket((pod.address, 0).into()),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": connection }] }] })
}

/// An HTTP filter; `kind` is its type below `envoy.extensions.filters`.
pub fn filter(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.{kind}").into();
    json!({ "name": name, "typed_config": config })
}

/// A cluster of one endpoint, or of none.
pub fn cluster(name: &str, address: Option<SocketAddr>) -> Value {
    let endpoint =
        address.map(|address| json!({ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }));
    let endpoints: Vec<Value> = endpoint.into_iter().collect();
    json!({ "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": endpoints } })
}

/// A cluster for gRPC.
pub fn grpc_cluster(name: &str, address: SocketAddr) -> Value {
    let mut cluster = cluster(name, Some(address));
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} } } });
    cluster
}

/// A way to the pod's own app, which Istio's proxies take under this address.
pub fn inbound(app: SocketAddr) -> Value {
    let mut cluster = cluster("inbound|8080||", Some(app));
    cluster["upstream_bind_config"] = json!({ "source_address": source(Ipv4Addr::new(127, 0, 0, 6)) });
    cluster
}

/// Access logs by gRPC (ALS) to the cluster `sink`, with these request headers beside the usual.
pub fn als_log(sink: &str, headers: &[&str]) -> Value {
    json!({ "name": "envoy.access_loggers.http_grpc", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": { "log_name": "http_envoy_accesslog", "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": sink } } },
        "additional_request_headers_to_log": headers } })
}

/// Access logs by OTLP over gRPC to the cluster `sink`, with Istio's labels and `more` as attributes.
pub fn otlp_log(sink: &str, more: &[(&str, &str)]) -> Value {
    let label = |(key, format): &(&str, &str)| json!({ "key": key, "value": { "string_value": format } });
    let labels: Vec<Value> = ISTIO_KEYS.iter().chain(more).map(label).collect();
    json!({ "name": "envoy.access_loggers.open_telemetry", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        "common_config": { "log_name": "otel_envoy_accesslog", "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": sink } } },
        "attributes": { "values": labels } } })
}

/// Access logs into a file, in Istio's TEXT format.
pub fn text_log(path: &Path) -> Value {
    file_log(path, &json!({ "text_format_source": { "inline_string": ISTIO_TEXT_FORMAT } }))
}

/// Access logs into a file as JSON, with Istio's keys and `more`.
pub fn json_log(path: &Path, more: &[(&str, &str)]) -> Value {
    let keys = ISTIO_KEYS.iter().chain(more);
    let format: Map<String, Value> = keys.map(|(key, format)| ((*key).to_owned(), json!(format))).collect();
    file_log(path, &json!({ "json_format": format }))
}

fn file_log(path: &Path, format: &Value) -> Value {
    json!({ "name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": path, "log_format": format } })
}

fn source(address: Ipv4Addr) -> Value {
    json!({ "address": address.to_string(), "port_value": 0 })
}

/// An address as Envoy wants it.
pub fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
