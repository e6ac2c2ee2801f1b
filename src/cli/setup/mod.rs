//! `throughline setup`: what stands at the edge, checked before it is installed. Nothing here changes a service; it prints.
//!
//! The rules are those of the edge service itself: its own parser and verifier are linked in.

mod edge;
mod idp;
mod install;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

/// Exit code for something that was refused.
const REJECTED: u8 = 1;
/// Far above what a config store takes (8000 characters) and what any token has.
const INPUT_MOST_BYTES: u64 = 1 << 20;

/// Check the edge's configuration and print how to install it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check a configuration item of the edge service and print the commands, or the Terraform, that install it
    Edge(edge::Arguments),
    /// Look at an identity provider and print the issuer block for it; with --token, test one of its tokens
    Idp(idp::Arguments),
}

/// Runs the subcommand: 0 all well, 1 something was refused.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.what {
        What::Edge(arguments) => edge::run(&arguments),
        What::Idp(arguments) => idp::run(&arguments),
    }
}

fn read_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(INPUT_MOST_BYTES)
        .read_to_string(&mut text)
        .context("read standard input")?;
    Ok(text)
}
