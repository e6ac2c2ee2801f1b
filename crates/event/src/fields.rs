//! The table of fields. One row makes the struct field, its place in the byte form, and its name in columns and JSON.
//!
//! Adding a field: append a row with the next number (at most 127), add the column in `schemas/clickhouse` by a new
//! migration and in `store::rows`. Numbers are stored: never reuse, never reorder.

use std::borrow::Cow;

use crate::kinds::{Direction, Hop, Precision};
use crate::notes::Notes;
use crate::owned::Lasting;
use crate::wire::{Reader, Value, WireError};

/// Text borrowed from the payload where possible; empty means "not in the record".
pub type Text<'a> = Cow<'a, str>;

/// What the schema has no field for: name and text, in the order of the record. Kept, redacted, never dropped.
pub type Attributes<'a> = Vec<(Text<'a>, Text<'a>)>;

/// Name, number and documentation of one field, for whoever describes the schema (JSON Schema, docs, tests).
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Number in the byte form.
    pub number: u8,
    /// Name of the struct field, the column and the JSON member.
    pub name: &'static str,
    /// The Rust type, as written in the table.
    pub rust_type: &'static str,
    /// What it means, with its unit.
    pub doc: &'static str,
}

macro_rules! hop_event {
    ($( $number:literal $name:ident: $kind:ty = $doc:literal; )*) => {
        /// One request as one hop saw it. Field by field in [`HopEvent::FIELDS`].
        ///
        /// Absent is the default of the type: empty text, `None`, 0 for ids and addresses.
        /// Durations are nanoseconds since `start_ns` of the same hop, on that hop's clock.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct HopEvent<'a> {
            $( #[doc = $doc] pub $name: $kind, )*
        }

        impl<'a> HopEvent<'a> {
            /// Every field, in the order of the table.
            pub const FIELDS: &'static [Field] = &[
                $( Field { number: $number, name: stringify!($name), rust_type: stringify!($kind), doc: $doc } ),*
            ];

            /// The same event, holding its texts itself.
            pub fn into_owned(self) -> HopEvent<'static> {
                HopEvent { $( $name: self.$name.into_own(), )* }
            }

            /// Appends the fields that are present: a 128-bit presence map, then each value in table order.
            pub(crate) fn put_fields(&self, out: &mut Vec<u8>) {
                let map_at = out.len();
                out.extend_from_slice(&[0; 16]);
                let mut present = 0u128;
                $( if self.$name.is_present() {
                    present |= 1 << $number;
                    self.$name.put(out);
                } )*
                out[map_at..map_at + 16].copy_from_slice(&present.to_le_bytes());
            }

            /// The reverse of [`Self::put_fields`], borrowing text from the reader's bytes.
            pub(crate) fn take_fields(reader: &mut Reader<'a>) -> Result<Self, WireError> {
                const KNOWN: u128 = 0 $( | (1 << $number) )*;
                let present = u128::from_le_bytes(reader.array()?);
                if present & !KNOWN != 0 {
                    return Err(WireError::NewerFields);
                }
                let mut event = Self::default();
                $( if present & (1 << $number) != 0 {
                    event.$name = Value::take(reader)?;
                } )*
                Ok(event)
            }
        }
    };
}

hop_event! {
    0 tenant: Text<'a> = "Whose event it is; set from the ingest token, never from the payload.";
    1 source: Text<'a> = "The configured input that received it.";
    2 format: Text<'a> = "The decoder or preset that read it, such as `fastly-default` or `envoy-als-http`.";
    3 received_ns: i64 = "When this service accepted it, unix nanoseconds.";
    4 event_key: u64 = "What makes the event itself: equal for redeliveries of the same record.";
    5 hop: Hop = "Where on its way the request was seen.";
    6 direction: Direction = "Which way the hop stood, seen from its own workload.";
    7 notes: Notes = "What normalization had to decide.";

    8 correlation_id: u128 = "Our key, minted per request at the edge; 0 if none. Opaque text is hashed, the text an attribute.";
    9 request_id: u128 = "Envoy's x-request-id with the rewritten digit masked; 0 if none.";
    10 edge_request_id: u128 = "Fastly's per-request id; 0 if none.";
    11 trace_id: u128 = "W3C trace id; 0 if none.";
    12 span_id: u64 = "The hop's own span id, where a tracer gave it one; 0 if none.";
    13 parent_span_id: u64 = "The span id in the traceparent that the hop logged; 0 if none.";
    14 request_id_reason: u8 = "The hex digit that Envoy packs its trace decision into, as read; 0 if none.";

    15 start_ns: i64 = "Start of the request on this hop's clock, unix nanoseconds.";
    16 start_precision: Precision = "How fine that clock wrote.";
    17 duration_ns: Option<u64> = "Start to the end of the request at this hop.";
    18 request_rx_ns: Option<u64> = "Start to the last byte of the request from downstream.";
    19 upstream_tx_first_ns: Option<u64> = "Start to the first byte sent upstream.";
    20 upstream_tx_last_ns: Option<u64> = "Start to the last byte sent upstream.";
    21 upstream_rx_first_ns: Option<u64> = "Start to the first byte received from upstream.";
    22 upstream_rx_last_ns: Option<u64> = "Start to the last byte received from upstream.";
    23 first_byte_ns: Option<u64> = "Start to the first byte of the response sent downstream.";
    24 last_byte_ns: Option<u64> = "Start to the last byte of the response sent downstream.";
    25 upstream_service_ns: Option<u64> = "What the upstream itself says it took (x-envoy-upstream-service-time).";
    26 log_type: Text<'a> = "Envoy's access log type, such as `DownstreamEnd`.";
    27 intermediate: bool = "A periodic record of a request that had not ended.";

    28 method: Text<'a> = "Request method.";
    29 scheme: Text<'a> = "`http` or `https`, where the record says.";
    30 host: Text<'a> = "Authority that the client asked for.";
    31 path: Text<'a> = "Path that the client asked for, without the query.";
    32 query: Text<'a> = "Query string without `?`, redacted.";
    33 upstream_path: Text<'a> = "Path after rewrites, where it differs.";
    34 protocol: Text<'a> = "Protocol as the hop names it, such as `HTTP/1.1`, `HTTP/2`, `TCP`.";
    35 status: u16 = "Response status; 0 means that none was sent (or none exists).";
    36 grpc_status: Option<u32> = "gRPC status number.";
    37 response_flags: Text<'a> = "Envoy's response flags, sorted and comma-separated; empty for none.";
    38 details: Text<'a> = "Envoy's response code details.";
    39 termination_details: Text<'a> = "Envoy's connection termination details.";
    40 transport_failure: Text<'a> = "Upstream transport failure reason.";
    41 route: Text<'a> = "Route name.";
    42 user_agent: Text<'a> = "User-Agent header.";
    43 referer: Text<'a> = "Referer header, its query redacted.";
    44 content_type: Text<'a> = "Content type of the response.";
    45 request_bytes: Option<u64> = "Body bytes received from downstream.";
    46 response_bytes: Option<u64> = "Body bytes sent downstream (Fastly: all response bytes where only those are logged).";
    47 request_header_bytes: Option<u64> = "Header bytes received from downstream.";
    48 response_header_bytes: Option<u64> = "Header bytes sent downstream.";

    49 client_address: u128 = "The client as this hop knows it, IPv6 or v4-mapped; 0 if none.";
    50 forwarded_for: Text<'a> = "X-Forwarded-For as logged.";
    51 downstream_remote: Text<'a> = "Downstream peer, `address:port`.";
    52 downstream_local: Text<'a> = "Our end of the downstream connection, `address:port`.";
    53 upstream_remote: Text<'a> = "Upstream host, `address:port`.";
    54 upstream_local: Text<'a> = "Our end of the upstream connection, `address:port`.";
    55 upstream_cluster: Text<'a> = "Envoy's upstream cluster, raw name; Fastly's backend.";
    56 sni: Text<'a> = "Requested server name.";
    57 tls_version: Text<'a> = "Downstream TLS version, such as `TLSv1.3`.";
    58 tls_cipher: Text<'a> = "Downstream TLS cipher.";
    59 ja3: Text<'a> = "JA3 fingerprint of the client.";
    60 ja4: Text<'a> = "JA4 fingerprint of the client.";
    61 downstream_peer: Text<'a> = "Identity of the downstream peer (SPIFFE id).";
    62 upstream_peer: Text<'a> = "Identity of the upstream peer (SPIFFE id).";
    63 country: Text<'a> = "Client country, as the sender writes it (code or name), lower case.";
    64 asn: u32 = "Client's autonomous system number; 0 if none.";

    65 pop: Text<'a> = "Fastly POP, upper case, such as `FRA`.";
    66 server: Text<'a> = "The server that wrote the record: Fastly cache server or host name.";
    67 service_id: Text<'a> = "Fastly service id.";
    68 service_version: Text<'a> = "Fastly service version.";
    69 cache_state: Text<'a> = "Cache state as logged, such as `HIT-STALE-CLUSTER`.";
    70 cache_result: Text<'a> = "`hit`, `miss`, `pass`, `error`, `synth` or empty.";
    71 restarts: Option<u32> = "Fastly restarts before this delivery.";
    72 visits: Option<u32> = "fastly.ff.visits_this_service: 0 at the edge.";
    73 to_shield: Option<bool> = "Whether the edge went on to a shield.";
    74 completed: Option<bool> = "Whether the response was sent whole.";

    75 node: Text<'a> = "Envoy node id.";
    76 pod: Text<'a> = "Pod name.";
    77 namespace: Text<'a> = "Kubernetes namespace.";
    78 workload: Text<'a> = "Workload name.";
    79 workload_revision: Text<'a> = "Workload revision (canonical revision label).";
    80 mesh_cluster: Text<'a> = "Cluster id of the mesh.";
    81 service: Text<'a> = "Service name by OpenTelemetry's sense: canonical workload name, or the Fastly service.";
    82 peer_workload: Text<'a> = "Workload at the other end, from Istio's peer metadata.";
    83 peer_namespace: Text<'a> = "Namespace at the other end, from Istio's peer metadata.";
    84 attempt: u16 = "Which try at this hop (1 for the first); 0 if the record does not say.";

    85 verdict: Text<'a> = "What a policy point decided: `allow`, `deny` and others as logged.";
    86 verdict_rule: Text<'a> = "The rule or policy that decided.";
    87 verdict_reason: Text<'a> = "Why it decided so.";
    88 policy_version: Text<'a> = "Version of the policy that decided.";
    89 subject: Text<'a> = "Pseudonym of who asked: a keyed HMAC, never the name.";
    90 issuer: Text<'a> = "Token issuer.";
    91 key_id: Text<'a> = "Key id of the token.";
    92 sample_rate: f64 = "How many requests the record stands for; 0 means that the record does not say (one).";
    93 attributes: Attributes<'a> = "What the schema has no field for.";
}
