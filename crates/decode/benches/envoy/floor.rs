//! What bare parsing costs: a typed serde_json struct of Istio's 24 keys, and prost types of the ALS messages with bytes
//! in place of text. They decode; nothing is looked at.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

#[derive(Deserialize)]
#[allow(dead_code)]
pub(crate) struct IstioLine<'a> {
    #[serde(borrow)]
    authority: Option<Cow<'a, str>>,
    bytes_received: Option<u64>,
    bytes_sent: Option<u64>,
    #[serde(borrow)]
    connection_termination_details: Option<Cow<'a, str>>,
    #[serde(borrow)]
    downstream_local_address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    downstream_remote_address: Option<Cow<'a, str>>,
    duration: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    protocol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    requested_server_name: Option<Cow<'a, str>>,
    response_code: Option<u16>,
    #[serde(borrow)]
    response_code_details: Option<Cow<'a, str>>,
    #[serde(borrow)]
    response_flags: Option<Cow<'a, str>>,
    #[serde(borrow)]
    route_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    start_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    upstream_cluster: Option<Cow<'a, str>>,
    #[serde(borrow)]
    upstream_host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    upstream_local_address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    upstream_service_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    upstream_transport_failure_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_agent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    x_forwarded_for: Option<Cow<'a, str>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamAccessLogsMessage {
    #[prost(message, optional, tag = "2")]
    pub(crate) http_logs: Option<HttpEntries>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HttpEntries {
    #[prost(message, repeated, tag = "1")]
    pub(crate) log_entry: Vec<HttpEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HttpEntry {
    #[prost(message, optional, tag = "1")]
    common: Option<Common>,
    #[prost(int32, tag = "2")]
    protocol_version: i32,
    #[prost(message, optional, tag = "3")]
    request: Option<Request>,
    #[prost(message, optional, tag = "4")]
    response: Option<Response>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Common {
    #[prost(double, tag = "1")]
    sample_rate: f64,
    #[prost(message, optional, tag = "2")]
    downstream_remote_address: Option<Address>,
    #[prost(message, optional, tag = "3")]
    downstream_local_address: Option<Address>,
    #[prost(message, optional, tag = "4")]
    tls_properties: Option<Tls>,
    #[prost(message, optional, tag = "5")]
    start_time: Option<Span>,
    #[prost(message, optional, tag = "6")]
    time_to_last_rx_byte: Option<Span>,
    #[prost(message, optional, tag = "7")]
    time_to_first_upstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "8")]
    time_to_last_upstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "9")]
    time_to_first_upstream_rx_byte: Option<Span>,
    #[prost(message, optional, tag = "10")]
    time_to_last_upstream_rx_byte: Option<Span>,
    #[prost(message, optional, tag = "11")]
    time_to_first_downstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "12")]
    time_to_last_downstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "13")]
    upstream_remote_address: Option<Address>,
    #[prost(message, optional, tag = "14")]
    upstream_local_address: Option<Address>,
    #[prost(bytes = "bytes", tag = "15")]
    upstream_cluster: Bytes,
    #[prost(message, optional, tag = "16")]
    response_flags: Option<Flags>,
    #[prost(message, optional, tag = "17")]
    metadata: Option<Metadata>,
    #[prost(bytes = "bytes", tag = "18")]
    upstream_transport_failure_reason: Bytes,
    #[prost(bytes = "bytes", tag = "19")]
    route_name: Bytes,
    #[prost(message, optional, tag = "20")]
    downstream_direct_remote_address: Option<Address>,
    #[prost(message, repeated, tag = "21")]
    filter_state_objects: Vec<FilterState>,
    #[prost(message, repeated, tag = "22")]
    custom_tags: Vec<Pair>,
    #[prost(message, optional, tag = "23")]
    duration: Option<Span>,
    #[prost(uint32, tag = "24")]
    upstream_request_attempt_count: u32,
    #[prost(bytes = "bytes", tag = "25")]
    connection_termination_details: Bytes,
    #[prost(bytes = "bytes", tag = "26")]
    stream_id: Bytes,
    #[prost(bool, tag = "27")]
    intermediate_log_entry: bool,
    #[prost(bytes = "bytes", tag = "28")]
    downstream_transport_failure_reason: Bytes,
    #[prost(int32, tag = "33")]
    access_log_type: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Span {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SocketAddress {
    #[prost(bytes = "bytes", tag = "2")]
    address: Bytes,
    #[prost(uint32, tag = "3")]
    port: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Flags {
    #[prost(bool, tag = "2")]
    no_healthy_upstream: bool,
    #[prost(bool, tag = "3")]
    upstream_request_timeout: bool,
    #[prost(bool, tag = "6")]
    upstream_connection_failure: bool,
    #[prost(bool, tag = "9")]
    no_route_found: bool,
    #[prost(bool, tag = "15")]
    downstream_connection_termination: bool,
    #[prost(bool, tag = "16")]
    upstream_retry_limit_exceeded: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tls {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(message, optional, tag = "2")]
    cipher: Option<Number>,
    #[prost(bytes = "bytes", tag = "3")]
    sni: Bytes,
    #[prost(message, optional, tag = "5")]
    peer: Option<Certificate>,
    #[prost(bytes = "bytes", tag = "7")]
    ja3: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(uint32, tag = "1")]
    value: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Certificate {
    #[prost(message, repeated, tag = "1")]
    names: Vec<Name>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Name {
    #[prost(bytes = "bytes", tag = "1")]
    uri: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(message, repeated, tag = "1")]
    filter_metadata: Vec<FilterMetadata>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FilterMetadata {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(message, optional, tag = "2")]
    value: Option<Struct>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(message, repeated, tag = "1")]
    fields: Vec<Field>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Field {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(message, optional, tag = "2")]
    value: Option<FieldValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FieldValue {
    #[prost(bytes = "bytes", tag = "3")]
    text: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FilterState {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(bytes = "bytes", tag = "1")]
    type_url: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Pair {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(int32, tag = "1")]
    method: i32,
    #[prost(bytes = "bytes", tag = "2")]
    scheme: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    authority: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    path: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    user_agent: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    referer: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    forwarded_for: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    request_id: Bytes,
    #[prost(bytes = "bytes", tag = "10")]
    original_path: Bytes,
    #[prost(uint64, tag = "11")]
    request_headers_bytes: u64,
    #[prost(uint64, tag = "12")]
    request_body_bytes: u64,
    #[prost(message, repeated, tag = "13")]
    request_headers: Vec<Pair>,
    #[prost(uint64, tag = "15")]
    downstream_header_bytes_received: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    response_code: Option<Number>,
    #[prost(uint64, tag = "2")]
    response_headers_bytes: u64,
    #[prost(uint64, tag = "3")]
    response_body_bytes: u64,
    #[prost(message, repeated, tag = "4")]
    response_headers: Vec<Pair>,
    #[prost(message, repeated, tag = "5")]
    response_trailers: Vec<Pair>,
    #[prost(bytes = "bytes", tag = "6")]
    response_code_details: Bytes,
    #[prost(uint64, tag = "8")]
    downstream_header_bytes_sent: u64,
}
