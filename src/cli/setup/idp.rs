//! `throughline setup idp ISSUER`: what a provider says of itself, held against what the edge will ask of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode};

use super::{REJECTED, read_stdin, rest};
use crate::cli::client::block_on;
use crate::render::safe;

mod look;
mod trial;

/// What the edge reads of a key set. Discovery documents have some 3 KB, key sets with certificates up to 64.
const DOCUMENT_MOST_BYTES: usize = edge::MAX_FETCH_BYTES;
const FETCH_LIMIT: Duration = Duration::from_secs(10);

/// Look at an identity provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The issuer, exactly as `iss` in its tokens, to the last slash
    issuer: String,
    /// Name for the issuer's block
    #[arg(long, default_value = "idp")]
    name: String,
    /// Static backend through which the edge will fetch the keys
    #[arg(long, default_value = "idp")]
    backend: String,
    /// Audience (`aud`) that its tokens must have; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// Client that its tokens must be for, which Cognito needs; may be given several times
    #[arg(long = "client-id", value_name = "ID")]
    client_ids: Vec<String>,
    /// Read a token from standard input and say whether the edge would take it
    #[arg(long)]
    token: bool,
    /// PEM file with certificates to trust beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What a URL gave.
#[derive(Debug)]
enum Answer {
    Document(Vec<u8>),
    /// An answer that the edge would make nothing of, as a sentence.
    Unfit(String),
}

/// Runs the subcommand: 0 the provider (and the token) will do, 1 not.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let http = client(arguments)?;
    let found = look::look_at(arguments, |url| block_on(fetch(&http, url)))?;
    let mut talk = std::io::stderr().lock();
    for note in &found.notes {
        writeln!(talk, "ok    {}", safe(note))?;
    }
    for problem in &found.problems {
        writeln!(talk, "FAIL  {}", safe(problem))?;
    }
    let mut is_good = found.problems.is_empty();
    if let Some(block) = found.block.as_ref().filter(|_| is_good) {
        writeln!(std::io::stdout().lock(), "{block:#}")?;
    }
    if arguments.token {
        let token = read_stdin()?;
        match trial::verdict(found.block.as_ref(), found.keys, &token) {
            Ok(sentence) => writeln!(talk, "ok    {}", safe(&sentence))?,
            Err(sentence) => {
                is_good = false;
                writeln!(talk, "FAIL  {}", safe(&sentence))?;
            }
        }
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(REJECTED) })
}

fn client(arguments: &Arguments) -> anyhow::Result<reqwest::Client> {
    // Someone else in the process may have installed the same provider; which of the two wins makes no difference.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FETCH_LIMIT)
        .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = &arguments.ca_file {
        builder = builder.tls_certs_merge(rest::roots(file)?);
    }
    builder.build().context("cannot prepare the HTTP client")
}

async fn fetch(http: &reqwest::Client, url: &str) -> anyhow::Result<Answer> {
    let failed = || {
        format!(
            "cannot fetch {url}: is the issuer right and reachable from here? for a private CA give --ca-file"
        )
    };
    let mut response = http.get(url).send().await.with_context(failed)?;
    if response.status() != StatusCode::OK {
        return Ok(Answer::Unfit(other_than_ok(url, &response)));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.with_context(failed)? {
        if body.len() + chunk.len() > DOCUMENT_MOST_BYTES {
            return Ok(Answer::Unfit(format!(
                "{url} has more than {DOCUMENT_MOST_BYTES} bytes, which is all that the edge reads"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer::Document(body))
}

fn other_than_ok(url: &str, response: &Response) -> String {
    let status = response.status();
    match response.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes())) {
        Some(there) if status.is_redirection() => {
            format!("{url} answers {status} and sends on to {there}; the edge follows no redirect")
        }
        _ => format!("{url} answers {status}; the edge needs 200"),
    }
}

#[cfg(test)]
mod tests;
