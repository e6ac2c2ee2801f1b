//! `GET /tempo/api/traces/{id}` and `/tempo/api/v2/traces/{id}`: the spans of every request that carries an id.

use std::collections::HashSet;

use ::trace::Request;
use ::trace::otlp::{Mode, Selection, resource_spans};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;
use serde::Deserialize;
use serde_json::json;

use super::search::permitted;
use super::traceql::{Query, Trace, parse};
use crate::access::Role;
use crate::api::lookups::of_rows;

use super::{Api, Parameters, Problem, json as tempo_json, lookup, parameters};

const PROTOBUF: &str = "application/protobuf";

/// Tempo's answer of its second API; fields that it has besides are left out.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    /// 1: something is left out, and the message says what.
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

/// Which spans of the trace. Times are not read: an id leads to its records whenever they came.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TraceQuery {
    /// Only spans that fit.
    q: Option<String>,
    /// With the spans above them; so by default.
    keep_hierarchy: Option<bool>,
}

/// The trace in the form of Tempo's first API.
pub(super) async fn trace(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(asked): Path<String>,
) -> Result<Response, Problem> {
    let found = find(&api, &headers, &asked, &TraceQuery::default()).await?;
    let rows = of_rows(found.records);
    if wants_protobuf(&headers) {
        return Ok((rows, protobuf(&TracesData { resource_spans: found.resource_spans })).into_response());
    }
    let batches = json!({ "batches": tempo_json::resource_spans(&found.resource_spans) });
    Ok((rows, axum::Json(batches)).into_response())
}

/// The trace in the form of Tempo's second API, which can say that something is left out.
pub(super) async fn trace_v2(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(asked): Path<String>,
    query: Parameters<TraceQuery>,
) -> Result<Response, Problem> {
    let found = find(&api, &headers, &asked, &parameters(query)?).await?;
    let rows = of_rows(found.records);
    let message = found.left_out.unwrap_or_default();
    if wants_protobuf(&headers) {
        let status = i32::from(!message.is_empty());
        let trace = Some(TracesData { resource_spans: found.resource_spans });
        return Ok((rows, protobuf(&TraceByIdResponse { trace, status, message })).into_response());
    }
    let trace = json!({ "resourceSpans": tempo_json::resource_spans(&found.resource_spans) });
    let mut answer = json!({ "trace": trace, "metrics": {} });
    if !message.is_empty() {
        answer["status"] = "PARTIAL".into();
        answer["message"] = message.into();
    }
    Ok((rows, axum::Json(answer)).into_response())
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains(PROTOBUF))
}

fn protobuf(message: &impl Message) -> Response {
    ([(header::CONTENT_TYPE, PROTOBUF)], message.encode_to_vec()).into_response()
}

struct Found {
    records: usize,
    resource_spans: Vec<ResourceSpans>,
    /// What is not in the answer although it belongs to the trace, in a sentence.
    left_out: Option<String>,
}

async fn find(api: &Api, headers: &HeaderMap, asked: &str, query: &TraceQuery) -> Result<Found, Problem> {
    let caller = api.reader(headers, Role::Search)?;
    let filter = query.q.as_deref().filter(|q| !q.trim().is_empty()).map(parse).transpose();
    let filter = filter.map_err(|refused| Problem::bad_request(&refused.to_string()))?;
    permitted(&caller, filter.iter().flat_map(Query::fields))?;
    let (found, trace_id) = lookup::by_id(api, &caller, asked).await?;
    if found.requests.is_empty() {
        return Err(Problem::not_found(&format!(
            "trace not found: no record carries {asked:?}; it may not have arrived yet, or its retention has passed"
        )));
    }
    let records = found.records();
    let mut left_out = found.truncated;
    let mut spans = Vec::new();
    for request in &found.requests {
        let keep_hierarchy = query.keep_hierarchy.unwrap_or(true);
        let dropped =
            filter.as_ref().map(|filter| dropped(request, filter, keep_hierarchy)).unwrap_or_default();
        if !dropped.is_empty() {
            left_out.get_or_insert_with(|| "only spans that fit the query are shown".to_owned());
        }
        let selection = Selection { exported: &dropped, trace_id, ..Selection::fresh(Mode::All) };
        spans.extend(resource_spans(request, &selection));
    }
    Ok(Found { records, resource_spans: spans, left_out })
}

/// The event keys of spans that a filter leaves out.
fn dropped(request: &Request, filter: &Query, keep_hierarchy: bool) -> HashSet<u64> {
    let mut kept: HashSet<usize> = filter.spans(&Trace::new(request)).into_iter().collect();
    if keep_hierarchy {
        // A parent stands before its children, so one pass from the end reaches the root.
        for (index, span) in request.spans.iter().enumerate().rev() {
            if let (true, Some(link)) = (kept.contains(&index), &span.link) {
                kept.insert(link.parent);
            }
        }
    }
    let all = request.spans.iter().enumerate();
    all.filter(|(index, _)| !kept.contains(index)).map(|(_, span)| span.event.event_key).collect()
}
