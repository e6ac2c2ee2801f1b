//! The configuration as it holds: every value of its type, every rule between values checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::access::{AuditSettings, check_client_names};
use super::export::{CorrelateSettings, ExportSettings};
use super::sources::{Reader, Secret, Source, SourceKind, readers, sources};
use super::spool::SpoolSettings;
use super::{ConfigError, KEYS, Written, values};
use crate::access::AddressList;

/// Oftener a sender's statistics are not read: each look costs it megabytes.
const LEAST_STATS_INTERVAL: Duration = Duration::from_secs(1);

/// What `serve` runs by.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) http: Listen,
    pub(crate) grpc: Listen,
    pub(crate) limits: Limits,
    pub(crate) spool: SpoolSettings,
    pub(crate) store: StoreSettings,
    pub(crate) retention: store::Retention,
    /// What the store's tables may take; `None` for no bound.
    pub(crate) store_max_bytes: Option<u64>,
    /// Body of Fastly's challenge: one line per allowed service.
    pub(crate) challenge: String,
    /// The user's own field mappings.
    pub(crate) fastly_presets: Vec<PathBuf>,
    pub(crate) sources: Vec<Source>,
    pub(crate) readers: Vec<Reader>,
    /// Proxies whose word on who sent a request is believed.
    pub(crate) trusted_proxies: Option<Arc<AddressList>>,
    /// How lookups are written down.
    pub(crate) audit: AuditSettings,
    /// Envoy format strings of the sources, for the decoder.
    pub(crate) envoy_formats: Vec<String>,
    pub(crate) redaction: RedactionSettings,
    pub(crate) correlate: CorrelateSettings,
    /// `None` where no traces are exported.
    pub(crate) export: Option<ExportSettings>,
    pub(crate) telemetry: TelemetrySettings,
    /// Between two looks at senders' statistics.
    pub(crate) stats_interval: Duration,
    pub(crate) drain_deadline: Duration,
    pub(crate) drain_delay: Duration,
    /// Whether a port other than loopback was allowed to stand open.
    pub(crate) insecure: bool,
}

/// A port.
#[derive(Debug, Clone)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
}

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// The CA that client certificates must be of.
    pub(crate) client_ca: Option<PathBuf>,
}

/// Bounds on what comes in and goes out.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) unpacked_bytes: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) grpc_message_bytes: usize,
    pub(crate) connections: usize,
    /// For headers, and for a body beyond what its bytes pay for (`ingest::pace`).
    pub(crate) patience: Duration,
    pub(crate) stream_age: Duration,
    pub(crate) connection_age: Duration,
    pub(crate) answer_rows: usize,
}

/// Where the store is.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    /// `None` runs the embedded engine.
    pub(crate) url: Option<String>,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) database: String,
    pub(crate) cluster: Option<String>,
    pub(crate) migrate: Migrate,
    pub(crate) engine_lib: Option<PathBuf>,
    pub(crate) engine_memory_bytes: u64,
    pub(crate) engine_public_listen: Option<SocketAddr>,
}

/// What `serve` does with an old schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Migrate {
    /// Bring it up to date.
    Auto,
    /// Refuse to start.
    Off,
}

/// What the redactor is told.
#[derive(Debug, Clone)]
pub(crate) struct RedactionSettings {
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) extra_names: Vec<String>,
    pub(crate) allow_names: Vec<String>,
}

/// The service's word on itself.
#[derive(Debug, Clone)]
pub(crate) struct TelemetrySettings {
    pub(crate) log: String,
    pub(crate) json: bool,
    pub(crate) otlp_endpoint: Option<String>,
}

impl Settings {
    /// Validates what was written. Reads token files; nothing else.
    pub(crate) fn from_written(written: &Written) -> Result<Self, ConfigError> {
        let (sources, envoy_formats) = sources(&written.sources, &written.tables_origin)?;
        let insecure = written.flag("insecure")?;
        let http = written.listen("http.listen", "http.tls_cert", "http.tls_key", "http.client_ca")?;
        let grpc = written.listen("grpc.listen", "grpc.tls_cert", "grpc.tls_key", "grpc.client_ca")?;
        let readers = readers(&written.readers, &written.tables_origin)?;
        let trusted_proxies = AddressList::new(&values::words(written.text("trusted_proxies")), None)
            .map_err(|reason| ConfigError::Rule(format!("`trusted_proxies`: {reason}")))?;
        let export = ExportSettings::from_written(written)?;
        let settings = Self {
            correlate: CorrelateSettings::from_written(written, export.is_some())?,
            export,
            data_dir: written.text("data_dir").into(),
            challenge: challenge(&values::words(written.text("fastly.services")), &http),
            fastly_presets: values::words(written.text("fastly.presets"))
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            limits: Limits {
                body_bytes: written.size("limits.body")?,
                unpacked_bytes: written.size("limits.unpacked")?,
                in_flight_bytes: written.size("limits.in_flight")?,
                grpc_message_bytes: written.size("limits.grpc_message")?,
                connections: written.number("limits.connections")?,
                patience: written.duration("limits.patience")?,
                stream_age: written.duration("limits.stream_age")?,
                connection_age: written.duration("limits.connection_age")?,
                answer_rows: written.number("limits.answer_rows")?,
            },
            spool: SpoolSettings::from_written(written, Path::new(written.text("data_dir")))?,
            store: StoreSettings {
                url: written.optional("store.url"),
                user: written.text("store.user").to_owned(),
                password: Secret::from(written.text("store.password").to_owned()),
                database: written.text("store.database").to_owned(),
                cluster: written.optional("store.cluster"),
                migrate: written.parse("store.migrate", "`auto` or `off`", |text| match text {
                    "auto" => Some(Migrate::Auto),
                    "off" => Some(Migrate::Off),
                    _ => None,
                })?,
                engine_lib: written.optional("engine.lib").map(PathBuf::from),
                engine_memory_bytes: written.bytes("engine.memory")?,
                engine_public_listen: match written.text("engine.public_listen") {
                    "" => None,
                    _ => Some(written.address("engine.public_listen")?),
                },
            },
            retention: store::Retention {
                attributes_days: written.number("retention.attributes_days")?,
                events_days: written.number("retention.events_days")?,
                errors_days: written.number("retention.errors_days")?,
                rejects_days: written.number("retention.rejects_days")?,
                rollups_days: written.number("retention.rollups_days")?,
                recent_hours: written.number("retention.recent_hours")?,
            },
            store_max_bytes: match written.text("retention.max_bytes") {
                "" => None,
                _ => Some(written.bytes("retention.max_bytes")?),
            },
            redaction: RedactionSettings {
                key_file: written.optional("redaction.key_file").map(PathBuf::from),
                extra_names: values::words(written.text("redaction.extra_names")),
                allow_names: values::words(written.text("redaction.allow_names")),
            },
            telemetry: TelemetrySettings {
                log: written.text("telemetry.log").to_owned(),
                json: written.parse("telemetry.log_format", "`text` or `json`", |text| match text {
                    "text" => Some(false),
                    "json" => Some(true),
                    _ => None,
                })?,
                otlp_endpoint: written.optional("telemetry.otlp_endpoint"),
            },
            stats_interval: written.duration("stats.interval")?.max(LEAST_STATS_INTERVAL),
            drain_deadline: written.duration("drain.deadline")?,
            drain_delay: written.duration("drain.delay")?,
            trusted_proxies: trusted_proxies.map(Arc::new),
            audit: AuditSettings::from_written(written, !readers.is_empty())?,
            readers,
            insecure,
            http,
            grpc,
            sources,
            envoy_formats,
        };
        if settings.store_max_bytes.is_some() && settings.store.cluster.is_some() {
            return Err(ConfigError::Rule(
                "`retention.max_bytes` is for one server, and `store.cluster` is set: each server of a cluster has a disk of \
                 its own; keep fewer days instead"
                    .to_owned(),
            ));
        }
        settings.check_exposure()?;
        check_client_names(&settings)?;
        settings.check_own_export()?;
        Ok(settings)
    }

    /// Promise 8: loopback needs nothing; any other address needs TLS and tokens, or `insecure`.
    fn check_exposure(&self) -> Result<(), ConfigError> {
        for (key, listen) in [("http.listen", &self.http), ("grpc.listen", &self.grpc)] {
            if listen.address.ip().is_loopback() || self.insecure {
                continue;
            }
            let address = listen.address;
            if listen.tls.is_none() {
                return Err(ConfigError::Rule(format!(
                    "`{key}` = {address} is not loopback: set its tls_cert and tls_key, or --insecure to serve in the clear"
                )));
            }
            let open =
                self.sources.iter().find(|source| source.kind != SourceKind::File && source.tokens.is_none());
            if let Some(source) = open {
                return Err(ConfigError::Rule(format!(
                    "`{key}` = {address} is not loopback and source `{}` has no token: give it `token`, `token_sha256` or `token_file`",
                    source.name
                )));
            }
            if !self.sources.iter().any(|source| source.tokens.is_some()) {
                return Err(ConfigError::Rule(format!(
                    "`{key}` = {address} is not loopback and no [[source]] with a token is configured: nobody could send"
                )));
            }
        }
        Ok(())
    }

    /// Neither the service's own spans nor the traces that it exports may come back as input: each would make the next.
    fn check_own_export(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.telemetry.otlp_endpoint {
            let uri: http::Uri = endpoint.parse().map_err(|_| {
                ConfigError::Rule(format!("`telemetry.otlp_endpoint` = {endpoint:?} is not a URL"))
            })?;
            self.check_not_own("telemetry.otlp_endpoint", &uri)?;
        }
        self.export.as_ref().map_or(Ok(()), |export| self.check_not_own("export.endpoint", &export.endpoint))
    }

    fn check_not_own(&self, key: &str, uri: &http::Uri) -> Result<(), ConfigError> {
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(4317));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        for (own_key, listen) in [("grpc.listen", &self.grpc), ("http.listen", &self.http)] {
            let own = listen.address;
            let named_here = host == "localhost"
                || host.parse().is_ok_and(|ip: std::net::IpAddr| {
                    ip == own.ip()
                        || (ip.is_loopback() && (own.ip().is_loopback() || own.ip().is_unspecified()))
                });
            if port == own.port() && named_here {
                return Err(ConfigError::Rule(format!(
                    "`{key}` = {uri} is this service's own `{own_key}`: it would feed on its own spans; \
                     point it at a trace backend"
                )));
            }
        }
        Ok(())
    }

    /// The source of a kind by name, or the open one where none of the kind is configured.
    pub(crate) fn sources_of(&self, kind: SourceKind) -> Vec<Source> {
        let named: Vec<Source> = self.sources.iter().filter(|source| source.kind == kind).cloned().collect();
        let loopback = self.http.address.ip().is_loopback() && self.grpc.address.ip().is_loopback();
        if named.is_empty() && (loopback || self.insecure) {
            return vec![Source::open(kind, kind.name())];
        }
        named
    }
}

/// One lower-case hex SHA-256 per service id, or `*`.
fn challenge(services: &[String], http: &Listen) -> String {
    use sha2::Digest as _;
    let any = services.iter().any(|service| service == "*");
    if any || (services.is_empty() && http.address.ip().is_loopback()) {
        return "*\n".to_owned();
    }
    services
        .iter()
        .map(|service| {
            let digest = sha2::Sha256::digest(service.as_bytes());
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n"
        })
        .collect()
}

impl Written {
    pub(super) fn text(&self, key: &'static str) -> &str {
        debug_assert!(KEYS.iter().any(|known| known.name == key), "{key} is not in the table");
        self.values.get(key).map_or("", |(value, _)| value.as_str())
    }

    pub(super) fn optional(&self, key: &'static str) -> Option<String> {
        Some(self.text(key).to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn parse<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        parse(self.text(key)).ok_or_else(|| ConfigError::Value {
            origin: self.values[key].1.clone(),
            key,
            value: self.text(key).to_owned(),
            expected: expected.to_owned(),
        })
    }

    pub(super) fn flag(&self, key: &'static str) -> Result<bool, ConfigError> {
        self.parse(key, "true or false", |text| text.parse().ok())
    }

    pub(super) fn number<T: std::str::FromStr>(&self, key: &'static str) -> Result<T, ConfigError> {
        self.parse(key, "a whole number", |text| text.parse().ok())
    }

    pub(super) fn bytes(&self, key: &'static str) -> Result<u64, ConfigError> {
        self.parse(key, "a size such as 64MiB", values::bytes)
    }

    pub(super) fn size(&self, key: &'static str) -> Result<usize, ConfigError> {
        self.parse(key, "a size such as 64MiB", |text| values::bytes(text)?.try_into().ok())
    }

    pub(super) fn duration(&self, key: &'static str) -> Result<Duration, ConfigError> {
        self.parse(key, "a duration such as 15s", values::duration)
    }

    fn address(&self, key: &'static str) -> Result<SocketAddr, ConfigError> {
        self.parse(key, "an address such as 127.0.0.1:8080", |text| text.parse().ok())
    }

    fn listen(
        &self,
        key: &'static str,
        cert: &'static str,
        tls_key: &'static str,
        client_ca: &'static str,
    ) -> Result<Listen, ConfigError> {
        let ca = self.optional(client_ca).map(PathBuf::from);
        let tls = match (self.optional(cert), self.optional(tls_key)) {
            (Some(cert), Some(key)) => Some(Tls { cert: cert.into(), key: key.into(), client_ca: ca }),
            (None, None) if ca.is_some() => {
                return Err(ConfigError::Rule(format!(
                    "`{client_ca}` asks for client certificates, which needs `{cert}` and `{tls_key}`"
                )));
            }
            (None, None) => None,
            _ => {
                return Err(ConfigError::Rule(format!(
                    "`{cert}` and `{tls_key}` go together: set both or neither"
                )));
            }
        };
        Ok(Listen { address: self.address(key)?, tls })
    }
}
