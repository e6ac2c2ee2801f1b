//! What the service says of itself: log lines on stderr, and spans over OTLP where an endpoint is configured.
//!
//! It never traces its own ingest: spans are made by the query API and by shipping, and [`crate::config`] refuses an
//! endpoint that is one of our own ports.

use std::io::{self, Write};

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::TelemetrySettings;
use crate::render::safe;

/// Keeps the span exporter; its drop sends what is left.
pub(crate) struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging, and span export where configured. Needs the tokio runtime for the latter.
    pub(crate) fn start(settings: &TelemetrySettings) -> anyhow::Result<Self> {
        let filter = EnvFilter::try_new(&settings.log).with_context(|| {
            format!("`telemetry.log` = {:?} is not a filter such as `info,spool=debug`", settings.log)
        })?;
        let lines = tracing_subscriber::fmt::layer().with_ansi(false);
        // JSON escapes line breaks and controls itself, in a way that its readers undo.
        let lines = match settings.json {
            true => lines.json().with_writer(io::stderr).boxed(),
            false => lines.with_writer(|| OneLine(io::stderr())).boxed(),
        };
        let spans = settings.otlp_endpoint.as_deref().map(exporter).transpose()?;
        let export = spans.as_ref().map(|provider| {
            // Only our own spans: those of the exporter's transport would make the next batch.
            let own = EnvFilter::new("off,throughline=info");
            tracing_opentelemetry::layer().with_tracer(provider.tracer("throughline")).with_filter(own)
        });
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(export)
            .try_init()
            .context("start logging")?;
        Ok(Self { spans })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.spans.take() {
            // Best effort: the receiver may be gone, and nobody is left to be told.
            let _ = provider.shutdown();
        }
    }
}

/// One line for each event, and nothing in it that a terminal acts upon, whatever its fields hold: an error of the store
/// may quote what somebody asked for, and a line break in it would forge the next line. No colours for the same
/// reason: what is ours could not be told from what is quoted. The layer hands over event by event, each with its end.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.write_all(event).map(|()| event.len())
    }

    fn write_all(&mut self, event: &[u8]) -> io::Result<()> {
        let event = String::from_utf8_lossy(event);
        // In one piece: the engine writes to the same place.
        let line = match event.strip_suffix('\n') {
            Some(line) => safe(line).into_owned() + "\n",
            None => safe(&event).into_owned(),
        };
        self.0.write_all(line.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn exporter(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("`telemetry.otlp_endpoint` = {endpoint:?} cannot be used"))?;
    let resource = Resource::builder().with_service_name("throughline").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_field_forges_no_line_and_no_colour() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines =
            tracing_subscriber::fmt::layer().with_writer(move || OneLine(writer.clone())).with_ansi(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let error =
                "no such table\n2026-11-22T00:00:00Z  INFO throughline: all is well\r\x1b[2K\u{9b}31m";
            tracing::warn!(%error, "a query failed");
        });
        let said = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.ends_with('\n') && said.contains("table\\n2026"), "{said}");
        assert!(!said.contains(['\x1b', '\u{9b}', '\r']), "{said:?}");
    }
}
