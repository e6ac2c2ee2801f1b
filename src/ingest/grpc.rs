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
    match refusal {
        Refusal::Stopped => Status::unavailable(refusal.to_string()),
        _ => Status::resource_exhausted(refusal.to_string()),
    }
}

/// A problem met before any record was read, in gRPC's words.
pub(super) fn status_of(problem: &Problem) -> Status {
    let code = match problem.status().as_u16() {
        401 => Code::Unauthenticated,
        404 => Code::NotFound,
        413 | 503 => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    Status::new(code, problem.detail())
}
