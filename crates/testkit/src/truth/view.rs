//! One hop's view of one request, with all that any format logs of it.

use event::{Direction, Hop};

/// What kind of traffic it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Http,
    Grpc,
    WebSocket,
    Tcp,
}

/// Times are true, unix nanoseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) request: u32,
    pub(super) parent: Option<u32>,
    pub(super) hop: Hop,
    pub(super) direction: Direction,
    /// Index into the mesh's servers.
    pub(super) server: usize,
    pub(super) kind: Kind,
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    /// First byte sent upstream by the last try.
    pub(super) sent_ns: Option<i64>,
    /// First byte from upstream.
    pub(super) answered_ns: Option<i64>,
    /// First byte of the response sent downstream.
    pub(super) first_byte_ns: Option<i64>,
    pub(super) method: &'static str,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) protocol: &'static str,
    /// 0 if none was sent.
    pub(super) status: u16,
    pub(super) grpc_status: Option<u8>,
    /// Envoy's flags, in the order of its text formats; empty for none.
    pub(super) flags: &'static str,
    pub(super) details: &'static str,
    /// Answered by the proxy itself, so the request never reached its router.
    pub(super) is_local_reply: bool,
    pub(super) is_cancelled: bool,
    pub(super) response_bytes: u64,
    pub(super) cache_state: &'static str,
    pub(super) restarts: u32,
    pub(super) to_shield: bool,
    /// Envoy's cluster or Fastly's backend.
    pub(super) cluster: String,
    pub(super) upstream_host: String,
    pub(super) upstream_local: String,
    pub(super) local: String,
    /// The peer as the proxy takes it from `X-Forwarded-For`, else the socket's.
    pub(super) remote: String,
    /// The socket's other end.
    pub(super) direct_remote: String,
    pub(super) server_name: String,
    pub(super) forwarded_for: String,
    pub(super) client: String,
    pub(super) correlation: String,
    /// As this hop writes it.
    pub(super) request_id: String,
    pub(super) edge_request_id: String,
    /// Trace id and span id of the `traceparent` that this hop logs.
    pub(super) traceparent: Option<(u128, u64)>,
    /// Trace id and own span id, where a tracer runs.
    pub(super) own_span: Option<(u128, u64)>,
    /// Tries that this hop made.
    pub(super) attempts: u16,
    /// Which try of its caller it is.
    pub(super) attempt: u16,
    pub(super) is_lost: bool,
}

impl View {
    pub(super) fn duration_ns(&self) -> u64 {
        (self.end_ns - self.start_ns).max(0) as u64
    }

    /// Time from the start of this view.
    pub(super) fn since_start(&self, at: i64) -> u64 {
        (at - self.start_ns).max(0) as u64
    }

    /// `x-envoy-upstream-service-time`: whole milliseconds from the request sent to the response begun.
    pub(super) fn service_time_ms(&self) -> Option<u64> {
        let (sent, answered) = (self.sent_ns?, self.answered_ns?);
        (self.kind != Kind::WebSocket).then(|| (answered - sent).max(0) as u64 / 1_000_000)
    }

    pub(super) fn traceparent_text(&self) -> String {
        self.traceparent.map(|(trace, span)| format!("00-{trace:032x}-{span:016x}-01")).unwrap_or_default()
    }
}
