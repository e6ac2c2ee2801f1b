//! A request in the words of OpenTelemetry: OTLP spans under the resources that wrote them. Pure.
//!
//! - One resource for each service instance among the hops, one scope, one span for each hop event that is asked for.
//! - Times are the hops' raw clocks, never corrected: a child may begin before its parent.
//! - A span's parent is the span that the assembly links it to, whether or not that one is sent along: in
//!   [`Mode::Fill`] a tracer has sent it.
//! - The attributes of a span are [`SPAN_TAGS`], what no column holds under [`ATTRIBUTE_PREFIX`], and what the assembly
//!   found (`throughline.link.*`, on the root `throughline.complete` and `throughline.gaps`).
//!
//! Names follow the semantic conventions at [`SCHEMA_URL`]. A hop with a span id of its own counts as sent by its
//! tracer; whether the tracer sampled it is not in the record, so in `Fill` the hops of an unsampled trace stay out.

mod derived;
mod encode;
mod span;
mod tags;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use correlation::IdKind;
use event::{Hop, HopEvent};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

pub use derived::{is_client, is_error, span_name, status_message};
pub use encode::encode;
pub use span::{PHASES, gap_text, key_value};
pub use tags::{ATTRIBUTE_PREFIX, Kind, RESOURCE_TAGS, Reading, SPAN_TAGS, Scope, Tag};

use crate::model::Request;

/// The version of the semantic conventions that the attributes follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// The name of the instrumentation scope.
pub const SCOPE_NAME: &str = "throughline";

/// Which hops become spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Only hops that no tracer reported.
    #[default]
    Fill,
    /// Every hop.
    All,
}

/// What is asked for, and what was sent before.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// Which hops.
    pub mode: Mode,
    /// Event keys of spans that were sent before: they are left out, their children keep them as parents.
    pub exported: &'a HashSet<u64>,
    /// The trace id under which the request was first sent; `None` to take [`trace_id`].
    pub trace_id: Option<u128>,
    /// Other trace ids under which parts of it were sent: the root is tied to them by links.
    pub previous: &'a [u128],
}

impl Selection<'static> {
    /// Every span of a mode, nothing sent before.
    pub fn fresh(mode: Mode) -> Self {
        static NOTHING: std::sync::LazyLock<HashSet<u64>> = std::sync::LazyLock::new(HashSet::new);
        Self { mode, exported: &NOTHING, trace_id: None, previous: &[] }
    }
}

/// Whether a tracer at the hop reported the span itself: it has a span id of its own, and is no Fastly hop, whose span
/// ids are minted by our edge for us to report.
pub fn is_traced(event: &HopEvent<'_>) -> bool {
    event.span_id != 0 && !matches!(event.hop, Hop::Edge | Hop::Shield)
}

/// The trace that a request's spans go to. To fill a tracer's trace is to join it: where a tracer reported a hop, its
/// trace id is taken, even if the entry has none.
pub fn trace_id(request: &Request, mode: Mode) -> u128 {
    let traced = || {
        let mut traces = request.spans.iter().map(|span| &span.event).filter(|event| is_traced(event));
        traces.find_map(|event| (event.trace_id != 0).then_some(event.trace_id))
    };
    match mode {
        Mode::All => request.trace_id,
        Mode::Fill => traced().unwrap_or(request.trace_id),
    }
}

/// The spans of a request that are asked for, grouped by resource, in the order of travel; empty if none is.
pub fn resource_spans(request: &Request, selection: &Selection<'_>) -> Vec<ResourceSpans> {
    let trace_id = selection.trace_id.unwrap_or_else(|| trace_id(request, selection.mode));
    let mut groups: Vec<(&HopEvent<'_>, Vec<Span>)> = Vec::new();
    for (index, span) in request.spans.iter().enumerate() {
        let event = &span.event;
        if selection.exported.contains(&event.event_key) || (selection.mode == Mode::Fill && is_traced(event))
        {
            continue;
        }
        let span = span::span(request, index, trace_id, selection.previous);
        match groups.iter_mut().find(|(other, _)| same_resource(other, event)) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((event, vec![span])),
        }
    }
    groups.into_iter().map(|(event, spans)| resource(event, spans)).collect()
}

fn same_resource(a: &HopEvent<'_>, b: &HopEvent<'_>) -> bool {
    RESOURCE_TAGS.iter().all(|tag| tag.read(a) == tag.read(b))
}

fn resource(event: &HopEvent<'_>, spans: Vec<Span>) -> ResourceSpans {
    let mut attributes = Vec::with_capacity(RESOURCE_TAGS.len());
    attributes.extend(span::readings(RESOURCE_TAGS, event));
    let scope = InstrumentationScope {
        name: SCOPE_NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
        schema_url: SCHEMA_URL.to_owned(),
    }
}

/// The text of a related request's id, as attributes show it.
fn id_text(kind: IdKind, value: u128) -> String {
    match kind {
        IdKind::Trace => format!("{value:032x}"),
        _ => correlation::uuid_text(value),
    }
}

/// An attribute with a text.
fn text_attribute(key: &str, text: String) -> KeyValue {
    key_value(key, Reading::Text(text.into()))
}
