//! What ALS and OTLP/gRPC share: messages as bytes. Our own lenient protobuf types decode them later, in `decode`,
//! where one bad string costs one field and not the batch; a generated service would have refused it here.

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{
    Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder,
};
use tonic::server::Grpc;
use tonic::{Code, Status};

use prost::Message as _;

use crate::accept::Refusal;
use crate::api::Problem;

/// A gRPC server side for one call; gzip is accepted, answers go plain (they are a few bytes).
pub(super) fn server(max_message_bytes: usize) -> Grpc<BytesCodec> {
    let mut accepted = EnabledCompressionEncodings::default();
    accepted.enable(CompressionEncoding::Gzip);
    Grpc::new(BytesCodec)
        .apply_compression_config(accepted, EnabledCompressionEncodings::default())
        .apply_max_message_size_config(Some(max_message_bytes), None)
}

/// Tonic's answer as axum's.
pub(super) fn answer(response: http::Response<tonic::body::Body>) -> Response {
    response.map(Body::new)
}

/// Messages as they came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

/// Whether a call was answered so because a message was over its limit: tonic says it before any of our code runs.
pub(super) fn is_too_large(response: &http::Response<tonic::body::Body>) -> bool {
    let code = response.headers().get("grpc-status");
    code.is_some_and(|code| code.as_bytes() == (Code::OutOfRange as i32).to_string().as_bytes())
}

/// A refusal in gRPC's words: come back later.
pub(super) fn status(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Stopped => Code::Unavailable,
        _ => Code::ResourceExhausted,
    };
    Status::with_details(code, refusal.to_string(), retry_info(code, refusal).into())
}

/// `google.rpc.RetryInfo`: without it an OTLP client takes RESOURCE_EXHAUSTED for "never again".
fn retry_info(code: Code, refusal: &Refusal) -> Vec<u8> {
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
    let after = refusal.retry_after();
    let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
    let delay = Delay { seconds, nanos: after.subsec_nanos().cast_signed() };
    let info = RetryInfo { retry_delay: Some(delay) };
    let any =
        Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
    Details { code: code.into(), message: refusal.to_string(), details: vec![any] }.encode_to_vec()
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
    Status::new(code, problem.detail())
}
