//! RECEIVE: sockets, auth, body caps. Bytes come in here and leave for [`crate::accept`]; nothing is parsed.
//!
//! | room | what comes in |
//! |---|---|
//! | [`fastly`] | Fastly's HTTPS log streaming, and its challenge |
//! | [`lines`] | Envoy's lines over HTTP |
//! | [`otlp`] | OTLP logs over HTTP and gRPC |
//! | [`als`] | Envoy's access log service over gRPC |
//! | [`files`] | files that are followed through rotation |

pub(crate) mod als;
pub(crate) mod auth;
pub(crate) mod body;
mod connections;
pub(crate) mod descriptors;
pub(crate) mod fastly;
pub(crate) mod files;
pub(crate) mod grpc;
pub(crate) mod lines;
pub(crate) mod listen;
pub(crate) mod otlp;
mod pace;
pub(crate) mod peer;
mod tls;

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::accept::{Acceptor, Receipt, Refusal};
use crate::api::Problem;
use crate::config::Limits;

/// What every ingest handler needs; clones share it.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) acceptor: Acceptor,
    pub(crate) sources: Arc<auth::Sources>,
    pub(crate) limits: Limits,
    pub(crate) challenge: Arc<str>,
}

/// The answer to a delivery of lines: what was taken, what was not, and the first reasons.
fn answer(outcome: Result<Receipt, Refusal>) -> Response {
    match outcome {
        Ok(receipt) => {
            let rejects: Vec<_> = receipt
                .first
                .iter()
                .map(|line| json!({"reason": line.reason, "offset": line.offset, "detail": line.detail}))
                .collect();
            let body = json!({
                "accepted": receipt.accepted,
                "rejected": receipt.rejected,
                "by_reason": receipt.by_reason,
                "rejects": rejects,
            });
            (StatusCode::OK, Json(body)).into_response()
        }
        Err(refusal) => Problem::from(&refusal).into_response(),
    }
}
