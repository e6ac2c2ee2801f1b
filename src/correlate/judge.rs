//! One request with what was decided about it before: which spans go out now, under which trace id, and what is noted.

use std::collections::HashSet;

use event::HopEvent;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use store::{Decided, Decision};
use trace::otlp::{self, Mode, Selection};
use trace::{Request, Span, span_id};

use crate::config::Keep;

/// Encoded bytes of one message above which a request's spans are parted: receivers take 4 MiB by default.
const PIECE_BYTES: usize = 1 << 20;
/// Spans of one part then.
const PIECE_SPANS: usize = 500;

/// What decides about requests.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) mode: Mode,
    pub(crate) keep: Keep,
    /// Host and path of our own export requests.
    pub(crate) own: Option<(String, String)>,
}

/// What goes out for one request, and what is noted once it did.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) decided: Decided,
    /// Encoded `ExportTraceServiceRequest`s with their numbers of spans; they may be put one behind the other.
    pub(crate) pieces: Vec<(u32, Vec<u8>)>,
    /// When its last record was shipped, unix microseconds by the store's clock.
    pub(crate) last_us: i64,
}

/// What earlier decisions say about a request.
#[derive(Debug, Default)]
struct Before {
    /// Events that were sent, or refused for good.
    sent: HashSet<u64>,
    /// Events that any decision covers.
    covered: HashSet<u64>,
    /// Trace ids under which parts were sent, oldest first.
    trace_ids: Vec<u128>,
    /// The rule that kept it.
    rule: Option<String>,
}

impl Before {
    /// Only decisions that cover one of the request's events are about it: an id alone may be anybody's.
    fn of(request: &Request, decisions: &[&Decided]) -> Self {
        if decisions.is_empty() {
            return Self::default();
        }
        let keys: HashSet<u64> =
            request.spans.iter().flat_map(Span::records).map(|event| event.event_key).collect();
        let mut before = Self::default();
        for decision in decisions.iter().filter(|it| it.event_keys.iter().any(|key| keys.contains(key))) {
            before.covered.extend(&decision.event_keys);
            if matches!(decision.decision, Decision::Exported | Decision::Refused) {
                before.sent.extend(&decision.event_keys);
                before.rule.get_or_insert_with(|| decision.rule.clone());
                if !before.trace_ids.contains(&decision.trace_id) {
                    before.trace_ids.push(decision.trace_id);
                }
            }
        }
        before
    }
}

impl Judge {
    /// Decides. `None` where everything was decided before and nothing is new.
    pub(crate) fn decide(
        &self,
        mut request: Request,
        decisions: &[&Decided],
        last_us: i64,
    ) -> Option<Outgoing> {
        let before = Before::of(&request, decisions);
        let own_trace_id = otlp::trace_id(&request, self.mode);
        let trace_id = before.trace_ids.first().copied().unwrap_or(own_trace_id);
        let keys: Vec<u64> =
            request.spans.iter().flat_map(Span::records).map(|event| event.event_key).collect();
        let new = keys.iter().copied().filter(|key| !before.covered.contains(key)).collect::<Vec<_>>();
        let (decision, rule) = if request.spans.iter().any(|span| span.event.intermediate) {
            (Decision::Running, String::new())
        } else if self.is_own(&request) {
            (Decision::Own, String::new())
        } else if let Some(rule) = &before.rule {
            (Decision::Exported, rule.clone())
        } else {
            match self.keep.rule(&request, trace_id) {
                Some(rule) => (Decision::Exported, rule.to_owned()),
                None => (Decision::LeftOut, "share".to_owned()),
            }
        };
        let first_time = decision == Decision::Exported && before.rule.is_none();
        if new.is_empty() && !first_time {
            return None;
        }
        let id = request.canonical().map(|id| (id.kind, id.value));
        let tenant = request.entry().map_or_else(String::new, |span| span.event.tenant.to_string());
        let mut pieces = Vec::new();
        // What is still running, or left out, is not covered: it is decided anew when more of it comes.
        let mut event_keys = new;
        match decision {
            Decision::Exported => {
                let mut previous: Vec<u128> =
                    before.trace_ids.iter().copied().filter(|&other| other != trace_id).collect();
                if own_trace_id != trace_id && !before.trace_ids.contains(&own_trace_id) {
                    previous.push(own_trace_id);
                }
                let exported = keep_span_ids(&mut request, &before.sent);
                let selection = Selection {
                    mode: self.mode,
                    exported: &exported,
                    trace_id: Some(trace_id),
                    previous: &previous,
                };
                pieces = encode(&request, &selection);
                event_keys = keys.into_iter().filter(|key| !before.sent.contains(key)).collect();
            }
            Decision::Running => event_keys.clear(),
            _ => {}
        }
        let spans = pieces.iter().map(|(spans, _)| spans).sum();
        let decided = Decided { tenant, id, trace_id, decision, rule, spans, event_keys };
        Some(Outgoing { decided, pieces, last_us })
    }

    /// Whether it is an export request of ours that a proxy on its way logged: exporting it would make the next one.
    fn is_own(&self, request: &Request) -> bool {
        let Some((host, path)) = &self.own else { return false };
        let is_own = |event: &HopEvent<'_>| event.path == *path && event.host == *host;
        request.entry().is_some_and(|span| is_own(&span.event))
    }
}

/// Event keys of the spans that were sent. Where a more precise record of the same event has come since, the span keeps
/// the id under which it was sent, for its children's sake.
fn keep_span_ids(request: &mut Request, sent: &HashSet<u64>) -> HashSet<u64> {
    let mut exported = HashSet::new();
    for span in &mut request.spans {
        let id = span.records().find(|event| sent.contains(&event.event_key)).map(span_id);
        if let Some(id) = id {
            span.span_id = id;
            exported.insert(span.event.event_key);
        }
    }
    exported
}

/// The spans of a request that are asked for, in one message if it is not too large.
fn encode(request: &Request, selection: &Selection<'_>) -> Vec<(u32, Vec<u8>)> {
    let root = request.entry();
    let root_was_sent = root.is_some_and(|root| selection.exported.contains(&root.event.event_key));
    let needs_tie = root_was_sent && !selection.previous.is_empty();
    // Almost every request is small and whole: it is written at once.
    if request.spans.len() <= PIECE_SPANS && !needs_tie {
        let mut message = Vec::new();
        let spans = otlp::encode(request, selection, &mut message);
        if message.len() <= PIECE_BYTES {
            return if spans == 0 { Vec::new() } else { vec![(spans, message)] };
        }
    }
    let mut groups = otlp::resource_spans(request, selection);
    if let Some(root) = root.filter(|_| needs_tie) {
        tie(root, selection.previous, &mut groups);
    }
    groups.into_iter().flat_map(parted).collect()
}

/// Ties spans that go to one trace to what of their request was sent under others. The root carries the links; where it
/// was sent before, the first of the new spans does.
fn tie(root: &Span, previous: &[u128], groups: &mut [ResourceSpans]) {
    let mut spans = groups.iter_mut().flat_map(|it| &mut it.scope_spans).flat_map(|it| &mut it.spans);
    let Some(span) = spans.next() else { return };
    span.links.extend(previous.iter().map(|other| Link {
        trace_id: other.to_be_bytes().to_vec(),
        span_id: root.span_id.to_be_bytes().to_vec(),
        ..Link::default()
    }));
}

/// The spans of one resource in messages of a bounded number.
fn parted(group: ResourceSpans) -> Vec<(u32, Vec<u8>)> {
    let mut pieces = Vec::new();
    for scope in group.scope_spans {
        let mut rest = scope.spans;
        while !rest.is_empty() {
            let after = rest.split_off(rest.len().min(PIECE_SPANS));
            let spans = std::mem::replace(&mut rest, after);
            let count = spans.len() as u32;
            let part = ScopeSpans { scope: scope.scope.clone(), spans, schema_url: scope.schema_url.clone() };
            let part = ResourceSpans {
                resource: group.resource.clone(),
                scope_spans: vec![part],
                schema_url: group.schema_url.clone(),
            };
            pieces.push((count, ExportTraceServiceRequest { resource_spans: vec![part] }.encode_to_vec()));
        }
    }
    pieces
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
