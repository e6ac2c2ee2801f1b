//! `[[source]]` and `[[reader]]`: who may send, as what, and who may ask.

use std::path::PathBuf;
use std::sync::Arc;

use event::{Direction, Hop};
use serde::Deserialize;

use super::access::{Rate, Texts, keyring, rate};
use super::{ConfigError, Origin, keys};
use crate::access::{AddressList, Keyring, Roles, WrittenTokens};

/// A secret that is sent on; never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text, for whoever must send it on.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(…)")
    }
}

/// What a source speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceKind {
    /// Fastly's HTTPS log streaming.
    Fastly,
    /// Envoy lines over HTTP.
    Envoy,
    /// Envoy's gRPC access log service.
    Als,
    /// OTLP logs over gRPC or HTTP.
    Otlp,
    /// Files that are followed.
    File,
}

impl SourceKind {
    /// The word used in configuration, and the name of the source that stands in where none is configured.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fastly => "fastly",
            Self::Envoy => "envoy",
            Self::Als => "als",
            Self::Otlp => "otlp",
            Self::File => "file",
        }
    }
}

/// One configured input, validated.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Unique name; column `source`.
    pub(crate) name: String,
    /// What it speaks.
    pub(crate) kind: SourceKind,
    /// Whose its records are.
    pub(crate) tenant: String,
    /// What a sender must present one of; `None` only on loopback.
    pub(crate) tokens: Option<Arc<Keyring>>,
    /// The header that carries the token, lower case; `Bearer ` before it is taken off.
    pub(crate) header: String,
    /// Fastly preset that overrides detection; empty to detect.
    pub(crate) preset: String,
    /// Globs of followed files.
    pub(crate) paths: Vec<String>,
    /// Where its senders' own statistics are.
    pub(crate) stats: Vec<String>,
    /// What is known of every record.
    pub(crate) origin: decode::Origin,
    /// From where it may send; `None` for anywhere.
    pub(crate) addresses: Option<Arc<AddressList>>,
    /// The name that its client certificate must carry; empty for any that the CA vouches for.
    pub(crate) client_name: String,
    /// How many bytes a second it may send in the long run, and at once.
    pub(crate) rate: Option<Rate>,
}

impl Source {
    /// The source of a kind where none is configured: open, default tenant.
    pub(crate) fn open(kind: SourceKind, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            tenant: DEFAULT_TENANT.to_owned(),
            tokens: None,
            header: DEFAULT_HEADER.to_owned(),
            preset: String::new(),
            paths: Vec::new(),
            stats: Vec::new(),
            origin: decode::Origin::default(),
            addresses: None,
            client_name: String::new(),
            rate: None,
        }
    }
}

/// Someone who may ask the query API.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// Who it is, in the audit log.
    pub(crate) name: String,
    /// Whose records they see.
    pub(crate) tenant: String,
    /// What they present one of as `Authorization: Bearer`.
    pub(crate) tokens: Arc<Keyring>,
    /// What they may do.
    pub(crate) roles: Roles,
}

/// Tenant where the configuration names none.
pub(crate) const DEFAULT_TENANT: &str = "default";
/// Fastly's one custom header may be any; this is the one that our snippets set.
const DEFAULT_HEADER: &str = "authorization";
/// Names become column values and metric labels; both want them short.
const MAX_NAME_BYTES: usize = 64;
/// Senders of one source whose statistics are read, eight at a time: a minute is enough for them.
const MOST_STATS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSource {
    name: String,
    kind: SourceKind,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    token: Texts,
    #[serde(default)]
    token_sha256: Texts,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    header: Option<String>,
    #[serde(default)]
    preset: String,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    stats: Vec<String>,
    #[serde(default)]
    hop: String,
    #[serde(default)]
    direction: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    workload: String,
    #[serde(default)]
    mesh_cluster: String,
    /// Envoy format string of this source's lines.
    #[serde(default)]
    format: String,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    address_file: Option<PathBuf>,
    #[serde(default)]
    client_name: String,
    #[serde(default)]
    rate_bytes: Option<toml::Value>,
    #[serde(default)]
    burst_bytes: Option<toml::Value>,
}

/// Members of a `[[source]]`, for the hint at a mistyped one.
pub(super) const SOURCE_KEYS: &[&str] = &[
    "name",
    "kind",
    "tenant",
    "token",
    "token_sha256",
    "token_file",
    "header",
    "preset",
    "paths",
    "stats",
    "hop",
    "direction",
    "node",
    "pod",
    "namespace",
    "workload",
    "mesh_cluster",
    "format",
    "addresses",
    "address_file",
    "client_name",
    "rate_bytes",
    "burst_bytes",
];

/// Members of a `[[reader]]`.
pub(super) const READER_KEYS: &[&str] = &["name", "tenant", "token", "token_sha256", "token_file", "roles"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenReader {
    name: String,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    token: Texts,
    #[serde(default)]
    token_sha256: Texts,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    roles: Option<Vec<String>>,
}

/// Validates the `[[source]]` tables; the second result is their Envoy format strings.
pub(super) fn sources(
    written: &[toml::Table],
    origin: &Origin,
) -> Result<(Vec<Source>, Vec<String>), ConfigError> {
    let mut sources: Vec<Source> = Vec::new();
    let mut formats = Vec::new();
    for table in written {
        check_members(table, "source", SOURCE_KEYS, origin)?;
        let source: WrittenSource =
            table.clone().try_into().map_err(|cause: toml::de::Error| wrong(origin, cause.message()))?;
        let name = checked_name(source.name, origin)?;
        if sources.iter().any(|other| other.name == name) {
            return Err(wrong(origin, &format!("two sources are called `{name}`: names must differ")));
        }
        if (source.kind == SourceKind::File) == source.paths.is_empty() {
            return Err(wrong(
                origin,
                &format!("source `{name}`: `paths` goes with kind = \"file\", and it needs them"),
            ));
        }
        check_stats(&name, source.kind, &source.stats).map_err(|reason| wrong(origin, &reason))?;
        let word =
            |what: &str, text: &str| wrong(origin, &format!("source `{name}`: `{text}` is not a {what}"));
        let hop = known(&source.hop, Hop::from_name).ok_or_else(|| word("hop", &source.hop))?;
        let direction = known(&source.direction, Direction::from_name)
            .ok_or_else(|| word("direction", &source.direction))?;
        if !source.format.is_empty() {
            formats.push(source.format);
        }
        let owner = format!("source `{name}`");
        let tokens = WrittenTokens {
            plain: source.token.into_list(),
            hashes: source.token_sha256.into_list(),
            file: source.token_file,
        };
        let addresses = AddressList::new(&source.addresses, source.address_file)
            .map_err(|reason| wrong(origin, &format!("{owner}: {reason}")))?;
        if source.kind == SourceKind::File
            && (addresses.is_some() || source.rate_bytes.is_some() || !source.client_name.is_empty())
        {
            return Err(wrong(origin, &format!("{owner}: a followed file has no sender to bound")));
        }
        sources.push(Source {
            addresses: addresses.map(Arc::new),
            client_name: source.client_name,
            rate: rate(source.rate_bytes.as_ref(), source.burst_bytes.as_ref())
                .map_err(|reason| wrong(origin, &format!("{owner}: {reason}")))?,
            kind: source.kind,
            tenant: source.tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
            tokens: keyring("source", &name, tokens, origin)?,
            header: source.header.unwrap_or_else(|| DEFAULT_HEADER.to_owned()).to_ascii_lowercase(),
            preset: source.preset,
            paths: source.paths,
            stats: source.stats,
            origin: decode::Origin {
                hop,
                direction,
                node: source.node,
                pod: source.pod,
                namespace: source.namespace,
                workload: source.workload,
                mesh_cluster: source.mesh_cluster,
            },
            name,
        });
    }
    Ok((sources, formats))
}

/// Statistics are Envoy's, of the loggers that speak ALS and OTLP.
fn check_stats(name: &str, kind: SourceKind, stats: &[String]) -> Result<(), String> {
    if !stats.is_empty() && !matches!(kind, SourceKind::Als | SourceKind::Otlp) {
        return Err(format!("source `{name}`: `stats` goes with kind = \"als\" or \"otlp\""));
    }
    if stats.len() > MOST_STATS {
        return Err(format!("source `{name}`: `stats` has more than {MOST_STATS} URLs"));
    }
    let is_url = |text: &&String| {
        let uri = text.parse::<http::Uri>().ok();
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
    };
    match stats.iter().find(|text| !is_url(text)) {
        None => Ok(()),
        Some(text) => Err(format!(
            "source `{name}`: {text:?} in `stats` is no URL such as http://10.0.0.1:15090/stats/prometheus"
        )),
    }
}

/// Validates the `[[reader]]` tables.
pub(super) fn readers(written: &[toml::Table], origin: &Origin) -> Result<Vec<Reader>, ConfigError> {
    written
        .iter()
        .map(|table| {
            check_members(table, "reader", READER_KEYS, origin)?;
            let reader: WrittenReader =
                table.clone().try_into().map_err(|cause: toml::de::Error| wrong(origin, cause.message()))?;
            let name = checked_name(reader.name, origin)?;
            let tokens = WrittenTokens {
                plain: reader.token.into_list(),
                hashes: reader.token_sha256.into_list(),
                file: reader.token_file,
            };
            let tokens = keyring("reader", &name, tokens, origin)?.ok_or_else(|| {
                wrong(origin, &format!("reader `{name}` needs `token`, `token_sha256` or `token_file`"))
            })?;
            let roles = reader.roles.as_deref().map_or(Ok(Roles::DEFAULT), Roles::named).map_err(|word| {
                wrong(
                    origin,
                    &format!("reader `{name}`: `{word}` is no role: `search`, `personal`, `admin` are"),
                )
            })?;
            let tenant = reader.tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned());
            Ok(Reader { name, tenant, tokens, roles })
        })
        .collect()
}

fn known<T: Default>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    if text.is_empty() { Some(T::default()) } else { parse(text) }
}

pub(super) fn wrong(origin: &Origin, reason: &str) -> ConfigError {
    ConfigError::Source { origin: origin.clone(), reason: reason.to_owned() }
}

fn check_members(
    table: &toml::Table,
    what: &str,
    members: &[&str],
    origin: &Origin,
) -> Result<(), ConfigError> {
    match table.keys().find(|key| !members.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(ConfigError::Unknown {
            origin: origin.clone(),
            key: format!("{what}.{key}"),
            nearest: keys::nearest(key, members.iter().map(|&member| member.to_owned())),
        }),
    }
}

fn checked_name(name: String, origin: &Origin) -> Result<String, ConfigError> {
    let fits = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        return Ok(name);
    }
    Err(wrong(
        origin,
        &format!("name {name:?} must be 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` or `.`"),
    ))
}
