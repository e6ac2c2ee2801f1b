//! What `throughline explain --json` prints: the whole answer as data, described field by field in docs/explain.md.
//!
//! Absent fields are left out. Times are RFC 3339 in UTC, durations nanoseconds. A field may be added; none changes its
//! meaning without a new `version`.

use serde::{Deserialize, Serialize};

use crate::api::answer::{PartAnswer, RequestAnswer, SkewAnswer};

/// Version of this shape.
pub(crate) const VERSION: u32 = 1;

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExplainAnswer {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The files, in the order that they were named.
    pub(crate) files: Vec<FileAnswer>,
    /// Records that were read.
    pub(crate) records: u64,
    /// Records that could not be read.
    pub(crate) rejected: u64,
    /// First start of a record that has a time of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<String>,
    /// Last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// What was left out for want of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<LeftOutAnswer>,
    /// The hops that were seen, in the order of travel.
    pub(crate) hops: Vec<HopAnswer>,
    /// How many requests there are and how far they are joined.
    pub(crate) requests: RequestsAnswer,
    /// What joined them.
    pub(crate) joined_by: Vec<JoinAnswer>,
    /// Clocks that are known to differ, the farthest first.
    pub(crate) skew: Vec<SkewAnswer>,
    /// Failing requests by kind: what broke, then what was refused, then what the client did.
    pub(crate) failing: Vec<FailingAnswer>,
    /// Kinds of failures that `failing` leaves out.
    pub(crate) more_failing: u64,
    /// The slowest requests that did not fail (a timeout is always slow).
    pub(crate) slowest: Vec<ToldAnswer>,
    /// What to change so that more joins, the most important first.
    pub(crate) advice: Vec<AdviceAnswer>,
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FileAnswer {
    /// Its name as it was passed.
    pub(crate) file: String,
    /// What it holds, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// The formats of its records, as they stand in the `format` field of events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) formats: Vec<String>,
    /// The hops of its records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hops: Vec<String>,
    /// The hop that its records were taken for because of the file's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) hop_by_name: String,
    /// Records that were read.
    pub(crate) records: u64,
    /// Records that could not be read.
    pub(crate) rejected: u64,
    /// The first of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rejects: Vec<RejectAnswer>,
    /// First and last start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) range: Vec<String>,
    /// Why it could not be read, or not to its end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) problem: String,
    /// What it looks like and what to pass, where nothing of it could be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) looks_like: String,
}

/// One record that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RejectAnswer {
    /// Byte in the unpacked file.
    pub(crate) offset: u64,
    /// One word.
    pub(crate) reason: String,
    /// A sentence.
    pub(crate) detail: String,
    /// Its beginning, redacted.
    pub(crate) head: String,
}

/// Events that were left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeftOutAnswer {
    /// How many.
    pub(crate) records: u64,
    /// What started before this is missing.
    pub(crate) before: String,
}

/// Records of one hop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HopAnswer {
    /// The hop.
    pub(crate) hop: String,
    /// `inbound`, `outbound` or `unknown`.
    pub(crate) direction: String,
    /// Records.
    pub(crate) records: u64,
    /// POPs, pods or servers that wrote them.
    pub(crate) places: u64,
    /// Records that carry each kind of id.
    pub(crate) correlation_id: u64,
    /// The same of Envoy's request id.
    pub(crate) request_id: u64,
    /// The same of Fastly's request id.
    pub(crate) edge_request_id: u64,
    /// The same of W3C trace ids.
    pub(crate) trace_id: u64,
    /// Records without any id that could join them.
    pub(crate) unjoinable: u64,
    /// Records without a duration.
    pub(crate) without_duration: u64,
    /// How fine the coarsest clock writes: `s`, `ms`, `us`, `ns`; `received` where records have no time.
    pub(crate) clock: String,
}

/// How many requests, and how far joined.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RequestsAnswer {
    /// Requests.
    pub(crate) count: u64,
    /// Of two hops or more.
    pub(crate) joined: u64,
    /// Of the edge and the mesh.
    pub(crate) edge_to_mesh: u64,
    /// Seen at the edge only.
    pub(crate) edge_only: u64,
    /// Of those, answered by the edge itself (cache, synthetic).
    pub(crate) edge_answered: u64,
    /// Seen in the mesh only.
    pub(crate) mesh_only: u64,
    /// Without a gap.
    pub(crate) complete: u64,
    /// That failed.
    pub(crate) failing: u64,
}

/// One way in which requests are joined.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct JoinAnswer {
    /// `edge_to_shield`, `edge_to_mesh` or `in_mesh`.
    pub(crate) between: String,
    /// The id: `correlation_id`, `request_id`, `edge_request_id`, `span_id`; `hop_order` where none is on the link itself.
    pub(crate) by: String,
    /// Requests with such a link: a request may have links of several ways.
    pub(crate) requests: u64,
}

/// Failures of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailingAnswer {
    /// One word: `timed_out`, `denied`, `connect_failed` and so on.
    pub(crate) what: String,
    /// What the entry sent.
    pub(crate) status: u16,
    /// The hop nearest to the cause.
    pub(crate) hop: String,
    /// Rule, upstream or workload that its record names.
    pub(crate) target: String,
    /// Requests.
    pub(crate) requests: u64,
    /// The latest of them.
    pub(crate) latest: ToldAnswer,
}

/// One request, told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ToldAnswer {
    /// The sentence.
    pub(crate) summary: String,
    /// An id of it, as `--trace` takes it.
    pub(crate) id: String,
    /// What the id is.
    pub(crate) id_kind: String,
    /// Start at its first hop.
    pub(crate) start: String,
    /// Duration at its first hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ns: Option<u64>,
    /// Status at its first hop.
    pub(crate) status: u16,
    /// Hops seen.
    pub(crate) hops: usize,
    /// Where its time went.
    pub(crate) split: Vec<PartAnswer>,
}

/// One piece of advice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AdviceAnswer {
    /// One word, stable.
    pub(crate) code: String,
    /// What was found and what to do.
    pub(crate) text: String,
    /// What to paste, and where it goes in the first line of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) snippet: String,
    /// Records or requests that it is about.
    pub(crate) count: u64,
}

impl From<RequestAnswer> for ToldAnswer {
    fn from(request: RequestAnswer) -> Self {
        let id = request.ids.into_iter().next().unwrap_or_default();
        Self {
            summary: request.summary,
            id: id.value,
            id_kind: id.kind,
            start: request.start,
            duration_ns: request.duration_ns,
            status: request.status,
            hops: request.spans.len(),
            split: request.split,
        }
    }
}
