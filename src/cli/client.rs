//! The HTTP client of the subcommands: one service, its token, and errors as sentences.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::NOT_YET_VISIBLE;

/// Largest answer that is read. The service bounds its answers well below this; another server may not.
const ANSWER_MOST_BYTES: usize = 256 * 1024 * 1024;

/// How long a connection may take to come up. Answers have no limit of their own: a look-up may be slow, and Ctrl-C
/// is at hand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait that a server's Retry-After is followed for.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(30);

/// Which service, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Server {
    /// Where the service listens
    #[arg(long, env = "THROUGHLINE_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) url: String,
    /// Token to show to the service
    #[arg(long, env = "THROUGHLINE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<Token>,
}

/// A token, never printed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// The value of an `Authorization` header.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Talks to one service.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Token>,
    /// Whether the person was told that records still wait: once is enough.
    told: Arc<AtomicBool>,
}

/// What came back, if anything did.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A problem document (RFC 9457), as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
}

impl Client {
    pub(crate) fn new(server: &Server) -> anyhow::Result<Self> {
        Self::build(server, None)
    }

    /// As [`Self::new`], by the caller's own rules of which certificates to trust.
    pub(crate) fn trusting(server: &Server, tls: rustls::ClientConfig) -> anyhow::Result<Self> {
        Self::build(server, Some(tls))
    }

    fn build(server: &Server, tls: Option<rustls::ClientConfig>) -> anyhow::Result<Self> {
        // Someone else in the process may have installed the same provider; which of the two wins makes no difference.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = base(&server.url)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")));
        if let Some(tls) = tls {
            builder = builder.tls_backend_preconfigured(tls);
        }
        let http = builder.build().context("prepare the HTTP client")?;
        Ok(Self { http, base, token: server.token.clone(), told: Arc::default() })
    }

    /// An answer, or `None` if the service says that there is no such thing.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<Option<T>> {
        let request = self.request(Method::GET, path)?.query(query);
        let reply = self.send(request).await?;
        // Only a problem document says that the id is not known; a bare 404 comes from something else.
        if reply.status == StatusCode::NOT_FOUND && reply.is_problem() {
            return Ok(None);
        }
        if !reply.status.is_success() {
            bail!(self.refusal(&reply));
        }
        let answer = serde_json::from_slice(&reply.body).with_context(|| {
            format!("{} answers, but not like a Throughline service of this version", self.base)
        })?;
        Ok(Some(answer))
    }

    /// An answer that must be there.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let found = self.find(path, query).await?;
        found.with_context(|| {
            format!("{} does not serve /{}: is it of this version?", self.base, path.join("/"))
        })
    }

    /// A request to a path under the base, its segments escaped.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> anyhow::Result<reqwest::RequestBuilder> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().extend(path);
            }
            Err(()) => bail!("{} cannot have a path: pass --url http://HOST:PORT", self.base),
        }
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.header(reqwest::header::AUTHORIZATION, token.header()),
            None => request,
        })
    }

    /// Sends a request and reads the whole reply, up to [`ANSWER_MOST_BYTES`].
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Reply> {
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(waiting) = headers.get(NOT_YET_VISIBLE).and_then(|value| value.to_str().ok())
            && !self.told.swap(true, Ordering::Relaxed)
        {
            // Nobody is left to tell if stderr is gone.
            let _ = writeln!(
                std::io::stderr().lock(),
                "not all is visible yet: {waiting} in this service's spool"
            );
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > ANSWER_MOST_BYTES {
                bail!("{} answers with more than {ANSWER_MOST_BYTES} bytes: ask for less", self.base);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, headers, body })
    }

    /// A refusal as a sentence.
    pub(crate) fn refusal(&self, reply: &Reply) -> String {
        let problem: Problem = if reply.is_problem() {
            serde_json::from_slice(&reply.body).unwrap_or_default()
        } else {
            Problem::default()
        };
        let status = reply.status.as_u16();
        match (problem.title.as_str(), problem.detail.as_str()) {
            ("", "") => format!("{} answers {}: is this a Throughline service?", self.base, reply.status),
            (title, "") => format!("{} answers {status}: {title}", self.base),
            (_, detail) => format!("{} answers {status}: {detail}", self.base),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let base = self.base.as_str().trim_end_matches('/');
        if error.is_connect() {
            let refused =
                std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source())
                    .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
                    .any(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused);
            if refused {
                return anyhow::anyhow!("nothing listens at {base}: is `throughline serve` running?");
            }
            return anyhow::Error::new(error.without_url()).context(format!("cannot connect to {base}"));
        }
        anyhow::Error::new(error.without_url()).context(format!("lost the connection to {base}"))
    }
}

impl Reply {
    fn is_problem(&self) -> bool {
        let content_type = self.headers.get(reqwest::header::CONTENT_TYPE);
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"))
    }

    /// Whether the same request may be taken later.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }

    /// How long the server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(RETRY_AFTER_MOST))
    }
}

fn base(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("{text:?} is no URL: pass --url http://HOST:PORT"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("{text:?} is no http or https URL: pass --url http://HOST:PORT");
    }
    Ok(url)
}

/// Runs a subcommand's work on a runtime of its own: one thread is enough for a client.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work)
}

/// Whether an error only says that whoever read our output has gone, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A client of a service that answers every request alike, over a real socket.
    pub(crate) async fn answering(router: axum::Router) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Client::new(&Server { url, token: Some("secret".into()) }).unwrap()
    }

    #[test]
    fn urls_that_cannot_be_are_refused_with_what_to_do() {
        for text in ["127.0.0.1:8080", "ftp://x", "", "mailto:a@b"] {
            let error = Client::new(&Server { url: text.to_owned(), token: None }).unwrap_err();
            assert!(format!("{error:#}").contains("--url http://HOST:PORT"), "{error:#}");
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token::from("secret")), "Token");
    }

    #[test]
    fn path_segments_are_escaped() {
        let client = Client::new(&Server { url: "http://h:1/base/".to_owned(), token: None }).unwrap();
        let request = client.request(Method::GET, &["api", "a/b?c"]).unwrap().build().unwrap();
        assert_eq!(request.url().as_str(), "http://h:1/base/api/a%2Fb%3Fc");
    }

    #[tokio::test]
    async fn nothing_listening_is_a_sentence() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::new(&Server { url: url.clone(), token: None }).unwrap();
        let error = client.read::<serde_json::Value>(&["x"], &[]).await.unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            format!("nothing listens at {url}: is `throughline serve` running?")
        );
    }

    #[tokio::test]
    async fn only_a_problem_document_says_not_found() {
        let problem = || async {
            let headers = [("content-type", "application/problem+json")];
            (StatusCode::NOT_FOUND, headers, r#"{"title":"Not Found","detail":"no such id"}"#)
        };
        let client = answering(axum::Router::new().route("/there", axum::routing::get(problem))).await;
        assert!(client.find::<serde_json::Value>(&["there"], &[]).await.unwrap().is_none());
        let error = client.find::<serde_json::Value>(&["elsewhere"], &[]).await.unwrap_err();
        assert!(format!("{error:#}").contains("is this a Throughline service?"), "{error:#}");
    }

    #[tokio::test]
    async fn a_problem_is_shown_as_its_sentence() {
        let problem = || async {
            let headers = [("content-type", "application/problem+json")];
            (StatusCode::BAD_REQUEST, headers, r#"{"title":"Bad","detail":"`status` is no class"}"#)
        };
        let client = answering(axum::Router::new().fallback(problem)).await;
        let error = client.read::<serde_json::Value>(&["x"], &[]).await.unwrap_err();
        assert!(format!("{error:#}").ends_with("answers 400: `status` is no class"), "{error:#}");
    }
}
