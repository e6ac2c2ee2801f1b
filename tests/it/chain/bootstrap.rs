//! What the proxies of the chain have in common, beside what every chain has.

use std::path::Path;

use chain::parts::{self, Pod, als_log, grpc_cluster, json_log, text_log};
use serde_json::{Value, json};

use super::mesh::{A, CALL_HEADER, Files, Setting};

/// All of one proxy's configuration.
pub(super) fn bootstrap(pod: &Pod, setting: &Setting, listeners: &[Value], clusters: &[Value]) -> Value {
    let mut clusters = clusters.to_vec();
    clusters.push(grpc_cluster("sink", setting.sink));
    clusters.extend(setting.tracer.map(|tracer| grpc_cluster("tracer", tracer)));
    let mut bootstrap = parts::bootstrap(pod, listeners, &clusters);
    // The tracer holds 512 spans or five seconds back otherwise.
    bootstrap["layered_runtime"] = json!({ "layers": [{ "name": "static", "static_layer": {
        "tracing.opentelemetry.flush_interval_ms": 200, "tracing.opentelemetry.min_flush_spans": 1 } }] });
    bootstrap
}

/// An HTTP listener that logs to the service under test, and to the file `log` where the setting says so.
pub(super) fn listener(
    name: &str,
    pod: &Pod,
    setting: &Setting,
    mut connection: Value,
    filters: &[Value],
    hosts: &[Value],
    log: &Path,
) -> Value {
    connection["tracing"] = tracing(pod, setting);
    connection["access_log"] = access_log(pod, setting, log);
    parts::listener(name, pod, connection, filters, hosts)
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

fn access_log(pod: &Pod, setting: &Setting, log: &Path) -> Value {
    let headers = ["x-correlation-id", "traceparent", "x-envoy-attempt-count", CALL_HEADER];
    let service = als_log("sink", &headers);
    match setting.files {
        Files::TextAtA if pod.name != A.name => json!([service]),
        Files::TextAtA => json!([service, text_log(log)]),
        Files::JsonWithSpanIds => {
            json!([service, json_log(log, &[("trace_id", "%TRACE_ID%"), ("span_id", "%SPAN_ID%")])])
        }
    }
}
