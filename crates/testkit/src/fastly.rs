//! Lines of a Fastly service.

use event::Hop;

use crate::request::{Request, Server, TrueHop};
use crate::text::{Line, utc};

/// The service that all samples cross.
pub const SERVICE_ID: &str = "SU1Z0isxPaozGVKXdv0eY";
/// Its version.
pub const SERVICE_VERSION: u32 = 42;

/// Our own VCL format: microseconds, ids, and what the edge and the shield know of their upstream.
pub fn vcl_line(request: &Request, hop: &TrueHop) -> String {
    let (pop, identity) = names(hop);
    let edge = hop.hop == Hop::Edge;
    let hit = hop.cache_state.starts_with("HIT");
    let first_byte = hop.first_byte_ns.unwrap_or(hop.duration_ns);
    let us = |ns: u64| ns / 1000;
    Line::new()
        .raw("v", 1)
        .string("src", "fastly-vcl")
        .string("service_id", SERVICE_ID)
        .raw("service_version", SERVICE_VERSION)
        .raw("ts_us", hop.logged_start_ns().div_euclid(1000))
        .raw("elapsed_us", us(hop.duration_ns))
        .string("ttfb_s", &format!("{}.{:03}", first_byte / 1_000_000_000, first_byte / 1_000_000 % 1000))
        .raw("edge", edge)
        .raw("visits", if edge { 0 } else { 2 })
        .raw("restarts", 0)
        .raw("to_shield", edge && !hit)
        .string("traceparent", &request.traceparent())
        .string("correlation_id", &request.correlation_text())
        .string("method", request.method)
        .string("host", request.host)
        .string("url", &request.url)
        .string("proto", if edge { "HTTP/2" } else { "HTTP/1.1" })
        .raw("status", hop.status)
        .string("state", hop.cache_state)
        .string("pop", pop)
        .string("server", identity)
        .string("backend", &hop.upstream_cluster)
        .string("client_ip", &request.client.to_string())
        .raw("asn", request.asn)
        .string("country", &request.country.to_ascii_uppercase())
        .string("tls", "TLSv1.3")
        .raw("resp_bytes", hop.response_bytes)
        .raw("completed", true)
        .string("ua", &request.user_agent)
        .number("o_start_us", hop.sent_ns.map(us))
        .number("o_ttfb_us", hop.answered_ns.map(us))
        .number("o_status", hop.answered_ns.map(|_| u64::from(hop.status)))
        .end()
}

/// Fastly's default JSON: whole seconds, no duration, no id.
pub fn default_line(request: &Request, hop: &TrueHop) -> String {
    let (_, identity) = names(hop);
    Line::new()
        .string("timestamp", &utc(hop.logged_start_ns(), 0, "+0000"))
        .string("client_ip", &request.client.to_string())
        .string("geo_country", "germany")
        .string("geo_city", "berlin")
        .string("host", request.host)
        .string("url", &request.url)
        .string("request_method", request.method)
        .string("request_protocol", if hop.hop == Hop::Edge { "HTTP/2" } else { "HTTP/1.1" })
        .string("request_referer", "")
        .string("request_user_agent", &request.user_agent)
        .string("response_state", hop.cache_state)
        .raw("response_status", hop.status)
        .raw("response_reason", "null")
        .raw("response_body_size", hop.response_bytes)
        .string("fastly_server", identity)
        .raw("fastly_is_edge", hop.hop == Hop::Edge)
        .end()
}

fn names(hop: &TrueHop) -> (&str, &str) {
    match &hop.server {
        Server::Fastly { pop, identity } => (pop, identity),
        Server::Proxy(_) => ("", ""),
    }
}
