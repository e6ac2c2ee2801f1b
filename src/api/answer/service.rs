//! What an instance says of itself: ports, disk, store and sources, without any secret.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One instance, as it runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct ServiceAnswer {
    /// Version of the program.
    pub(crate) version: String,
    /// Its clock, RFC 3339.
    pub(crate) now: String,
    /// Fastly, OTLP over HTTP, lines and the query API.
    pub(crate) http: PortAnswer,
    /// Envoy's access log service and OTLP over gRPC.
    pub(crate) grpc: PortAnswer,
    /// The embedded engine's read-only port; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine_port: Option<String>,
    pub(crate) disk: DiskAnswer,
    pub(crate) store: StoreAnswer,
    /// Lines of the answer to Fastly's challenge: `*`, or the SHA-256 of each allowed service id.
    pub(crate) challenge: Vec<String>,
    /// Whether settled requests are exported as traces.
    pub(crate) exporting: bool,
    /// Inputs of the tenant that take deliveries over the network.
    pub(crate) sources: Vec<EntranceAnswer>,
}

/// One port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct PortAnswer {
    /// Address and port.
    pub(crate) listen: String,
    /// Whether it speaks TLS.
    pub(crate) tls: bool,
    /// Whether clients need a certificate.
    pub(crate) client_certificates: bool,
}

/// The disk under the data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct DiskAnswer {
    /// Bytes that are free for this service; absent where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) free_bytes: Option<u64>,
    /// Size of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_bytes: Option<u64>,
    /// What must stay free (`spool.min_free`).
    pub(crate) min_free_bytes: u64,
    /// What waiting records may take (`spool.max_bytes`).
    pub(crate) spool_most_bytes: u64,
    /// What they take.
    pub(crate) spool_used_bytes: u64,
}

/// The store, as this instance reaches it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct StoreAnswer {
    /// Whether it is the embedded engine.
    pub(crate) embedded: bool,
    /// ClickHouse's version; absent where it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Statements of this program's schema.
    pub(crate) schema_statements: u64,
    /// Those that have not run in the database.
    pub(crate) schema_missing: Vec<String>,
    /// What has run there and this program does not know.
    pub(crate) schema_unknown: Vec<String>,
}

/// One configured input that takes deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct EntranceAnswer {
    /// Its name.
    pub(crate) source: String,
    /// What it speaks.
    pub(crate) kind: String,
    /// Whether a sender must present a token.
    pub(crate) needs_token: bool,
    /// The header that carries it.
    pub(crate) header: String,
    /// Whether only listed addresses, or named certificates, may send.
    pub(crate) is_bounded: bool,
}
