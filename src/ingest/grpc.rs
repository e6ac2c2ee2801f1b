//! What ALS and OTLP/gRPC share: messages as bytes. Our own lenient protobuf types decode them later, in `decode`,
//! where one bad string costs one field and not the batch; a generated service would have refused it here.
//!
//! The framing is read here and not by tonic, which keeps up to `limits.grpc_message` for each stream before anybody
//! can count it, makes room for a length that is only claimed, and unpacks on the thread that serves everyone.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use decode::compression::{CompressionError, decompress_within};
use event::Counter;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use prost::Message as _;

use super::Intake;
use super::auth::Admitted;
use super::pace::Pace;
use crate::accept::{Acceptor, Hold, Refusal};
use crate::api::Problem;
use crate::config::Source;

/// A flag and a length stand before each message.
const PREFIX_BYTES: usize = 5;
/// How long a stream waits for room before it is ended. Longer than any burst; TCP pushes back meanwhile.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

/// One message, with what it holds of the byte budget: itself, and once more for what is decoded from it.
pub(super) struct Message {
    pub(super) bytes: Bytes,
    pub(super) hold: Hold,
}

/// The messages of one call.
pub(super) struct Messages {
    body: BodyDataStream,
    acceptor: Acceptor,
    source: Arc<Source>,
    most_bytes: usize,
    patience: Duration,
    gzip: bool,
    buffer: BytesMut,
    /// Of the buffer.
    hold: Hold,
    /// Of the message that is coming in; between the messages of a stream there is none.
    pace: Option<Pace>,
    unpacking: Option<JoinHandle<Result<Message, Status>>>,
    /// Whole, and waiting for room.
    arrived: Option<Message>,
}

impl Messages {
    /// Of a stream, which may be idle for ever.
    pub(super) fn of_stream(
        intake: &Intake,
        source: &Admitted,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Status> {
        let gzip = match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => false,
            Some(b"gzip") => true,
            Some(_) => return Err(Status::unimplemented("send grpc-encoding gzip or identity")),
        };
        Ok(Self {
            body: body.into_data_stream(),
            acceptor: intake.acceptor.clone(),
            source: Arc::clone(source),
            // A message and what is decoded from it must fit the budget, or its sender would come for ever.
            most_bytes: intake.limits.grpc_message_bytes.min(source.most_bytes() / 2),
            patience: intake.limits.patience,
            gzip,
            buffer: BytesMut::new(),
            hold: source.hold(),
            pace: None,
            unpacking: None,
            arrived: None,
        })
    }

    /// Of a call with one message: who opens it has something to send, and comes back when told to.
    pub(super) fn of_call(
        intake: &Intake,
        source: &Admitted,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Status> {
        let mut messages = Self::of_stream(intake, source, headers, body)?;
        messages.pace = Some(Pace::new(messages.patience));
        Ok(messages)
    }

    /// The next message; `None` at the end. Cancel-safe: all that has come in is kept here until it is handed on.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Status> {
        loop {
            if let Some(unpacking) = &mut self.unpacking {
                let unpacked = unpacking.await;
                self.unpacking = None;
                self.arrived = Some(unpacked.map_err(|_| status(&Refusal::Stopped))??);
            }
            if let Some(message) = &mut self.arrived {
                let wanted = 2 * message.bytes.len();
                let grown = message.hold.reach_within(wanted, ROOM_WITHIN).await;
                grown.map_err(|refusal| counted(&self.acceptor, &self.source, refusal))?;
                message.hold.shrink_to(wanted);
                return Ok(self.arrived.take());
            }
            let grown = self.hold.reach_within(self.buffer.len(), ROOM_WITHIN).await;
            grown.map_err(|refusal| counted(&self.acceptor, &self.source, refusal))?;
            if let Some((packed, length)) = self.whole()? {
                let hold = self.hold.split(PREFIX_BYTES + length);
                let bytes = self.buffer.split_to(PREFIX_BYTES + length).freeze().slice(PREFIX_BYTES..);
                self.pace = (!self.buffer.is_empty()).then(|| Pace::new(self.patience));
                if packed {
                    self.unpacking = Some(self.unpack(bytes, hold));
                } else {
                    self.arrived = Some(Message { bytes, hold });
                }
                continue;
            }
            let chunk = match &mut self.pace {
                None => self.body.next().await,
                Some(pace) => pace.wait(self.body.next()).await.map_err(|_| {
                    Status::deadline_exceeded("the message came too slowly (`limits.patience`)")
                })?,
            };
            match chunk {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::invalid_argument("the stream ends in the middle of a message")),
                Some(Err(_)) => return Err(Status::cancelled("the connection broke")),
                Some(Ok(chunk)) => {
                    self.buffer.extend_from_slice(&chunk);
                    let patience = self.patience;
                    self.pace.get_or_insert_with(|| Pace::new(patience)).came(chunk.len());
                }
            }
        }
    }

    /// The length of the message that is whole in the buffer, and whether it is packed.
    fn whole(&self) -> Result<Option<(bool, usize)>, Status> {
        let Some(mut prefix) = self.buffer.get(..PREFIX_BYTES) else { return Ok(None) };
        let packed = match (prefix.get_u8(), self.gzip) {
            (0, _) => false,
            (1, true) => true,
            (1, false) => return Err(Status::internal("a compressed message without grpc-encoding")),
            (flag, _) => return Err(Status::internal(format!("a message begins with the flag {flag}"))),
        };
        let length = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if length > self.most_bytes {
            self.acceptor.unread(&self.source, Counter::TooLarge);
            return Err(Status::resource_exhausted(format!(
                "a message of {length} bytes is larger than {} (`limits.grpc_message`): send smaller batches",
                self.most_bytes
            )));
        }
        Ok((self.buffer.len() - PREFIX_BYTES >= length).then_some((packed, length)))
    }

    /// On a thread of its own, within the cores that deliveries may use.
    fn unpack(&self, packed: Bytes, mut hold: Hold) -> JoinHandle<Result<Message, Status>> {
        let (acceptor, source) = (self.acceptor.clone(), Arc::clone(&self.source));
        let most_bytes = self.most_bytes;
        tokio::spawn(async move {
            let slot = acceptor.slot().await.map_err(|refusal| status(&refusal))?;
            let runtime = Handle::current();
            let unpacking = tokio::task::spawn_blocking(move || {
                let mut room = |more: usize| runtime.block_on(hold.grow(more)).is_ok();
                let unpacked = decompress_within(packed, Some("gzip"), most_bytes, &mut room);
                drop(slot);
                (unpacked, hold)
            });
            let (unpacked, hold) = unpacking.await.map_err(|_| status(&Refusal::Stopped))?;
            let bytes = unpacked.map_err(|error| match error {
                CompressionError::NoRoom => {
                    counted(&acceptor, &source, Refusal::Busy(Duration::from_secs(1)))
                }
                CompressionError::TooLarge { .. } => {
                    acceptor.unread(&source, Counter::TooLarge);
                    Status::resource_exhausted(error.to_string())
                }
                error => Status::invalid_argument(error.to_string()),
            })?;
            Ok(Message { bytes, hold })
        })
    }
}

/// A refusal, counted, in gRPC's words.
fn counted(acceptor: &Acceptor, source: &Source, refusal: Refusal) -> Status {
    status(&acceptor.refuse(source, refusal))
}

/// The one answer of a call.
pub(super) fn answer(outcome: Result<Bytes, Status>) -> Response {
    let message = match outcome {
        Ok(message) => message,
        Err(status) => return status.into_http::<tonic::body::Body>().map(Body::new).into_response(),
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    ([(header::CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
}

/// A refusal in gRPC's words: come back later.
pub(super) fn status(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Stopped => Code::Unavailable,
        _ => Code::ResourceExhausted,
    };
    come_back(code, &refusal.to_string(), refusal.retry_after())
}

/// With `google.rpc.RetryInfo`: without it clients take RESOURCE_EXHAUSTED for "never again".
fn come_back(code: Code, message: &str, after: Duration) -> Status {
    /// `google.protobuf.Duration`.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Delay {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<Delay>,
    }
    /// `google.protobuf.Any`.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    /// `google.rpc.Status`.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Details {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
    let delay = Delay { seconds, nanos: after.subsec_nanos().cast_signed() };
    let info = RetryInfo { retry_delay: Some(delay) };
    let any =
        Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
    let details = Details { code: code.into(), message: message.to_owned(), details: vec![any] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// A problem met before any record was read, in gRPC's words.
pub(super) fn status_of(problem: &Problem) -> Status {
    let code = match problem.status().as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        413 | 503 => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    match problem.retry_after() {
        Some(after) => come_back(code, problem.detail(), after),
        None => Status::new(code, problem.detail()),
    }
}
