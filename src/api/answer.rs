//! What the query API answers: the wire form of traces and events, written by the service and read by the CLI.
//!
//! Redaction happened before anything was stored. Absent fields are left out. Ids are text: UUIDs for correlation and
//! per-request ids (or the opaque text that they were logged as), 32 hex digits for trace ids, 16 for spans and event
//! keys. Times are RFC 3339 with nanoseconds, durations nanoseconds.

use std::net::Ipv6Addr;

use correlation::{Id, IdKind, uuid_text};
use event::{HopEvent, Notes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

/// The path of the requests that one id leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TraceAnswer {
    /// The id as it was asked for.
    pub(crate) asked: String,
    /// One entry for every request: requests that only share a trace id are never merged.
    pub(crate) requests: Vec<RequestAnswer>,
    /// The bound that cut the answer short, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) truncated: Option<String>,
}

/// One request: its entry and every hop event that belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RequestAnswer {
    /// Every id that its events carry, strongest kind first.
    pub(crate) ids: Vec<IdAnswer>,
    /// Start at the first hop, on that hop's clock.
    pub(crate) start: String,
    /// Duration at the first hop, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ns: Option<u64>,
    /// Method, as the first hop that knows it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) method: String,
    /// Authority that the client asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    /// Path that the client asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) path: String,
    /// Status that the first hop sent; 0 if it sent none.
    pub(crate) status: u16,
    /// The request does not carry the asked id: it only shares another id with one that does.
    pub(crate) related: bool,
    /// Per-request ids that another request carries, too: reused by a client, or two edges in conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shared_ids: Vec<IdAnswer>,
    /// The hops in the order of travel.
    pub(crate) hops: Vec<HopAnswer>,
}

/// One id of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct IdAnswer {
    /// `correlation_id`, `request_id`, `edge_request_id` or `trace_id`.
    pub(crate) kind: String,
    /// The id as text.
    pub(crate) id: String,
    /// Events of the request that carry it.
    pub(crate) records: usize,
}

/// One hop of a request, with what a waterfall shows and the whole event beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct HopAnswer {
    /// How far down the way: edge 0, shield 1, gateway 2, first sidecar 3.
    pub(crate) depth: u32,
    /// Start relative to the first hop's start, by raw clocks: may be negative.
    pub(crate) offset_ns: i64,
    /// Where the request was seen.
    pub(crate) hop: String,
    /// `inbound`, `outbound` or `unknown`.
    pub(crate) direction: String,
    /// POP, pod, node or server, whichever the record names first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) place: String,
    /// Service name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) service: String,
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
    /// Envoy's response flags, comma-separated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) flags: String,
    /// Envoy's response code details.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) details: String,
    /// Duration at this hop, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ns: Option<u64>,
    /// What a policy point decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) verdict: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) verdict_rule: String,
    /// Why it decided so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) verdict_reason: String,
    /// What normalization had to decide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// How often the record was delivered, once included.
    pub(crate) deliveries: usize,
    /// The whole event.
    pub(crate) event: EventAnswer,
}

/// A page of events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EventsAnswer {
    /// The events, in the order that was asked for.
    pub(crate) events: Vec<EventAnswer>,
    /// Pass as `after` for the next page; null when there is none.
    pub(crate) next: Option<String>,
}

/// One hop event: every field of the schema under its own name, absent ones left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EventAnswer(pub(crate) Map<String, Value>);

impl EventAnswer {
    /// A field's text; empty if it is absent or no text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field's number; `None` if it is absent or no whole number from 0.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }
}

/// Puts fields into the map, by the shape their kind has on the wire. Absent is the default of the field's type.
macro_rules! put {
    ($map:ident, $event:ident, $shape:expr => $($field:ident)*) => { $(
        if !is_default(&$event.$field) {
            $map.insert(stringify!($field).to_owned(), $shape(&$event.$field));
        }
    )* };
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl From<&HopEvent<'_>> for EventAnswer {
    fn from(event: &HopEvent<'_>) -> Self {
        let mut map = Map::new();
        put!(map, event, |text: &event::Text<'_>| Value::from(text.as_ref()) =>
            tenant source format log_type method scheme host path query upstream_path protocol response_flags details
            termination_details transport_failure route user_agent referer content_type forwarded_for
            downstream_remote downstream_local upstream_remote upstream_local upstream_cluster sni tls_version
            tls_cipher ja3 ja4 downstream_peer upstream_peer country pop server service_id service_version
            cache_state cache_result node pod namespace workload workload_revision mesh_cluster service
            peer_workload peer_namespace verdict verdict_rule verdict_reason policy_version subject issuer key_id);
        put!(map, event, |number: &Option<u64>| Value::from(*number) =>
            duration_ns request_rx_ns upstream_tx_first_ns upstream_tx_last_ns upstream_rx_first_ns
            upstream_rx_last_ns first_byte_ns last_byte_ns upstream_service_ns request_bytes response_bytes
            request_header_bytes response_header_bytes);
        put!(map, event, |number: &Option<u32>| Value::from(*number) => grpc_status restarts visits);
        put!(map, event, |flag: &Option<bool>| Value::from(*flag) => to_shield completed);
        put!(map, event, |flag: &bool| Value::from(*flag) => intermediate);
        put!(map, event, |number: &u16| Value::from(*number) => status attempt);
        put!(map, event, |number: &u32| Value::from(*number) => asn);
        put!(map, event, |number: &f64| Value::from(*number) => sample_rate);
        put!(map, event, |ns: &i64| Value::from(time_text(*ns)) => received_ns start_ns);
        put!(map, event, |span: &u64| Value::from(format!("{span:016x}")) => event_key span_id parent_span_id);
        put!(map, event, |digit: &u8| Value::from(format!("{digit:x}")) => request_id_reason);
        put!(map, event, |address: &u128| Value::from(address_text(*address)) => client_address);
        put!(map, event, |notes: &Notes| notes.names().map(Value::from).collect() => notes);
        put!(map, event, |attributes: &event::Attributes<'_>| attributes_value(attributes) => attributes);
        for (kind, value) in IdKind::ALL.into_iter().zip([
            event.correlation_id,
            event.request_id,
            event.edge_request_id,
            event.trace_id,
        ]) {
            if value != 0 {
                map.insert(kind.name().to_owned(), Value::from(id_text(event, kind, value)));
            }
        }
        // These three say something even when they say "unknown".
        map.insert("hop".to_owned(), Value::from(event.hop.name()));
        map.insert("direction".to_owned(), Value::from(event.direction.name()));
        map.insert("start_precision".to_owned(), Value::from(event.start_precision.name()));
        Self(map)
    }
}

/// The text of an id: as it was logged where that was kept, else as its value is written.
fn id_text(event: &HopEvent<'_>, kind: IdKind, value: u128) -> String {
    let kept = event.attributes.iter().find(|(name, text)| {
        name == kind.name() && Id::parse(kind, text).is_some_and(|id| id.value == value)
    });
    match (kept, kind) {
        (Some((_, text)), _) => text.to_string(),
        (None, IdKind::Trace) => format!("{value:032x}"),
        (None, _) => uuid_text(value),
    }
}

/// RFC 3339 in UTC with nine digits of the second.
pub(crate) fn time_text(unix_ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(unix_ns)) {
        Ok(time) => format!("{time:.9}"),
        // An i64 of nanoseconds ends in 2262, well inside of what a timestamp holds.
        Err(_) => unix_ns.to_string(),
    }
}

fn address_text(address: u128) -> String {
    let v6 = Ipv6Addr::from(address);
    v6.to_ipv4_mapped().map_or_else(|| v6.to_string(), |v4| v4.to_string())
}

/// An object; a name that occurs twice holds the list of its texts.
fn attributes_value(attributes: &event::Attributes<'_>) -> Value {
    let mut object = Map::new();
    for (name, text) in attributes {
        let text = Value::from(text.as_ref());
        match object.get_mut(name.as_ref()) {
            None => _ = object.insert(name.to_string(), text),
            Some(Value::Array(texts)) => texts.push(text),
            Some(first) => *first = Value::Array(vec![first.take(), text]),
        }
    }
    Value::Object(object)
}

impl From<&trace::Span> for HopAnswer {
    fn from(hop: &trace::Span) -> Self {
        let event = &hop.event;
        let place =
            [&event.pop, &event.pod, &event.node, &event.server].into_iter().find(|name| !name.is_empty());
        Self {
            depth: hop.depth,
            offset_ns: hop.offset_ns,
            hop: event.hop.name().to_owned(),
            direction: event.direction.name().to_owned(),
            place: place.map(ToString::to_string).unwrap_or_default(),
            service: event.service.to_string(),
            method: event.method.to_string(),
            host: event.host.to_string(),
            path: event.path.to_string(),
            protocol: event.protocol.to_string(),
            status: event.status,
            flags: event.response_flags.to_string(),
            details: event.details.to_string(),
            duration_ns: event.duration_ns,
            verdict: event.verdict.to_string(),
            verdict_rule: event.verdict_rule.to_string(),
            verdict_reason: event.verdict_reason.to_string(),
            notes: event.notes.names().map(str::to_owned).collect(),
            deliveries: hop.deliveries,
            event: EventAnswer::from(event),
        }
    }
}

impl From<&trace::Request> for RequestAnswer {
    fn from(request: &trace::Request) -> Self {
        let entry = request.entry().map(|hop| &hop.event);
        let known = |text: for<'e> fn(&'e HopEvent<'static>) -> &'e str| {
            let mut texts = request.spans.iter().map(|hop| text(&hop.event));
            texts.find(|text| !text.is_empty()).unwrap_or_default().to_owned()
        };
        let answer = |kind: IdKind, value: u128, records: usize| {
            let carrier =
                request.spans.iter().map(|hop| &hop.event).find(|event| id_of(event, kind) == value);
            let id = carrier.map(|event| id_text(event, kind, value)).unwrap_or_default();
            IdAnswer { kind: kind.name().to_owned(), id, records }
        };
        let ids: Vec<_> = request.ids.iter().map(|id| answer(id.kind, id.value, id.records)).collect();
        let is_shared = |id: &trace::RequestId| request.shared_ids.contains(&(id.kind, id.value));
        let shared = request.ids.iter().filter(|id| is_shared(id));
        Self {
            shared_ids: shared.map(|id| answer(id.kind, id.value, id.records)).collect(),
            ids,
            start: time_text(entry.map_or(0, |event| event.start_ns)),
            duration_ns: entry.and_then(|event| event.duration_ns),
            method: known(|event| event.method.as_ref()),
            host: known(|event| event.host.as_ref()),
            path: known(|event| event.path.as_ref()),
            status: entry.map_or(0, |event| event.status),
            related: false,
            hops: request.spans.iter().map(HopAnswer::from).collect(),
        }
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

impl TraceAnswer {
    /// The answer for an asked id: requests that carry it first, then those that are only related, each by start.
    pub(crate) fn new(asked: &str, requests: &[trace::Request], truncated: Option<String>) -> Self {
        let values = Id::candidates(asked);
        let mut answers: Vec<RequestAnswer> = requests
            .iter()
            .map(|request| RequestAnswer {
                related: !request.carries(&values),
                ..RequestAnswer::from(request)
            })
            .collect();
        answers.sort_by_key(|answer| answer.related);
        Self { asked: asked.to_owned(), requests: answers, truncated }
    }
}

impl ToSchema for EventAnswer {
    fn name() -> std::borrow::Cow<'static, str> {
        "EventAnswer".into()
    }
}

impl PartialSchema for EventAnswer {
    /// Derived from the table of fields, so that a new field is described without a second hand.
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let object = HopEvent::FIELDS.iter().fold(ObjectBuilder::new(), |object, field| {
            let rust_type: String = field.rust_type.split_whitespace().collect();
            let member: Schema = match (field.name, rust_type.as_str()) {
                ("notes", _) => ArrayBuilder::new().items(text()).description(Some(field.doc)).into(),
                ("attributes", _) => {
                    ObjectBuilder::new().schema_type(Type::Object).description(Some(field.doc)).into()
                }
                ("received_ns" | "start_ns", _) => {
                    let format = SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime);
                    text().format(Some(format)).description(Some(field.doc)).into()
                }
                ("event_key" | "span_id" | "parent_span_id" | "request_id_reason", _) => {
                    text().description(Some(field.doc)).into()
                }
                (_, "bool" | "Option<bool>") => {
                    ObjectBuilder::new().schema_type(Type::Boolean).description(Some(field.doc)).into()
                }
                (_, "f64") => {
                    ObjectBuilder::new().schema_type(Type::Number).description(Some(field.doc)).into()
                }
                (_, "u16" | "u32" | "Option<u32>" | "Option<u64>") => {
                    ObjectBuilder::new().schema_type(Type::Integer).description(Some(field.doc)).into()
                }
                _ => text().description(Some(field.doc)).into(),
            };
            object.property(field.name, member)
        });
        object.description(Some("One request as one hop saw it; absent fields are left out.")).into()
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
