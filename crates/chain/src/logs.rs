//! Fastly's HTTPS log streaming, as an endpoint with `format` JSON, newline-delimited and zstd-compressed would deliver: the
//! challenge before the first batch, then batches, each again while the service says 503.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::viceroy::Viceroy;

/// Fastly's own period is 5 s; nobody who watches wants to wait that long.
const PERIOD: Duration = Duration::from_millis(500);
/// Between two tries of one batch.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Tries of one batch: a service that takes nothing for half a minute will not.
const TRIES: usize = 60;
/// Lines of one batch, as an endpoint's `request_max_entries`.
const MOST_LINES: usize = 500;

/// The edge's log endpoint; without [`LogEndpoint::stop`] what was not yet sent is lost.
#[derive(Debug)]
pub(crate) struct LogEndpoint {
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<usize>>,
    runtime: Handle,
}

impl LogEndpoint {
    /// Delivers the lines of an edge to the service at `to`, beginning with the first.
    pub(crate) fn start(runtime: &Handle, edge: Arc<Viceroy>, to: SocketAddr) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = runtime.spawn(deliver(edge, format!("http://{to}"), stopped));
        Self { stop, task, runtime: runtime.clone() }
    }

    /// Delivers what is left and ends; how many lines were accepted.
    ///
    /// # Errors
    ///
    /// The service does not want this host's logs, or refused a batch for good.
    pub(crate) fn stop(self) -> anyhow::Result<usize> {
        let _ = self.stop.send(true);
        self.runtime.block_on(self.task).context("the log endpoint")?
    }
}

async fn deliver(edge: Arc<Viceroy>, to: String, mut stop: watch::Receiver<bool>) -> anyhow::Result<usize> {
    let client = reqwest::Client::builder().no_proxy().build().context("make a client")?;
    let mut sent = 0;
    let mut is_wanted = false;
    loop {
        // Looked at before the lines are: whatever was logged before the stop is delivered.
        let last = *stop.borrow();
        let lines = edge.lines_from(sent);
        if !lines.is_empty() && !is_wanted {
            challenge(&client, &to).await?;
            is_wanted = true;
        }
        for batch in lines.chunks(MOST_LINES) {
            post(&client, &to, batch).await?;
            sent += batch.len();
        }
        if last {
            return Ok(sent);
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Whether the service wants logs: of any Fastly service, or of this one by the hash of its id.
async fn challenge(client: &reqwest::Client, to: &str) -> anyhow::Result<()> {
    let answer = client.get(format!("{to}/.well-known/fastly/logging/challenge")).send().await;
    let answer = answer.context("ask the challenge")?;
    let (status, text) = (answer.status(), answer.text().await.context("read the challenge")?);
    let hash = sha256_hex(VICEROY_SERVICE);
    if status != StatusCode::OK || !text.lines().any(|line| line == "*" || line == hash) {
        bail!("{to} does not want these logs: its challenge answered {status} {text:?}");
    }
    Ok(())
}

/// The service id under which Viceroy runs every service.
pub(crate) const VICEROY_SERVICE: &str = "0000000000000000000000";

fn sha256_hex(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn post(client: &reqwest::Client, to: &str, lines: &[String]) -> anyhow::Result<()> {
    let body = zstd::encode_all(lines.join("\n").as_bytes(), 3).context("compress a batch")?;
    for _ in 0..TRIES {
        let request = client
            .post(format!("{to}/v1/fastly/{SOURCE}"))
            .header("content-type", "application/json")
            .header("content-encoding", "zstd")
            .body(body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            // To Fastly any other status means that the batch will never be taken.
            Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
                bail!("{to} refused {} log lines for good: {status} {text}", lines.len());
            }
            Ok(_) | Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
    bail!("{to} took no log lines in {TRIES} tries");
}

/// The service's source for the edge's lines.
pub(crate) const SOURCE: &str = "edge";
