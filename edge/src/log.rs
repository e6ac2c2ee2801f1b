//! The one line that every request leaves: what was decided, why, by which rule, under which ids.
//!
//! The keys are those of the preset `schemas/fastly/throughline-edge.toml`. No token, cookie or query value is ever
//! part of it; the subject is a keyed HMAC.

use serde::Serialize;

/// The record of one request.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LogRecord {
    /// Version of this format.
    pub v: u32,
    /// `throughline-edge`.
    pub src: &'static str,
    /// Microseconds since 1970 at which the request was taken up.
    pub ts_us: u64,
    /// Minted for this request, or taken from an allow-listed upstream.
    pub correlation_id: String,
    /// `shield` at the second POP of a request; nothing at the first.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub hop: &'static str,
    /// Sent on to another POP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub to_shield: bool,
    /// The `traceparent` that is forwarded: its span is the edge's own.
    pub traceparent: String,
    /// The parent of the edge's span, where the client's trace is continued.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub parent_span_id: String,
    /// A trace or journey that this request belongs with, without being its child.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// The login journey, on the redirect, the callback and the replayed request alike.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub journey_id: String,
    /// The platform's own id of the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub edge_request_id: String,
    /// Id of the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_id: String,
    /// Version of the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_version: String,
    /// POP.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pop: String,
    /// Method.
    pub method: String,
    /// Scheme.
    pub scheme: String,
    /// Host that the client named.
    pub host: String,
    /// Normalised path, or the raw one cut short when it was refused.
    pub path: String,
    /// Path as forwarded, where a rewrite changed it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub upstream_path: String,
    /// Protocol.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Status of the answer; the host writes what was sent.
    pub status: u16,
    /// The connection's client address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// Cut to 1000 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// Name of the route that matched.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route: String,
    /// Name of the backend.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backend: String,
    /// What was decided.
    pub verdict: Verdict,
    /// The issuer whose key signed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// The key that signed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kid: String,
    /// Keyed HMAC of the subject, 32 hex digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Bytes of the answer's body, where the host knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_bytes: Option<u64>,
    /// The client's TLS.
    pub tls: Tls,
    /// From the start of the request.
    pub timings: Timings,
}

/// What a policy point decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `allow`, `deny`, `redirect` or `error`.
    pub outcome: String,
    /// The route, or the check that stopped the request before any route.
    pub rule: String,
    /// One word for counting, e.g. `expired`.
    pub reason: String,
    /// The configuration's policy version.
    pub policy_version: String,
}

/// The client's TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Cipher suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// JA4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
}

/// Microseconds, all but `verify_us` counted from the start of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// The whole request; the body may be sent after the line is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// When the request went to the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_start_us: Option<u64>,
    /// When the backend's first byte came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_first_byte_us: Option<u64>,
    /// When the answer's first byte went to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// How long verification took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_us: Option<u64>,
}

impl LogRecord {
    /// The line, without a newline; never empty.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            serde_json::json!({ "src": self.src, "correlation_id": self.correlation_id, "verdict":
                { "outcome": "error", "reason": format!("the log line cannot be written: {error}") } })
            .to_string()
        })
    }
}
