//! The senders: batch after batch on every lane, with senders that hang up, break off in the middle, and send twice.
//!
//! What a batch holds and how it is sent follows from seed, lane and place, whatever became of the batches before it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::PathAndQuery;
use reqwest::header;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::body::Body;
use super::lane::Lane;
use super::ledger::Ledger;
use super::record::Entry;
use super::rng::Rng;
use super::service::Target;
use crate::cli::codec::BytesCodec;

const ALS_PATH: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
const OTLP_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// How long an answer is waited for: longer than any stall that is made.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Pause before a batch is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(60);
/// Tries of one batch; a persistent sender goes on longer than any outage that is made.
const TRIES: u32 = 400;

/// Where the service listens now; `None` while it is dead.
pub(super) type Whereabouts = watch::Receiver<Option<Target>>;

/// What became of a delivery.
enum Outcome {
    Acknowledged,
    /// To be sent again; part of it may be durable.
    Refused,
    /// Nobody listened.
    NotSent,
    /// No answer came.
    Unanswered,
    /// An answer that the records did not deserve.
    Wrong(String),
}

/// How a batch is sent.
struct Plan {
    records: u64,
    /// Break the connection off in the middle of the body first.
    cut: bool,
    /// Hang up after so long first, whatever has come by then.
    hang_up: Option<Duration>,
    /// Send once more what was acknowledged.
    redeliver: bool,
    /// Send again what was not acknowledged.
    persistent: bool,
    pause: Duration,
}

impl Plan {
    fn new(seed: u64, lane: Lane, first: u64) -> Self {
        let mut rng = Rng::stream(seed, [0x100 + lane as u64, first]);
        let large = rng.permille(20);
        let records = if large { rng.between(200, 400) } else { rng.between(1, 30) };
        let hang_up_us = rng.between(0, 30_000);
        Self {
            records,
            cut: rng.permille(30),
            hang_up: rng.permille(40).then_some(Duration::from_micros(hang_up_us)),
            redeliver: rng.permille(40),
            persistent: rng.permille(800),
            pause: Duration::from_millis(rng.between(30, 250)),
        }
    }
}

/// One lane's sender.
pub(super) struct Sender {
    pub(super) lane: Lane,
    pub(super) ledger: Arc<Ledger>,
    pub(super) whereabouts: Whereabouts,
    pub(super) client: reqwest::Client,
    channel: Option<(Target, Channel)>,
}

impl Sender {
    pub(super) fn new(lane: Lane, ledger: Arc<Ledger>, whereabouts: Whereabouts) -> anyhow::Result<Self> {
        // Someone else in the process may have installed the same provider; which of the two wins makes no difference.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(ANSWER_LIMIT).build().context("make a sender")?;
        Ok(Self { lane, ledger, whereabouts, client, channel: None })
    }

    /// Sends until told to stop; finishes the batch under way.
    pub(super) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let origin = self.ledger.origin();
        let mut next = self.ledger.enter(self.lane, 0);
        while !stop.is_cancelled() {
            let plan = Plan::new(origin.seed, self.lane, next);
            let first = self.ledger.enter(self.lane, plan.records);
            next = first + plan.records;
            let entries: Vec<Entry> = (first..next).map(|nth| Entry::new(origin, self.lane, nth)).collect();
            let body = Body::new(self.lane, &entries).context("pack a batch")?;
            self.send(&plan, &body, first..next, &stop).await;
            tokio::time::sleep(plan.pause).await;
        }
        Ok(())
    }

    async fn send(&mut self, plan: &Plan, body: &Body, places: Range<u64>, stop: &CancellationToken) {
        if plan.cut && self.target(stop).await.is_some() {
            self.cut(body, &places, stop).await;
        }
        let mut hang_up = plan.hang_up;
        let mut again = plan.redeliver;
        for _ in 0..TRIES {
            let Some(target) = self.target(stop).await else { return };
            let delivery = self.deliver(target, body);
            let outcome = match hang_up.take() {
                Some(after) => tokio::time::timeout(after, delivery).await.unwrap_or(Outcome::Unanswered),
                None => delivery.await,
            };
            if !matches!(outcome, Outcome::NotSent) {
                self.ledger.sent(self.lane, places.clone(), 1);
            }
            match outcome {
                Outcome::Acknowledged => {
                    self.ledger.acknowledged(self.lane, places.clone());
                    if !std::mem::take(&mut again) {
                        return;
                    }
                    self.ledger.count(|tally| tally.redelivered += 1);
                    continue;
                }
                Outcome::Refused => self.ledger.count(|tally| tally.refused += 1),
                Outcome::Unanswered => self.ledger.count(|tally| tally.unanswered += 1),
                Outcome::NotSent => {}
                Outcome::Wrong(what) => {
                    self.ledger.wrong_answer(self.lane, &what);
                    return;
                }
            }
            if !plan.persistent {
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Where to send; waits while the service is dead. `None` when the time is over.
    async fn target(&mut self, stop: &CancellationToken) -> Option<Target> {
        tokio::select! {
            here = self.whereabouts.wait_for(Option::is_some) => here.ok().and_then(|target| *target),
            () = stop.cancelled() => None,
        }
    }

    /// Breaks off in the middle. Half an HTTP body must leave nothing; of a stream each message may stay.
    async fn cut(&mut self, body: &Body, places: &Range<u64>, stop: &CancellationToken) {
        let Some(target) = self.target(stop).await else { return };
        self.ledger.count(|tally| tally.cut += 1);
        match body {
            Body::Http { .. } => drop(half(target, body).await),
            Body::Unary(_) => {}
            Body::Stream(messages) => {
                self.ledger.sent(self.lane, places.clone(), 1);
                let Ok(channel) = self.channel(target).await else { return };
                use tokio_stream::StreamExt as _;
                let endless = tokio_stream::iter(messages.clone()).chain(tokio_stream::pending());
                let call = stream(channel, endless);
                let _ = tokio::time::timeout(Duration::from_millis(20), call).await;
            }
        }
    }

    async fn deliver(&mut self, target: Target, body: &Body) -> Outcome {
        match body {
            Body::Http { .. } => self.post(target, body).await,
            Body::Unary(message) => {
                let Ok(channel) = self.channel(target).await else { return Outcome::NotSent };
                of_status(unary(channel, message.clone()).await.and_then(is_whole))
            }
            Body::Stream(messages) => {
                let Ok(channel) = self.channel(target).await else { return Outcome::NotSent };
                of_status(stream(channel, tokio_stream::iter(messages.clone())).await)
            }
        }
    }

    async fn channel(&mut self, target: Target) -> anyhow::Result<Channel> {
        if let Some((to, channel)) = &self.channel
            && *to == target
        {
            return Ok(channel.clone());
        }
        let channel =
            Endpoint::from_shared(format!("http://{}", target.grpc))?.timeout(ANSWER_LIMIT).connect().await?;
        self.channel = Some((target, channel.clone()));
        Ok(channel)
    }

    async fn post(&self, target: Target, body: &Body) -> Outcome {
        let Body::Http { path, content_type, encoding, bytes } = body else { return Outcome::NotSent };
        let url = format!("http://{}{path}", target.http);
        let mut request =
            self.client.post(url).header(header::CONTENT_TYPE, *content_type).body(bytes.clone());
        if let Some(encoding) = encoding {
            request = request.header(header::CONTENT_ENCODING, *encoding);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Outcome::NotSent,
            Err(_) => return Outcome::Unanswered,
        };
        let status = response.status().as_u16();
        let Ok(text) = response.text().await else {
            // The status is the acknowledgement; its body only counts.
            return if status == 200 { Outcome::Acknowledged } else { Outcome::Unanswered };
        };
        match status {
            200 if is_clean(self.lane, &text) => Outcome::Acknowledged,
            200 => Outcome::Wrong(format!("records were rejected: {text}")),
            503 => Outcome::Refused,
            _ => Outcome::Wrong(format!("HTTP {status}: {text}")),
        }
    }
}

/// Whether an answer says that every record was taken.
fn is_clean(lane: Lane, text: &str) -> bool {
    match lane {
        Lane::OtlpProtobuf => text.is_empty(),
        Lane::OtlpJson => text == "{}",
        _ => text.contains("\"rejected\":0"),
    }
}

/// Sends the first half of a request and closes the connection.
async fn half(target: Target, body: &Body) -> std::io::Result<()> {
    let Body::Http { path, content_type, encoding, bytes } = body else { return Ok(()) };
    let mut connection = TcpStream::connect(target.http).await?;
    let encoding = encoding.map(|encoding| format!("content-encoding: {encoding}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: verify\r\ncontent-type: {content_type}\r\n{encoding}content-length: {}\r\n\r\n",
        bytes.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&bytes[..bytes.len() / 2]).await?;
    connection.flush().await
}

async fn unary(channel: Channel, message: Bytes) -> Result<Bytes, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(OTLP_PATH);
    grpc.unary(Request::new(message), path, BytesCodec).await.map(tonic::Response::into_inner)
}

/// An answer of OTLP is empty unless records were rejected.
fn is_whole(answer: Bytes) -> Result<(), Status> {
    if answer.is_empty() { Ok(()) } else { Err(Status::data_loss("records were rejected")) }
}

async fn stream(
    channel: Channel,
    messages: impl tokio_stream::Stream<Item = Bytes> + Send + 'static,
) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(ALS_PATH);
    grpc.client_streaming(Request::new(messages), path, BytesCodec).await.map(|_| ())
}

fn of_status(result: Result<(), Status>) -> Outcome {
    let Err(status) = result else { return Outcome::Acknowledged };
    match status.code() {
        Code::ResourceExhausted => Outcome::Refused,
        // Said by the service when it drains, and by the client when the connection breaks.
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded => {
            Outcome::Unanswered
        }
        _ => Outcome::Wrong(format!("gRPC {:?}: {}", status.code(), status.message())),
    }
}
