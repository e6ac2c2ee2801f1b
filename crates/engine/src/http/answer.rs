//! Answers in ClickHouse's manner: errors by header and status, or inside the body once it has begun.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio_stream::Stream;

use crate::connection::{EngineError, Written};
use crate::http::formats;
use crate::pool::Stopper;

/// Every answer names its server thus, as ClickHouse's do.
pub(crate) const DISPLAY_NAME: &str = "throughline";

fn with_headers(status: StatusCode, body: Body, headers: &[(&'static str, &str)]) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let common = [("x-clickhouse-server-display-name", DISPLAY_NAME), ("x-clickhouse-timezone", "UTC")];
    for (name, value) in common.iter().chain(headers) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response {
    with_headers(status, Body::from(text), &[("content-type", "text/plain; charset=UTF-8")])
}

/// The status ClickHouse gives an error code.
fn status_of(code: i32) -> StatusCode {
    match code {
        194 => StatusCode::UNAUTHORIZED,
        516 | 497 | 164 => StatusCode::FORBIDDEN,
        46 | 47 | 60 | 81 | 115 | 16 => StatusCode::NOT_FOUND,
        6 | 26 | 27 | 33 | 36 | 38 | 40 | 41 | 43 | 44 | 53 | 62 | 63 | 69 | 72 | 89 | 117 | 130 | 131
        | 271 | 273 | 456 => StatusCode::BAD_REQUEST,
        48 | 50 => StatusCode::NOT_IMPLEMENTED,
        159 => StatusCode::REQUEST_TIMEOUT,
        202 | 210 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(crate) fn failure(error: &EngineError, query_id: &str) -> Response {
    let mut headers =
        vec![("content-type", "text/plain; charset=UTF-8"), ("x-clickhouse-query-id", query_id)];
    let code = error.code.to_string();
    headers.push(("x-clickhouse-exception-code", &code));
    let status = status_of(error.code);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.push(("retry-after", "1"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.push(("www-authenticate", "Basic realm=\"throughline\""));
    }
    with_headers(status, Body::from(format!("{}\n", error.message)), &headers)
}

pub(crate) fn inserted(written: Written, query_id: &str) -> Response {
    let summary = format!(
        r#"{{"read_rows":"0","read_bytes":"0","written_rows":"{}","written_bytes":"{}","total_rows_to_read":"0","result_rows":"{}","result_bytes":"{}","elapsed_ns":"0"}}"#,
        written.rows, written.bytes, written.rows, written.bytes
    );
    let headers = [
        ("content-type", "text/plain; charset=UTF-8"),
        ("x-clickhouse-query-id", query_id),
        ("x-clickhouse-summary", &summary),
    ];
    with_headers(StatusCode::OK, Body::empty(), &headers)
}

/// What the running statement hands over. The end is said: a channel that closes without it was cut short.
#[derive(Debug)]
pub(crate) enum Piece {
    Chunk(Bytes),
    Failed(EngineError),
    End,
}

/// An answer whose first piece is known and whose rest is still being made.
pub(crate) fn rows(
    first: Option<Bytes>,
    rest: Receiver<Piece>,
    stopper: Stopper,
    format: &str,
    query_id: &str,
) -> Response {
    let tag: String = uuid::Uuid::new_v4().simple().to_string().chars().take(16).collect();
    let headers = [
        ("content-type", formats::content_type(format)),
        ("x-clickhouse-query-id", query_id),
        ("x-clickhouse-format", format),
        ("x-clickhouse-exception-tag", &tag),
    ];
    let stream = Pieces { first, rest: Some(rest), _stopper: stopper, tag: tag.clone() };
    with_headers(StatusCode::OK, Body::from_stream(stream), &headers)
}

/// An error in a body that has begun, as ClickHouse writes it since 25.11.
fn exception_block(error: &EngineError, tag: &str) -> Bytes {
    let message = format!("{}\n", error.message);
    format!("\r\n__exception__\r\n{tag}\r\n{message}{} {tag}\r\n__exception__\r\n", message.len()).into()
}

/// For a statement whose thread ended without saying how.
pub(crate) fn cut_short() -> EngineError {
    EngineError::new(1002, "UNKNOWN_EXCEPTION", "the statement ended without an answer; try it again")
}

/// The body of a streamed answer. Dropped early (the client left), it stops the statement.
struct Pieces {
    first: Option<Bytes>,
    rest: Option<Receiver<Piece>>,
    _stopper: Stopper,
    tag: String,
}

impl Stream for Pieces {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let piece = match rest.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        if let Some(Piece::Chunk(chunk)) = piece {
            return Poll::Ready(Some(Ok(chunk)));
        }
        self.rest = None;
        match piece {
            Some(Piece::Failed(error)) => Poll::Ready(Some(Ok(exception_block(&error, &self.tag)))),
            Some(Piece::Chunk(_) | Piece::End) => Poll::Ready(None),
            None => Poll::Ready(Some(Ok(exception_block(&cut_short(), &self.tag)))),
        }
    }
}

/// An answer that is there already; empty for a statement that changes something.
pub(crate) fn whole(bytes: Bytes, format: &str, query_id: &str) -> Response {
    let headers = [
        ("content-type", formats::content_type(format)),
        ("x-clickhouse-query-id", query_id),
        ("x-clickhouse-format", format),
    ];
    with_headers(StatusCode::OK, Body::from(bytes), &headers)
}
