//! `throughline setup edge FILE`: the edge's configuration item, read as the edge reads it, and the way to install it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use ::edge::Config;
use ::edge::config::MAX_ITEM_CHARS;
use anyhow::{Context as _, bail};

use super::install::{self, Plan};
use super::{REJECTED, read, review};
use crate::render::safe;

/// Check a configuration item.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The item, JSON; - for standard input
    file: PathBuf,
    /// Print Terraform instead of commands
    #[arg(long)]
    terraform: bool,
    /// Backend to which the edge shows a client certificate; may be given several times
    #[arg(long, value_name = "BACKEND")]
    mtls: Vec<String>,
}

/// Runs the subcommand: 0 the item is good, 1 it is not.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let text = read(&arguments.file)?;
    let file = match arguments.file.to_str() {
        Some("-") => "edge.json",
        Some(file) => file,
        None => {
            bail!("{}: rename the file; what is printed cannot name it", arguments.file.display())
        }
    };
    let mut talk = std::io::stderr().lock();
    let config = match Config::parse(&text) {
        Ok(config) => config,
        Err(error) => {
            // What the reader says of a place that it cannot tell.
            let at = if ["", ".", "?"].contains(&error.at.as_str()) { "the item" } else { &error.at };
            writeln!(talk, "FAIL  {}: {}: {}", safe(file), safe(at), safe(&error.what))?;
            if let Some(hint) = review::shorter(&text) {
                writeln!(talk, "      {hint}")?;
            }
            return Ok(ExitCode::from(REJECTED));
        }
    };
    let problems = review::problems(&config);
    for problem in &problems {
        writeln!(talk, "FAIL  {}: {}", safe(file), safe(problem))?;
    }
    if !problems.is_empty() {
        return Ok(ExitCode::from(REJECTED));
    }
    let plan = Plan::new(&config, file, &arguments.mtls).context("--mtls")?;
    writeln!(
        talk,
        "ok    {}: policy_version {}: {} of {MAX_ITEM_CHARS} characters, issuers: {}, routes: {}",
        safe(file),
        safe(&config.policy_version),
        text.chars().count(),
        config.issuers.len(),
        config.routes.len()
    )?;
    for secret in &plan.secrets {
        writeln!(talk, "need  secret {}: {}", safe(secret.name), safe(&secret.what))?;
    }
    for warning in review::warnings(&config, &text) {
        writeln!(talk, "warn  {}", safe(&warning))?;
    }
    let shown = if arguments.terraform { install::terraform(&plan) } else { install::commands(&plan) };
    std::io::stdout().lock().write_all(shown.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
