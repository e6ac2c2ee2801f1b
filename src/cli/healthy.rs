//! `throughline healthy`: a probe for containers, whose image has neither a shell nor an HTTP client.

use std::process::ExitCode;

use reqwest::Method;

use super::client::{Client, Server, block_on};
use super::doctor::any_certificate;
use crate::render::safe;

/// Exit code where the service says no, or nobody answers.
const UNWELL: u8 = 1;

/// What to ask, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Ask whether the process lives (/healthz) instead of whether it takes deliveries (/readyz)
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    server: Server,
}

/// Runs the subcommand: 0 yes, 1 no, with the reasons on stderr.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // No token is shown, and on loopback no certificate fits its name.
    let server = Server { url: arguments.server.url.clone(), token: None };
    let client = Client::trusting(&server, any_certificate(&[b"h2", b"http/1.1"])?)?;
    let path = if arguments.live { "healthz" } else { "readyz" };
    let asked = block_on(async { client.send(client.request(Method::GET, &[path])?).await });
    let why = match asked {
        Ok(reply) if reply.status.is_success() => return Ok(ExitCode::SUCCESS),
        Ok(reply) => anyhow::anyhow!("{}", safe(String::from_utf8_lossy(&reply.body).trim())),
        Err(error) => error,
    };
    super::complain(&why);
    Ok(ExitCode::from(UNWELL))
}
