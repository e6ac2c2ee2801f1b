//! THE table of attributes: one row says an attribute's name in OTLP, TraceQL and `otel_traces`, the column that holds
//! it, and how it is read from an event.
//!
//! Names are those of the OpenTelemetry semantic conventions where one exists (HTTP, network, TLS, k8s, RPC), else
//! `envoy.*` and `fastly.*` for what one sender alone says, else `throughline.*`. `column` is a field of the hop event,
//! or one of the derived expressions that `store` knows under the same name; [`super::derived`] is their Rust form, and
//! a test holds both against each other over the sample mix.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use correlation::{Id, IdKind, uuid_text};
use event::HopEvent;

use super::derived;

/// Where an attribute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// On the resource: who wrote the span.
    Resource,
    /// On the span.
    Span,
}

/// The type of an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// True or false.
    Bool,
}

/// A value read from an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading<'e> {
    /// Text; never empty.
    Text(Cow<'e, str>),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// One attribute.
#[derive(Clone, Copy)]
pub struct Tag {
    /// Where it stands.
    pub scope: Scope,
    /// Its name.
    pub name: &'static str,
    /// The column, or derived expression, that holds it.
    pub column: &'static str,
    /// The type of its values.
    pub kind: Kind,
    pub(super) read: for<'e> fn(&'e HopEvent<'_>) -> Option<Reading<'e>>,
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tag").field("scope", &self.scope).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tag {
    /// The attribute of this name; in any scope where `scope` is `None`, the span's first.
    pub fn named(scope: Option<Scope>, name: &str) -> Option<&'static Self> {
        let all = SPAN_TAGS.iter().chain(RESOURCE_TAGS);
        all.into_iter().find(|tag| tag.name == name && scope.is_none_or(|scope| tag.scope == scope))
    }

    /// Its value in an event; `None` where the event has none.
    pub fn read<'e>(&self, event: &'e HopEvent<'_>) -> Option<Reading<'e>> {
        (self.read)(event)
    }
}

/// What an unmapped field of a record is called: this before its own name.
pub const ATTRIBUTE_PREFIX: &str = "throughline.attribute.";

pub(super) fn text(text: &str) -> Option<Reading<'_>> {
    (!text.is_empty()).then_some(Reading::Text(Cow::Borrowed(text)))
}

pub(super) fn int(number: impl TryInto<i64>) -> Option<Reading<'static>> {
    Some(Reading::Int(number.try_into().unwrap_or(i64::MAX)))
}

fn hex(value: u64) -> Option<Reading<'static>> {
    (value != 0).then(|| Reading::Text(format!("{value:016x}").into()))
}

/// An id as it was logged, where that text was kept, else as its value is written.
fn id<'e>(event: &'e HopEvent<'_>, kind: IdKind, value: u128) -> Option<Reading<'e>> {
    if value == 0 {
        return None;
    }
    let logged = event.attributes.iter().find(|(name, _)| name == kind.name());
    let logged = logged.filter(|(_, text)| Id::parse(kind, text).is_some_and(|id| id.value == value));
    Some(Reading::Text(match (logged, kind) {
        (Some((_, text)), _) => Cow::Borrowed(text.as_ref()),
        (None, IdKind::Trace) => format!("{value:032x}").into(),
        (None, _) => uuid_text(value).into(),
    }))
}

/// An address as text, v4 where it is one.
fn address(bits: u128) -> Option<Reading<'static>> {
    let v6 = Ipv6Addr::from(bits);
    let text = v6.to_ipv4_mapped().map_or_else(|| v6.to_string(), |v4| v4.to_string());
    (bits != 0).then(|| Reading::Text(text.into()))
}

macro_rules! tags {
    ($scope:ident: $( $name:literal = $shape:ident $column:ident; )*) => {
        &[ $( tags!(@row $scope $name $shape $column) ),* ]
    };
    (@row $scope:ident $name:literal $shape:ident $column:ident) => {
        Tag {
            scope: Scope::$scope,
            name: $name,
            column: stringify!($column),
            kind: tags!(@kind $shape),
            read: tags!(@read $shape $column),
        }
    };
    (@kind number) => { Kind::Int };
    (@kind count) => { Kind::Int };
    (@kind derived_number) => { Kind::Int };
    (@kind float) => { Kind::Float };
    (@kind flag) => { Kind::Bool };
    (@kind maybe) => { Kind::Bool };
    (@kind $text:ident) => { Kind::Text };
    // Empty text, a number that is 0, `None`: the record does not say.
    (@read text $field:ident) => { |event| text(&event.$field) };
    (@read number $field:ident) => { |event| if event.$field == 0 { None } else { int(event.$field) } };
    (@read count $field:ident) => { |event| event.$field.and_then(int) };
    (@read float $field:ident) => { |event| (event.$field != 0.0).then_some(Reading::Float(event.$field)) };
    (@read flag $field:ident) => { |event| event.$field.then_some(Reading::Bool(true)) };
    (@read maybe $field:ident) => { |event| event.$field.map(Reading::Bool) };
    (@read hex $field:ident) => { |event| hex(event.$field) };
    (@read word $field:ident) => { |event| text(event.$field.name()) };
    (@read address $field:ident) => { |event| address(event.$field) };
    (@read names $field:ident) => { |event| {
        let names: Vec<_> = event.$field.names().collect();
        (!names.is_empty()).then(|| Reading::Text(names.join(",").into()))
    } };
    (@read correlation $field:ident) => { |event| id(event, IdKind::Correlation, event.$field) };
    (@read request $field:ident) => { |event| id(event, IdKind::Request, event.$field) };
    (@read edge_request $field:ident) => { |event| id(event, IdKind::EdgeRequest, event.$field) };
    (@read trace $field:ident) => { |event| id(event, IdKind::Trace, event.$field) };
    (@read derived $function:ident) => { derived::$function };
    (@read derived_number $function:ident) => { derived::$function };
}

/// Attributes of the resource: two events with the same values of all of these share one.
pub const RESOURCE_TAGS: &[Tag] = tags! { Resource:
    "service.name" = derived service_name;
    "service.namespace" = text namespace;
    "service.version" = text workload_revision;
    "service.instance.id" = text node;
    "k8s.namespace.name" = text namespace;
    "k8s.pod.name" = text pod;
    "k8s.cluster.name" = text mesh_cluster;
    "host.name" = text server;
    "fastly.pop" = text pop;
    "fastly.service_id" = text service_id;
    "fastly.service_version" = text service_version;
    "throughline.workload" = text workload;
    "throughline.tenant" = text tenant;
};

/// Attributes of a span that one event alone says.
pub const SPAN_TAGS: &[Tag] = tags! { Span:
    "http.request.method" = derived http_method;
    "http.request.method_original" = derived http_method_original;
    "http.response.status_code" = number status;
    "http.route" = derived http_route;
    "http.request.body.size" = count request_bytes;
    "http.response.body.size" = count response_bytes;
    "error.type" = derived error_type;
    "url.scheme" = text scheme;
    "url.path" = text path;
    "url.query" = text query;
    "server.address" = derived server_address;
    "server.port" = derived_number server_port;
    "client.address" = address client_address;
    "network.protocol.name" = derived protocol_name;
    "network.protocol.version" = derived protocol_version;
    "network.peer.address" = derived peer_address;
    "network.peer.port" = derived_number peer_port;
    "user_agent.original" = text user_agent;
    "peer.service" = derived peer_service;
    "rpc.system" = derived rpc_system;
    "rpc.service" = derived rpc_service;
    "rpc.method" = derived rpc_method;
    "rpc.grpc.status_code" = count grpc_status;
    "tls.protocol.version" = derived tls_protocol_version;
    "tls.cipher" = text tls_cipher;
    "tls.client.ja3" = text ja3;
    "enduser.pseudo.id" = text subject;

    "envoy.response_flags" = text response_flags;
    "envoy.response_code_details" = text details;
    "envoy.connection_termination_details" = text termination_details;
    "envoy.upstream_transport_failure_reason" = text transport_failure;
    "envoy.route_name" = text route;
    "envoy.access_log_type" = text log_type;
    "envoy.upstream_service_time_ns" = count upstream_service_ns;

    "fastly.cache_state" = text cache_state;
    "fastly.cache_result" = text cache_result;
    "fastly.restarts" = count restarts;
    "fastly.visits" = count visits;
    "fastly.to_shield" = maybe to_shield;

    "throughline.correlation_id" = correlation correlation_id;
    "throughline.request_id" = request request_id;
    "throughline.edge_request_id" = edge_request edge_request_id;
    "throughline.trace_id" = trace trace_id;
    "throughline.event_key" = hex event_key;
    "throughline.logged_parent_span_id" = hex parent_span_id;
    "throughline.hop" = word hop;
    "throughline.direction" = word direction;
    "throughline.precision" = word start_precision;
    "throughline.source" = text source;
    "throughline.format" = text format;
    "throughline.notes" = names notes;
    "throughline.attempt" = number attempt;
    "throughline.completed" = maybe completed;
    "throughline.intermediate" = flag intermediate;
    "throughline.sample_rate" = float sample_rate;
    "throughline.verdict.outcome" = text verdict;
    "throughline.verdict.rule" = text verdict_rule;
    "throughline.verdict.reason" = text verdict_reason;
    "throughline.verdict.policy_version" = text policy_version;
    "throughline.verdict.issuer" = text issuer;
    "throughline.verdict.key_id" = text key_id;
    "throughline.client.country" = text country;
    "throughline.client.asn" = number asn;
    "throughline.client.forwarded_for" = text forwarded_for;
    "throughline.client.ja4" = text ja4;
    "throughline.referer" = text referer;
    "throughline.response.content_type" = text content_type;
    "throughline.request.header_bytes" = count request_header_bytes;
    "throughline.response.header_bytes" = count response_header_bytes;
    "throughline.sni" = text sni;
    "throughline.downstream.remote" = text downstream_remote;
    "throughline.downstream.local" = text downstream_local;
    "throughline.downstream.peer" = text downstream_peer;
    "throughline.upstream.remote" = text upstream_remote;
    "throughline.upstream.local" = text upstream_local;
    "throughline.upstream.peer" = text upstream_peer;
    "throughline.upstream.cluster" = text upstream_cluster;
    "throughline.upstream.path" = text upstream_path;
    "throughline.peer.workload" = text peer_workload;
    "throughline.peer.namespace" = text peer_namespace;
};
