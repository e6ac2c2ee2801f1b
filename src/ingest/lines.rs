//! Envoy's lines over HTTP: Istio's JSON and TEXT, custom formats, with or without a container runtime's wrapping.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::peer::Peer;
use super::{Intake, answer, body};
use crate::config::SourceKind;

/// `POST` and `PUT /v1/envoy[/{source}]`.
pub(crate) fn routes() -> Router<Intake> {
    let unnamed = |intake: State<Intake>, peer: Peer, headers: HeaderMap, body: Body| {
        receive(intake, peer, None, headers, body)
    };
    let named =
        |intake: State<Intake>, peer: Peer, Path(source): Path<String>, headers: HeaderMap, body: Body| {
            receive(intake, peer, Some(source), headers, body)
        };
    Router::new()
        .route("/v1/envoy", post(unnamed).put(unnamed))
        .route("/v1/envoy/{source}", post(named).put(named))
}

async fn receive(
    State(intake): State<Intake>,
    peer: Peer,
    name: Option<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let source = match intake.sources.admit(SourceKind::Envoy, name.as_deref(), &headers, &peer) {
        Ok(source) => source,
        Err(problem) => return problem.into_response(),
    };
    let unpacked = match body::read(&intake, &source, &headers, body).await {
        Ok(unpacked) => unpacked,
        Err(problem) => return problem.into_response(),
    };
    let payload_bytes = unpacked.bytes.len();
    let outcome = intake
        .acceptor
        .accept(&source, unpacked.hold, payload_bytes, move |delivery, rules, sink| {
            decode::envoy::decode_lines(&unpacked.bytes, delivery, rules, sink);
        })
        .await;
    answer(outcome)
}
