//! Envoy's gRPC access log entries.

use event::{Direction, Hop};

use super::{Kind, Server, Sight, Who, labels};
use crate::als::{address, duration, flags, timestamp};
use crate::protobuf::Message;

/// One message with its identifier, so that each delivery stands for itself.
pub(super) fn message<'m>(
    server: &Server,
    is_http: bool,
    entries: impl Iterator<Item = &'m Message>,
) -> Vec<u8> {
    let mut message = Message::new();
    if let Who::Proxy(pod) = &server.who {
        let text = |value: &str| Message::new().text(3, value);
        let pair = |name: &str, value: &str| Message::new().text(1, name).message(2, &text(value));
        let metadata = Message::new()
            .message(1, &pair("NAME", &pod.name))
            .message(1, &pair("NAMESPACE", pod.namespace))
            .message(1, &pair("WORKLOAD_NAME", pod.workload));
        let node = Message::new()
            .text(1, pod.node())
            .text(2, format!("{}.{}", pod.workload, pod.namespace))
            .message(3, &metadata);
        let log_name = if is_http { "http_envoy_accesslog" } else { "tcp_envoy_accesslog" };
        message = message.message(1, &Message::new().message(1, &node).text(2, log_name));
    }
    let logs = entries.fold(Message::new(), |logs, entry| logs.message(1, entry));
    message.message(if is_http { 2 } else { 3 }, &logs).into_bytes()
}

pub(super) fn entry(sight: &Sight<'_>) -> Message {
    let view = sight.view;
    if view.kind == Kind::Tcp {
        let bytes = Message::new().number(2, view.response_bytes);
        return Message::new().message(1, &common(sight)).message(2, &bytes);
    }
    Message::new()
        .message(1, &common(sight))
        .number(2, if view.protocol == "HTTP/2" { 3 } else { 2 })
        .message(3, &request(sight))
        .message(4, &response(sight))
}

fn common(sight: &Sight<'_>) -> Message {
    let view = sight.view;
    let until = sight.so_far_ns.map(|so_far| view.start_ns + so_far);
    let is_past = |at: &i64| until.is_none_or(|until| *at <= until);
    let offset = |at: Option<i64>| at.filter(is_past).map(|at| duration(view.since_start(at)));
    let is_tcp = view.kind == Kind::Tcp;
    let log_type = match (is_tcp, sight.so_far_ns.is_some()) {
        (true, true) => 2,
        (true, false) => 3,
        (false, true) => 5,
        (false, false) => 6,
    };
    // A local reply never reached the router: its entry names no cluster.
    let cluster = if view.is_local_reply { "" } else { &view.cluster };
    let ended = until.is_none().then_some(view.end_ns);
    // Envoy counts microseconds.
    let start_ns = sight.start_ns().div_euclid(1_000) * 1_000;
    Message::new()
        .maybe(2, address(&view.remote))
        .maybe(3, address(&view.local))
        .message(5, &timestamp(start_ns))
        .maybe(7, offset(view.sent_ns))
        .maybe(8, offset(view.sent_ns))
        .maybe(9, offset(view.answered_ns))
        .maybe(10, offset(view.answered_ns.and(ended)))
        .maybe(11, offset(view.first_byte_ns))
        .maybe(12, offset(view.first_byte_ns.and(ended)))
        .maybe(13, address(&view.upstream_host))
        .maybe(14, address(&view.upstream_local))
        .text(15, cluster)
        .maybe(16, flags(view.flags))
        .text(19, sight.route())
        .maybe(20, address(&view.direct_remote))
        .maybe(23, ended.map(|_| duration(view.duration_ns())))
        .number(24, u64::from(labels::tries(sight)))
        .text(26, &view.request_id)
        .number(27, u64::from(until.is_some()))
        .number(33, log_type)
        .maybe(4, tls(sight))
}

/// `TLSProperties` with the server name.
fn tls(sight: &Sight<'_>) -> Option<Message> {
    let view = sight.view;
    let has_tls = view.direction == Direction::Inbound || view.hop == Hop::Gateway;
    (has_tls && !view.server_name.is_empty()).then(|| Message::new().text(3, &view.server_name))
}

fn request(sight: &Sight<'_>) -> Message {
    let view = sight.view;
    let method = match view.method {
        "GET" => 1,
        "POST" => 3,
        _ => 0,
    };
    let mut request = Message::new()
        .number(1, method)
        .text(2, "http")
        .text(3, &view.host)
        .text(5, &view.path)
        .text(6, sight.agent())
        .text(8, &view.forwarded_for)
        .text(9, &view.request_id);
    let headers = [
        ("x-correlation-id", view.correlation.clone()),
        ("traceparent", view.traceparent_text()),
        ("x-envoy-attempt-count", labels::attempt_header(sight)),
    ];
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.message(13, &Message::new().text(1, name).text(2, value));
    }
    request
}

fn response(sight: &Sight<'_>) -> Message {
    let view = sight.view;
    let so_far = sight.so_far_ns.map_or(1, |so_far| view.duration_ns() / (so_far.max(1) as u64) + 1);
    let mut response = Message::new()
        .message(1, &Message::new().number(1, u64::from(view.status)))
        .number(3, view.response_bytes / so_far)
        .text(6, view.details);
    if let Some(status) = view.grpc_status {
        response = response.message(5, &Message::new().text(1, "grpc-status").text(2, status.to_string()));
    }
    response
}
