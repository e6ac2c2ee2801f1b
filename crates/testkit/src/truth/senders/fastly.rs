//! Fastly's lines.

use event::Hop;

use super::{Sight, Who};
use crate::fastly::{SERVICE_ID, SERVICE_VERSION};
use crate::text::{Line, utc};

/// Our own VCL format.
pub(super) fn vcl(sight: &Sight<'_>) -> String {
    let (view, edge) = (sight.view, sight.view.hop == Hop::Edge);
    let (pop, identity) = names(sight);
    let us = |at: Option<i64>| at.map(|at| view.since_start(at) / 1_000);
    let fetch =
        view.sent_ns.zip(view.answered_ns).map(|(sent, answered)| (answered - sent).max(0) as u64 / 1_000);
    Line::new()
        .raw("v", 1)
        .string("src", "fastly-vcl")
        .string("service_id", SERVICE_ID)
        .raw("service_version", SERVICE_VERSION)
        .raw("ts_us", sight.start_ns().div_euclid(1_000))
        .raw("elapsed_us", view.duration_ns() / 1_000)
        .string("ttfb_s", &first_byte(sight))
        .raw("edge", edge)
        .raw("visits", u8::from(!edge))
        .raw("restarts", view.restarts)
        .raw("to_shield", view.to_shield)
        .string("traceparent", &view.traceparent_text())
        .string("correlation_id", &view.correlation)
        .string("rid", &view.edge_request_id)
        .string("method", view.method)
        .string("host", "shop.example.com")
        .string("url", &view.path)
        .string("proto", view.protocol)
        .raw("status", view.status)
        .string("state", view.cache_state)
        .string("pop", pop)
        .string("server", identity)
        .string("backend", &view.cluster)
        .string("client_ip", &view.client)
        .raw("resp_bytes", view.response_bytes)
        .raw("completed", true)
        .string("ua", &sight.agent())
        .number("o_start_us", us(view.sent_ns))
        .number("o_ttfb_us", fetch)
        .number("o_status", fetch.map(|_| u64::from(view.status)))
        .end()
}

/// Fastly's default JSON with the ids and the time it took: its clock shows whole seconds.
pub(super) fn coarse(sight: &Sight<'_>) -> String {
    let view = sight.view;
    let (_, identity) = names(sight);
    Line::new()
        .string("timestamp", &utc(sight.start_ns(), 0, "+0000"))
        .raw("time_elapsed_usec", view.duration_ns() / 1_000)
        .string("ttfb", &first_byte(sight))
        .string("service_id", SERVICE_ID)
        .string("correlation_id", &view.correlation)
        .string("traceparent", &view.traceparent_text())
        .string("client_ip", &view.client)
        .string("host", "shop.example.com")
        .string("url", &view.path)
        .string("request_method", view.method)
        .string("request_protocol", view.protocol)
        .string("request_user_agent", &sight.agent())
        .string("response_state", view.cache_state)
        .raw("response_status", view.status)
        .raw("response_body_size", view.response_bytes)
        .string("fastly_server", identity)
        .raw("fastly_is_edge", view.hop == Hop::Edge)
        .end()
}

fn first_byte(sight: &Sight<'_>) -> String {
    let ms = sight.view.first_byte_ns.map_or(0, |at| sight.view.since_start(at)) / 1_000_000;
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

fn names<'v>(sight: &Sight<'v>) -> (&'static str, &'v str) {
    match &sight.server.who {
        Who::Cache { pop, identity } => (pop, identity),
        Who::Proxy(_) => ("", ""),
    }
}
