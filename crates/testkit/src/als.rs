//! Envoy's gRPC access log messages (`envoy.service.accesslog.v3.StreamAccessLogsMessage`), as bytes.

use crate::istio::forwarded_for;
use crate::population::Pod;
use crate::protobuf::Message;
use crate::request::{Request, TrueHop};

/// One message of HTTP entries of one proxy. The first of a stream must name the proxy: `identify`.
///
/// Every hop should be of `pod`; a stream belongs to one proxy.
pub fn message<'a>(
    pod: &Pod,
    identify: bool,
    entries: impl IntoIterator<Item = (&'a Request, &'a TrueHop)>,
) -> Vec<u8> {
    let identifier = identify.then(|| {
        let node = Message::new().text(1, pod.node()).text(2, format!("{}.{}", pod.workload, pod.namespace));
        Message::new().message(1, &node).text(2, "http_envoy_accesslog")
    });
    let mut logs = Message::new();
    for (request, hop) in entries {
        logs = logs.message(1, &entry(request, hop));
    }
    Message::new().maybe(1, identifier).message(2, &logs).into_bytes()
}

fn entry(request: &Request, hop: &TrueHop) -> Message {
    const HTTP11: u64 = 2;
    Message::new()
        .message(1, &common(request, hop))
        .number(2, HTTP11)
        .message(3, &request_properties(request, hop))
        .message(4, &response_properties(hop))
}

fn common(request: &Request, hop: &TrueHop) -> Message {
    const DOWNSTREAM_END: u64 = 6;
    let sent = hop.sent_ns;
    let answered = hop.answered_ns;
    let answered_last = answered.map(|first| first + (hop.duration_ns - first.min(hop.duration_ns)) / 2);
    Message::new()
        .maybe(2, address(&hop.remote_address))
        .maybe(3, address(&hop.local_address))
        .message(5, &timestamp(hop.logged_start_ns()))
        .message(6, &duration(hop.sent_ns.unwrap_or(60_000) / 2))
        .maybe(7, sent.map(duration))
        .maybe(8, sent.map(duration))
        .maybe(9, answered.map(duration))
        .maybe(10, answered_last.map(duration))
        .maybe(11, hop.first_byte_ns.map(duration))
        .maybe(12, hop.first_byte_ns.map(|_| duration(hop.duration_ns)))
        .maybe(13, address(&hop.upstream_host))
        .text(15, &hop.upstream_cluster)
        .maybe(16, flags(hop.flags))
        .text(19, "default")
        .message(23, &duration(hop.duration_ns))
        .number(24, u64::from(hop.attempts))
        .text(26, request.request_text(hop))
        .number(33, DOWNSTREAM_END)
}

fn request_properties(request: &Request, hop: &TrueHop) -> Message {
    let method = match request.method {
        "GET" => 1,
        "POST" => 3,
        _ => 0,
    };
    let header = |name: &str, value: &str| Message::new().text(1, name).text(2, value);
    Message::new()
        .number(1, method)
        .text(2, "http")
        .text(3, request.host)
        .text(5, &request.url)
        .text(6, &request.user_agent)
        .text(8, forwarded_for(request, hop))
        .text(9, request.request_text(hop))
        .number(11, 640)
        .message(13, &header("x-correlation-id", &request.correlation_text()))
        .message(13, &header("traceparent", &request.traceparent()))
        .message(13, &header("x-envoy-attempt-count", &hop.attempt.to_string()))
}

fn response_properties(hop: &TrueHop) -> Message {
    Message::new()
        .message(1, &Message::new().number(1, u64::from(hop.status)))
        .number(2, 180)
        .number(3, hop.response_bytes)
        .text(6, hop.details)
}

/// `envoy.config.core.v3.Address` of `a.b.c.d:port`; nothing for empty text.
pub(crate) fn address(text: &str) -> Option<Message> {
    let (host, port) = text.rsplit_once(':')?;
    let socket = Message::new().text(2, host).number(3, port.parse().unwrap_or(0));
    Some(Message::new().message(1, &socket))
}

pub(crate) fn timestamp(unix_ns: i64) -> Message {
    let seconds = unix_ns.div_euclid(1_000_000_000) as u64;
    Message::new().number(1, seconds).number(2, unix_ns.rem_euclid(1_000_000_000) as u64)
}

pub(crate) fn duration(ns: u64) -> Message {
    Message::new().number(1, ns / 1_000_000_000).number(2, ns % 1_000_000_000)
}

/// `ResponseFlags`: one boolean a flag.
pub(crate) fn flags(text: &str) -> Option<Message> {
    if text.is_empty() {
        return None;
    }
    Some(text.split(',').fold(Message::new(), |message, flag| match flag {
        "UT" => message.number(3, 1),
        "UF" => message.number(6, 1),
        "UC" => message.number(7, 1),
        "NR" => message.number(9, 1),
        "DC" => message.number(15, 1),
        "URX" => message.number(16, 1),
        _ => message,
    }))
}
