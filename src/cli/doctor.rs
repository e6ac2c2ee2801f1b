//! `throughline doctor`: asks a running service how it does, and says what is not as it should be: what, where, what to
//! do. One file a group of checks; a check is a function from what the service answered to findings.

mod books;
mod clocks;
mod finding;
mod senders;
mod service;
mod sources;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use reqwest::Method;

use super::client::{Client, Server, block_on, is_broken_pipe};
use crate::api::answer::{LedgerAnswer, SourcesAnswer};
use crate::render::{self, safe};
use finding::{Finding, Level, Report};

/// Exit code where something was found.
const FOUND: u8 = 1;

/// Say what is wrong with a running service, its sources and its books.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How far back to look, such as `15m`, `1h` or `7d`
    #[arg(long, default_value = "1h", value_name = "TIME")]
    since: String,
    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// What the service answered; the checks rest on this and nothing else.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Whether `/readyz` says yes, and its reasons.
    is_ready: bool,
    reasons: Vec<String>,
    /// `/metrics` as text.
    metrics: String,
    /// What each source brought in the last seven days.
    sources: SourcesAnswer,
    ledger: LedgerAnswer,
}

/// Runs the subcommand: 0 all well, 1 something was found; 2 (an error) nobody could be asked.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.server)?;
    let report = block_on(examine(&client, &arguments))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let shown = if arguments.json {
        render::json_line(&mut out, &report).map_err(Into::into)
    } else {
        show(&mut out, &report)
    };
    match shown.and_then(|()| Ok(out.flush()?)) {
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ if report.well => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::from(FOUND)),
    }
}

async fn examine(client: &Client, arguments: &Arguments) -> anyhow::Result<Report> {
    let (is_ready, ready_text) = plain(client, "readyz").await?;
    let (_, metrics) = plain(client, "metrics").await?;
    let mut asked = Asked {
        is_ready,
        reasons: ready_text.lines().filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect(),
        metrics,
        ..Asked::default()
    };
    let mut findings = service::check(&asked);
    let since = [("since", arguments.since.clone())];
    let reply = client.send(client.request(Method::GET, &["api", "v1", "ledger"])?.query(&since)).await?;
    // While the store is away there is still something to say; any other refusal is for whoever asks.
    if reply.is_busy() {
        findings.push(Finding::problem(
            "store",
            format!("the store cannot be asked: {}", client.refusal(&reply)),
            "deliveries are accepted all the same and wait in the spool; look at the service's log, then ask again",
        ));
        return Ok(Report::new(&arguments.server.url, None, findings));
    }
    anyhow::ensure!(reply.status.is_success(), client.refusal(&reply));
    asked.ledger = serde_json::from_slice(&reply.body)
        .with_context(|| format!("{} answers, but is not of this version", arguments.server.url))?;
    asked.sources = client.read(&["api", "v1", "sources"], &[]).await?;
    findings.extend(books::check(&asked));
    findings.extend(sources::check(&asked));
    findings.extend(senders::check(&asked));
    findings.extend(clocks::check(&asked));
    let window = (asked.ledger.since.clone(), asked.ledger.until.clone());
    Ok(Report::new(&arguments.server.url, Some(window), findings))
}

/// Whether a page is there, and its text. It needs no token.
async fn plain(client: &Client, path: &str) -> anyhow::Result<(bool, String)> {
    let reply = client.send(client.request(Method::GET, &[path])?).await?;
    anyhow::ensure!(reply.status.is_success() || reply.is_busy(), client.refusal(&reply));
    Ok((reply.status.is_success(), String::from_utf8_lossy(&reply.body).into_owned()))
}

fn show(out: &mut dyn Write, report: &Report) -> anyhow::Result<()> {
    match (&report.since, &report.until) {
        (Some(since), Some(until)) => {
            writeln!(out, "{}, {} to {}", safe(&report.url), second(since), second(until))?;
        }
        _ => writeln!(out, "{}", safe(&report.url))?,
    }
    for finding in &report.findings {
        writeln!(out, "{:<8} {:<8} {}", finding.level.name(), finding.check, safe(&finding.what))?;
        if !finding.advice.is_empty() {
            writeln!(out, "{:17} -> {}", "", safe(&finding.advice))?;
        }
    }
    let problems = report.findings.iter().filter(|finding| finding.level == Level::Problem).count();
    match problems {
        0 => writeln!(out, "all well")?,
        1 => writeln!(out, "1 problem")?,
        many => writeln!(out, "{many} problems")?,
    }
    Ok(())
}

/// A time without its fractions.
fn second(time: &str) -> std::borrow::Cow<'_, str> {
    safe(time.get(..19).unwrap_or(time))
}

#[cfg(test)]
mod tests;
