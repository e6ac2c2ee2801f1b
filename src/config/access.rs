//! Who may do what, as configured: tokens, rates, names of client certificates, and the audit log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::sources::wrong;
use super::{ConfigError, Listen, Origin, Settings, SourceKind, Written, values};
use crate::access::{Keyring, Reread, WrittenTokens};

/// How lookups are written down.
#[derive(Debug, Clone)]
pub(crate) struct AuditSettings {
    pub(crate) mode: AuditMode,
    pub(crate) file: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) files: u32,
}

/// Whether lookups are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuditMode {
    /// What cannot be written down is refused.
    Required,
    /// What cannot be written down is answered, and the log says so.
    BestEffort,
    /// They are not.
    Off,
}

impl AuditSettings {
    pub(super) fn from_written(written: &Written, has_readers: bool) -> Result<Self, ConfigError> {
        let mode =
            written.parse("audit.mode", "`auto`, `required`, `best_effort` or `off`", |text| match text {
                "auto" if !has_readers => Some(AuditMode::Off),
                "auto" | "required" => Some(AuditMode::Required),
                "best_effort" => Some(AuditMode::BestEffort),
                "off" => Some(AuditMode::Off),
                _ => None,
            })?;
        let usual = || Path::new(written.text("data_dir")).join("audit.log");
        Ok(Self {
            mode,
            file: written.optional("audit.file").map_or_else(usual, PathBuf::from),
            max_bytes: written.bytes("audit.max_bytes")?,
            files: written.number("audit.files")?,
        })
    }
}

/// A bound on what a source sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) bytes_per_s: u64,
    pub(crate) burst_bytes: u64,
}

/// Seconds of its rate that a source may send at once where no burst is given: Fastly's POPs deliver together.
const BURST_S: u64 = 10;

/// One text or several.
#[derive(Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

impl Settings {
    /// The tokens of every source and reader.
    pub(crate) fn keyrings(&self) -> impl Iterator<Item = Arc<Keyring>> {
        let sources = self.sources.iter().filter_map(|source| source.tokens.clone());
        sources.chain(self.readers.iter().map(|reader| Arc::clone(&reader.tokens)))
    }

    /// Every file that may change while the service runs, certificates aside.
    pub(crate) fn reread(&self) -> Vec<Arc<dyn Reread>> {
        let tokens = self.keyrings().map(|tokens| tokens as Arc<dyn Reread>);
        let lists = self.sources.iter().filter_map(|source| source.addresses.clone());
        tokens.chain(lists.map(|list| list as Arc<dyn Reread>)).collect()
    }
}

/// A name that nothing asks for would keep its source shut.
pub(super) fn check_client_names(settings: &Settings) -> Result<(), ConfigError> {
    for source in settings.sources.iter().filter(|source| !source.client_name.is_empty()) {
        let ports: &[(&str, &Listen)] = match source.kind {
            SourceKind::Als => &[("grpc.client_ca", &settings.grpc)],
            SourceKind::Otlp => &[("grpc.client_ca", &settings.grpc), ("http.client_ca", &settings.http)],
            _ => &[("http.client_ca", &settings.http)],
        };
        let asks = |listen: &Listen| listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !ports.iter().any(|(_, listen)| asks(listen)) {
            let keys: Vec<_> = ports.iter().map(|(key, _)| format!("`{key}`")).collect();
            return Err(ConfigError::Rule(format!(
                "source `{}` has a `client_name`, and no client certificate is asked for: set {}",
                source.name,
                keys.join(" or ")
            )));
        }
    }
    Ok(())
}

pub(super) fn keyring(
    kind: &'static str,
    name: &str,
    written: WrittenTokens,
    origin: &Origin,
) -> Result<Option<Arc<Keyring>>, ConfigError> {
    let keyring = Keyring::new(kind, name, written).map_err(|reason| wrong(origin, &reason))?;
    Ok(keyring.map(Arc::new))
}

pub(super) fn rate(rate: Option<&toml::Value>, burst: Option<&toml::Value>) -> Result<Option<Rate>, String> {
    let size = |name: &str, value: &toml::Value| {
        let text = values::text_of(value);
        let bytes = values::bytes(&text).filter(|bytes| *bytes > 0);
        bytes.ok_or_else(|| format!("`{name}` = {text:?} is not a size such as 5MiB"))
    };
    match (rate, burst) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("`burst_bytes` goes with `rate_bytes`".to_owned()),
        (Some(rate), burst) => {
            let bytes_per_s = size("rate_bytes", rate)?;
            let usual = bytes_per_s.saturating_mul(BURST_S);
            let burst_bytes = burst.map_or(Ok(usual), |burst| size("burst_bytes", burst))?;
            Ok(Some(Rate { bytes_per_s, burst_bytes }))
        }
    }
}
