//! Asks what only a sender asks: ports, certificates, Fastly's challenge, and empty deliveries.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{CONTENT_TYPE, HeaderName, LOCATION, TE};
use reqwest::{RequestBuilder, Url};

use super::given::Given;
use super::tls::{self, Shown};
use super::tokens::{Reply, Tried};
use super::{challenge, ports};
use crate::api::answer::{EntranceAnswer, ServiceAnswer};

/// How long one question may take; Fastly gives up about then.
const WITHIN: Duration = Duration::from_secs(10);
/// A token that nobody has: no source may have one with a space.
const NOBODYS: &str = "throughline doctor tries a wrong token";
/// Of an answer that is not ours.
const BODY_MOST_BYTES: usize = 64 << 10;
const ALS: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// Clients that take any certificate, for what carries no secret, and for tokens where that is allowed.
pub(super) struct Prober {
    http: reqwest::Client,
    grpc: reqwest::Client,
}

impl Prober {
    pub(super) fn new(grpc_tls: bool) -> anyhow::Result<Self> {
        let builder = || {
            reqwest::Client::builder()
                .timeout(WITHIN)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("throughline-doctor/", env!("CARGO_PKG_VERSION")))
        };
        let http = builder().tls_backend_preconfigured(tls::any_certificate(&[b"http/1.1"])?);
        let mut grpc = builder().tls_backend_preconfigured(tls::any_certificate(&[b"h2"])?);
        if !grpc_tls {
            grpc = grpc.http2_prior_knowledge();
        }
        let context = "prepare the HTTP client";
        Ok(Self { http: http.build().context(context)?, grpc: grpc.build().context(context)? })
    }

    /// Fastly's challenge, at the root of the host.
    pub(super) async fn challenge(&self, public_url: &Url) -> challenge::Reply {
        let mut url = public_url.clone();
        url.set_path(challenge::PATH);
        url.set_query(None);
        match self.http.get(url).send().await {
            Err(error) => challenge::Reply { error: cause(error), ..challenge::Reply::default() },
            Ok(response) => {
                let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                challenge::Reply {
                    status: response.status().as_u16(),
                    location: location.unwrap_or_default().to_owned(),
                    body: body(response).await,
                    error: String::new(),
                }
            }
        }
    }

    /// An empty delivery to every source, with its token if it is given, and with a wrong one.
    pub(super) async fn tokens(&self, given: &Given, service: &ServiceAnswer, may_show: bool) -> Vec<Tried> {
        let mut tried = Vec::new();
        for source in &service.sources {
            let token = given.tokens.get(&source.source).filter(|_| may_show);
            let right = match (token, source.needs_token) {
                (Some(token), _) => Some(self.deliver(given, service, source, Some(&token.0)).await),
                (None, false) => Some(self.deliver(given, service, source, None).await),
                (None, true) => None,
            };
            let wrong = match source.needs_token {
                true => Some(self.deliver(given, service, source, Some(NOBODYS)).await),
                false => None,
            };
            tried.push(Tried { source: source.clone(), right, wrong });
        }
        tried
    }

    async fn deliver(
        &self,
        given: &Given,
        service: &ServiceAnswer,
        source: &EntranceAnswer,
        token: Option<&str>,
    ) -> Reply {
        let path = match source.kind.as_str() {
            "als" => ALS.to_owned(),
            "otlp" => "/v1/logs".to_owned(),
            kind => format!("/v1/{kind}/{}", source.source),
        };
        let is_grpc = source.kind == "als";
        let Some(url) = self.url(given, service, is_grpc, &path) else {
            return Reply { status: 0, said: "its port is not known: pass --grpc".to_owned() };
        };
        let mut request = if is_grpc {
            self.grpc.post(url).header(CONTENT_TYPE, "application/grpc").header(TE, "trailers")
        } else if source.kind == "otlp" {
            self.http.post(url).header(CONTENT_TYPE, "application/x-protobuf")
        } else {
            self.http.post(url).header(CONTENT_TYPE, "application/x-ndjson")
        };
        if let Some(token) = token {
            request = with_token(request, &source.header, token);
        }
        match request.send().await {
            Err(error) => Reply { status: 0, said: cause(error) },
            Ok(response) if is_grpc && response.status().is_success() => {
                let header = |name: &str| {
                    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
                    value.unwrap_or_default().to_owned()
                };
                Reply::of_grpc(&header("grpc-status"), header("grpc-message"))
            }
            Ok(response) => {
                let status = response.status().as_u16();
                let text = body(response).await;
                let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let said = problem["detail"].as_str().map_or(text, str::to_owned);
                Reply { status, said: said.chars().take(200).collect() }
            }
        }
    }

    fn url(&self, given: &Given, service: &ServiceAnswer, is_grpc: bool, path: &str) -> Option<Url> {
        if !is_grpc {
            let mut url = given.url.clone();
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}{path}"));
            return Some(url);
        }
        let (host, port) = ports::grpc(given, service)?;
        let is_tls = given.grpc.as_ref().map_or(service.grpc.tls, |url| url.scheme() == "https");
        Url::parse(&format!("{}://{host}:{port}{path}", if is_tls { "https" } else { "http" })).ok()
    }
}

/// The ports that show a certificate: host and port, each once.
pub(super) fn certificates(given: &Given, service: Option<&ServiceAnswer>) -> Vec<(String, u16)> {
    let https = [&given.url, &given.public_url].into_iter().filter(|url| url.scheme() == "https");
    let mut ports: Vec<(String, u16)> = https.filter_map(ports::host_and_port).collect();
    let grpc = service.filter(|service| service.grpc.tls).and_then(|service| ports::grpc(given, service));
    ports.extend(grpc);
    ports.dedup();
    ports
}

/// Looks at each certificate, on threads that may block.
pub(super) async fn look(ports: Vec<(String, u16)>) -> Vec<Shown> {
    let mut shown = Vec::new();
    for (host, port) in ports {
        if let Ok(one) = tokio::task::spawn_blocking(move || tls::look(&host, port)).await {
            shown.push(one);
        }
    }
    shown
}

/// Asks each port, on threads that may block.
pub(super) async fn reach(asked: Vec<(&'static str, String, u16)>) -> Vec<ports::Reached> {
    let mut reached = Vec::new();
    for port in asked {
        if let Ok(one) = tokio::task::spawn_blocking(move || ports::reach(port)).await {
            reached.push(one);
        }
    }
    reached
}

fn with_token(request: RequestBuilder, header: &str, token: &str) -> RequestBuilder {
    match HeaderName::try_from(header) {
        Ok(name) => request.header(name, format!("Bearer {token}")),
        Err(_) => request,
    }
}

async fn body(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    // What cannot be read to its end is judged by what came.
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BODY_MOST_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error with its causes, and without the URL: that is said anyway.
fn cause(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::new(error.without_url()))
}
