//! What no single column says, as SQL over the columns of `events`: the SQL form of `trace::otlp`'s derived attributes,
//! under the same names. A test of the service holds both against each other over real events.
//!
//! Empty text and 0 mean "the record does not say", as in the columns themselves.

use super::column::Shape;

macro_rules! is_client {
    () => {
        "(direction = 'outbound' AND hop IN ('sidecar', 'service'))"
    };
}

macro_rules! http_error {
    () => {
        concat!("(status >= 500 OR (status >= 400 AND ", is_client!(), "))")
    };
}

macro_rules! grpc_error {
    () => {
        concat!(
            "ifNull(if(",
            is_client!(),
            ", grpc_status != 0, grpc_status IN (2, 4, 12, 13, 14, 15)), false)"
        )
    };
}

macro_rules! no_answer {
    () => {
        "(status = 0 AND response_flags NOT IN ('', 'DC'))"
    };
}

macro_rules! is_error {
    () => {
        concat!("(", http_error!(), " OR ", grpc_error!(), " OR ", no_answer!(), ")")
    };
}

macro_rules! http_method {
    () => {
        concat!(
            "multiIf(method = '', '', method IN ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', ",
            "'TRACE', 'PATCH', 'QUERY'), toString(method), '_OTHER')"
        )
    };
}

macro_rules! http_route {
    () => {
        "if(startsWith(route, '/'), toString(route), '')"
    };
}

macro_rules! rpc_names {
    () => {
        "extractGroups(if(isNull(grpc_status), '', toString(path)), '^/([^/]+)/([^/]+)$')"
    };
}

/// `address:port` in its parts: in brackets, without brackets, port.
macro_rules! split {
    ($text:expr) => {
        concat!(
            "extractGroups(",
            $text,
            ", '^(?:\\\\[([^\\\\]]*)\\\\]|([^:]*))(?::([0-9][0-9]?[0-9]?[0-9]?[0-9]?))?$')"
        )
    };
}

macro_rules! port {
    ($text:expr) => {
        concat!(
            "if(toUInt32OrZero(",
            split!($text),
            "[3]) > 65535, 0, toUInt32OrZero(",
            split!($text),
            "[3]))"
        )
    };
}

macro_rules! address {
    ($text:expr) => {
        concat!(
            "if(empty(",
            split!($text),
            ") OR toUInt32OrZero(",
            split!($text),
            "[3]) > 65535, ",
            $text,
            ", concat(",
            split!($text),
            "[1], ",
            split!($text),
            "[2]))"
        )
    };
}

macro_rules! peer {
    () => {
        concat!("if(", is_client!(), ", upstream_remote, downstream_remote)")
    };
}

macro_rules! tail {
    () => {
        "substring(toString(protocol), 6)"
    };
}

/// Whether the span failed.
pub const IS_ERROR: &str = is_error!();
/// The span id: the hop's own, else a hash of the event key, never 0.
pub(super) const SPAN_ID: &str =
    "if(span_id != 0, span_id, greatest(xxh3(reinterpretAsFixedString(event_key)), toUInt64(1)))";
/// The id that a record's locator is made of; zeros where it has none.
pub(super) const STRONGEST_ID: &str = "multiIf(notEmpty(correlation_id), correlation_id, notEmpty(request_id), \
     request_id, notEmpty(edge_request_id), edge_request_id, trace_id)";
/// The trace id as 32 hex digits: the record's own, else made of its strongest id as the assembly makes it of the
/// canonical one. `schemas/clickhouse/0003_otel` has an index on these very words.
pub const TRACE_ID: &str = "lower(hex(if(notEmpty(trace_id), trace_id, reverse(reinterpretAsFixedString(multiIf(\
     notEmpty(correlation_id), xxh3_128(correlation_id), notEmpty(request_id), xxh3_128(request_id), \
     notEmpty(edge_request_id), xxh3_128(edge_request_id), xxh3_128(reinterpretAsFixedString(event_key))))))))";

/// Name, type of its values, and SQL of each.
pub(super) const DERIVED: &[(&str, Shape, &str)] = &[
    (
        "service_name",
        Shape::Text,
        "multiIf(service != '', toString(service), workload != '', toString(workload), service_id != '', \
         toString(service_id), toString(hop))",
    ),
    ("http_method", Shape::Text, http_method!()),
    (
        "http_method_original",
        Shape::Text,
        concat!("if(", http_method!(), " = '_OTHER', toString(method), '')"),
    ),
    ("http_route", Shape::Text, http_route!()),
    (
        "error_type",
        Shape::Text,
        concat!(
            "multiIf(",
            http_error!(),
            ", toString(status), ",
            grpc_error!(),
            ", toString(assumeNotNull(grpc_status)), ",
            no_answer!(),
            ", toString(response_flags), '')"
        ),
    ),
    ("server_address", Shape::Text, address!("toString(host)")),
    ("server_port", Shape::Int, port!("toString(host)")),
    ("peer_address", Shape::Text, address!(peer!())),
    ("peer_port", Shape::Int, port!(peer!())),
    ("protocol_name", Shape::Text, "if(startsWith(protocol, 'HTTP/'), 'http', '')"),
    (
        "protocol_version",
        Shape::Text,
        concat!(
            "if(startsWith(protocol, 'HTTP/'), transform(",
            tail!(),
            ", ['2.0', '3.0'], ['2', '3'], ",
            tail!(),
            "), '')"
        ),
    ),
    ("peer_service", Shape::Text, concat!("if(", is_client!(), ", toString(peer_workload), '')")),
    ("rpc_system", Shape::Text, "if(isNull(grpc_status), '', 'grpc')"),
    ("rpc_service", Shape::Text, concat!(rpc_names!(), "[1]")),
    ("rpc_method", Shape::Text, concat!(rpc_names!(), "[2]")),
    ("tls_protocol_version", Shape::Text, "replaceRegexpOne(toString(tls_version), '^TLSv?', '')"),
    // What a span has besides attributes: intrinsics of TraceQL, columns of `otel_traces`.
    ("span_kind", Shape::Text, concat!("if(", is_client!(), ", 'client', 'server')")),
    ("span_status", Shape::Text, concat!("if(", is_error!(), ", 'error', 'unset')")),
    (
        "span_status_message",
        Shape::Text,
        concat!(
            "multiIf(NOT ",
            is_error!(),
            ", '', details != '', toString(details), toString(response_flags))"
        ),
    ),
    (
        "span_name",
        Shape::Text,
        concat!(
            "multiIf(",
            rpc_names!(),
            "[1] != '' AND ifNull(grpc_status != 12, true), substring(toString(path), 2), method != '', trimRight(concat(",
            "replaceOne(",
            http_method!(),
            ", '_OTHER', 'HTTP'), ' ', ",
            http_route!(),
            ")), protocol != '', toString(protocol), toString(hop))"
        ),
    ),
];
