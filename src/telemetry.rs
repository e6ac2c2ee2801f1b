//! What the service says of itself: log lines on stderr, and spans over OTLP where an endpoint is configured.
//!
//! It never traces its own ingest: spans are made by the query API and by shipping, and [`crate::config`] refuses an
//! endpoint that is one of our own ports.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::TelemetrySettings;

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
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let lines = if settings.json { lines.json().boxed() } else { lines.boxed() };
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

fn exporter(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("`telemetry.otlp_endpoint` = {endpoint:?} cannot be used"))?;
    let resource = Resource::builder().with_service_name("throughline").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
