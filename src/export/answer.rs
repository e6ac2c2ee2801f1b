//! What a receiver's answer means: taken, come back, or never again; as the OTLP specification lists it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

/// Longest text of a receiver that is logged or stored, in characters.
const TEXT: usize = 200;
/// Longest pause that a receiver may ask for; a longer one is a mistake, and nobody would notice that we wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A receiver's answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has the spans, but for so many that it refused, with its words.
    Taken { refused: u64, message: String },
    /// The same request may succeed later, and not before this pause if it named one.
    Later { why: String, pause: Option<Duration> },
    /// The request is too large for it; its halves may do.
    TooLarge { why: String },
    /// The same request will never succeed.
    Never { why: String },
}

impl Answer {
    /// Nobody answered, or the connection broke.
    pub(crate) fn unreachable(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            why = format!("{why}: {error}");
            cause = error.source();
        }
        Self::Later { why: cut(&why), pause: None }
    }
}

/// The meaning of an HTTP answer.
pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Answer {
    if status.is_success() {
        return taken(body);
    }
    // The body is a google.rpc.Status; a proxy's is not.
    let message = RpcStatus::decode(body.clone()).map(|status| status.message).unwrap_or_default();
    let why = cut(&format!("HTTP {status} {message}"));
    match status.as_u16() {
        429 | 502 | 503 | 504 => Answer::Later { why, pause: retry_after(headers) },
        413 => Answer::TooLarge { why },
        _ => Answer::Never { why },
    }
}

/// The meaning of a gRPC answer: its status stands in the trailers, or in the head where there is no message.
pub(super) fn of_grpc(
    status: StatusCode,
    head: &HeaderMap,
    trailers: Option<&HeaderMap>,
    body: &Bytes,
) -> Answer {
    let find = |name: &str| trailers.and_then(|trailers| trailers.get(name)).or_else(|| head.get(name));
    let code: Option<u32> = find("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(code) = code else {
        // A proxy answered in the receiver's place; gRPC says which of its codes an HTTP status stands for.
        let why = cut(&format!("HTTP {status} without a gRPC status"));
        return match status.as_u16() {
            429 | 502 | 503 | 504 => Answer::Later { why, pause: retry_after(head) },
            200 => Answer::Later { why, pause: None },
            _ => Answer::Never { why },
        };
    };
    if code == 0 {
        // Five bytes stand before the message.
        return taken(&body.slice(body.len().min(5)..));
    }
    let message = find("grpc-message").map(|value| percent_decoded(value.as_bytes())).unwrap_or_default();
    let why = cut(&format!("gRPC {} {message}", name(code)));
    let pause = find("grpc-status-details-bin").and_then(|value| retry_info(value.as_bytes()));
    match code {
        // Cancelled, deadline exceeded, aborted, unavailable, data loss.
        1 | 4 | 10 | 14 | 15 => Answer::Later { why, pause },
        // Resource exhausted: only where it says when to come back, else the request is too large.
        8 if pause.is_some() => Answer::Later { why, pause },
        // Out of range is what some servers say to a message over their limit.
        8 | 11 => Answer::TooLarge { why },
        _ => Answer::Never { why },
    }
}

fn taken(body: &Bytes) -> Answer {
    let partial =
        ExportTraceServiceResponse::decode(body.clone()).ok().and_then(|response| response.partial_success);
    let partial = partial.unwrap_or_default();
    Answer::Taken {
        refused: partial.rejected_spans.max(0).unsigned_abs(),
        message: cut(&partial.error_message),
    }
}

/// `Retry-After` in seconds. As a date it is taken for "not now": clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// The delay of a `google.rpc.RetryInfo` among the details of a status.
fn retry_info(base64: &[u8]) -> Option<Duration> {
    use base64::Engine as _;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    // gRPC writes it with padding or without.
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, lenient).decode(base64).ok()?;
    let status = RpcStatus::decode(bytes.as_slice()).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let delay = Duration::from_secs(delay.seconds.max(0).unsigned_abs())
        + Duration::from_nanos(delay.nanos.max(0).unsigned_abs().into());
    Some(delay.min(LONGEST_PAUSE))
}

/// gRPC writes `%XX` for everything but plain ASCII; what is not that stays as it is.
fn percent_decoded(text: &[u8]) -> String {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn name(code: u32) -> &'static str {
    match trace::grpc_name(code) {
        "" => "of an unknown code",
        name => name,
    }
}

/// A text of somebody else's as we keep it: short, on one line.
fn cut(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(plain).take(TEXT).collect()
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Delay {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
