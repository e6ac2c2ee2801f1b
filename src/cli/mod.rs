//! The command line: one file a subcommand. Data goes to stdout, talk to stderr.
//!
//! Exit codes by contract: 0 done or found, 1 not found or something rejected, 2 an error.

mod backup;
mod client;
mod codec;
mod completions;
mod doctor;
mod engine;
mod erase;
pub(crate) mod explain;
mod healthy;
mod import;
mod search;
mod serve;
mod setup;
mod spool;
mod tail;
mod token;
mod trace;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Joins Fastly and Istio access logs into one trace per request.
#[derive(Debug, Parser)]
#[command(name = "throughline", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive logs, store them, answer queries
    Serve(Box<serve::Arguments>),
    /// Read log files and say what they tell, offline: no service, no store
    Explain(explain::Arguments),
    /// Host the embedded ClickHouse engine behind its HTTP interface
    Engine(engine::Arguments),
    /// Send log files to a running service
    Import(import::Arguments),
    /// Set up what sends, checks and shows: check it, print how, or do it on request
    Setup(setup::Arguments),
    /// Show the path of one request, by any of its ids
    Trace(trace::Arguments),
    /// Find hop events by what they say
    Search(search::Arguments),
    /// Follow hop events as they arrive
    Tail(tail::Arguments),
    /// Say what is wrong with a running service, its sources and its books
    Doctor(doctor::Arguments),
    /// Say by the exit code whether a service is ready: a probe for containers
    Healthy(healthy::Arguments),
    /// Make a token for a source or a reader, and its hash
    Token(token::Arguments),
    /// Back up a running service: its tables, and what waits in its spool
    Backup(backup::Arguments),
    /// Put a backup into a new data directory
    Restore(backup::RestoreArguments),
    /// List the segments of a spool: what waits, how old, what is damaged
    Spool(spool::Arguments),
    /// Erase what is held of one person, with a receipt
    Erase(erase::Arguments),
    /// Prove on this machine that nothing acknowledged is lost, through kills and other faults
    Verify(verify::Arguments),
    /// Print the completions of a shell
    Completions(completions::Arguments),
}

/// Runs a subcommand to its exit code.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Engine(arguments) => engine::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Setup(arguments) => setup::run(arguments),
        Command::Trace(arguments) => trace::run(arguments),
        Command::Search(arguments) => search::run(arguments),
        Command::Tail(arguments) => tail::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Healthy(arguments) => healthy::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Backup(arguments) => backup::run(arguments),
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Spool(arguments) => spool::run(&arguments),
        Command::Erase(arguments) => erase::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// Writes an error with its causes for the person at the keyboard.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(stderr, "throughline: {error:#}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
