//! `GET /tempo/api/search`: traces that have spans like these, as Tempo sums them up.

use std::collections::{BTreeMap, HashSet};

use ::trace::Request;
use ::trace::otlp::is_error;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use store::StoreError;
use store::query::tempo::{Operator, Range};

use crate::access::{Caller, Role};
use crate::api::lookups::{self, Answered};

use super::traceql::{Condition, Field, Intrinsic, Literal, Query, Trace, duration_ns, parse, text_of};
use super::{Api, Parameters, Problem, Seconds, logfmt, lookup, parameters};

/// Traces of an answer where none are asked for: Tempo's default.
const DEFAULT_TRACES: usize = 20;
/// Most traces of an answer.
const MAX_TRACES: usize = 200;
/// Spans shown of a trace where none are asked for: Tempo's default.
const DEFAULT_SPANS: usize = 3;
/// Most spans shown of a trace.
const MAX_SPANS: usize = 100;
/// Places looked at for one trace of the answer: records fit that the assembly then tells otherwise, and one request may
/// lie in several places.
const PLACES_PER_TRACE: usize = 3;
/// ClickHouse's code for a regular expression that it cannot compile.
const BAD_PATTERN: u32 = 427;

/// What to look for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchQuery {
    /// TraceQL.
    q: Option<String>,
    /// logfmt; instead of `q`.
    tags: Option<String>,
    min_duration: Option<String>,
    max_duration: Option<String>,
    limit: Option<usize>,
    start: Option<u32>,
    end: Option<u32>,
    /// Spans shown of each trace; 0 for all.
    spss: Option<usize>,
}

/// Traces that have spans like these, newest start first.
pub(super) async fn search(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Parameters<SearchQuery>,
) -> Result<Answered<Value>, Problem> {
    let caller = api.reader(&headers, Role::Search)?;
    let asked = parameters(query)?;
    let range = Seconds { start: asked.start, end: asked.end }.range()?;
    let limit = match asked.limit {
        Some(0) => return Err(Problem::bad_request("`limit` = 0: ask for at least one trace")),
        limit => limit.unwrap_or(DEFAULT_TRACES).min(MAX_TRACES),
    };
    let shown = match asked.spss.unwrap_or(DEFAULT_SPANS) {
        0 => MAX_SPANS,
        spans => spans.min(MAX_SPANS),
    };
    let query = self::query(&asked)?;
    permitted(&caller, query.fields())?;
    let mut search =
        Search { query: &query, range, shown, looked_at: HashSet::new(), traces: BTreeMap::new() };
    search.run(&api, &caller, limit).await?;
    let mut traces: Vec<_> = search.traces.into_values().collect();
    traces.sort_by_key(|trace| std::cmp::Reverse(trace.start_ns));
    traces.truncate(limit);
    let inspected = search.looked_at.len();
    let traces: Vec<_> = traces.iter().map(Summary::json).collect();
    Ok(lookups::rows(traces.len(), json!({ "traces": traces, "metrics": { "inspectedTraces": inspected } })))
}

/// Refuses a question about personal fields from whoever may not see them: an answer tells their values, too, one
/// comparison at a time.
pub(super) fn permitted(caller: &Caller, fields: impl IntoIterator<Item = Field>) -> Result<(), Problem> {
    let personal = fields.into_iter().find(Field::is_personal).filter(|_| !caller.sees_personal());
    personal.map_or(Ok(()), |field| Err(caller.lacks_personal(&field.shown())))
}

/// The query of all parameters together.
fn query(asked: &SearchQuery) -> Result<Query, Problem> {
    let refused = |refused: super::traceql::Refused| Problem::bad_request(&refused.to_string());
    let given = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let query = match (given(&asked.q), given(&asked.tags)) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("give `q` or `tags`, not both")),
        (Some(q), None) => parse(&q).map_err(refused)?,
        (None, Some(tags)) => Query::of(conditions(&tags)?),
        (None, None) => Query::of(Vec::new()),
    };
    let mut bounds = Vec::new();
    for (name, text, operator) in [
        ("minDuration", given(&asked.min_duration), Operator::GreaterOrEqual),
        ("maxDuration", given(&asked.max_duration), Operator::LessOrEqual),
    ] {
        let Some(text) = text else { continue };
        let ns = duration_ns(&text).ok_or_else(|| {
            Problem::bad_request(&format!("`{name}` = {text:?} is no time span such as 100ms or 1.5s"))
        })?;
        let field = Field::Intrinsic(Intrinsic::TraceDuration);
        bounds.push(Condition { field, operator, value: Literal::Int(ns) });
    }
    Ok(query.and(bounds))
}

/// The conditions of `tags`: a part of the value, whatever the case.
fn conditions(tags: &str) -> Result<Vec<Condition>, Problem> {
    let pairs = logfmt::pairs(tags).map_err(|error| Problem::bad_request(&format!("`tags`: {error}")))?;
    let condition = |(name, value): (String, String)| {
        // `status.code` and `error` are what searches without TraceQL call the status.
        let field = match name.as_str() {
            "status.code" => Field::Intrinsic(Intrinsic::Status),
            "error" if value == "true" => {
                let value = Literal::Text("error".to_owned());
                return Condition {
                    field: Field::Intrinsic(Intrinsic::Status),
                    operator: Operator::Equal,
                    value,
                };
            }
            name => Field::named(name).unwrap_or_else(|| Field::attribute(None, name)),
        };
        Condition { field, operator: Operator::Contains, value: Literal::Text(value) }
    };
    Ok(pairs.into_iter().map(condition).collect())
}

struct Search<'q> {
    query: &'q Query,
    range: Range,
    shown: usize,
    /// Event keys of the roots of requests that were looked at.
    looked_at: HashSet<u64>,
    traces: BTreeMap<u128, Summary>,
}

impl Search<'_> {
    async fn run(&mut self, api: &Api, caller: &Caller, limit: usize) -> Result<(), Problem> {
        if let Some(id) = self.query.id() {
            let (found, _) = lookup::by_id(api, caller, id).await?;
            found.requests.iter().for_each(|request| self.look_at(request));
            return Ok(());
        }
        let store = api.store()?;
        let filter = self.query.prefilter();
        let places = store.places_of(&caller.tenant, &filter, self.range, limit * PLACES_PER_TRACE).await;
        let places = places.map_err(problem)?;
        for chunk in places.chunks(lookup::REQUESTS_AT_ONCE) {
            let found = lookup::at_places(api, &store, caller, chunk).await?;
            found.requests.iter().for_each(|request| self.look_at(request));
            if self.traces.len() >= limit {
                break;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, request: &Request) {
        let Some(root) = request.entry().map(|root| root.event.event_key) else { return };
        if !self.looked_at.insert(root) {
            return;
        }
        let trace = Trace::new(request);
        let in_range = |index: &usize| {
            let start = request.spans.get(*index).map_or(0, |span| span.event.start_ns);
            self.range.from_ns.is_none_or(|from| start >= from)
                && self.range.to_ns.is_none_or(|to| start < to)
        };
        let spans: Vec<usize> = self.query.spans(&trace).into_iter().filter(in_range).collect();
        if spans.is_empty() {
            return;
        }
        let summary = Summary::new(request, &trace, &spans, self.query, self.shown);
        match self.traces.get_mut(&request.trace_id) {
            Some(other) => other.merge(summary, self.shown),
            None => _ = self.traces.insert(request.trace_id, summary),
        }
    }
}

/// The client's mistake where the store says so, else ours.
pub(super) fn problem(error: StoreError) -> Problem {
    if error.code() == Some(BAD_PATTERN) {
        return Problem::bad_request("a regular expression is not one of RE2, which the store speaks");
    }
    error.into()
}

/// A trace in a search's answer. Requests of one trace are one row there.
struct Summary {
    trace_id: u128,
    root_service: String,
    root_name: String,
    start_ns: i64,
    end_ns: i64,
    matched: usize,
    spans: Vec<Value>,
    /// Spans, and failed ones, of each service.
    services: BTreeMap<String, (u32, u32)>,
}

impl Summary {
    fn new(request: &Request, trace: &Trace<'_>, spans: &[usize], query: &Query, shown: usize) -> Self {
        let fields: Vec<_> = query.fields().into_iter().filter(Field::is_shown).collect();
        let mut services: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        let service = Field::attribute(None, "service.name");
        for (index, span) in request.spans.iter().enumerate() {
            let name = trace.read(index, &service).map(|name| text_of(&name)).unwrap_or_default();
            let counts = services.entry(name).or_default();
            counts.0 += 1;
            counts.1 += u32::from(is_error(&span.event));
        }
        Self {
            trace_id: request.trace_id,
            root_service: trace.root_service().to_owned(),
            root_name: trace.root_name().to_owned(),
            start_ns: trace.start_ns(),
            end_ns: trace.start_ns().saturating_add(trace.duration_ns()),
            matched: spans.len(),
            spans: spans.iter().take(shown).map(|&index| span(request, trace, index, &fields)).collect(),
            services,
        }
    }

    fn merge(&mut self, other: Self, shown: usize) {
        if other.start_ns < self.start_ns {
            self.start_ns = other.start_ns;
            self.root_service = other.root_service;
            self.root_name = other.root_name;
        }
        self.end_ns = self.end_ns.max(other.end_ns);
        self.matched += other.matched;
        self.spans.extend(other.spans);
        self.spans.truncate(shown);
        for (name, (spans, errors)) in other.services {
            let counts = self.services.entry(name).or_default();
            counts.0 += spans;
            counts.1 += errors;
        }
    }

    fn json(&self) -> Value {
        let span_set = json!({ "spans": self.spans, "matched": self.matched });
        let services: serde_json::Map<String, Value> = self
            .services
            .iter()
            .map(|(name, (spans, errors))| {
                (name.clone(), json!({ "spanCount": spans, "errorCount": errors }))
            })
            .collect();
        let duration_ms = self.end_ns.saturating_sub(self.start_ns) / 1_000_000;
        json!({
            "traceID": format!("{:032x}", self.trace_id),
            "rootServiceName": self.root_service,
            "rootTraceName": self.root_name,
            "startTimeUnixNano": self.start_ns.to_string(),
            "durationMs": u32::try_from(duration_ms).unwrap_or(u32::MAX),
            "spanSet": span_set,
            "spanSets": [span_set],
            "serviceStats": services,
        })
    }
}

/// A span that fits, with what the query asked of it.
fn span(request: &Request, trace: &Trace<'_>, index: usize, fields: &[Field]) -> Value {
    let Some(span) = request.spans.get(index) else { return Value::Null };
    let attributes: Vec<_> = fields
        .iter()
        .filter_map(|field| Some((field.shown(), trace.read(index, field)?)))
        .map(|(name, reading)| super::json::key_value(&::trace::otlp::key_value(&name, reading)))
        .collect();
    json!({
        "spanID": format!("{:016x}", span.span_id),
        "name": ::trace::otlp::span_name(&span.event),
        "startTimeUnixNano": span.event.start_ns.to_string(),
        "durationNanos": span.event.duration_ns.unwrap_or(0).to_string(),
        "attributes": attributes,
    })
}
