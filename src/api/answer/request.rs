//! One request: its sentence, its ids, its hops as a tree, what is missing and how sure we are.

use correlation::{IdKind, uuid_text};
use event::HopEvent;
use serde::{Deserialize, Serialize};
use trace::skew::Skew;
use utoipa::ToSchema;

use super::event::{id_text, time_text};
use super::span::SpanAnswer;

/// One request: its entry and every hop event that evidence attaches to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct RequestAnswer {
    /// The request in one sentence.
    pub(crate) summary: String,
    /// The correlation id; not there if no record carries one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<String>,
    /// W3C trace id: the entry's own where it has one, else made from the strongest id.
    pub(crate) trace_id: String,
    /// Every id that its records carry, strongest kind first.
    pub(crate) ids: Vec<IdAnswer>,
    /// Whether nothing is missing but what was sampled out.
    pub(crate) complete: bool,
    /// Start at the first hop, on that hop's clock.
    pub(crate) start: String,
    /// Duration at the first hop, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ns: Option<u64>,
    /// Method, as the first hop that knows it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) method: String,
    /// Authority that the client asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    /// Path that the client asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) path: String,
    /// Status that the first hop sent; 0 if it sent none.
    pub(crate) status: u16,
    /// The request does not carry the asked id: it only shares another id with one that does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) only_related: bool,
    /// The hops as a tree in the order of travel: a parent stands before its children.
    pub(crate) spans: Vec<SpanAnswer>,
    /// What was expected and not seen.
    pub(crate) gaps: Vec<GapAnswer>,
    /// How far the clocks of its hops are apart, as intervals.
    pub(crate) skew: Vec<SkewAnswer>,
    /// Where its time went.
    pub(crate) split: Vec<PartAnswer>,
    /// Other requests that share an id with it, and why they are not this one.
    pub(crate) related: Vec<RelatedAnswer>,
    /// Per-request ids that another request carries, too: reused or forged, or two edges in conflict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) shared_ids: Vec<IdAnswer>,
}

/// One id of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct IdAnswer {
    /// `correlation_id`, `request_id`, `edge_request_id` or `trace_id`.
    pub(crate) kind: String,
    /// The id as text.
    pub(crate) value: String,
    /// Event key of the record that ties it to the ids before it.
    pub(crate) tied_by: String,
    /// Spans of the request that carry it.
    pub(crate) records: usize,
}

/// A hop that should be there and is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct GapAnswer {
    /// What was expected: hop, direction and name, such as `sidecar inbound orders`.
    pub(crate) expected: String,
    /// `settling`, `sampled_out`, `lossy_sender` or `not_seen`.
    pub(crate) reason: String,
    /// Span id of the hop whose record makes us expect it.
    pub(crate) beside: String,
    /// Whether it lies below that hop, or above.
    pub(crate) below: bool,
}

/// Within which interval one clock is ahead of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SkewAnswer {
    /// The clock compared with.
    pub(crate) from: String,
    /// The clock that is ahead.
    pub(crate) to: String,
    /// At least so many nanoseconds; negative: behind.
    pub(crate) low_ns: i64,
    /// At most so many nanoseconds.
    pub(crate) high_ns: i64,
    /// Requests that agree on it.
    pub(crate) links: u64,
}

/// One share of a request's time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PartAnswer {
    /// `edge`, `edge_to_gateway_network`, `gateway`, `mesh`, `workload`; several joined by `+` where the records do
    /// not tell them apart.
    pub(crate) part: String,
    /// How long, nanoseconds.
    pub(crate) duration_ns: u64,
    /// How far off that may be, either way, nanoseconds.
    pub(crate) error_ns: u64,
}

/// Another request, and why it is not the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RelatedAnswer {
    /// Its trace id.
    pub(crate) trace_id: String,
    /// Its correlation id; not there if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<String>,
    /// What both share: `same_trace`, `shared_id: KIND` (reused or forged) or `conflict: KIND`.
    pub(crate) why: String,
}

impl RequestAnswer {
    /// The answer for a request; `learnt` are the bounds that other requests gave for clocks.
    pub(crate) fn new(request: &trace::Request, learnt: &[Skew]) -> Self {
        let entry = request.entry().map(|span| &span.event);
        let known = |text: for<'e> fn(&'e HopEvent<'static>) -> &'e str| {
            let mut texts = request.spans.iter().map(|span| text(&span.event));
            texts.find(|text| !text.is_empty()).unwrap_or_default().to_owned()
        };
        let ids: Vec<IdAnswer> = request.ids.iter().map(|id| id_answer(request, id)).collect();
        let is_shared = |id: &&trace::RequestId| request.shared_ids.contains(&(id.kind, id.value));
        Self {
            summary: trace::summary(request),
            correlation_id: ids
                .iter()
                .find(|id| id.kind == IdKind::Correlation.name())
                .map(|id| id.value.clone()),
            trace_id: format!("{:032x}", request.trace_id),
            shared_ids: request.ids.iter().filter(is_shared).map(|id| id_answer(request, id)).collect(),
            ids,
            complete: request.is_complete(),
            start: time_text(entry.map_or(0, |event| event.start_ns)),
            duration_ns: entry.and_then(|event| event.duration_ns),
            method: known(|event| event.method.as_ref()),
            host: known(|event| event.host.as_ref()),
            path: known(|event| event.path.as_ref()),
            status: entry.map_or(0, |event| event.status),
            only_related: false,
            spans: request.spans.iter().map(|span| SpanAnswer::new(span, &request.spans)).collect(),
            gaps: request.gaps.iter().map(|gap| gap_answer(request, gap)).collect(),
            skew: skews(request, learnt),
            split: trace::split(request).iter().map(PartAnswer::from).collect(),
            related: request.related.iter().map(RelatedAnswer::from).collect(),
        }
    }
}

fn id_answer(request: &trace::Request, id: &trace::RequestId) -> IdAnswer {
    let carrier =
        request.spans.iter().flat_map(trace::Span::records).find(|event| id_of(event, id.kind) == id.value);
    IdAnswer {
        kind: id.kind.name().to_owned(),
        value: carrier.map(|event| id_text(event, id.kind, id.value)).unwrap_or_default(),
        tied_by: request
            .spans
            .get(id.tied_by)
            .map(|span| format!("{:016x}", span.event.event_key))
            .unwrap_or_default(),
        records: id.records,
    }
}

fn id_of(event: &HopEvent<'_>, kind: IdKind) -> u128 {
    match kind {
        IdKind::Correlation => event.correlation_id,
        IdKind::Request => event.request_id,
        IdKind::EdgeRequest => event.edge_request_id,
        IdKind::Trace => event.trace_id,
    }
}

/// The hop that is missing: its name, direction and whose it is, as far as they are known.
pub(crate) fn expected(gap: &trace::Gap) -> String {
    let direction = match gap.direction {
        event::Direction::Unknown => "",
        direction => direction.name(),
    };
    let words = match (gap.hop, gap.below) {
        (event::Hop::Unknown, true) => ["next hop", "", ""],
        (event::Hop::Unknown, false) => ["caller", "", ""],
        (hop, _) => [hop.name(), direction, &gap.name],
    };
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn gap_answer(request: &trace::Request, gap: &trace::Gap) -> GapAnswer {
    GapAnswer {
        expected: expected(gap),
        reason: gap.reason.name().to_owned(),
        beside: request
            .spans
            .get(gap.beside)
            .map(|span| format!("{:016x}", span.span_id))
            .unwrap_or_default(),
        below: gap.below,
    }
}

/// The bounds for the pairs of clocks that this request's links cross: what others taught, else what it says itself.
fn skews(request: &trace::Request, learnt: &[Skew]) -> Vec<SkewAnswer> {
    let own = trace::skew::skews(trace::skew::observations(request));
    let mut pairs: Vec<(&str, &str)> = request
        .spans
        .iter()
        .filter_map(|span| {
            let parent = request.spans.get(span.link.as_ref()?.parent)?;
            Some((trace::skew::server(&parent.event)?, trace::skew::server(&span.event)?))
        })
        .filter(|(from, to)| from != to)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let of = |known: &[Skew], (from, to): (&str, &str)| {
        known.iter().find(|skew| (skew.from.as_str(), skew.to.as_str()) == (from, to)).map(SkewAnswer::from)
    };
    pairs.into_iter().filter_map(|pair| of(learnt, pair).or_else(|| of(&own, pair))).collect()
}

impl From<&Skew> for SkewAnswer {
    fn from(skew: &Skew) -> Self {
        let Skew { from, to, low_ns, high_ns, links } = skew;
        Self { from: from.clone(), to: to.clone(), low_ns: *low_ns, high_ns: *high_ns, links: *links }
    }
}

impl From<&trace::Part> for PartAnswer {
    fn from(part: &trace::Part) -> Self {
        Self { part: part.places.to_string(), duration_ns: part.duration_ns, error_ns: part.error_ns }
    }
}

impl From<&trace::Related> for RelatedAnswer {
    fn from(related: &trace::Related) -> Self {
        let why = match related.why {
            trace::RelatedBy::Trace => related.why.name().to_owned(),
            trace::RelatedBy::SharedId(kind) | trace::RelatedBy::Conflict(kind) => {
                format!("{}: {}", related.why.name(), kind.name())
            }
        };
        let correlation_id = (related.kind == IdKind::Correlation).then(|| uuid_text(related.value));
        Self { trace_id: format!("{:032x}", related.trace_id), correlation_id, why }
    }
}
