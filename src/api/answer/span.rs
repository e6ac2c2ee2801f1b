//! One hop event in its place in a request.

use event::HopEvent;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event::EventAnswer;

/// One hop of a request: what a waterfall shows, what it hangs under and why, and the whole event beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct SpanAnswer {
    /// Span id, 16 hex digits: the tracer's where the hop had one, else made from the event key.
    pub(crate) span_id: String,
    /// Span id of what it hangs under; not there for the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_span_id: Option<String>,
    /// What makes the event itself, 16 hex digits.
    pub(crate) event_key: String,
    /// Where the request was seen.
    pub(crate) hop: String,
    /// `inbound`, `outbound` or `unknown`.
    pub(crate) direction: String,
    /// Service name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) service: String,
    /// Fastly POP.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) pop: String,
    /// Envoy's node id, or the cache server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) node: String,
    /// POP, pod, node or server, whichever the record names first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) place: String,
    /// Start by the hop's own clock, unix nanoseconds.
    pub(crate) start_unix_ns: i64,
    /// Whose clock that is: cache server, node or pod, as `skew` names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) clock: String,
    /// How fine that clock wrote: `s`, `ms`, `us`, `ns`, or `received` where the record has no time.
    pub(crate) precision: String,
    /// Start relative to the root's start, by raw clocks: may be negative.
    pub(crate) offset_ns: i64,
    /// Duration at this hop, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ns: Option<u64>,
    /// Links to the root.
    pub(crate) depth: u32,
    /// What was asked and answered.
    pub(crate) http: HttpAnswer,
    /// Envoy's response flags, comma-separated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) flags: String,
    /// Envoy's response code details.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) details: String,
    /// What a policy point decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<VerdictAnswer>,
    /// The configured input that received it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    /// What it hangs under, by which evidence; not there for the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<LinkAnswer>,
    /// What normalization had to decide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// How often the record was delivered, once included.
    pub(crate) deliveries: usize,
    /// The whole event.
    pub(crate) event: EventAnswer,
    /// Other records of the same event: by another transport, or periodic ones before the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<EventAnswer>,
}

/// What was asked of a hop and what it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct HttpAnswer {
    /// Request method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) method: String,
    /// Authority.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    /// Path, without the query.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) path: String,
    /// Protocol.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) protocol: String,
    /// Status; 0 if none was sent.
    pub(crate) status: u16,
}

/// What a policy point decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct VerdictAnswer {
    /// `allow`, `deny` and others as logged.
    pub(crate) outcome: String,
    /// The rule or policy that decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rule: String,
    /// Why it decided so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Version of the policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) policy_version: String,
}

/// Why a hop hangs where it does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LinkAnswer {
    /// What speaks for it, strongest first: `span_id`, an id's kind, `address`, `connection`, `destination`,
    /// `same_pod`, `attempt`, `likeness`, `time`, `hop_order`.
    pub(crate) evidence: Vec<String>,
    /// `certain`, `likely` or `ambiguous`.
    pub(crate) confidence: String,
}

impl SpanAnswer {
    /// The answer for one span of a request.
    pub(crate) fn new(span: &trace::Span, spans: &[trace::Span]) -> Self {
        let event = &span.event;
        let parent = span.link.as_ref().and_then(|link| spans.get(link.parent));
        Self {
            span_id: format!("{:016x}", span.span_id),
            parent_span_id: parent.map(|parent| format!("{:016x}", parent.span_id)),
            event_key: format!("{:016x}", event.event_key),
            hop: event.hop.name().to_owned(),
            direction: event.direction.name().to_owned(),
            service: event.service.to_string(),
            pop: event.pop.to_string(),
            node: first([&event.node, &event.server]),
            place: first([&event.pop, &event.pod, &event.node, &event.server]),
            start_unix_ns: event.start_ns,
            clock: trace::skew::server(event).unwrap_or_default().to_owned(),
            precision: event.start_precision.name().to_owned(),
            offset_ns: span.offset_ns,
            duration_ns: event.duration_ns,
            depth: span.depth,
            http: HttpAnswer::from(event),
            flags: event.response_flags.to_string(),
            details: event.details.to_string(),
            verdict: verdict(event),
            source: event.source.to_string(),
            link: span.link.as_ref().map(LinkAnswer::from),
            notes: event.notes.names().map(str::to_owned).collect(),
            deliveries: span.deliveries,
            event: EventAnswer::from(event),
            also: span.also.iter().map(EventAnswer::from).collect(),
        }
    }
}

fn first<const N: usize>(names: [&str; N]) -> String {
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned()
}

fn verdict(event: &HopEvent<'_>) -> Option<VerdictAnswer> {
    let verdict = VerdictAnswer {
        outcome: event.verdict.to_string(),
        rule: event.verdict_rule.to_string(),
        reason: event.verdict_reason.to_string(),
        policy_version: event.policy_version.to_string(),
    };
    (verdict != VerdictAnswer::default()).then_some(verdict)
}

impl From<&HopEvent<'_>> for HttpAnswer {
    fn from(event: &HopEvent<'_>) -> Self {
        Self {
            method: event.method.to_string(),
            host: event.host.to_string(),
            path: event.path.to_string(),
            protocol: event.protocol.to_string(),
            status: event.status,
        }
    }
}

impl From<&trace::Link> for LinkAnswer {
    fn from(link: &trace::Link) -> Self {
        Self {
            evidence: link.evidence.iter().map(|one| one.name().to_owned()).collect(),
            confidence: link.confidence.name().to_owned(),
        }
    }
}
