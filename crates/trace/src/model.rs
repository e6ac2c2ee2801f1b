//! What an assembly answers: requests, their spans, the links between them with the evidence, and what is missing.

use correlation::IdKind;
use event::{Direction, Hop, HopEvent};

/// What the assembly is told besides the events: it has no clock and no configuration of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Now by the store's clock, unix nanoseconds; 0 where all that will come has come (files read offline).
    pub now_ns: i64,
    /// How long after its last record a request may still grow.
    pub settle_ns: i64,
}

impl Moment {
    /// Nothing more will come.
    pub const FINAL: Self = Self { now_ns: 0, settle_ns: 0 };
}

/// One entry record and every hop event that evidence attaches to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Every id that its events carry, strongest kind first.
    pub ids: Vec<RequestId>,
    /// The hop events as a tree in the order of travel: a parent stands before its children, the root first. Never
    /// empty.
    pub spans: Vec<Span>,
    /// What was expected and not seen.
    pub gaps: Vec<Gap>,
    /// Other requests among the same candidates, and why they are not this one.
    pub related: Vec<Related>,
    /// Per-request ids that events of another request carry, too: reused by a client, or a conflict of two edges.
    pub shared_ids: Vec<(IdKind, u128)>,
    /// W3C trace id: the entry's own where it has one, else made from the canonical id.
    pub trace_id: u128,
}

/// One id of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// What it names.
    pub kind: IdKind,
    /// Its 128 bits.
    pub value: u128,
    /// Spans of this request that carry it.
    pub records: usize,
    /// The span (index) that ties it to the ids before it: the first that carries it together with one of them; the
    /// first that carries it at all where it is the first id or nothing else ties it.
    pub tied_by: usize,
}

/// One hop event in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The event. Where several records tell of it, the most precise one.
    pub event: HopEvent<'static>,
    /// How often the event's record was delivered, once included.
    pub deliveries: usize,
    /// Other records of the same event: by another transport, or periodic ones before the last.
    pub also: Vec<HopEvent<'static>>,
    /// Its span id: the tracer's where the hop had one, else a hash of the event key.
    pub span_id: u64,
    /// What it hangs under; `None` for the root.
    pub link: Option<Link>,
    /// Links to the root.
    pub depth: u32,
    /// Start relative to the root's start, by raw clocks: negative where a clock runs behind.
    pub offset_ns: i64,
}

/// A parent and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Index of the parent among the request's spans, always smaller than the child's own.
    pub parent: usize,
    /// How sure.
    pub confidence: Confidence,
    /// What speaks for it, strongest first.
    pub evidence: Vec<Evidence>,
}

/// How sure a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Several parents fit equally; the first of them was taken.
    Ambiguous,
    /// The best of several that were possible, or the only one with something missing.
    Likely,
    /// Nothing else is possible by what the records say.
    Certain,
}

/// What speaks for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// The child logged the span id that the parent sent.
    SpanId,
    /// Both carry the same per-request id.
    SameId(IdKind),
    /// The parent's upstream address is the child's own.
    Address,
    /// Both name the same connection by both of its ends.
    Connection,
    /// The parent's upstream cluster, server name or peer names the child's workload.
    Destination,
    /// Both records come from the proxy of one pod.
    SamePod,
    /// The number of the attempt fits.
    Attempt,
    /// Method, path, status and body size agree.
    Likeness,
    /// By their own clocks the child lies within the parent.
    Time,
    /// The hop before it on the way.
    HopOrder,
}

/// A hop that should be there and is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// Where it should be; unknown for a caller of whom nothing is said but that there was one.
    pub hop: Hop,
    /// Which way it should stand.
    pub direction: Direction,
    /// Its name as the record beside it says: service, backend or pod; empty if it says none.
    pub name: String,
    /// The span whose record makes us expect it.
    pub beside: usize,
    /// Whether it should lie below that span (or above it).
    pub below: bool,
    /// Why it is missing, as far as is known.
    pub reason: GapReason,
}

/// Why a hop is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// Its record may still come: the settle window is open.
    Settling,
    /// Records of this request are samples.
    SampledOut,
    /// Its sender gives no acknowledgement and loses records when its receiver is away (ALS, OTLP without retry).
    LossySender,
    /// None of these: not logged there, or lost.
    NotSeen,
}

/// Another request, and why it is not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Related {
    /// Its trace id.
    pub trace_id: u128,
    /// Its canonical id.
    pub kind: IdKind,
    /// Its canonical id's value.
    pub value: u128,
    /// What both share.
    pub why: RelatedBy,
}

/// What two requests share without being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelatedBy {
    /// A trace id: a login journey, a page load.
    Trace,
    /// A per-request id that is on records of several requests, so that it proves nothing.
    SharedId(IdKind),
    /// A per-request id, but two different correlation ids.
    Conflict(IdKind),
}

impl Request {
    /// The canonical id: the smallest of the strongest kind; `None` if no event has any id.
    pub fn canonical(&self) -> Option<RequestId> {
        self.ids.first().copied()
    }

    /// The entry record.
    pub fn entry(&self) -> Option<&Span> {
        self.spans.first()
    }

    /// Whether one of its events carries an id of this value.
    pub fn carries(&self, values: &[u128]) -> bool {
        self.ids.iter().any(|id| values.contains(&id.value))
    }

    /// Whether nothing is missing but what was sampled out.
    pub fn is_complete(&self) -> bool {
        self.gaps.iter().all(|gap| gap.reason == GapReason::SampledOut)
    }

    /// The spans that hang under a span, in order.
    pub fn children(&self, parent: usize) -> impl Iterator<Item = (usize, &Span)> {
        self.spans
            .iter()
            .enumerate()
            .filter(move |(_, span)| span.link.as_ref().is_some_and(|link| link.parent == parent))
    }
}

impl Span {
    /// Every record of this event, the one that stands for it first.
    pub fn records(&self) -> impl Iterator<Item = &HopEvent<'static>> {
        std::iter::once(&self.event).chain(&self.also)
    }

    /// End by the hop's own clock, unix nanoseconds; the start where the duration is not known.
    pub fn end_ns(&self) -> i64 {
        self.event.start_ns.saturating_add_unsigned(self.event.duration_ns.unwrap_or(0))
    }
}

impl Confidence {
    /// The word used in JSON and columns.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Ambiguous => "ambiguous",
        }
    }
}

impl Evidence {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SpanId => "span_id",
            Self::SameId(kind) => kind.name(),
            Self::Address => "address",
            Self::Connection => "connection",
            Self::Destination => "destination",
            Self::SamePod => "same_pod",
            Self::Attempt => "attempt",
            Self::Likeness => "likeness",
            Self::Time => "time",
            Self::HopOrder => "hop_order",
        }
    }
}

impl GapReason {
    /// The word used in JSON and columns.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::SampledOut => "sampled_out",
            Self::LossySender => "lossy_sender",
            Self::NotSeen => "not_seen",
        }
    }
}

impl RelatedBy {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "same_trace",
            Self::SharedId(_) => "shared_id",
            Self::Conflict(_) => "conflict",
        }
    }
}
