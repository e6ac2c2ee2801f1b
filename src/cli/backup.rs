//! `throughline backup` asks the running service for a copy of its data directory; `throughline restore` puts one where a
//! service can be started.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use reqwest::Method;

use super::client::{Client, Server, block_on};
use crate::api::backup::BackupQuery;
use crate::backup::{self, Manifest};

/// Back up a running service.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Directory to make, on the machine of the service
    directory: PathBuf,
    #[command(flatten)]
    server: Server,
}

/// Put a backup into a new data directory.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArguments {
    /// The backup
    backup: PathBuf,
    /// Where `throughline serve --data-dir` will find it; must be empty or not exist
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Runs `backup`.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let directory = std::path::absolute(&arguments.directory).context("tell the working directory")?;
    let client = Client::new(&arguments.server)?;
    let query = BackupQuery { directory: directory.display().to_string() };
    let manifest = block_on(ask(&client, &query))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string_pretty(&manifest)?)?;
    if !manifest.tables {
        writeln!(std::io::stderr(), "the store is a ClickHouse server: its tables are not in this backup")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(client: &Client, query: &BackupQuery) -> anyhow::Result<Manifest> {
    let reply = client.send(client.request(Method::POST, &["api", "v1", "backup"])?.json(query)).await?;
    if !reply.status.is_success() {
        bail!(client.refusal(&reply));
    }
    Ok(serde_json::from_slice(&reply.body)?)
}

/// Runs `restore`.
pub(crate) fn restore(arguments: &RestoreArguments) -> anyhow::Result<ExitCode> {
    let manifest = backup::restore(&arguments.backup, &arguments.data_dir)?;
    writeln!(
        std::io::stderr(),
        "restored {} files as of {}; {} segments will be shipped at the next start. Start: throughline serve --data-dir {}",
        manifest.files,
        manifest.taken,
        manifest.segments,
        arguments.data_dir.display()
    )?;
    Ok(ExitCode::SUCCESS)
}
