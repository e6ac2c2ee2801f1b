//! What to paste, and where: the smallest change at each sender that makes its records join.

/// Mints the id at the edge, sends it on, and logs it.
pub(super) const VCL: &str = r#"# vcl_recv, before other code: one id per request, whatever the client sent
if (req.restarts == 0 && fastly.ff.visits_this_service == 0) {
  set req.http.X-Correlation-ID = uuid.version4();
}
# and in the JSON of the log format:
"correlation_id":"%{json.escape(req.http.X-Correlation-ID)}V""#;

/// Times that can be split and ordered, and whether it was the edge or a shield.
pub(super) const VCL_TIMES: &str = r#"# in the JSON of the log format, and "src":"fastly-vcl" beside them
"ts_us":%{time.start.usec}V,"elapsed_us":%{time.elapsed.usec}V,"ttfb_s":"%{time.to_first_byte}V","edge":%{if(fastly.ff.visits_this_service == 0, "true", "false")}V,"visits":%{fastly.ff.visits_this_service}V,"restarts":%{req.restarts}V"#;

/// Istio's default JSON line with the ids, the proxy's own name and the phases of the request.
pub(super) const MESH_CONFIG: &str = r#"# meshConfig (IstioOperator, Helm values or the istio ConfigMap): Istio's default line with four labels more
accessLogFile: /dev/stdout
accessLogEncoding: JSON
accessLogFormat: |
  {
    "x_correlation_id": "%REQ(X-CORRELATION-ID)%", "traceparent": "%REQ(TRACEPARENT)%",
    "node_id": "%CEL(xds.node.id)%", "x_envoy_attempt_count": "%REQ(X-ENVOY-ATTEMPT-COUNT)%",
    "start_time": "%START_TIME%", "duration": "%DURATION%", "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%", "authority": "%REQ(:AUTHORITY)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%", "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%", "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%", "user_agent": "%REQ(USER-AGENT)%",
    "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%", "route_name": "%ROUTE_NAME%"
  }"#;

/// The same for access log streams over gRPC.
pub(super) const ALS: &str = "# meshConfig.extensionProviders, the provider of the access log service
envoyHttpAls:
  additionalRequestHeadersToLog: [x-correlation-id, traceparent, x-envoy-attempt-count]";

/// The same for OTLP logs.
pub(super) const OTLP: &str = r#"# meshConfig.extensionProviders, the provider of the OTLP logs
envoyOtelAls:
  logFormat:
    labels:
      x_correlation_id: "%REQ(X-CORRELATION-ID)%"
      traceparent: "%REQ(TRACEPARENT)%"
      node_id: "%CEL(xds.node.id)%""#;

/// What to paste for proxies that log in a format.
pub(super) fn of_mesh(format: &str) -> &'static str {
    if format.starts_with("envoy-als") {
        ALS
    } else if format.starts_with("envoy-otlp") || format.starts_with("otlp") {
        OTLP
    } else {
        MESH_CONFIG
    }
}
