//! `throughline setup edge FILE`: the edge's configuration item, read as the edge reads it, and the way to install it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use ::edge::Config;
use anyhow::Context as _;

use super::{REJECTED, install, read_stdin};
use crate::render::safe;

/// Check a configuration item.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The item, JSON; - for standard input
    file: PathBuf,
    /// Print Terraform instead of commands
    #[arg(long)]
    terraform: bool,
}

/// Runs the subcommand: 0 the item is good, 1 it is not.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = arguments.file.display().to_string();
    let text = if file == "-" {
        read_stdin()?
    } else {
        std::fs::read_to_string(&arguments.file).with_context(|| format!("read {file}"))?
    };
    let mut talk = std::io::stderr().lock();
    let config = match Config::parse(&text) {
        Ok(config) => config,
        Err(error) => {
            writeln!(talk, "{file}: {}: {}", safe(&error.at), safe(&error.what))?;
            return Ok(ExitCode::from(REJECTED));
        }
    };
    writeln!(
        talk,
        "{file}: good: policy {}, {} issuers, {} routes",
        safe(&config.policy_version),
        config.issuers.len(),
        config.routes.len()
    )?;
    let shown = if arguments.terraform {
        install::terraform(&config, &file)
    } else {
        install::commands(&config, &file)
    };
    std::io::stdout().lock().write_all(shown.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
