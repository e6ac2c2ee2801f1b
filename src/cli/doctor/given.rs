//! What the person at the keyboard gives: where senders reach the service, and what they show it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::Url;
use serde::Deserialize;

/// How senders see the service. Everything has a default that fits a service on this machine.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "As senders see it")]
pub(super) struct Senders {
    /// The service's configuration file: tokens of sources and Fastly service ids are taken from it
    #[arg(long, value_name = "FILE", env = "THROUGHLINE_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Where Fastly reaches the service, if not at --url
    #[arg(long, value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// Where Envoy reaches the service, if not on the host of --url
    #[arg(long, value_name = "URL", env = "THROUGHLINE_GRPC_URL")]
    pub(super) grpc: Option<String>,
    /// A source's token, to try whether it opens the source
    #[arg(long, value_name = "NAME=TOKEN", value_parser = named_token, hide_env_values = true)]
    pub(super) source_token: Vec<(String, Hidden)>,
    /// A Fastly service id that must be among those the challenge is answered for
    #[arg(long, value_name = "ID")]
    pub(super) fastly_service: Vec<String>,
    /// PEM file with more certificate authorities to trust
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Show the token also to a service whose certificate cannot be trusted
    #[arg(long)]
    pub(super) any_certificate: bool,
}

/// A token, never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden(pub(super) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hidden")
    }
}

fn named_token(text: &str) -> Result<(String, Hidden), String> {
    match text.split_once('=') {
        Some((name, token)) if !name.is_empty() && !token.is_empty() => {
            Ok((name.to_owned(), Hidden(token.to_owned())))
        }
        // The text may be a token.
        _ => Err("write NAME=TOKEN, with the name of the [[source]]".to_owned()),
    }
}

/// All of it, as it is used.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) url: Url,
    pub(super) public_url: Url,
    pub(super) grpc: Option<Url>,
    /// By name of the source.
    pub(super) tokens: BTreeMap<String, Hidden>,
    pub(super) fastly_services: Vec<String>,
    pub(super) any_certificate: bool,
}

/// What of a configuration file is of use here; the service itself checks the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    fastly: Fastly,
    source: Vec<Source>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fastly {
    services: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    name: String,
    token: Words,
    token_file: Option<PathBuf>,
}

/// One text, or a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Default for Words {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Words {
    fn into_list(self) -> Vec<String> {
        let words = match self {
            Self::One(text) => text.split(',').map(|word| word.trim().to_owned()).collect(),
            Self::Many(words) => words,
        };
        words.into_iter().filter(|word| !word.is_empty()).collect()
    }
}

impl Given {
    pub(super) fn new(url: &str, senders: &Senders) -> anyhow::Result<Self> {
        let parse = |text: &str| {
            Url::parse(text).with_context(|| format!("{text:?} is no URL such as https://logs.example.com"))
        };
        let url = parse(url)?;
        let file = senders.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let mut tokens = BTreeMap::new();
        for source in file.source {
            if let Some(token) = token_of(source.token, source.token_file.as_deref()) {
                tokens.insert(source.name, Hidden(token));
            }
        }
        tokens.extend(senders.source_token.iter().cloned());
        let mut fastly_services = file.fastly.services.into_list();
        fastly_services.retain(|service| service != "*");
        fastly_services.extend(senders.fastly_service.iter().cloned());
        Ok(Self {
            public_url: senders.public_url.as_deref().map(parse).transpose()?.unwrap_or_else(|| url.clone()),
            grpc: senders.grpc.as_deref().map(parse).transpose()?,
            url,
            tokens,
            fastly_services,
            any_certificate: senders.any_certificate,
        })
    }

    /// Whether tokens may be shown where the certificate proves nothing: on this machine nobody stands between.
    pub(super) fn may_show_anyway(&self) -> bool {
        self.any_certificate || self.is_local()
    }

    /// Whether the service is on this machine, as far as its URL says.
    pub(super) fn is_local(&self) -> bool {
        is_loopback(&self.url)
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not TOML", path.display()))
}

/// The first token that stands in the clear; of a file that cannot be read from here, none.
fn token_of(written: Words, file: Option<&Path>) -> Option<String> {
    let plain = written.into_list().into_iter().next();
    plain.or_else(|| {
        let text = std::fs::read_to_string(file?).ok()?;
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("sha256:"))
            .map(str::to_owned)
            .next()
    })
}

/// Whether a URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
