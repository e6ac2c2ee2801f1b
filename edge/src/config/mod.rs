//! The service's one configuration item: JSON in the config store, at most 8000 characters, checked whole before use.
//!
//! Names here are the item's keys. Secrets are named, never contained.

mod check;
mod issuer;
mod route;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Deserialize;

pub use issuer::{Issuer, JwksSource, Preset, TokenKind};
pub use route::{Action, Auth, ByClaim, Forwarding, Match, Require, Rewrite, Route};

use crate::encoding::sha256_hex;

/// What a config store takes as one item.
pub const MAX_ITEM_CHARS: usize = 8000;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this format: 1.
    pub version: u32,
    /// The operator's own name for this policy; stands in every log line and in the key of every cached verdict.
    pub policy_version: String,
    /// Name of the log endpoint.
    #[serde(default = "edge_logs")]
    pub log_endpoint: String,
    /// Whether requests without TLS are served. Otherwise `GET` and `HEAD` are redirected to `https` and all else is refused:
    /// tokens and sessions would be readable on the way.
    #[serde(default)]
    pub plain_http: bool,
    /// Secret under which subjects are pseudonymized in the log; without it no subject is logged.
    #[serde(default)]
    pub subject_secret: Option<String>,
    /// Who may issue tokens.
    #[serde(default)]
    pub issuers: Vec<Issuer>,
    /// In order; the first that matches decides. What matches none is answered 404.
    pub routes: Vec<Route>,
    /// Hosts to which routes may redirect.
    #[serde(default)]
    pub redirect_hosts: Vec<String>,
    /// What is stripped from and set on forwarded requests.
    #[serde(default)]
    pub stamp: Stamp,
    /// The token by which origins know the edge.
    #[serde(default)]
    pub edge_token: Option<EdgeToken>,
    /// The login journey for browsers.
    #[serde(default)]
    pub login: Option<Login>,
    /// Of the item's text: a changed item makes every cached verdict unknown.
    #[serde(skip)]
    pub(crate) fingerprint: String,
}

fn edge_logs() -> String {
    "edge-logs".into()
}

/// What is stripped from and set on forwarded requests.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Stamp {
    /// Carries the correlation id, to the origin and back to the client.
    pub correlation_header: String,
    /// Headers to strip beside the built-in list. Case and `_` for `-` make no difference.
    pub strip: Vec<String>,
    /// Prefixes of headers to strip beside the built-in ones.
    pub strip_prefixes: Vec<String>,
    /// Whether a valid `traceparent` of any client is continued. Otherwise the trace is restarted and linked.
    pub continue_trace: bool,
    /// Of the traces that begin here, the share that is marked for the tracers behind the edge, in percent: 0 to 100. Lines
    /// of this service, and what comes of them, do not depend on it.
    pub sampled_percent: u8,
    /// Addresses of proxies of our own, whose correlation id and trace are taken over.
    pub trusted_upstreams: Vec<IpAddr>,
    /// Claims to hand to the origin as headers.
    pub claims: Vec<ClaimHeader>,
    /// Whether the client's `Authorization` goes on to the origin.
    pub forward_authorization: bool,
}

impl Default for Stamp {
    fn default() -> Self {
        Self {
            correlation_header: "x-correlation-id".into(),
            strip: Vec::new(),
            strip_prefixes: Vec::new(),
            continue_trace: false,
            sampled_percent: 1,
            trusted_upstreams: Vec::new(),
            claims: Vec::new(),
            forward_authorization: false,
        }
    }
}

/// One claim as a header. A claim that is missing, an object, too long or with control characters sets no header.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimHeader {
    /// Name of a top-level claim.
    pub claim: String,
    /// Name of the header.
    pub header: String,
    /// How the value is written.
    #[serde(default)]
    pub encode: Encode,
    /// Between the members of an array.
    #[serde(default = "comma")]
    pub separator: char,
    /// Longest value, encoded.
    #[serde(default = "claim_bytes")]
    pub max_bytes: usize,
}

fn comma() -> char {
    ','
}

fn claim_bytes() -> usize {
    512
}

/// How a claim's value is written into a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Encode {
    /// Visible ASCII as it is, all else, `%` and the separator percent-encoded.
    #[default]
    Percent,
    /// Base64url of the UTF-8 text.
    Base64url,
}

/// The token by which origins know the edge. Its `sub` is unique within one issuer only: with two of them an origin (and
/// Istio, whose principal is made of the edge's issuer and `sub`) tells people apart by `sub` and `cid`, the client's own
/// issuer. Headers of claims are as good as the network behind the edge; what must be certain belongs into `claims`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EdgeToken {
    /// `iss`, e.g. `https://edge.example.com`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The header.
    #[serde(default = "edge_token_header")]
    pub header: String,
    /// The first signs; the second is published too, before or after it was the first.
    pub keys: Vec<EdgeKey>,
    /// 1 to 60.
    #[serde(default = "edge_token_lifetime_s")]
    pub lifetime_s: u64,
    /// Scalar claims of the client's token to carry over.
    #[serde(default)]
    pub claims: Vec<String>,
}

fn edge_token_header() -> String {
    edge_token::HEADER.into()
}

fn edge_token_lifetime_s() -> u64 {
    60
}

/// One key of the edge token.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EdgeKey {
    /// Key id.
    pub kid: String,
    /// Name of the secret that holds the private key (PKCS#8 or JWK, P-256 or Ed25519).
    pub secret: String,
}

/// The login journey for browsers: authorization code with PKCE.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Name of the issuer whose id tokens are taken.
    pub issuer: String,
    /// Our id at the provider; the audience of id tokens.
    pub client_id: String,
    /// Secret that holds the client's password at the provider; public clients have none.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// Where browsers are sent, an `https` URL.
    pub authorization_endpoint: String,
    /// Where the code is exchanged.
    pub token_endpoint: JwksSource,
    /// Our own callback, an absolute URL; its path is answered by the edge.
    pub redirect_uri: String,
    /// Where a browser ends its session.
    #[serde(default = "logout_path")]
    pub logout_path: String,
    /// Where the provider ends its own session, an `https` URL; without it logout leads to `/`.
    #[serde(default)]
    pub end_session_endpoint: Option<String>,
    /// Asked of the provider.
    #[serde(default = "login_scopes")]
    pub scopes: Vec<String>,
    /// Secret of at least 32 bytes under which state and sessions are signed.
    pub session_secret: String,
    /// The secret before that one, while it is replaced: what it signed is taken, nothing new is signed under it. Keep it
    /// for `session_s`, then take it out.
    #[serde(default)]
    pub session_secret_previous: Option<String>,
    /// How long a session lasts, 60 to 86400.
    #[serde(default = "session_s")]
    pub session_s: u64,
}

fn logout_path() -> String {
    "/logout".into()
}

fn login_scopes() -> Vec<String> {
    vec!["openid".into()]
}

fn session_s() -> u64 {
    3600
}

/// Why a configuration item is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct ConfigError {
    /// Where, e.g. `routes[2].match.path_prefix`.
    pub at: String,
    /// What is wrong and what would be right.
    pub what: String,
}

/// Reads an item that is not taken once more, for where the mistake is.
fn place_of_mistake(text: &str) -> ConfigError {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read: Result<Config, _> = serde_path_to_error::deserialize(&mut reader);
    match (read, reader.end()) {
        (Err(error), _) => ConfigError { at: error.path().to_string(), what: error.inner().to_string() },
        (Ok(_), Err(error)) => ConfigError { at: "the item".into(), what: error.to_string() },
        (Ok(_), Ok(())) => ConfigError { at: "the item".into(), what: "is no configuration".into() },
    }
}

impl Config {
    /// Reads and checks the item.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let chars = text.chars().count();
        if chars > MAX_ITEM_CHARS {
            let what = format!(
                "{chars} characters, and a config store takes {MAX_ITEM_CHARS}; write it without blanks"
            );
            return Err(ConfigError { at: "the item".into(), what });
        }
        // Paths are kept only where one is to be told: keeping them doubles the time, which every request pays.
        let mut config: Self = serde_json::from_str(text).map_err(|_| place_of_mistake(text))?;
        config.check()?;
        config.fingerprint = sha256_hex(&[text.as_bytes()]);
        Ok(config)
    }

    /// Name of the log endpoint.
    pub fn log_endpoint(&self) -> &str {
        &self.log_endpoint
    }

    /// The log endpoint of an item that is not taken, so that whoever runs the service can be told why.
    pub fn log_endpoint_of(text: &str) -> Option<String> {
        let item: serde_json::Value = serde_json::from_str(text).ok()?;
        item.get("log_endpoint")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// Every static backend that the item names, sorted.
    pub fn backends(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> =
            self.issuers.iter().map(|issuer| issuer.jwks.backend.as_str()).collect();
        names.extend(self.login.iter().map(|login| login.token_endpoint.backend.as_str()));
        for route in &self.routes {
            if let Action::Forward(forward) = &route.action {
                names.insert(&forward.backend);
                names.extend(forward.by_claim.iter().flat_map(|by| by.backends.values().map(String::as_str)));
            }
        }
        names
    }

    /// Every secret that the item names, sorted.
    pub fn secrets(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = self.subject_secret.iter().map(String::as_str).collect();
        names.extend(
            self.edge_token.iter().flat_map(|token| token.keys.iter().map(|key| key.secret.as_str())),
        );
        if let Some(login) = &self.login {
            names.insert(&login.session_secret);
            names.extend(login.session_secret_previous.iter().map(String::as_str));
            names.extend(login.client_secret.iter().map(String::as_str));
        }
        names
    }
}
