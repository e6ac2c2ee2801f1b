//! Envoy's access log service. A stream has no acknowledgement but its end: OK is sent when all of it is durable.
//!
//! A stream that the service must end before its sender does never ends with OK: what the sender had on its way is lost
//! with the connection, and only an error says so.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use decode::envoy::AlsStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{Intake, grpc};
use crate::accept::{Receipt, Refusal};
use crate::config::{Source, SourceKind};

const PATH: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
/// Messages of one stream that may wait for an fsync together. Envoy's are 16 KiB: this bounds a stream to half a
/// megabyte, and one fsync of 5 ms to some 200,000 records a second; beyond it TCP pushes back.
const IN_FLIGHT: usize = 32;

/// The one method of the service.
pub(crate) fn routes(stopping: CancellationToken) -> Router<Intake> {
    Router::new().route(
        PATH,
        post(move |State(intake): State<Intake>, request: Request| {
            receive(intake, stopping.clone(), request)
        }),
    )
}

async fn receive(intake: Intake, stopping: CancellationToken, request: Request) -> Response {
    let mut server = grpc::server(intake.limits.grpc_message_bytes);
    let service = tower::service_fn(move |request: tonic::Request<Streaming<Bytes>>| {
        let (intake, stopping) = (intake.clone(), stopping.clone());
        async move {
            let (metadata, _, stream) = request.into_parts();
            let headers = metadata.into_headers();
            let source = intake
                .sources
                .admit(SourceKind::Als, None, &headers)
                .map_err(|problem| grpc::status_of(&problem))?;
            read(intake, source, stream, stopping).await?;
            // StreamAccessLogsResponse has no fields.
            Ok(tonic::Response::new(Bytes::new()))
        }
    });
    grpc::answer(server.client_streaming(service, request).await)
}

/// When the service stops, what comes in such a time is still read: what is in the buffers on the way, above all.
const LAST_WAIT: Duration = Duration::from_millis(100);
/// But no longer than this, however much comes. Well within the share of the drain that connections get.
const LAST_READ: Duration = Duration::from_secs(1);

/// Reads until the sender ends the stream or the service stops; either way what was read is durable at the end.
async fn read(
    intake: Intake,
    source: Arc<Source>,
    mut messages: Streaming<Bytes>,
    stopping: CancellationToken,
) -> Result<(), Status> {
    let mut stream = AlsStream::new(source.name.as_str());
    let mut appends: JoinSet<Result<Receipt, Refusal>> = JoinSet::new();
    let (mut until, mut is_cut) = (None, false);
    loop {
        if appends.len() >= IN_FLIGHT {
            landed(appends.join_next().await)?;
        }
        let message = match until {
            None => tokio::select! {
                message = messages.message() => message?,
                () = stopping.cancelled() => {
                    until = Some(Instant::now() + LAST_READ);
                    continue;
                }
            },
            Some(until) => {
                let deadline = until.min(Instant::now() + LAST_WAIT);
                match timeout_at(deadline, messages.message()).await {
                    Ok(message) => message?,
                    Err(_) => {
                        is_cut = true;
                        break;
                    }
                }
            }
        };
        let Some(message) = message else { break };
        let mut hold = intake.acceptor.gate().hold();
        hold.grow(2 * message.len()).map_err(|refusal| grpc::status(&refusal))?;
        let sink = intake.acceptor.decode_here(&source, |delivery, rules, sink| {
            stream.decode(&message, delivery, rules, sink);
        });
        let (acceptor, source) = (intake.acceptor.clone(), Arc::clone(&source));
        appends.spawn(async move {
            let receipt = acceptor.append_when_room(&source, sink).await;
            drop(hold);
            receipt
        });
    }
    while let Some(append) = appends.join_next().await {
        landed(Some(append))?;
    }
    // Envoy opens a new stream elsewhere after any end.
    if is_cut { Err(grpc::status(&Refusal::Stopped)) } else { Ok(()) }
}

fn landed(append: Option<Result<Result<Receipt, Refusal>, tokio::task::JoinError>>) -> Result<(), Status> {
    match append {
        None | Some(Ok(Ok(_))) => Ok(()),
        Some(Ok(Err(refusal))) => Err(grpc::status(&refusal)),
        Some(Err(_)) => Err(grpc::status(&Refusal::Stopped)),
    }
}
