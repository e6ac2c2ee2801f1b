//! What installs an edge configuration: stores, secrets, backends, log endpoint. Once as commands, once as Terraform.

mod shell;
mod terraform;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ::edge::Config;
use anyhow::bail;

pub(super) use shell::{commands, word};
pub(super) use terraform::{string, terraform};

/// What the service opens.
const CONFIG_STORE: &str = "edge_config";
const CONFIG_ITEM: &str = "config";
const SECRET_STORE: &str = "edge_secrets";
const KEY_STORE: &str = "edge_keys";
/// Port of a backend that the item does not tell otherwise.
const HTTPS_PORT: u16 = 443;

/// Everything that is to be made.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The item's file.
    file: &'a str,
    policy_version: &'a str,
    log_endpoint: &'a str,
    backends: Vec<Backend<'a>>,
    /// To be entered by hand: nothing here knows their values.
    pub(super) secrets: Vec<Secret<'a>>,
}

#[derive(Debug)]
struct Backend<'a> {
    name: &'a str,
    /// The name as part of a variable's: letters, digits and `_`, and no other backend's.
    id: String,
    /// Where the item itself says it: providers. Origins are the operator's to name.
    place: Option<Place>,
    /// Whether the edge shows a client certificate.
    mtls: bool,
}

/// A secret of the item.
#[derive(Debug)]
pub(super) struct Secret<'a> {
    /// Its name in the secret store.
    pub(super) name: &'a str,
    /// What it is for, and what it must be.
    pub(super) what: String,
    /// A command that makes one into the file; none where somebody else gives it out.
    make: Option<&'static str>,
}

/// Where a provider is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    host: String,
    port: u16,
}

impl Place {
    /// Of a Host header.
    fn parse(authority: &str) -> Self {
        let whole = || (authority, HTTPS_PORT);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => port.parse().map_or_else(|_| whole(), |port| (host, port)),
            None => whole(),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self { host: host.to_owned(), port }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        };
        if self.port == HTTPS_PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Every place that the item says a backend is at, sorted; more than one is a mistake in the item.
pub(super) fn place_of(config: &Config, backend: &str) -> Vec<Place> {
    let login = config.login.iter().filter(|login| login.token_endpoint.backend == backend);
    let keys = config.issuers.iter().filter(|issuer| issuer.jwks.backend == backend);
    let hosts = keys
        .map(|issuer| issuer.jwks_host())
        .chain(login.filter_map(|login| login.token_endpoint.host.as_deref()))
        .filter(|host| !host.is_empty());
    hosts.map(Place::parse).collect::<BTreeSet<_>>().into_iter().collect()
}

impl<'a> Plan<'a> {
    /// The plan of an item in a file; `mtls` are backends to which the edge shows a certificate.
    pub(super) fn new(config: &'a Config, file: &'a str, mtls: &[String]) -> anyhow::Result<Self> {
        let names = config.backends();
        for name in mtls {
            if !names.contains(name.as_str()) {
                let names: Vec<_> = names.into_iter().collect();
                bail!("the item has no backend {name:?}; it has {}", names.join(", "));
            }
        }
        let mut taken = BTreeSet::new();
        let backends = names.into_iter().map(|name| Backend {
            name,
            id: id(name, &mut taken),
            place: place_of(config, name).into_iter().next(),
            mtls: mtls.iter().any(|other| other == name),
        });
        Ok(Self {
            file,
            policy_version: &config.policy_version,
            log_endpoint: config.log_endpoint(),
            backends: backends.collect(),
            secrets: secrets(config),
        })
    }
}

/// The name with everything but ASCII letters and digits as `_`, and a number where another name has become the same.
fn id(name: &str, taken: &mut BTreeSet<String>) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut id = plain.clone();
    let mut number = 2;
    while !taken.insert(id.clone()) {
        id = format!("{plain}_{number}");
        number += 1;
    }
    id
}

fn secrets(config: &Config) -> Vec<Secret<'_>> {
    let mut found: BTreeMap<&str, (Vec<String>, Option<&'static str>)> = BTreeMap::new();
    let mut add = |name, what: String, make| {
        let (uses, how) = found.entry(name).or_default();
        uses.push(what);
        *how = make;
    };
    if let Some(name) = &config.subject_secret {
        let what = "16 random bytes or more, for the pseudonyms of subjects in the log";
        add(name, what.to_owned(), Some("openssl rand -base64 33"));
    }
    for key in config.edge_token.iter().flat_map(|token| &token.keys) {
        let what = format!(
            "private key {} of the edge token, P-256 or Ed25519, PKCS#8 (PEM or DER) or JWK",
            key.kid
        );
        add(&key.secret, what, Some("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"));
    }
    if let Some(login) = &config.login {
        let what = "32 random bytes or more, for session cookies and login state";
        add(&login.session_secret, what.to_owned(), Some("openssl rand -base64 48"));
        if let Some(name) = &login.session_secret_previous {
            let what = "the session secret before that one, until what it signed has ended";
            add(name, what.to_owned(), None);
        }
        if let Some(name) = &login.client_secret {
            add(name, format!("password of the client {} at its provider", login.client_id), None);
        }
    }
    found.into_iter().map(|(name, (uses, make))| Secret { name, what: uses.join("; "), make }).collect()
}

#[cfg(test)]
mod tests;
