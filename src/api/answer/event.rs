//! One hop event as the query API answers it.

use std::net::Ipv6Addr;

use correlation::{Id, IdKind, uuid_text};
use event::{HopEvent, Notes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

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
pub(super) fn id_text(event: &HopEvent<'_>, kind: IdKind, value: u128) -> String {
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
