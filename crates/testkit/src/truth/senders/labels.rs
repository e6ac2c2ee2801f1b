//! Envoy's file logs: Istio's JSON labels and TEXT.

use event::Direction;

use super::{Kind, Sight};
use crate::text::{Line, utc};

/// Istio's default labels; `has_ids` adds the ids, the node and the socket's peer.
pub(super) fn json(sight: &Sight<'_>, has_ids: bool) -> String {
    let view = sight.view;
    let is_tcp = view.kind == Kind::Tcp;
    let mut line = Line::new();
    line.string_or_null("authority", &view.host)
        .raw("bytes_received", 0)
        .raw("bytes_sent", view.response_bytes)
        .raw("connection_termination_details", "null")
        .string_or_null("downstream_local_address", &view.local)
        .string_or_null("downstream_remote_address", &view.remote)
        .raw("duration", view.duration_ns() / 1_000_000)
        .string_or_null("method", view.method)
        .string_or_null("path", &view.path)
        .string_or_null("protocol", view.protocol)
        .string_or_null("request_id", if is_tcp { "" } else { &view.request_id })
        .string_or_null("requested_server_name", &view.server_name)
        .raw("response_code", view.status)
        .string_or_null("response_code_details", view.details)
        .string("response_flags", or_dash(view.flags))
        .string_or_null("route_name", &sight.route())
        .string("start_time", &utc(sight.start_ns(), 3, "Z"))
        .string_or_null("upstream_cluster", &view.cluster)
        .string_or_null("upstream_host", &view.upstream_host)
        .string_or_null("upstream_local_address", &view.upstream_local)
        .string_or_null("upstream_service_time", &service_time(sight))
        .raw("upstream_transport_failure_reason", "null")
        .string_or_null("user_agent", &if is_tcp { String::new() } else { sight.agent() })
        .string_or_null("x_forwarded_for", &view.forwarded_for);
    if has_ids {
        for (name, value) in ids(sight) {
            line.string_or_null(name, &value);
        }
        line.raw("upstream_request_attempt_count", tries(sight))
            .string_or_null("downstream_direct_remote_address", &view.direct_remote);
        if let Some(status) = view.grpc_status {
            line.raw("grpc_status_number", status);
        }
    }
    line.end()
}

/// The labels that we recommend beside Istio's: ids, node, the attempt header, and spans where a tracer runs.
pub(super) fn ids(sight: &Sight<'_>) -> Vec<(&'static str, String)> {
    let view = sight.view;
    let mut ids = vec![
        ("x_correlation_id", view.correlation.clone()),
        ("traceparent", view.traceparent_text()),
        ("node_id", sight.node()),
        ("x_envoy_attempt_count", attempt_header(sight)),
    ];
    if let Some((trace, span)) = view.own_span {
        ids.push(("trace_id", format!("{trace:032x}")));
        ids.push(("span_id", format!("{span:016x}")));
    }
    ids
}

/// `x-envoy-attempt-count` as the hop logs it: inbound the one received, elsewhere the last one sent.
pub(super) fn attempt_header(sight: &Sight<'_>) -> String {
    let view = sight.view;
    match view.direction {
        _ if view.kind == Kind::Tcp || view.attempts == 0 && view.direction != Direction::Inbound => {
            String::new()
        }
        Direction::Inbound => view.attempt.to_string(),
        _ => view.attempts.to_string(),
    }
}

/// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`: an inbound sidecar tries its application once.
pub(super) fn tries(sight: &Sight<'_>) -> u16 {
    if sight.view.kind == Kind::Tcp { 1 } else { sight.view.attempts }
}

/// Istio's default TEXT line, without its line feed.
pub(super) fn text(sight: &Sight<'_>) -> String {
    let view = sight.view;
    let is_tcp = view.kind == Kind::Tcp;
    let agent = if is_tcp { "-".to_owned() } else { sight.agent() };
    format!(
        "[{start}] \"{method} {path} {protocol}\" {status} {flags} {details} - \"-\" 0 {bytes} {duration} {service} \
         \"{forwarded}\" \"{agent}\" \"{id}\" \"{host}\" \"{upstream}\" {cluster} {upstream_local} {local} {remote} \
         {name} {route}",
        start = utc(sight.start_ns(), 3, "Z"),
        method = or_dash(view.method),
        path = or_dash(&view.path),
        protocol = or_dash(view.protocol),
        status = view.status,
        flags = or_dash(view.flags),
        details = or_dash(view.details),
        bytes = view.response_bytes,
        duration = view.duration_ns() / 1_000_000,
        service = or_dash(&service_time(sight)),
        forwarded = or_dash(&view.forwarded_for),
        id = if is_tcp { "-" } else { or_dash(&view.request_id) },
        host = or_dash(&view.host),
        upstream = or_dash(&view.upstream_host),
        cluster = or_dash(&view.cluster),
        upstream_local = or_dash(&view.upstream_local),
        local = or_dash(&view.local),
        remote = or_dash(&view.remote),
        name = or_dash(&view.server_name),
        route = or_dash(&sight.route()),
    )
}

pub(super) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn service_time(sight: &Sight<'_>) -> String {
    sight.view.service_time_ms().map(|ms| ms.to_string()).unwrap_or_default()
}
