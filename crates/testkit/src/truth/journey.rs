//! One request on its way: what it carries, what happens to it, and the views that it leaves behind.

use event::{Direction, Hop};

use super::mesh::Mesh;
use super::plan::{Clients, Plan, Shape};
use super::view::{Kind, View};
use crate::rng::Rng;

pub(super) const US: i64 = 1_000;
pub(super) const MS: i64 = 1_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;

/// What happens in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    Plain,
    /// Answered from the edge's cache.
    Hit,
    /// Answered from the shield's cache, if there is a shield.
    ShieldHit,
    /// Some application hangs; the gateway gives up and everybody below sees its caller leave.
    Timeout,
    /// The first sidecar's policy refuses.
    Denied,
    /// A policy further in refuses the first call.
    DeniedInside,
    /// The gateway's policy refuses.
    DeniedAtGateway,
    /// The gateway has no route.
    NoRoute,
    /// The gateway cannot connect, twice.
    Refused,
    /// The gateway tries two or three times.
    GatewayRetry,
    /// The first outbound sidecar tries twice.
    OutboundRetry,
    /// The first fetch fails at the gateway; the edge restarts and fetches again.
    Restart,
    /// The application streams for a while.
    Long,
}

impl Story {
    pub(super) fn draw(plan: &Plan, rng: &mut Rng) -> Self {
        let wide = plan.shape == Shape::Wide;
        match rng.below(1000) {
            0..40 => Self::Hit,
            40..60 => Self::ShieldHit,
            60..75 => Self::Timeout,
            75..90 => Self::Denied,
            90..105 => Self::DeniedInside,
            105..115 => Self::DeniedAtGateway,
            115..125 => Self::NoRoute,
            125..135 => Self::Refused,
            135..175 => Self::GatewayRetry,
            175..215 => Self::OutboundRetry,
            215..235 => Self::Restart,
            235..435 if wide => Self::GatewayRetry,
            435..635 if wide => Self::OutboundRetry,
            235..285 if plan.clients == Clients::Protocols => Self::Long,
            _ => Self::Plain,
        }
    }
}

/// The headers that matter here, as a hop receives them.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    /// Empty for none, as are the others.
    pub(super) correlation: String,
    pub(super) request_id: String,
    pub(super) edge_request_id: String,
    pub(super) traceparent: Option<(u128, u64)>,
    pub(super) forwarded_for: String,
}

/// How a hop's work came out for its caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// When the first byte of the response left; `None` if none did.
    pub(super) first_ns: Option<i64>,
    pub(super) end_ns: i64,
    pub(super) status: u16,
    pub(super) grpc_status: Option<u8>,
    pub(super) bytes: u64,
}

/// One request under way.
pub(super) struct Journey<'w> {
    pub(super) mesh: &'w mut Mesh,
    pub(super) views: &'w mut Vec<View>,
    pub(super) plan: &'w Plan,
    pub(super) rng: Rng,
    pub(super) request: u32,
    pub(super) story: Story,
    pub(super) kind: Kind,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) client: String,
    /// Sampled by a tracing configuration: sidecars then write a `9` into the request id.
    pub(super) is_sampled: bool,
    /// Gateways keep the `x-request-id` of clients rather than to make their own.
    pub(super) keeps_request_id: bool,
    /// When the request began: connections need not remember what was before.
    pub(super) began_ns: i64,
    /// Depth of the application that hangs in a [`Story::Timeout`].
    pub(super) hangs_at: u32,
    /// A retry or denial that the story still owes.
    pub(super) is_owed: bool,
}

impl Journey<'_> {
    /// A new view; its number is its tag.
    pub(super) fn open(
        &mut self,
        parent: Option<usize>,
        (hop, direction): (Hop, Direction),
        server: usize,
        start_ns: i64,
        headers: &Headers,
    ) -> usize {
        self.views.push(View {
            request: self.request,
            parent: parent.map(|parent| parent as u32),
            hop,
            direction,
            server,
            kind: self.kind,
            start_ns,
            method: self.method,
            path: self.path.clone(),
            protocol: "HTTP/1.1",
            client: self.client.clone(),
            correlation: headers.correlation.clone(),
            request_id: headers.request_id.clone(),
            edge_request_id: headers.edge_request_id.clone(),
            traceparent: headers.traceparent,
            forwarded_for: headers.forwarded_for.clone(),
            attempts: 1,
            attempt: 1,
            ..View::default()
        });
        self.views.len() - 1
    }

    /// Writes an outcome into the view of the hop that answers with it.
    pub(super) fn close(&mut self, view: usize, outcome: Outcome) -> Outcome {
        let view = &mut self.views[view];
        view.end_ns = outcome.end_ns;
        view.first_byte_ns = outcome.first_ns;
        view.status = outcome.status;
        view.grpc_status = outcome.grpc_status;
        view.response_bytes = outcome.bytes;
        outcome
    }

    /// Size of a response: that of its path. Of what is made for each client every other one differs a little; a crowd
    /// gets the same, so that sizes tell nothing there.
    pub(super) fn size_of(&mut self, view: usize) -> u64 {
        let path = self.views[view].path.bytes();
        let size = path.fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let varies = self.plan.clients != Clients::Crowd && self.rng.below(2) == 0;
        300 + (size >> 20) % 60_000 + if varies { self.rng.below(400) } else { 0 }
    }

    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        self.rng.between(from as u64, to as u64) as i64
    }

    /// The story's debt, if it is still open; it is paid by asking.
    pub(super) fn owes(&mut self, story: Story) -> bool {
        let owes = self.is_owed && self.story == story;
        if owes {
            self.is_owed = false;
        }
        owes
    }

    pub(super) fn span_id(&mut self) -> u64 {
        self.rng.next_u64().max(1)
    }
}

/// The request id as a sidecar writes it for a sampled request: the version digit of a UUID becomes a `9`.
pub(super) fn sampled(request_id: &str) -> String {
    match (request_id.len(), request_id.get(..14), request_id.get(15..)) {
        (36, Some(head), Some(tail)) => format!("{head}9{tail}"),
        _ => request_id.to_owned(),
    }
}
