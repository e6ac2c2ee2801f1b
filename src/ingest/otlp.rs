//! OTLP logs: `/v1/logs` over HTTP (protobuf and JSON) and the gRPC service, with partial success as the
//! specification has it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use decode::otlp::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message as _;
use serde_json::json;
use tonic::Status;

use super::grpc::{self, Message, Messages};
use super::peer::Peer;
use super::{Intake, body};
use crate::accept::{Hold, Receipt};
use crate::api::Problem;
use crate::config::{Source, SourceKind};

const GRPC_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// The answer of the specification: empty where everything was taken.
fn response(receipt: &Receipt) -> ExportLogsServiceResponse {
    let partial_success = (receipt.rejected > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: i64::try_from(receipt.rejected).unwrap_or(i64::MAX),
        error_message: receipt.first.first().map(|line| line.detail.clone()).unwrap_or_default(),
    });
    ExportLogsServiceResponse { partial_success }
}

/// `POST /v1/logs`.
pub(crate) fn http_routes() -> Router<Intake> {
    Router::new().route("/v1/logs", post(receive_http))
}

/// The one method of the gRPC service.
pub(crate) fn grpc_routes() -> Router<Intake> {
    Router::new().route(GRPC_PATH, post(receive_grpc))
}

async fn receive_http(State(intake): State<Intake>, peer: Peer, headers: HeaderMap, body: Body) -> Response {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let json = match content_type.split(';').next().unwrap_or_default().trim() {
        "application/json" => true,
        "application/x-protobuf" | "application/protobuf" => false,
        other => {
            let detail = format!(
                "content type {other:?} is not OTLP: send application/x-protobuf or application/json"
            );
            return Problem::unsupported_media(&detail).into_response();
        }
    };
    // Who may not send gets no memory for a body.
    let source = match intake.sources.admit(SourceKind::Otlp, None, &headers, &peer) {
        Ok(source) => source,
        Err(problem) => return problem.into_response(),
    };
    let unpacked = match body::read(&intake, &source, &headers, body).await {
        Ok(unpacked) => unpacked,
        Err(problem) => return problem.into_response(),
    };
    match accept(&intake, &source, unpacked.bytes, unpacked.hold, json).await {
        Err(problem) => problem.into_response(),
        Ok(receipt) if json => {
            let answer = match response(&receipt).partial_success {
                None => json!({}),
                Some(partial) => json!({"partialSuccess": {
                    "rejectedLogRecords": partial.rejected_log_records.to_string(),
                    "errorMessage": partial.error_message,
                }}),
            };
            axum::Json(answer).into_response()
        }
        Ok(receipt) => {
            ([(header::CONTENT_TYPE, PROTOBUF)], response(&receipt).encode_to_vec()).into_response()
        }
    }
}

async fn receive_grpc(State(intake): State<Intake>, request: Request) -> Response {
    grpc::answer(export(&intake, request).await)
}

/// The unary call: one message, and its end.
async fn export(intake: &Intake, request: Request) -> Result<Bytes, Status> {
    let (parts, body) = request.into_parts();
    let peer = Peer::of(&parts.extensions);
    let source = intake
        .sources
        .admit(SourceKind::Otlp, None, &parts.headers, &peer)
        .map_err(|problem| grpc::status_of(&problem))?;
    source.check_rate().map_err(|refusal| grpc::status(&intake.acceptor.refuse(&source, refusal)))?;
    let mut messages = Messages::of_call(intake, &source, &parts.headers, body)?;
    let Some(Message { bytes, hold }) = messages.next().await? else {
        return Err(Status::invalid_argument("the call holds no message"));
    };
    source.sent(bytes.len());
    let receipt =
        accept(intake, &source, bytes, hold, false).await.map_err(|problem| grpc::status_of(&problem))?;
    Ok(Bytes::from(response(&receipt).encode_to_vec()))
}

async fn accept(
    intake: &Intake,
    source: &Arc<Source>,
    message: Bytes,
    hold: Hold,
    json: bool,
) -> Result<Receipt, Problem> {
    intake
        .acceptor
        .accept(source, hold, message.len(), move |delivery, rules, sink| {
            if json {
                decode::otlp::decode_json(&message, delivery, rules, sink);
            } else {
                decode::otlp::decode_protobuf(&message, delivery, rules, sink);
            }
        })
        .await
        .map_err(|refusal| Problem::from(&refusal))
}
