//! Who sends lately with which ids, and how many requests are whole, as it is answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Senders and a sample of requests of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct CoverageAnswer {
    /// Begin of the window, RFC 3339.
    pub(crate) since: String,
    /// Its end, not included.
    pub(crate) until: String,
    /// Whether the window has more events than were looked at: senders of its newest part only.
    pub(crate) truncated: bool,
    /// Senders, those with the most events first; at most 200.
    pub(crate) senders: Vec<SenderIdsAnswer>,
    /// The sampled requests.
    pub(crate) requests: SampleAnswer,
}

/// One sender in one format, and which ids its events carry. Events of TCP connections are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct SenderIdsAnswer {
    /// The configured input.
    pub(crate) source: String,
    /// The decoder that read its records.
    pub(crate) format: String,
    /// Where it stands.
    pub(crate) hop: String,
    /// Workload, service, Fastly service, pod or node, whichever its records name; empty for none.
    pub(crate) sender: String,
    /// Last receipt, RFC 3339.
    pub(crate) last_received: String,
    /// Events; a redelivered one counts twice.
    pub(crate) events: u64,
    /// Those with a correlation id.
    pub(crate) with_correlation_id: u64,
    /// With Envoy's request id.
    pub(crate) with_request_id: u64,
    /// With Fastly's own request id.
    pub(crate) with_edge_request_id: u64,
    /// With a trace id, as a `traceparent` gives it.
    pub(crate) with_trace_id: u64,
    /// With no id that joins them to anything.
    pub(crate) without_id: u64,
}

/// Requests that were put together from what is stored, to see how whole they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct SampleAnswer {
    /// How many were looked at, settled ones only.
    pub(crate) sampled: u64,
    /// Those of which nothing is missing but what was sampled out.
    pub(crate) complete: u64,
    /// Those of more than one hop.
    pub(crate) joined: u64,
    /// What is missing in the others, most first.
    pub(crate) gaps: Vec<GapCountAnswer>,
    /// Whether a bound cut the reading short.
    pub(crate) truncated: bool,
}

/// In how many sampled requests a hop is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct GapCountAnswer {
    /// The hop, with its direction and name: `gateway`, `sidecar inbound orders`.
    pub(crate) expected: String,
    /// `lossy_sender` or `not_seen`.
    pub(crate) reason: String,
    /// Requests.
    pub(crate) requests: u64,
}
