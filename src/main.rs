//! The `throughline` binary: arguments, subcommand, exit code.

mod accept;
mod access;
mod api;
mod backup;
mod books;
mod cli;
mod config;
mod correlate;
mod erase;
mod export;
mod ingest;
mod link;
mod metrics;
mod page;
mod render;
mod service;
mod ship;
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
