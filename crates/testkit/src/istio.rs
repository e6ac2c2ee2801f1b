//! Lines of Istio's proxies: the default JSON and TEXT formats, and JSON with the labels that we recommend.

use crate::request::{Request, TrueHop};
use crate::text::{Line, utc};

/// Istio's default JSON line.
pub fn json_line(request: &Request, hop: &TrueHop) -> String {
    default_members(request, hop).end()
}

/// The default line and `x_correlation_id`, `traceparent`, `node_id`, `x_envoy_attempt_count`.
pub fn json_line_with_ids(request: &Request, hop: &TrueHop) -> String {
    let node = hop.pod().map(|pod| pod.node()).unwrap_or_default();
    default_members(request, hop)
        .string("x_correlation_id", &request.correlation_text())
        .string("traceparent", &request.traceparent())
        .string("node_id", &node)
        .string("x_envoy_attempt_count", &hop.attempt.to_string())
        .end()
}

fn default_members(request: &Request, hop: &TrueHop) -> Line {
    let mut line = Line::new();
    line.string("authority", request.host)
        .raw("bytes_received", 0)
        .raw("bytes_sent", hop.response_bytes)
        .raw("connection_termination_details", "null")
        .string("downstream_local_address", &hop.local_address)
        .string("downstream_remote_address", &hop.remote_address)
        .raw("duration", ms(hop.duration_ns))
        .string("method", request.method)
        .string("path", &request.url)
        .string("protocol", "HTTP/1.1")
        .string("request_id", &request.request_text(hop))
        .string_or_null("requested_server_name", &hop.server_name)
        .raw("response_code", hop.status)
        .string("response_code_details", hop.details)
        .string("response_flags", flags(hop))
        .string("route_name", "default")
        .string("start_time", &utc(hop.logged_start_ns(), 3, "Z"))
        .string("upstream_cluster", &hop.upstream_cluster)
        .string_or_null("upstream_host", &hop.upstream_host)
        .string_or_null("upstream_local_address", &upstream_local(hop))
        .string_or_null("upstream_service_time", &service_time(hop))
        .raw("upstream_transport_failure_reason", "null")
        .string("user_agent", &request.user_agent)
        .string("x_forwarded_for", &forwarded_for(request, hop));
    line
}

/// Istio's default TEXT line, without its line feed. It carries no correlation id: `x-request-id` must do.
pub fn text_line(request: &Request, hop: &TrueHop) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    format!(
        "[{start}] \"{method} {path} HTTP/1.1\" {status} {flags} {details} - \"-\" 0 {bytes} {duration} {service} \
         \"{forwarded}\" \"{agent}\" \"{id}\" \"{host}\" \"{upstream}\" {cluster} {upstream_local} {local} {remote} \
         {name} default",
        start = utc(hop.logged_start_ns(), 3, "Z"),
        method = request.method,
        path = request.url,
        status = hop.status,
        flags = flags(hop),
        details = or_dash(hop.details),
        bytes = hop.response_bytes,
        duration = ms(hop.duration_ns),
        service = or_dash(&service_time(hop)),
        forwarded = forwarded_for(request, hop),
        agent = request.user_agent,
        id = request.request_text(hop),
        host = request.host,
        upstream = or_dash(&hop.upstream_host),
        cluster = or_dash(&hop.upstream_cluster),
        upstream_local = or_dash(&upstream_local(hop)),
        local = hop.local_address,
        remote = hop.remote_address,
        name = or_dash(&hop.server_name),
    )
}

fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

/// Envoy writes the flags of an HTTP request in its own order.
fn flags(hop: &TrueHop) -> &str {
    match hop.flags {
        "" => "-",
        "UF,URX" => "URX,UF",
        flags => flags,
    }
}

/// What the upstream says it took; nothing if it never answered.
fn service_time(hop: &TrueHop) -> String {
    match (hop.sent_ns, hop.answered_ns) {
        (Some(sent), Some(answered)) => ms(answered.saturating_sub(sent)).to_string(),
        _ => String::new(),
    }
}

fn upstream_local(hop: &TrueHop) -> String {
    if hop.upstream_host.is_empty() {
        return String::new();
    }
    let own = hop.pod().map(|pod| pod.address.to_string()).unwrap_or_default();
    format!("{own}:{}", 40_000 + hop.duration_ns % 20_000)
}

/// The client, and the POP that the gateway saw as its peer.
pub(crate) fn forwarded_for(request: &Request, _hop: &TrueHop) -> String {
    format!("{},192.0.2.{}", request.client, request.number % 250 + 1)
}
