//! Configuration in two stages: as written (layers of text with their origin), then validated ([`Settings`]).
//!
//! Layers, later wins: the built-in default, the TOML file, `THROUGHLINE_…` in the environment, a flag. Every key
//! stands once, in the table of [`keys`]; that table makes the environment name, the documentation, `--print-config`
//! and the suggestion for a mistyped key. The first stage reads no file but the one it is given, and no clock.

mod access;
mod export;
mod keys;
#[cfg(test)]
mod reference;
mod settings;
pub(crate) mod sources;
mod spool;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(crate) use access::Rate;
pub(crate) use access::{AuditMode, AuditSettings};
pub(crate) use export::{CorrelateSettings, ExportSettings, Keep, Protocol};
use keys::{KEYS, Key};
pub(crate) use settings::{Limits, Listen, Migrate, Settings, StoreSettings, TelemetrySettings, Tls};
pub(crate) use sources::{DEFAULT_TENANT, Reader, Source, SourceKind};

/// Why the configuration does not hold. Always the operator's to mend; a retry never helps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {path}: {cause}")]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("{path} is not TOML: {cause}")]
    Toml { path: PathBuf, cause: Box<toml::de::Error> },
    #[error("{origin} has no key `{key}`{}", hint(nearest))]
    Unknown { origin: Origin, key: String, nearest: Option<String> },
    #[error("{origin}: `{key}` = {value:?} is not {expected}")]
    Value { origin: Origin, key: &'static str, value: String, expected: String },
    #[error("{origin}: {reason}")]
    Source { origin: Origin, reason: String },
    #[error("{0}")]
    Rule(String),
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Built in.
    Default,
    /// The TOML file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment(name) => write!(out, "${name}"),
            Self::Flag(name) => write!(out, "--{name}"),
        }
    }
}

/// The configuration as written: for each key its text and where that came from.
#[derive(Debug)]
pub(crate) struct Written {
    values: BTreeMap<&'static str, (String, Origin)>,
    sources: Vec<toml::Table>,
    readers: Vec<toml::Table>,
    tables_origin: Origin,
}

impl Written {
    /// Every key at its built-in default.
    pub(crate) fn defaults() -> Self {
        let values = KEYS.iter().map(|key| (key.name, (key.default.to_owned(), Origin::Default))).collect();
        Self { values, sources: Vec::new(), readers: Vec::new(), tables_origin: Origin::Default }
    }

    /// Lays the TOML file at `path` over what is there.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        self.add_toml(&text, path)
    }

    /// Lays TOML text over what is there; `path` only names it in errors.
    pub(crate) fn add_toml(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let mut table: toml::Table = text
            .parse()
            .map_err(|cause| ConfigError::Toml { path: path.to_owned(), cause: Box::new(cause) })?;
        let origin = Origin::File(path.to_owned());
        self.sources = tables(&mut table, "source", &origin)?;
        self.readers = tables(&mut table, "reader", &origin)?;
        self.tables_origin = origin.clone();
        self.add_table("", table, &origin)
    }

    fn add_table(&mut self, prefix: &str, table: toml::Table, origin: &Origin) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(inner) => self.add_table(&key, inner, origin)?,
                value => self.set(&key, values::text_of(&value), origin.clone())?,
            }
        }
        Ok(())
    }

    /// Lays `THROUGHLINE_…` variables over what is there. Variables that the service reads elsewhere (for the CLI
    /// and for set-up) and Kubernetes' own are passed over; any other unknown one is an error.
    pub(crate) fn add_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            if !name.starts_with(keys::VARIABLE_PREFIX) || keys::is_foreign(&name) {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            match KEYS.iter().find(|key| key.variable() == name) {
                Some(key) => self.set(key.name, value, origin)?,
                None => {
                    let nearest = keys::nearest(&name, KEYS.iter().map(Key::variable));
                    return Err(ConfigError::Unknown {
                        origin: Origin::Environment(name.clone()),
                        key: name,
                        nearest,
                    });
                }
            }
        }
        Ok(())
    }

    /// Lays one flag over what is there.
    pub(crate) fn add_flag(
        &mut self,
        flag: &'static str,
        key: &str,
        value: Option<String>,
    ) -> Result<(), ConfigError> {
        value.map_or(Ok(()), |value| self.set(key, value, Origin::Flag(flag)))
    }

    fn set(&mut self, key: &str, value: String, origin: Origin) -> Result<(), ConfigError> {
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            let nearest = keys::nearest(key, KEYS.iter().map(|known| known.name.to_owned()));
            return Err(ConfigError::Unknown { origin, key: key.to_owned(), nearest });
        };
        self.values.insert(known.name, (value, origin));
        Ok(())
    }

    /// What `--print-config` shows: every key, its value and where that came from, as TOML that can be used again.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        for key in KEYS {
            let (value, origin) = &self.values[key.name];
            let shown = if key.secret && !value.is_empty() { "(set)" } else { value };
            let _ = writeln!(out, "# {}\n{} = {:?}  # {origin}", key.doc, key.name, shown);
        }
        for table in &self.sources {
            let name = table.get("name").and_then(toml::Value::as_str).unwrap_or("?");
            let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or("?");
            let _ = writeln!(out, "# [[source]] {name} ({kind}) from {}", self.tables_origin);
        }
        for table in &self.readers {
            let name = table.get("name").and_then(toml::Value::as_str).unwrap_or("?");
            let _ = writeln!(out, "# [[reader]] {name} from {}", self.tables_origin);
        }
        out
    }
}

/// Takes an array of tables out of the file.
fn tables(table: &mut toml::Table, name: &str, origin: &Origin) -> Result<Vec<toml::Table>, ConfigError> {
    let wrong = || ConfigError::Source {
        origin: origin.clone(),
        reason: format!("`{name}` must be an array of tables: write [[{name}]]"),
    };
    match table.remove(name) {
        None => Ok(Vec::new()),
        Some(toml::Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                toml::Value::Table(item) => Ok(item),
                _ => Err(wrong()),
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
