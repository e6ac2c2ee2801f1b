//! `GET /tempo/api/search/tags` and `…/tag/{name}/values`, both in two versions: what can be searched for.

use ::trace::otlp::{ATTRIBUTE_PREFIX, Kind, RESOURCE_TAGS, SPAN_TAGS, Scope};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use store::query::tempo::{Filter, Operand};

use super::traceql::{Field, INTRINSICS, Intrinsic, parse_lenient};
use crate::access::Role;
use crate::api::lookups::{self, Answered};

use super::{Api, Parameters, Problem, Seconds, parameters, search};

/// Names of unmapped fields in an answer.
const MAX_ATTRIBUTE_NAMES: usize = 500;
/// Values in an answer where no number is asked for.
const DEFAULT_VALUES: usize = 1_000;
/// Most values in an answer.
const MAX_VALUES: usize = 5_000;

/// Which names. Names of the table are listed whether or not a recent record has them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NamesQuery {
    /// `resource`, `span` or `intrinsic`; all where it is absent.
    scope: Option<String>,
    start: Option<u32>,
    end: Option<u32>,
}

/// Names of one scope.
struct Names {
    scope: &'static str,
    names: Vec<String>,
}

async fn scopes(api: &Api, headers: &HeaderMap, query: &NamesQuery) -> Result<Vec<Names>, Problem> {
    let caller = api.reader(headers, Role::Search)?;
    let range = Seconds { start: query.start, end: query.end }.range()?;
    let names = |tags: &[::trace::otlp::Tag]| tags.iter().map(|tag| tag.name.to_owned()).collect();
    let mut span: Vec<String> = names(SPAN_TAGS);
    let asked = query.scope.as_deref().unwrap_or_default();
    if !matches!(asked, "resource" | "intrinsic") {
        let unmapped = api.store()?.attribute_names(&caller.tenant, range, MAX_ATTRIBUTE_NAMES).await?;
        span.extend(unmapped.iter().map(|name| format!("{ATTRIBUTE_PREFIX}{name}")));
    }
    let mut scopes = vec![
        Names { scope: "resource", names: names(RESOURCE_TAGS) },
        Names { scope: "span", names: span },
        Names { scope: "intrinsic", names: INTRINSICS.iter().map(|(name, _)| (*name).to_owned()).collect() },
    ];
    match asked {
        "" | "none" | "all" => {}
        // Hop events have nothing in these.
        "event" | "link" | "instrumentation" => scopes.clear(),
        asked if scopes.iter().any(|names| names.scope == asked) => {
            scopes.retain(|names| names.scope == asked);
        }
        other => {
            let detail = format!("`scope` = {other:?} is none of resource, span, intrinsic");
            return Err(Problem::bad_request(&detail));
        }
    }
    Ok(scopes)
}

/// Names of attributes, without their scopes.
pub(super) async fn names(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Parameters<NamesQuery>,
) -> Result<Answered<Value>, Problem> {
    let query = parameters(query)?;
    let scopes = scopes(&api, &headers, &query).await?;
    let wanted = scopes.into_iter().filter(|names| query.scope.is_some() || names.scope != "intrinsic");
    let names: Vec<_> = wanted.flat_map(|names| names.names).collect();
    Ok(lookups::rows(names.len(), json!({ "tagNames": names, "metrics": {} })))
}

/// Names of attributes and intrinsics, by scope.
pub(super) async fn names_v2(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Parameters<NamesQuery>,
) -> Result<Answered<Value>, Problem> {
    let scopes = scopes(&api, &headers, &parameters(query)?).await?;
    let scopes: Vec<_> =
        scopes.into_iter().map(|names| json!({ "name": names.scope, "tags": names.names })).collect();
    Ok(lookups::rows(scopes.len(), json!({ "scopes": scopes, "metrics": {} })))
}

/// Which values.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ValuesQuery {
    /// TraceQL that spans must fit; what cannot be read of it is left out, as it may still be being typed.
    q: Option<String>,
    start: Option<u32>,
    end: Option<u32>,
    limit: Option<usize>,
}

/// Values of an attribute by its name without a scope.
pub(super) async fn values(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(name): Path<String>,
    query: Parameters<ValuesQuery>,
) -> Result<Answered<Value>, Problem> {
    let field = Field::named(&name).unwrap_or_else(|| Field::attribute(None, &name));
    let values = find(&api, &headers, &field, parameters(query)?).await?;
    Ok(lookups::rows(values.len(), json!({ "tagValues": values, "metrics": {} })))
}

/// Values of a field by its name in TraceQL, with their type.
pub(super) async fn values_v2(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(name): Path<String>,
    query: Parameters<ValuesQuery>,
) -> Result<Answered<Value>, Problem> {
    let field = Field::named(&name).ok_or_else(|| {
        let detail =
            format!("{name:?} is no field of TraceQL: write .{name}, span.{name} or resource.{name}");
        Problem::bad_request(&detail)
    })?;
    let kind = match &field {
        Field::Tag(tag) => match tag.kind {
            Kind::Text => "string",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Bool => "bool",
        },
        Field::Intrinsic(Intrinsic::Status | Intrinsic::Kind) => "keyword",
        _ => "string",
    };
    let values = find(&api, &headers, &field, parameters(query)?).await?;
    let values: Vec<_> = values.into_iter().map(|value| json!({ "type": kind, "value": value })).collect();
    Ok(lookups::rows(values.len(), json!({ "tagValues": values, "metrics": {} })))
}

async fn find(
    api: &Api,
    headers: &HeaderMap,
    field: &Field,
    query: ValuesQuery,
) -> Result<Vec<String>, Problem> {
    let caller = api.reader(headers, Role::Search)?;
    let range = Seconds { start: query.start, end: query.end }.range()?;
    let limit = match query.limit {
        None | Some(0) => DEFAULT_VALUES,
        Some(limit) => limit.min(MAX_VALUES),
    };
    let words = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect());
    let operand = match field {
        Field::Intrinsic(Intrinsic::Status) => return words(&["error", "unset"]),
        Field::Intrinsic(Intrinsic::Kind) => return words(&["server", "client"]),
        // A list of durations or ids helps nobody; Tempo gives none either.
        Field::Intrinsic(Intrinsic::Duration | Intrinsic::SpanId) => return Ok(Vec::new()),
        // Every root is a span.
        Field::Intrinsic(Intrinsic::RootService) => {
            Field::attribute(Some(Scope::Resource), "service.name").operand()
        }
        Field::Intrinsic(Intrinsic::RootName) => Field::Intrinsic(Intrinsic::Name).operand(),
        other => other.operand(),
    };
    let Some(operand): Option<Operand> = operand else { return Ok(Vec::new()) };
    let narrowed = query.q.as_deref().and_then(parse_lenient);
    search::permitted(&caller, narrowed.iter().flat_map(|query| query.fields()).chain([field.clone()]))?;
    let filter = narrowed.map_or(Filter::ANYTHING, |query| query.prefilter());
    let store = api.store()?;
    store.values_of(&caller.tenant, &operand, &filter, range, limit).await.map_err(search::problem)
}
