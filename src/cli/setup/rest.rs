//! Somebody else's HTTP API, as `setup` speaks to it: one base, one secret in a header, answers of bounded size.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

/// A version of a service with all its VCL has some hundred KB, a board less.
const ANSWER_MOST_BYTES: usize = 16 << 20;
/// Validating and activating take Fastly some seconds.
const CALL_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// An API and the right to use it.
pub(super) struct Api {
    http: reqwest::Client,
    base: Url,
    secret: (&'static str, HeaderValue),
}

/// What goes with a call.
pub(super) enum Body<'a> {
    Nothing,
    Form(&'a [(&'a str, &'a str)]),
    Json(&'a Value),
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, or null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Api {
    /// An API at `base`, whose secret goes into the header `name`.
    pub(super) fn new(
        base: &str,
        name: &'static str,
        secret: &str,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let base = Url::parse(base).with_context(|| format!("{base:?} is no URL"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            bail!("{base} is no http or https URL");
        }
        let mut value =
            HeaderValue::from_str(secret).context("the token has characters that no header can carry")?;
        value.set_sensitive(true);
        Ok(Self { http: client(ca_file)?, base, secret: (name, value) })
    }

    /// Where it is, for a person.
    pub(super) fn place(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether what is sent there can be read on the way: plain HTTP to another machine.
    pub(super) fn is_overheard(&self) -> bool {
        self.base.scheme() == "http" && !is_loopback(&self.base)
    }

    /// One call. Whatever the API answers is an answer; an error is that it did not.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Body<'_>,
    ) -> anyhow::Result<Answer> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.request(method, url).query(query).header(self.secret.0, &self.secret.1);
        let request = match body {
            Body::Nothing => request,
            Body::Form(fields) => {
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            Body::Json(value) => request.json(value),
        };
        send(request).await.with_context(|| format!("no answer from {}", self.place()))
    }
}

/// Sends a request and reads the whole answer, up to a bound.
pub(super) async fn send(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
    // The URL is said by whoever called; reqwest would repeat it.
    let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > ANSWER_MOST_BYTES {
            bail!("the answer has more than {ANSWER_MOST_BYTES} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

/// A client that follows no redirect, for a secret must not go on to another place.
pub(super) fn client(ca_file: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    // Someone else in the process may have installed the same provider; which of the two wins makes no difference.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(CALL_LIMIT)
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = ca_file {
        builder = builder.tls_certs_merge(roots(file)?);
    }
    builder.build().context("cannot prepare the HTTP client")
}

/// The certificates of a PEM file.
pub(super) fn roots(file: &Path) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let shown = file.display();
    let pem = std::fs::read(file).with_context(|| format!("cannot read {shown} (--ca-file)"))?;
    reqwest::Certificate::from_pem_bundle(&pem)
        .ok()
        .filter(|roots| !roots.is_empty())
        .with_context(|| format!("{shown} (--ca-file) holds no certificate in PEM"))
}

/// Whether a URL stays on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A secret that is never an argument, because arguments are seen by everybody on the machine.
pub(super) fn secret(variable: &str) -> Option<String> {
    std::env::var(variable).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
