//! `[correlate]` and `[export]`: when requests count as settled, and where their traces go.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use trace::otlp::Mode;

use super::{ConfigError, Written, values};

/// The filter of what was decided, and something to work with.
const LEAST_MEMORY: usize = 96 << 20;

/// How correlation goes about it.
#[derive(Debug, Clone)]
pub(crate) struct CorrelateSettings {
    /// Whether this instance keeps what correlation reads, and correlates when it holds the lease.
    pub(crate) on: bool,
    pub(crate) settle: Duration,
    pub(crate) memory_bytes: usize,
}

/// Where traces go and which.
#[derive(Debug, Clone)]
pub(crate) struct ExportSettings {
    pub(crate) mode: Mode,
    pub(crate) endpoint: Uri,
    pub(crate) protocol: Protocol,
    /// Sent with every request; values are never shown.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) gzip: bool,
    /// PEM certificates to trust instead of the built-in roots.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) keep: Keep,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Which requests are exported: those that a rule names, and a share of the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Keep {
    /// Of all requests, by a hash of the trace id; 1 for all.
    pub(crate) share: f64,
    pub(crate) errors: bool,
    pub(crate) denials: bool,
    /// Requests that took longer.
    pub(crate) slow: Option<Duration>,
}

impl CorrelateSettings {
    pub(super) fn from_written(written: &Written, exporting: bool) -> Result<Self, ConfigError> {
        let always = written.parse("correlate.mode", "`auto` or `on`", |text| match text {
            "auto" => Some(false),
            "on" => Some(true),
            _ => None,
        })?;
        let settle = written.duration("correlate.settle")?;
        if settle < Duration::from_secs(1) {
            return Err(ConfigError::Rule(
                "`correlate.settle` is under 1s: segments are sealed every second, so hops of one request would settle apart"
                    .to_owned(),
            ));
        }
        let memory_bytes = written.size("correlate.memory")?;
        if memory_bytes < LEAST_MEMORY {
            return Err(ConfigError::Rule(
                "`correlate.memory` is under 96MiB, of which 64 remember what was decided: nothing could be read"
                    .to_owned(),
            ));
        }
        Ok(Self { on: always || exporting, settle, memory_bytes })
    }
}

impl ExportSettings {
    /// `None` where export is off.
    pub(super) fn from_written(written: &Written) -> Result<Option<Self>, ConfigError> {
        let mode = written.parse("export.mode", "`off`, `fill` or `all`", |text| match text {
            "off" => Some(None),
            "fill" => Some(Some(Mode::Fill)),
            "all" => Some(Some(Mode::All)),
            _ => None,
        })?;
        let protocol = written.parse("export.protocol", "`grpc` or `http/protobuf`", |text| match text {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::HttpProtobuf),
            _ => None,
        })?;
        let gzip = written.parse("export.compression", "`gzip` or `none`", |text| match text {
            "gzip" => Some(true),
            "none" => Some(false),
            _ => None,
        })?;
        let keep = Keep {
            share: written.parse("export.keep.share", "a number from 0 to 1", |text| {
                text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
            })?,
            errors: written.flag("export.keep.errors")?,
            denials: written.flag("export.keep.denials")?,
            slow: match written.text("export.keep.slow") {
                "" => None,
                _ => Some(written.duration("export.keep.slow")?),
            },
        };
        // Its text is secret: the error must not show it.
        let headers = headers(written.text("export.headers")).ok_or_else(|| {
            ConfigError::Rule("`export.headers` is not a list such as `name=value,name=value`".to_owned())
        })?;
        let timeout = written.duration("export.timeout")?;
        let ca_file = written.optional("export.ca_file").map(PathBuf::from);
        let Some(mode) = mode else { return Ok(None) };
        if written.text("export.endpoint").is_empty() {
            return Err(ConfigError::Rule(
                "`export.mode` is on and `export.endpoint` is empty: set the URL of an OTLP receiver, such as http://tempo:4317"
                    .to_owned(),
            ));
        }
        let endpoint = written.parse("export.endpoint", "a URL such as http://tempo:4317", endpoint)?;
        if timeout.is_zero() {
            return Err(ConfigError::Rule("`export.timeout` is 0: nothing could be sent".to_owned()));
        }
        Ok(Some(Self { mode, endpoint, protocol, headers, gzip, ca_file, timeout, keep }))
    }
}

fn endpoint(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let named = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    (named && uri.query().is_none()).then_some(uri)
}

/// As OpenTelemetry's `OTEL_EXPORTER_OTLP_HEADERS` writes them.
fn headers(text: &str) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let header = |word: String| {
        let (name, value) = word.split_once('=')?;
        let mut value = HeaderValue::from_str(value.trim()).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse().ok()?, value))
    };
    values::words(text).into_iter().map(header).collect()
}
