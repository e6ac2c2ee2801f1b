//! Sending one piece until it is taken: a busy service and a lost connection are waited out, a refusal is final.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use reqwest::Method;

use crate::cli::client::{Client, Reply};

/// First wait after a failure; doubled up to [`WAIT_MOST`].
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MOST: Duration = Duration::from_secs(5);

/// How long a piece is tried: longer than a restart of the service or of its store takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where pieces go, and how.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    /// A service that never answered is not waited for: it is not running, or the URL is wrong.
    was_reached: AtomicBool,
    patience: Duration,
}

/// How to send one piece.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) path: Vec<String>,
    pub(super) content_type: &'static str,
    /// The body is packed with zstd.
    pub(super) is_zstd: bool,
}

impl Sender {
    pub(super) fn new(client: Client) -> Self {
        Self { client, was_reached: AtomicBool::new(false), patience: PATIENCE }
    }

    /// Posts a body until the service takes or refuses it. A body that was taken while its answer was lost is sent
    /// again: the service tells redelivered records by their event keys.
    pub(super) async fn post(&self, route: &Route, body: Bytes) -> anyhow::Result<Reply> {
        let path: Vec<&str> = route.path.iter().map(String::as_str).collect();
        let mut wait = WAIT_FIRST;
        let give_up = tokio::time::Instant::now() + self.patience;
        loop {
            let mut request = self.client.request(Method::POST, &path)?;
            request = request.header(reqwest::header::CONTENT_TYPE, route.content_type).body(body.clone());
            if route.is_zstd {
                request = request.header(reqwest::header::CONTENT_ENCODING, "zstd");
            }
            let (error, asked_wait) = match self.client.send(request).await {
                Ok(reply) if reply.status.is_success() => {
                    self.was_reached.store(true, Ordering::Relaxed);
                    return Ok(reply);
                }
                Ok(reply) if reply.is_busy() => {
                    self.was_reached.store(true, Ordering::Relaxed);
                    (anyhow::anyhow!(self.client.refusal(&reply)), reply.retry_after())
                }
                Ok(reply) => bail!(self.client.refusal(&reply)),
                Err(error) if !self.was_reached.load(Ordering::Relaxed) => return Err(error),
                Err(error) => (error, None),
            };
            let pause = asked_wait.unwrap_or(wait);
            if tokio::time::Instant::now() + pause > give_up {
                return Err(error.context(format!("gave up after {} s", self.patience.as_secs())));
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(WAIT_MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use axum::http::StatusCode;

    use super::*;
    use crate::cli::client::tests::answering;

    fn route() -> Route {
        Route { path: vec!["v1".to_owned(), "fastly".to_owned()], content_type: "text/plain", is_zstd: false }
    }

    /// Answers the given statuses in turn, the last one for ever; counts the requests.
    async fn sender(statuses: &'static [u16]) -> (Sender, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer = move || {
            let turn = count.fetch_add(1, Ordering::Relaxed);
            let status = statuses[turn.min(statuses.len() - 1)];
            std::future::ready((StatusCode::from_u16(status).unwrap(), [("retry-after", "0")], "{}"))
        };
        let client = answering(axum::Router::new().route("/v1/fastly", axum::routing::post(answer))).await;
        (Sender::new(client), asked)
    }

    #[tokio::test]
    async fn a_busy_service_is_asked_again() {
        let (sender, asked) = sender(&[503, 429, 200]).await;
        sender.post(&route(), Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        let (sender, asked) = sender(&[401, 200]).await;
        sender.post(&route(), Bytes::new()).await.unwrap_err();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn patience_ends() {
        let (mut sender, _) = sender(&[503]).await;
        sender.patience = Duration::from_millis(20);
        let error = sender.post(&route(), Bytes::new()).await.unwrap_err();
        assert!(format!("{error:#}").starts_with("gave up after"), "{error:#}");
    }
}
