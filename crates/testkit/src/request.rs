//! The truth about one request: what each hop would log if every clock were right.

use std::net::Ipv4Addr;

use correlation::uuid_text;
use event::{Direction, Hop};

use crate::population::Pod;
use crate::story::Story;

/// One request and every hop that saw it, in the order of travel (attempts in their order).
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Which number of its mix it is.
    pub number: u64,
    /// What happens in it.
    pub story: Story,
    /// Minted at the edge, a UUID of version 7.
    pub correlation_id: u128,
    /// W3C trace id.
    pub trace_id: u128,
    /// The span id that the edge sends on in `traceparent`.
    pub edge_span_id: u64,
    /// Envoy's request id, a UUID of version 4 as the gateway makes it.
    pub request_id: u128,
    /// Whether tracing samples it: sidecars then write `9` for the `4` of the version in the request id.
    pub sampled: bool,
    /// Request method.
    pub method: &'static str,
    /// Authority.
    pub host: &'static str,
    /// Path with query.
    pub url: String,
    /// User-Agent header.
    pub user_agent: String,
    /// Client address.
    pub client: Ipv4Addr,
    /// Client country, two letters.
    pub country: &'static str,
    /// Client's autonomous system.
    pub asn: u32,
    /// Every hop event of the request.
    pub hops: Vec<TrueHop>,
}

/// Who wrote a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A Fastly cache server.
    Fastly {
        /// POP, such as `FRA`.
        pop: &'static str,
        /// Server identity, such as `cache-fra-etou8220160-FRA`.
        identity: String,
    },
    /// An Envoy of the mesh.
    Proxy(Pod),
}

/// One hop's view. Times are nanoseconds; offsets count from the start at this hop.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueHop {
    /// Where.
    pub hop: Hop,
    /// Which way.
    pub direction: Direction,
    /// Who.
    pub server: Server,
    /// True start, unix nanoseconds.
    pub start_ns: i64,
    /// What this server's clock adds to the truth.
    pub skew_ns: i64,
    /// Start to end.
    pub duration_ns: u64,
    /// Start to the first byte sent upstream; `None` if nothing was sent.
    pub sent_ns: Option<u64>,
    /// Start to the first byte received from upstream; `None` if nothing was.
    pub answered_ns: Option<u64>,
    /// Start to the first byte sent downstream; `None` if nothing was.
    pub first_byte_ns: Option<u64>,
    /// Status; 0 if none was sent.
    pub status: u16,
    /// Envoy's response flags, empty for none.
    pub flags: &'static str,
    /// Envoy's response code details.
    pub details: &'static str,
    /// Fastly's cache state, empty at a proxy.
    pub cache_state: &'static str,
    /// Body bytes sent downstream.
    pub response_bytes: u64,
    /// Envoy's upstream cluster, or Fastly's backend.
    pub upstream_cluster: String,
    /// Address of the upstream host, empty if none was chosen.
    pub upstream_host: String,
    /// Server name asked for by the downstream proxy.
    pub server_name: String,
    /// Our end of the downstream connection.
    pub local_address: String,
    /// The peer as this proxy knows it.
    pub remote_address: String,
    /// Tries that this hop made.
    pub attempts: u16,
    /// Which try of the hop before this record is (1 for the first).
    pub attempt: u16,
}

impl Request {
    /// The correlation id as text.
    pub fn correlation_text(&self) -> String {
        uuid_text(self.correlation_id)
    }

    /// The request id as a hop writes it: sidecars rewrite the digit that holds the trace decision.
    pub fn request_text(&self, hop: &TrueHop) -> String {
        let id = match self.sampled && hop.hop == Hop::Sidecar {
            true => (self.request_id & !(0xf << 76)) | (0x9 << 76),
            false => self.request_id,
        };
        uuid_text(id)
    }

    /// The `traceparent` that every hop logs, for no hop of the mix has a tracer.
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.edge_span_id, u8::from(self.sampled))
    }

    /// Path without the query.
    pub fn path(&self) -> &str {
        self.url.split('?').next().unwrap_or("")
    }

    /// Query without the `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }

    /// The hops of one kind and direction.
    pub fn at(&self, hop: Hop, direction: Direction) -> impl Iterator<Item = &TrueHop> {
        self.hops.iter().filter(move |seen| seen.hop == hop && seen.direction == direction)
    }
}

impl TrueHop {
    /// The start that this hop's clock shows, unix nanoseconds.
    pub fn logged_start_ns(&self) -> i64 {
        self.start_ns + self.skew_ns
    }

    /// The pod, if a proxy wrote the record.
    pub fn pod(&self) -> Option<&Pod> {
        match &self.server {
            Server::Proxy(pod) => Some(pod),
            Server::Fastly { .. } => None,
        }
    }

    /// Whether Fastly wrote the record.
    pub fn is_fastly(&self) -> bool {
        self.pod().is_none()
    }
}
