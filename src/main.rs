//! The `throughline` binary: arguments, subcommand, exit code.

mod accept;
mod access;
mod adopt;
mod api;
mod backup;
mod books;
mod cli;
mod config;
mod correlate;
mod descriptors;
mod drain;
mod erase;
mod export;
mod ingest;
mod link;
mod made_once;
mod metrics;
mod render;
mod reported;
mod service;
mod ship;
mod shutdown;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // What the subcommands cannot answer themselves ends here, once: the chain of causes on stderr, exit code 2.
    match cli::run(cli::Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&error);
            ExitCode::from(2)
        }
    }
}
