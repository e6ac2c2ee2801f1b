//! The labels of a log line that Throughline reads in full: Istio's twenty-four, what joins hops, and what tells more of time.
//!
//! Envoy refuses a whole listener for one operator that it does not know, so each has the release that brought it.

use serde_json::{Map, Value};

use super::{OLDEST_ENVOY, Release};

/// One label: its key, the operator, the first Envoy that has it, and what is missed without it.
struct Label(&'static str, &'static str, Release, &'static str);

const ALWAYS: Release = OLDEST_ENVOY;

/// Releases by Envoy's change logs. A later row with the same key replaces an earlier one where its release is there.
const LABELS: [Label; 37] = [
    Label("start_time", "%START_TIME(%Y-%m-%dT%H:%M:%S.%6fZ)%", ALWAYS, ""),
    Label("method", "%REQ(:METHOD)%", ALWAYS, ""),
    Label("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", ALWAYS, ""),
    Label("protocol", "%PROTOCOL%", ALWAYS, ""),
    Label("response_code", "%RESPONSE_CODE%", ALWAYS, ""),
    Label("response_flags", "%RESPONSE_FLAGS%", ALWAYS, ""),
    Label("response_code_details", "%RESPONSE_CODE_DETAILS%", ALWAYS, ""),
    Label("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%", ALWAYS, ""),
    Label("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%", ALWAYS, ""),
    Label("bytes_received", "%BYTES_RECEIVED%", ALWAYS, ""),
    Label("bytes_sent", "%BYTES_SENT%", ALWAYS, ""),
    Label("duration", "%DURATION%", ALWAYS, ""),
    Label("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", ALWAYS, ""),
    Label("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%", ALWAYS, ""),
    Label("user_agent", "%REQ(USER-AGENT)%", ALWAYS, ""),
    Label("request_id", "%REQ(X-REQUEST-ID)%", ALWAYS, ""),
    Label("authority", "%REQ(:AUTHORITY)%", ALWAYS, ""),
    Label("upstream_host", "%UPSTREAM_HOST%", ALWAYS, ""),
    Label("upstream_cluster", "%UPSTREAM_CLUSTER%", ALWAYS, ""),
    Label(
        "upstream_cluster",
        "%UPSTREAM_CLUSTER_RAW%",
        Release(32),
        "the cluster's name where it has another for statistics",
    ),
    Label("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%", ALWAYS, ""),
    Label("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%", ALWAYS, ""),
    Label("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%", ALWAYS, ""),
    Label("requested_server_name", "%REQUESTED_SERVER_NAME%", ALWAYS, ""),
    Label("route_name", "%ROUTE_NAME%", ALWAYS, ""),
    Label("traceparent", "%REQ(TRACEPARENT)%", ALWAYS, ""),
    Label("x_envoy_attempt_count", "%REQ(X-ENVOY-ATTEMPT-COUNT)%", ALWAYS, ""),
    Label("upstream_request_attempt_count", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", ALWAYS, ""),
    Label("downstream_peer_uri_san", "%DOWNSTREAM_PEER_URI_SAN%", ALWAYS, ""),
    Label("grpc_status_number", "%GRPC_STATUS_NUMBER%", ALWAYS, ""),
    Label("access_log_type", "%ACCESS_LOG_TYPE%", ALWAYS, ""),
    Label("pod", "%HOSTNAME%", ALWAYS, ""),
    // The label is the operator's text: that is how the decoder is told which stretch of the request it is.
    Label("COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)", "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%", ALWAYS, ""),
    Label("COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)", "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%", ALWAYS, ""),
    Label("trace_id", "%TRACE_ID%", Release(31), "the trace where a tracer makes its own"),
    Label(
        "upstream_peer_uri_san",
        "%UPSTREAM_PEER_URI_SAN%",
        Release(31),
        "the workload behind, as its certificate says",
    ),
    Label(
        "span_id",
        "%SPAN_ID%",
        Release(38),
        "the tracer's own span, and with it an exact link to its trace",
    ),
];

/// Who writes, as a proxy of Istio knows it. `xds.node` is what the proxy told istiod about itself.
const MESH_LABELS: [(&str, &str); 3] = [
    ("namespace", "%CEL(xds.node.metadata['NAMESPACE'])%"),
    ("workload", "%CEL(xds.node.metadata['WORKLOAD_NAME'])%"),
    ("mesh_cluster", "%CEL(xds.node.metadata['CLUSTER_ID'])%"),
];

/// The labels for this Envoy, the correlation id from this header.
pub(in super::super) fn labels(envoy: Release, correlation: &str, in_mesh: bool) -> Map<String, Value> {
    let own = LABELS.iter().filter(|label| label.2 <= envoy).map(|label| (label.0, label.1));
    let mesh = MESH_LABELS.into_iter().filter(|_| in_mesh);
    let mut labels: Map<String, Value> =
        own.chain(mesh).map(|(key, operator)| (key.to_owned(), operator.into())).collect();
    let operator = format!("%REQ({})%", correlation.to_ascii_uppercase());
    labels.insert("x_correlation_id".to_owned(), operator.into());
    labels
}

/// What this Envoy does not have yet, a sentence each.
pub(in super::super) fn left_out(envoy: Release) -> Vec<String> {
    let missing = LABELS.iter().filter(|label| label.2 > envoy);
    missing.map(|Label(_, operator, since, what)| format!("{operator} needs Envoy {since}: {what}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_asked_for_only_where_it_is_known() {
        let old = labels(Release(30), "x-correlation-id", false);
        assert_eq!(old["upstream_cluster"], "%UPSTREAM_CLUSTER%");
        for key in ["trace_id", "span_id", "upstream_peer_uri_san", "workload"] {
            assert!(!old.contains_key(key), "{key}");
        }
        let new = labels(Release(38), "my-id", true);
        assert_eq!(new["upstream_cluster"], "%UPSTREAM_CLUSTER_RAW%");
        assert_eq!(new["span_id"], "%SPAN_ID%");
        assert_eq!(new["x_correlation_id"], "%REQ(MY-ID)%");
        assert!(new.contains_key("workload"));
        assert_eq!(left_out(Release(30)).len(), 4);
        assert_eq!(left_out(Release(36)).len(), 1);
        assert!(left_out(Release(38)).is_empty());
    }
}
