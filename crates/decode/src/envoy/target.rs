//! What an Envoy command operator, or the label a user gave it, means in the schema.
//!
//! Two ways in: [`operator`] reads the text between two `%` (`REQ(X-REQUEST-ID)`), [`label`] reads a JSON key or OTLP
//! attribute name, which is a label of the user's choice (`request_id`, `x-request-id`) or operator text itself.

use event::HopEvent;
use event::Text;

use crate::coerce::Unit;

pub(crate) type TextSlot = for<'a, 'b> fn(&'b mut HopEvent<'a>) -> &'b mut Text<'a>;
pub(crate) type NsSlot = for<'a, 'b> fn(&'b mut HopEvent<'a>) -> &'b mut Option<u64>;

/// Where a value goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Text that Envoy or its configuration makes.
    Text(TextSlot),
    /// Text that a client can make: redacted by shape.
    Free(TextSlot),
    /// A URL: its query redacted.
    Url(TextSlot),
    /// A duration in its unit.
    Span(NsSlot, Unit),
    /// A count.
    Count(NsSlot),
    Start,
    Method,
    /// Original path where there is one, else the path: what the client asked for.
    Path,
    /// `x-envoy-original-path` alone.
    OriginalPath,
    /// `:path` as the hop sent it on, if an original path stands beside it.
    SentPath,
    Host,
    Status,
    Flags,
    FlagsLong,
    GrpcStatus,
    Details,
    Termination,
    ClientAddress,
    DirectRemote,
    ClusterRaw,
    Cluster,
    Correlation,
    RequestId,
    StreamId,
    Traceparent,
    TraceId,
    SpanId,
    Attempt,
    AttemptHeader,
    LogType,
    Node,
    UpstreamPeer,
    DownstreamPeer,
    Rbac,
    /// Claims of a token, and headers that are credentials: never kept.
    Secret,
    /// No field of the schema: an attribute under its own name.
    Attribute,
}

impl Target {
    /// Whether finding it says that the record is about a request (a time or an unknown name says nothing).
    pub(crate) fn is_evidence(self) -> bool {
        !matches!(self, Self::Start | Self::Secret | Self::Attribute | Self::Node)
    }

    /// Whether only Envoy writes it.
    pub(crate) fn is_envoys(self) -> bool {
        use Target::*;
        matches!(
            self,
            Flags
                | FlagsLong
                | Details
                | Termination
                | Cluster
                | ClusterRaw
                | DirectRemote
                | LogType
                | StreamId
                | Attempt
        )
    }
}

macro_rules! table {
    ($name:ident, { $( $($key:literal)|+ => $target:expr, )* }) => {
        fn $name(key: &str) -> Option<Target> {
            use Target::*;
            Some(match key { $( $($key)|+ => $target, )* _ => return None })
        }
    };
}

// Operators that take no argument, or whose argument does not change the meaning.
table!(plain_operator, {
    "START_TIME" | "START_TIME_LOCAL" => Start,
    "PROTOCOL" => Text(|e| &mut e.protocol),
    "RESPONSE_CODE" => Status,
    "RESPONSE_FLAGS" => Flags,
    "RESPONSE_FLAGS_LONG" => FlagsLong,
    "RESPONSE_CODE_DETAILS" => Details,
    "CONNECTION_TERMINATION_DETAILS" => Termination,
    "UPSTREAM_TRANSPORT_FAILURE_REASON" => Text(|e| &mut e.transport_failure),
    "BYTES_RECEIVED" => Count(|e| &mut e.request_bytes),
    "BYTES_SENT" => Count(|e| &mut e.response_bytes),
    "REQUEST_HEADERS_BYTES" | "DOWNSTREAM_HEADER_BYTES_RECEIVED" => Count(|e| &mut e.request_header_bytes),
    "RESPONSE_HEADERS_BYTES" | "DOWNSTREAM_HEADER_BYTES_SENT" => Count(|e| &mut e.response_header_bytes),
    "DURATION" => Span(|e| &mut e.duration_ns, Unit::Ms),
    "REQUEST_DURATION" => Span(|e| &mut e.request_rx_ns, Unit::Ms),
    "REQUEST_TX_DURATION" => Span(|e| &mut e.upstream_tx_last_ns, Unit::Ms),
    "RESPONSE_DURATION" => Span(|e| &mut e.upstream_rx_first_ns, Unit::Ms),
    "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Text(|e| &mut e.upstream_remote),
    "UPSTREAM_LOCAL_ADDRESS" => Text(|e| &mut e.upstream_local),
    "UPSTREAM_CLUSTER" => Cluster,
    "UPSTREAM_CLUSTER_RAW" => ClusterRaw,
    "UPSTREAM_PEER_URI_SAN" => Text(|e| &mut e.upstream_peer),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Attempt,
    "DOWNSTREAM_LOCAL_ADDRESS" => Text(|e| &mut e.downstream_local),
    "DOWNSTREAM_REMOTE_ADDRESS" => ClientAddress,
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => DirectRemote,
    "DOWNSTREAM_PEER_URI_SAN" => Text(|e| &mut e.downstream_peer),
    "DOWNSTREAM_TLS_VERSION" => Text(|e| &mut e.tls_version),
    "DOWNSTREAM_TLS_CIPHER" => Text(|e| &mut e.tls_cipher),
    "TLS_JA3_FINGERPRINT" => Text(|e| &mut e.ja3),
    "TLS_JA4_FINGERPRINT" => Text(|e| &mut e.ja4),
    "REQUESTED_SERVER_NAME" => Text(|e| &mut e.sni),
    "ROUTE_NAME" => Text(|e| &mut e.route),
    "GRPC_STATUS" | "GRPC_STATUS_NUMBER" => GrpcStatus,
    "ACCESS_LOG_TYPE" => LogType,
    "STREAM_ID" => StreamId,
    "TRACE_ID" => TraceId,
    "SPAN_ID" => SpanId,
    "HOSTNAME" => Text(|e| &mut e.pod),
    "PATH" => Path,
});

// Request headers, in lower case.
table!(request_header, {
    ":method" => Method,
    ":path" => SentPath,
    "x-envoy-original-path?:path" => Path,
    "x-envoy-original-path" => OriginalPath,
    ":authority" | "host" | ":authority?host" => Host,
    ":scheme" => Text(|e| &mut e.scheme),
    "x-forwarded-proto" => Text(|e| &mut e.scheme),
    "user-agent" => Free(|e| &mut e.user_agent),
    "referer" => Url(|e| &mut e.referer),
    "x-forwarded-for" => Free(|e| &mut e.forwarded_for),
    "x-request-id" => RequestId,
    "x-correlation-id" | "correlation-id" => Correlation,
    "traceparent" => Traceparent,
    "x-envoy-attempt-count" => AttemptHeader,
    "authorization" | "cookie" | "proxy-authorization" | "set-cookie" => Secret,
});

// Response headers, in lower case.
table!(response_header, {
    "x-envoy-upstream-service-time" => Span(|e| &mut e.upstream_service_ns, Unit::Ms),
    "content-type" => Free(|e| &mut e.content_type),
    "grpc-status" => GrpcStatus,
    "x-request-id" => RequestId,
    "x-correlation-id" => Correlation,
    "set-cookie" | "cookie" | "authorization" | "proxy-authenticate" => Secret,
});

table!(environment, {
    "POD_NAME" => Text(|e| &mut e.pod),
    "POD_NAMESPACE" => Text(|e| &mut e.namespace),
});

table!(cel, {
    "xds.node.id" => Node,
    "xds.node.metadata['NAME']" => Text(|e| &mut e.pod),
    "xds.node.metadata['NAMESPACE']" => Text(|e| &mut e.namespace),
    "xds.node.metadata['WORKLOAD_NAME']" => Text(|e| &mut e.workload),
    "xds.node.metadata['CLUSTER_ID']" => Text(|e| &mut e.mesh_cluster),
});

// Labels in lower snake case: Istio's defaults and the names that people give.
table!(label_name, {
    "start_time" | "timestamp" | "@timestamp" | "time" | "ts" => Start,
    "method" | "http_method" | "request_method" | "http_request_method" => Method,
    "path" | "request_path" | "url_path" | "uri" | "request_uri" => Path,
    "original_path" | "x_envoy_original_path" => OriginalPath,
    "upstream_path" => Url(|e| &mut e.upstream_path),
    "protocol" => Text(|e| &mut e.protocol),
    "scheme" | "url_scheme" | "x_forwarded_proto" => Text(|e| &mut e.scheme),
    "authority" | "host" | "http_host" | "server_address" => Host,
    "response_code" | "status" | "status_code" | "http_status_code" | "http_response_status_code" => Status,
    "response_flags" | "flags" => Flags,
    "response_flags_long" => FlagsLong,
    "response_code_details" | "details" => Details,
    "connection_termination_details" => Termination,
    "upstream_transport_failure_reason" => Text(|e| &mut e.transport_failure),
    "grpc_status" | "grpc_status_number" | "rpc_grpc_status_code" => GrpcStatus,
    "bytes_received" | "request_bytes" | "http_request_body_size" => Count(|e| &mut e.request_bytes),
    "bytes_sent" | "response_bytes" | "http_response_body_size" => Count(|e| &mut e.response_bytes),
    "duration" | "duration_ms" => Span(|e| &mut e.duration_ns, Unit::Ms),
    "duration_us" => Span(|e| &mut e.duration_ns, Unit::Us),
    "duration_ns" => Span(|e| &mut e.duration_ns, Unit::Ns),
    "request_duration" => Span(|e| &mut e.request_rx_ns, Unit::Ms),
    "request_tx_duration" => Span(|e| &mut e.upstream_tx_last_ns, Unit::Ms),
    "response_duration" => Span(|e| &mut e.upstream_rx_first_ns, Unit::Ms),
    "upstream_service_time" | "x_envoy_upstream_service_time" => Span(|e| &mut e.upstream_service_ns, Unit::Ms),
    "x_forwarded_for" | "forwarded_for" | "xff" => Free(|e| &mut e.forwarded_for),
    "user_agent" | "user_agent_original" | "http_user_agent" => Free(|e| &mut e.user_agent),
    "referer" | "http_referer" => Url(|e| &mut e.referer),
    "content_type" => Free(|e| &mut e.content_type),
    "request_id" | "x_request_id" => RequestId,
    "stream_id" => StreamId,
    "correlation_id" | "x_correlation_id" => Correlation,
    "traceparent" => Traceparent,
    "trace_id" | "traceid" => TraceId,
    "span_id" | "spanid" => SpanId,
    "upstream_host" | "upstream_remote_address" => Text(|e| &mut e.upstream_remote),
    "upstream_cluster" => Cluster,
    "upstream_cluster_raw" => ClusterRaw,
    "upstream_local_address" => Text(|e| &mut e.upstream_local),
    "upstream_peer_uri_san" => Text(|e| &mut e.upstream_peer),
    "downstream_local_address" => Text(|e| &mut e.downstream_local),
    "downstream_remote_address" | "client_address" => ClientAddress,
    "downstream_direct_remote_address" => DirectRemote,
    "downstream_peer_uri_san" => Text(|e| &mut e.downstream_peer),
    "downstream_tls_version" | "tls_version" => Text(|e| &mut e.tls_version),
    "downstream_tls_cipher" | "tls_cipher" => Text(|e| &mut e.tls_cipher),
    "requested_server_name" | "sni" => Text(|e| &mut e.sni),
    "ja3" | "tls_ja3_fingerprint" => Text(|e| &mut e.ja3),
    "ja4" | "tls_ja4_fingerprint" => Text(|e| &mut e.ja4),
    "route_name" | "route" | "http_route" => Text(|e| &mut e.route),
    "access_log_type" | "log_type" => LogType,
    "upstream_request_attempt_count" | "attempt_count" | "attempts" => Attempt,
    "x_envoy_attempt_count" => AttemptHeader,
    "node_id" | "node_name" => Node,
    "pod" | "pod_name" | "hostname" | "k8s_pod_name" => Text(|e| &mut e.pod),
    "namespace" | "pod_namespace" | "k8s_namespace_name" => Text(|e| &mut e.namespace),
    "workload" | "workload_name" | "k8s_deployment_name" => Text(|e| &mut e.workload),
    "mesh_cluster" | "cluster_id" | "k8s_cluster_name" => Text(|e| &mut e.mesh_cluster),
    "service_name" => Text(|e| &mut e.service),
    "authorization" | "cookie" | "set_cookie" | "proxy_authorization" => Secret,
});

/// The meaning of operator text, without its `%`. `None` for what is not of the form of an operator.
pub(crate) fn operator(text: &str) -> Option<Target> {
    let (name, argument) = split_operator(text)?;
    Some(match name {
        "REQ" => request_header(&argument.to_ascii_lowercase()).unwrap_or(Target::Attribute),
        "RESP" | "TRAILER" => response_header(&argument.to_ascii_lowercase()).unwrap_or(Target::Attribute),
        "COMMON_DURATION" => phase(argument).unwrap_or(Target::Attribute),
        "ENVIRONMENT" => environment(argument).unwrap_or(Target::Attribute),
        "CEL" => cel(&argument.replace('"', "'")).unwrap_or(Target::Attribute),
        "DYNAMIC_METADATA" => match argument.split(':').next() {
            Some("envoy.filters.http.jwt_authn") => Target::Secret,
            Some("envoy.filters.http.rbac" | "envoy.filters.network.rbac") if !argument.contains(':') => {
                Target::Rbac
            }
            _ => Target::Attribute,
        },
        "FILTER_STATE" => match argument.split(':').next() {
            Some("upstream_peer") => Target::UpstreamPeer,
            Some("downstream_peer") => Target::DownstreamPeer,
            _ => Target::Attribute,
        },
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Target::ClientAddress,
        _ => plain_operator(name).unwrap_or(Target::Attribute),
    })
}

/// Name and argument of operator text: upper case, digits, `_`, then at most one pair of parentheses and a length.
pub(crate) fn split_operator(text: &str) -> Option<(&str, &str)> {
    let end =
        text.bytes().position(|byte| !matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let Some(rest) = rest.strip_prefix('(') else {
        let is_length =
            rest.is_empty() || rest.starts_with(':') && rest[1..].bytes().all(|b| b.is_ascii_digit());
        return is_length.then_some((name, ""));
    };
    let (argument, length) = rest.rsplit_once(')')?;
    (length.is_empty() || length.starts_with(':')).then_some((name, argument))
}

/// `COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)`: only phases that begin with the request have a field.
fn phase(argument: &str) -> Option<Target> {
    let mut parts = argument.split(':');
    let (from, to, unit) = (parts.next()?, parts.next()?, Unit::from_name(parts.next().unwrap_or("ms"))?);
    let slot: NsSlot = match (from, to) {
        ("DS_RX_BEG", "DS_RX_END") => |e| &mut e.request_rx_ns,
        ("DS_RX_BEG", "US_TX_BEG") => |e| &mut e.upstream_tx_first_ns,
        ("DS_RX_BEG", "US_TX_END") => |e| &mut e.upstream_tx_last_ns,
        ("DS_RX_BEG", "US_RX_BEG") => |e| &mut e.upstream_rx_first_ns,
        ("DS_RX_BEG", "US_RX_END") => |e| &mut e.upstream_rx_last_ns,
        ("DS_RX_BEG", "DS_TX_BEG") => |e| &mut e.first_byte_ns,
        ("DS_RX_BEG", "DS_TX_END") => |e| &mut e.last_byte_ns,
        _ => return None,
    };
    Some(Target::Span(slot, unit))
}

/// The meaning of a label. Operator text as a label (with or without its `%`) means the operator.
pub(crate) fn label(name: &str) -> Target {
    let text = name.trim_matches('%');
    if text.bytes().all(|byte| !byte.is_ascii_lowercase())
        || text.contains('(') && split_operator(text).is_some()
    {
        match operator(text) {
            None | Some(Target::Attribute) => {}
            Some(target) => return target,
        }
    }
    let snake: String = text
        .chars()
        .map(|c| if matches!(c, '-' | '.' | ' ') { '_' } else { c.to_ascii_lowercase() })
        .collect();
    label_name(&snake).unwrap_or(Target::Attribute)
}

/// The name of an attribute for operator text: OpenTelemetry's where there is one, else the operator itself.
pub(crate) fn attribute_name(text: &str) -> String {
    match split_operator(text) {
        Some(("REQ", header)) => format!("http.request.header.{}", header.to_ascii_lowercase()),
        Some(("RESP", header)) => format!("http.response.header.{}", header.to_ascii_lowercase()),
        Some(("TRAILER", header)) => format!("http.response.trailer.{}", header.to_ascii_lowercase()),
        _ => text.to_owned(),
    }
}

/// The target of an additional request header (ALS), in lower case.
pub(crate) fn of_request_header(name: &str) -> Target {
    request_header(name).unwrap_or(Target::Attribute)
}

/// The target of an additional response header or trailer (ALS), in lower case.
pub(crate) fn of_response_header(name: &str) -> Target {
    response_header(name).unwrap_or(Target::Attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_labels_of_one_thing_mean_the_same() {
        for name in ["REQ(X-REQUEST-ID)", "%REQ(X-REQUEST-ID)%", "request_id", "x-request-id", "X-Request-Id"]
        {
            assert!(matches!(label(name), Target::RequestId), "{name}");
        }
        for name in ["START_TIME", "START_TIME(%s.%9f)", "start_time", "timestamp"] {
            assert!(matches!(label(name), Target::Start), "{name}");
        }
        assert!(matches!(label("REQ(USER-AGENT):50"), Target::Free(_)));
        assert!(matches!(label("EMIT_TIME"), Target::Attribute));
        assert!(matches!(label("DYNAMIC_METADATA(envoy.filters.http.jwt_authn)"), Target::Secret));
    }

    #[test]
    fn phases_that_begin_elsewhere_are_attributes() {
        assert!(matches!(operator("COMMON_DURATION(US_CX_BEG:US_CX_END:us)"), Some(Target::Attribute)));
        assert!(matches!(
            operator("COMMON_DURATION(DS_RX_BEG:US_TX_END:ns)"),
            Some(Target::Span(_, Unit::Ns))
        ));
    }
}
