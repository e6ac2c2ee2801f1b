//! Envoy's access log service. A stream has no acknowledgement but its end: OK is sent when all of it is durable.
//!
//! # A stream that the service ends
//! When the service drains, or a stream has reached its age, the sender is in the middle of things: what it puts on the
//! wire until it hears of the end is lost with most servers, and it never learns of it (measured: see `tests/it/rolling.rs`).
//! HTTP/2 allows better: the answer ends our half of the stream only. So the answer goes first, and the stream is
//! read on until the sender has ended or reset its half, which Envoy does at once; all of that is made durable, too.
//!
//! The status of such an end tells no more than is known. OK: the stream was quiet, and all that came is durable. Where the
//! sender had messages on their way, the end is an error (which Envoy treats alike): UNAVAILABLE for a drain, and
//! ABORTED for age, which outlier detection does not hold against a healthy instance.

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
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::Intake;
use super::auth::Admitted;
use super::grpc::{self, Message, Messages};
use super::listen::jittered;
use super::peer::Peer;
use crate::accept::{Receipt, Refusal};
use crate::config::SourceKind;
use crate::metrics::StreamEnd;

const PATH: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
/// Messages of one stream that may wait for an fsync together. Envoy's are 16 KiB: this bounds a stream to half a
/// megabyte, and one fsync of 5 ms to some 200,000 records a second; beyond it TCP pushes back.
const IN_FLIGHT: usize = 32;
/// What is decoded at once on the thread that serves everyone: a millisecond. Envoy sends no larger message unless told
/// to.
const QUICK_BYTES: usize = 256 << 10;
/// A stream on which nothing came for so long is quiet: longer than a packet is on its way.
const QUIET: Duration = Duration::from_millis(100);
/// How long a stream that is to end gets to fall quiet. Envoy flushes once a second, so most do.
const QUIET_WITHIN: Duration = Duration::from_secs(1);
/// How long a stream is read on after its answer. A sender resets it one round trip later; one that does not is cut off.
const READ_ON: Duration = Duration::from_secs(3);

/// What all streams share: when they have to end, and who still reads.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    /// The service drains.
    pub(crate) stopping: CancellationToken,
    /// Streams that were answered and are read on. A drain waits for them.
    pub(crate) read_on: TaskTracker,
    /// The age at which a stream is ended; none where zero.
    pub(crate) age: Duration,
}

/// The one method of the service.
pub(crate) fn routes(streams: Streams) -> Router<Intake> {
    Router::new().route(
        PATH,
        post(move |State(intake): State<Intake>, request: Request| receive(intake, streams.clone(), request)),
    )
}

async fn receive(intake: Intake, streams: Streams, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let peer = Peer::of(&parts.extensions);
    let opened = intake
        .sources
        .admit(SourceKind::Als, None, &parts.headers, &peer)
        .map_err(|problem| grpc::status_of(&problem))
        .and_then(|source| {
            let messages = Messages::of_stream(&intake, &source, &parts.headers, body)?;
            Ok((source, messages))
        });
    let outcome = match opened {
        Ok((source, messages)) => {
            let stream = AlsStream::new(source.name.as_str());
            Inflow { intake, source, messages, stream, appends: JoinSet::new() }.run(streams).await
        }
        Err(status) => Err(status),
    };
    // StreamAccessLogsResponse has no fields.
    grpc::answer(outcome.map(|()| Bytes::new()))
}

/// Why reading stopped for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// The sender has ended the stream.
    Ended,
    /// Nothing came for [`QUIET`].
    Quiet,
    /// The time is up and messages still come.
    Busy,
}

/// A stream and what of it is not durable yet.
struct Inflow {
    intake: Intake,
    source: Admitted,
    messages: Messages,
    stream: AlsStream,
    appends: JoinSet<Result<Receipt, Refusal>>,
}

impl Inflow {
    /// Reads until the sender ends the stream or it is time; either way what was read is durable at the end.
    async fn run(mut self, streams: Streams) -> Result<(), Status> {
        let metrics = Arc::clone(self.intake.acceptor.metrics());
        let aged = age_of(streams.age);
        tokio::pin!(aged);
        let is_aged = loop {
            let (source, messages) = (&self.source, &mut self.messages);
            tokio::select! {
                // Over its rate nothing is read, and TCP pushes back.
                message = async { source.within_rate().await; messages.next().await } => match message {
                    Ok(Some(_)) if !source.is_welcome() => {
                        self.settle().await?;
                        metrics.stream_ended(StreamEnd::Sender);
                        return Err(Status::unauthenticated("the token of this stream no longer holds"));
                    }
                    Ok(Some(message)) => self.take(message).await?,
                    ended => {
                        // What came before a sender broke off counts, too.
                        self.settle().await?;
                        metrics.stream_ended(StreamEnd::Sender);
                        return ended.map(|_| ());
                    }
                },
                () = streams.stopping.cancelled() => break false,
                () = &mut aged => break true,
            }
        };
        let pause = self.read_until(Instant::now() + QUIET_WITHIN, QUIET).await?;
        self.settle().await?;
        metrics.stream_ended(if is_aged { StreamEnd::Aged } else { StreamEnd::Drained });
        if pause != Pause::Ended {
            streams.read_on.spawn(self.read_on());
        }
        match (pause, is_aged) {
            (Pause::Ended | Pause::Quiet, _) => Ok(()),
            (Pause::Busy, true) => Err(Status::aborted("the stream has reached its age; open another")),
            (Pause::Busy, false) => Err(grpc::status(&Refusal::Stopped)),
        }
    }

    /// The stream was answered: reads what the sender sent before it heard of that.
    async fn read_on(mut self) {
        let metrics = Arc::clone(self.intake.acceptor.metrics());
        // A reset is an error here, and the usual end.
        let end = self.read_until(Instant::now() + READ_ON, READ_ON).await;
        if let Err(status) = self.settle().await {
            tracing::error!(source = %self.source.name, %status, "records that came after a stream's end are not durable");
            metrics.stream_ended(StreamEnd::Cut);
        } else if let Ok(Pause::Busy | Pause::Quiet) = end {
            tracing::warn!(source = %self.source.name, "a sender did not end a stream that was answered; it is cut off");
            metrics.stream_ended(StreamEnd::Cut);
        }
    }

    async fn read_until(&mut self, until: Instant, quiet: Duration) -> Result<Pause, Status> {
        loop {
            let silence = Instant::now() + quiet;
            match timeout_at(until.min(silence), self.messages.next()).await {
                Ok(message) => match message? {
                    Some(message) => self.take(message).await?,
                    None => return Ok(Pause::Ended),
                },
                Err(_) if silence <= until => return Ok(Pause::Quiet),
                Err(_) => return Ok(Pause::Busy),
            }
        }
    }

    /// Starts to make a message durable.
    async fn take(&mut self, message: Message) -> Result<(), Status> {
        if self.appends.len() >= IN_FLIGHT {
            landed(self.appends.join_next().await)?;
        }
        let Message { bytes, hold } = message;
        self.source.sent(bytes.len());
        let (stream, acceptor, source) = (&mut self.stream, &self.intake.acceptor, &self.source);
        let mut decode = || {
            acceptor.decode_here(source, bytes.len(), |delivery, rules, sink| {
                stream.decode(&bytes, delivery, rules, sink);
            })
        };
        let sink = if bytes.len() <= QUICK_BYTES {
            decode()
        } else {
            let slot = acceptor.slot().await.map_err(|refusal| grpc::status(&refusal))?;
            let sink = tokio::task::block_in_place(decode);
            drop(slot);
            sink
        };
        let (acceptor, source) = (self.intake.acceptor.clone(), Arc::clone(&*self.source));
        self.appends.spawn(async move {
            let receipt = acceptor.append_when_room(&source, sink).await;
            drop(hold);
            receipt
        });
        Ok(())
    }

    /// Waits until all that was taken is durable.
    async fn settle(&mut self) -> Result<(), Status> {
        while let Some(append) = self.appends.join_next().await {
            landed(Some(append))?;
        }
        Ok(())
    }
}

/// Resolves when a stream that begins now is to end.
async fn age_of(age: Duration) {
    if age.is_zero() {
        return std::future::pending().await;
    }
    tokio::time::sleep(jittered(age)).await;
}

fn landed(append: Option<Result<Result<Receipt, Refusal>, tokio::task::JoinError>>) -> Result<(), Status> {
    match append {
        None | Some(Ok(Ok(_))) => Ok(()),
        Some(Ok(Err(refusal))) => Err(grpc::status(&refusal)),
        Some(Err(_)) => Err(grpc::status(&Refusal::Stopped)),
    }
}
