//! Fastly's HTTPS log streaming: the challenge, and the deliveries.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::peer::Peer;
use super::{Intake, answer, body};
use crate::config::SourceKind;

/// Fixed by Fastly on the host, not below the configured path. Axum answers HEAD from GET.
const CHALLENGE: &str = "/.well-known/fastly/logging/challenge";

/// `POST` and `PUT /v1/fastly[/{source}]`, and the challenge.
pub(crate) fn routes() -> Router<Intake> {
    let unnamed = |intake: State<Intake>, peer: Peer, headers: HeaderMap, body: Body| {
        receive(intake, peer, None, headers, body)
    };
    let named =
        |intake: State<Intake>, peer: Peer, Path(source): Path<String>, headers: HeaderMap, body: Body| {
            receive(intake, peer, Some(source), headers, body)
        };
    Router::new()
        .route("/v1/fastly", post(unnamed).put(unnamed))
        .route("/v1/fastly/{source}", post(named).put(named))
        .route(CHALLENGE, get(challenge))
}

/// Asked again every few seconds, before batches: no token, no dependence on anything behind.
async fn challenge(State(intake): State<Intake>) -> Response {
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([no_store], intake.challenge.to_string()).into_response()
}

async fn receive(
    State(intake): State<Intake>,
    peer: Peer,
    name: Option<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let source = match intake.sources.admit(SourceKind::Fastly, name.as_deref(), &headers, &peer) {
        Ok(source) => source,
        Err(problem) => return problem.into_response(),
    };
    let unpacked = match body::read(&intake, &source, &headers, body).await {
        Ok(unpacked) => unpacked,
        Err(problem) => return problem.into_response(),
    };
    let (preset, payload_bytes) = (source.preset.clone(), unpacked.bytes.len());
    let outcome = intake
        .acceptor
        .accept(&source, unpacked.hold, payload_bytes, move |delivery, rules, sink| {
            // The name was checked at start; empty means that the lines say which.
            let preset = rules.fastly.find(&preset).ok();
            decode::fastly::decode_with(&unpacked.bytes, preset, delivery, rules, sink);
        })
        .await;
    answer(outcome)
}
