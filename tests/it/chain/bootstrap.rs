//! What the proxies of the chain have in common: the parts of an Envoy configuration, as Istio writes them.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::mesh::{A, CALL_HEADER, Files, Pod, Setting};
use crate::envoy::ISTIO_TEXT_FORMAT;

/// All of one proxy's configuration.
pub(super) fn bootstrap(pod: &Pod, setting: &Setting, listeners: &[Value], clusters: &[Value]) -> Value {
    let mut clusters = clusters.to_vec();
    let peers = [("sink", Some(setting.sink)), ("tracer", setting.tracer)];
    for (name, address) in peers.into_iter().filter_map(|(name, address)| Some((name, address?))) {
        let mut peer = cluster(name, Some(address));
        peer["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} } } });
        clusters.push(peer);
    }
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
        // The tracer holds 512 spans or five seconds back otherwise.
        "layered_runtime": { "layers": [{ "name": "static", "static_layer": {
            "tracing.opentelemetry.flush_interval_ms": 200, "tracing.opentelemetry.min_flush_spans": 1 } }] },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// An HTTP listener that logs to the service under test, and to the file `log` where the setting says so.
pub(super) fn listener(
    name: &str,
    pod: &Pod,
    setting: &Setting,
    mut connection: Value,
    filters: &[Value],
    hosts: &[Value],
    log: &str,
) -> Value {
    let is_inbound = name == "virtualInbound";
    let mut filters = filters.to_vec();
    filters.push(json!({ "name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }));
    connection["@type"] = json!(
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    );
    // A local reply otherwise keeps a closing connection for a second.
    connection["delayed_close_timeout"] = json!("0.1s");
    connection["http_filters"] = json!(filters);
    connection["route_config"] = json!({ "name": name, "virtual_hosts": hosts, "validate_clusters": false });
    connection["tracing"] = tracing(pod, setting);
    connection["access_log"] = access_log(pod, setting, log);
    json!({ "name": name, "traffic_direction": if is_inbound { "INBOUND" } else { "OUTBOUND" },
        "address": socket((pod.address, 0).into()),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": connection }] }] })
}

/// Istio's default without a tracer: no spans, yet 1 % of the request ids are rewritten as if there were.
fn tracing(pod: &Pod, setting: &Setting) -> Value {
    let percent = |value: f64| json!({ "value": value });
    if setting.tracer.is_none() {
        return json!({ "client_sampling": percent(100.0), "random_sampling": percent(1.0),
            "overall_sampling": percent(100.0) });
    }
    let tag = |tag: &str, header: &str| json!({ "tag": tag, "request_header": { "name": header } });
    json!({
        "client_sampling": percent(100.0), "random_sampling": percent(100.0),
        "overall_sampling": percent(100.0),
        "spawn_upstream_span": pod.role == "router",
        "custom_tags": [tag("call", CALL_HEADER), tag("attempt", "x-envoy-attempt-count")],
        "provider": { "name": "envoy.tracers.opentelemetry", "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "grpc_service": { "envoy_grpc": { "cluster_name": "tracer" }, "timeout": "5s" },
            "service_name": pod.traced_as() } },
    })
}

fn access_log(pod: &Pod, setting: &Setting, log: &str) -> Value {
    let service = json!({ "name": "envoy.access_loggers.http_grpc", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": { "log_name": "http_envoy_accesslog", "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": "sink" } } },
        "additional_request_headers_to_log":
            ["x-correlation-id", "traceparent", "x-envoy-attempt-count", CALL_HEADER] } });
    let format = match setting.files {
        Files::TextAtA if pod.name != A.name => return json!([service]),
        Files::TextAtA => json!({ "text_format_source": { "inline_string": ISTIO_TEXT_FORMAT } }),
        Files::JsonWithSpanIds => json!({ "json_format": json_format() }),
    };
    let file = json!({ "name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": log, "log_format": format } });
    json!([service, file])
}

/// Istio's keys, and what a mesh adds to them in `accessLogFormat`.
fn json_format() -> Value {
    json!({
        "start_time": "%START_TIME%", "route_name": "%ROUTE_NAME%", "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%",
        "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
        "response_code_details": "%RESPONSE_CODE_DETAILS%",
        "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
        "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
        "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%", "user_agent": "%REQ(USER-AGENT)%",
        "request_id": "%REQ(X-REQUEST-ID)%", "authority": "%REQ(:AUTHORITY)%",
        "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
        "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "requested_server_name": "%REQUESTED_SERVER_NAME%",
        "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "x_correlation_id": "%REQ(X-CORRELATION-ID)%", "traceparent": "%REQ(TRACEPARENT)%",
        "trace_id": "%TRACE_ID%", "span_id": "%SPAN_ID%",
    })
}

/// A cluster of one endpoint, or of none.
pub(super) fn cluster(name: &str, address: Option<SocketAddr>) -> Value {
    let endpoint =
        address.map(|address| json!({ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }));
    let endpoints: Vec<Value> = endpoint.into_iter().collect();
    json!({ "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": endpoints } })
}

/// A way to the pod's own app, which Istio's proxies take under this address.
pub(super) fn inbound(app: SocketAddr) -> Value {
    let mut cluster = cluster("inbound|8080||", Some(app));
    cluster["upstream_bind_config"] = json!({ "source_address": source(Ipv4Addr::new(127, 0, 0, 6)) });
    cluster
}

fn source(address: Ipv4Addr) -> Value {
    json!({ "address": address.to_string(), "port_value": 0 })
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
