//! What the query API answers: the wire form of traces and events, written by the service and read by the CLI.
//!
//! Redaction happened before anything was stored. Absent fields are left out. Ids are text: UUIDs for correlation and
//! per-request ids (or the opaque text that they were logged as), 32 hex digits for trace ids, 16 for spans and event
//! keys. Times are RFC 3339 with nanoseconds, durations nanoseconds.

mod coverage;
mod event;
mod ledger;
mod request;
mod service;
mod sources;
mod span;

use correlation::Id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use coverage::{CoverageAnswer, GapCountAnswer, SampleAnswer, SenderIdsAnswer};
pub(crate) use event::{EventAnswer, time_text};
#[cfg(test)]
pub(crate) use ledger::SenderAnswer;
pub(crate) use ledger::{ConfiguredSource, InstanceAnswer, Judged, LedgerAnswer, LedgerLine};
pub(crate) use request::{GapAnswer, PartAnswer, RequestAnswer, SkewAnswer, expected};
pub(crate) use service::{DiskAnswer, EntranceAnswer, PortAnswer, ServiceAnswer, StoreAnswer};
pub(crate) use sources::{ReasonCount, SourceAnswer, SourcesAnswer};
pub(crate) use span::SpanAnswer;
#[cfg(test)]
pub(crate) use span::{HttpAnswer, LinkAnswer, VerdictAnswer};

/// Most requests beside the first: a page load has some dozens, an id that a client reuses has thousands.
const OTHERS_MOST: usize = 100;

/// The requests that one id leads to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TraceAnswer {
    /// The id as it was asked for.
    pub(crate) asked: String,
    /// The request that carries the id: of several the first by start.
    #[serde(flatten)]
    pub(crate) request: RequestAnswer,
    /// Other requests that carry it, then those that only share another id with one that does: never merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<RequestAnswer>,
    /// The bound that cut the answer short, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) truncated: Option<String>,
}

impl TraceAnswer {
    /// The answer for an asked id; `None` where there is no request. `learnt` are the bounds that other requests gave
    /// for clocks.
    pub(crate) fn new(
        asked: &str,
        requests: &[trace::Request],
        learnt: &[trace::skew::Skew],
        truncated: Option<String>,
    ) -> Option<Self> {
        let values = Id::candidates(asked);
        let mut ranked: Vec<(bool, &trace::Request)> =
            requests.iter().map(|request| (!request.carries(&values), request)).collect();
        ranked.sort_by_key(|&(only_related, _)| only_related);
        let left_out = ranked.len().saturating_sub(OTHERS_MOST + 1);
        let mut answers = ranked.into_iter().map(|(only_related, request)| RequestAnswer {
            only_related,
            ..RequestAnswer::new(request, learnt)
        });
        let request = answers.next()?;
        let others = answers.take(OTHERS_MOST).collect();
        let truncated = match (truncated, left_out) {
            (bound, 0) => bound,
            (bound, left_out) => {
                let more = format!("{left_out} more requests are not shown");
                Some(bound.map_or(more.clone(), |bound| format!("{bound}; {more}")))
            }
        };
        Some(Self { asked: asked.to_owned(), request, others, truncated })
    }

    /// Every request of the answer, the asked one first.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &RequestAnswer> {
        std::iter::once(&self.request).chain(&self.others)
    }
}

/// Why two records are, or are not, one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct WhyAnswer {
    /// Whether both are of one request.
    pub(crate) same: bool,
    /// The links from one to the other, or all that keeps them apart, a sentence each.
    pub(crate) reasons: Vec<String>,
}

/// A page of events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EventsAnswer {
    /// The events, in the order that was asked for.
    pub(crate) events: Vec<EventAnswer>,
    /// Pass as `after` for the next page; null when there is none.
    pub(crate) next: Option<String>,
}

#[cfg(test)]
mod tests;
