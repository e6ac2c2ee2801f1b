//! Captured access log streams, sent again through real gRPC.
//!
//! A stream has no acknowledgement but its OK end, so messages go in streams of bounded size, and a stream that fails
//! is sent again as a whole. Envoy names itself only in the first message of a stream: streams that begin in the
//! middle of a capture are given the identifier that was seen last.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::cli::client::Token;
use crate::cli::codec::BytesCodec;

const PATH: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// Bytes of one stream, identifier aside: what is sent again if it fails.
const STREAM_BYTES: usize = 2 << 20;

/// Tries of one stream, and the wait before the second; doubled each time (25 s in all).
const TRIES: u32 = 8;
const WAIT_FIRST: Duration = Duration::from_millis(200);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// StreamAccessLogsMessage, as far as it is looked at here.
#[derive(Clone, PartialEq, prost::Message)]
struct MessageShape {
    #[prost(bytes = "bytes", optional, tag = "1")]
    identifier: Option<Bytes>,
    #[prost(message, optional, tag = "2")]
    http: Option<EntriesShape>,
    #[prost(message, optional, tag = "3")]
    tcp: Option<EntriesShape>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EntriesShape {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<EntryShape>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EntryShape {}

/// Sends messages in order, in streams.
pub(super) struct Streams {
    grpc: tonic::client::Grpc<Channel>,
    token: Option<MetadataValue<tonic::metadata::Ascii>>,
    identifier: Option<Bytes>,
    messages: Vec<Bytes>,
    bytes: usize,
    records: u64,
}

impl Streams {
    /// Connects to `url`.
    pub(super) async fn connect(url: &str, token: Option<&Token>) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| format!("{url:?} is no URL: pass --grpc http://HOST:PORT"))?;
        let connection = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await;
        let channel = connection.with_context(|| {
            format!("cannot connect to {url} for gRPC: is `throughline serve` running, and this its --grpc address?")
        })?;
        let token =
            token.map(|token| token.header().parse()).transpose().context("the token is no header value")?;
        let grpc = tonic::client::Grpc::new(channel);
        Ok(Self { grpc, token, identifier: None, messages: Vec::new(), bytes: 0, records: 0 })
    }

    /// Adds one message; sends a stream when it is full. How many records were sent, once they are durable.
    pub(super) async fn add(&mut self, message: Bytes) -> anyhow::Result<u64> {
        // A message that cannot be read is sent all the same: what it is, is the service's to say.
        let shape = MessageShape::decode(message.clone()).unwrap_or_default();
        let mut sent = 0;
        // An identifier begins a new stream in the capture, and so does a full one here.
        if (shape.identifier.is_some() || self.bytes >= STREAM_BYTES) && !self.messages.is_empty() {
            sent = self.finish().await?;
        }
        let lists = [&shape.http, &shape.tcp].into_iter().flatten();
        self.records += lists.map(|list| list.entries.len() as u64).sum::<u64>();
        self.bytes += message.len();
        let message = match (&shape.identifier, &self.identifier) {
            // Two protobuf messages in a row are their merge.
            (None, Some(identifier)) if self.messages.is_empty() => {
                let named = MessageShape { identifier: Some(identifier.clone()), http: None, tcp: None };
                [named.encode_to_vec().as_slice(), &message].concat().into()
            }
            _ => message,
        };
        self.identifier = shape.identifier.or(self.identifier.take());
        self.messages.push(message);
        Ok(sent)
    }

    /// Sends what is held and waits for the OK end; how many records it held.
    pub(super) async fn finish(&mut self) -> anyhow::Result<u64> {
        let messages = std::mem::take(&mut self.messages);
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        if messages.is_empty() {
            return Ok(0);
        }
        let mut wait = WAIT_FIRST;
        for attempt in 1.. {
            let Err(status) = self.stream(messages.clone()).await else { break };
            let may_pass = match status.code() {
                Code::Unavailable => true,
                // A message over the limit stays so; what passes says when to come back (`RetryInfo`).
                Code::ResourceExhausted => !status.details().is_empty(),
                _ => false,
            };
            if !may_pass || attempt == TRIES {
                anyhow::bail!("the service ended a stream with {}: {}", status.code(), status.message());
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Ok(records)
    }

    async fn stream(&mut self, messages: Vec<Bytes>) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(tokio_stream::iter(messages));
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        self.grpc.client_streaming(request, PathAndQuery::from_static(PATH), BytesCodec).await.map(|_| ())
    }
}
