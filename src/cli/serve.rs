//! `throughline serve`: configuration to a running service, and its end in order.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::{Settings, Written};
use crate::service;

/// Options of the service; each is also a key of the file and a `THROUGHLINE_…` variable.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// TOML file
    #[arg(long, value_name = "FILE", env = "THROUGHLINE_CONFIG")]
    config: Option<PathBuf>,
    /// Directory for spool, positions and engine data [key: data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// HTTP address [key: http.listen]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// gRPC address [key: grpc.listen]
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<String>,
    /// ClickHouse server instead of the embedded engine [key: store.url]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Bring the schema up to date at start, or refuse an old one: auto, off [key: store.migrate]
    #[arg(long, value_name = "MODE")]
    migrate: Option<String>,
    /// Serve other addresses than loopback without TLS and tokens [key: insecure]
    #[arg(long)]
    insecure: bool,
    /// Show what holds and where each value came from, and end
    #[arg(long)]
    print_config: bool,
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let written = layers(&arguments)?;
    if arguments.print_config {
        // Shown even where it does not hold: that is when it is looked at.
        std::io::stdout().write_all(written.print().as_bytes()).context("print the configuration")?;
        Settings::from_written(&written)?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::from_written(&written)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start threads")?;
    runtime.block_on(service::run(settings))?;
    Ok(ExitCode::SUCCESS)
}

fn layers(arguments: &Arguments) -> anyhow::Result<Written> {
    let mut written = Written::defaults();
    if let Some(path) = &arguments.config {
        written.add_file(path)?;
    }
    written.add_environment(std::env::vars())?;
    written.add_flag("data-dir", "data_dir", arguments.data_dir.clone())?;
    written.add_flag("http", "http.listen", arguments.http.clone())?;
    written.add_flag("grpc", "grpc.listen", arguments.grpc.clone())?;
    written.add_flag("store", "store.url", arguments.store.clone())?;
    written.add_flag("migrate", "store.migrate", arguments.migrate.clone())?;
    written.add_flag("insecure", "insecure", arguments.insecure.then(|| "true".to_owned()))?;
    Ok(written)
}
