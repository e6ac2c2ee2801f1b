//! `throughline doctor`: asks a running service how it does, and says what is not as it should be: what, where, what to
//! do. One file a group of checks; a check is a function from what the service answered to findings.

mod books;
mod challenge;
mod clocks;
mod disk;
mod finding;
mod given;
mod ids;
mod ports;
mod probe;
mod requests;
mod senders;
mod service;
mod sources;
mod store;
mod tls;
mod tokens;
mod unsupported;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::client::{Client, Server, block_on, is_broken_pipe};
use crate::accept::unix_ns;
use crate::api::answer::{CoverageAnswer, LedgerAnswer, ServiceAnswer, SourcesAnswer};
use crate::render::{self, safe};
use finding::{Finding, Level, Report};
use given::{Given, Senders};
use probe::Prober;
use tls::Trust;
pub(super) use tls::any_certificate;
use unsupported::{Refused, RefusedPage};

/// Exit code where something was found.
const FOUND: u8 = 1;
/// Newest rejects that are looked through for senders that are not supported.
const REJECTS: &str = "200";

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
    #[command(flatten)]
    senders: Senders,
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
    /// What the instance says of itself; a service of an older version says nothing.
    service: Option<ServiceAnswer>,
    /// Who sends with which ids, and how whole requests are.
    coverage: Option<CoverageAnswer>,
    /// The newest rejects.
    rejects: Vec<Refused>,
}

/// Runs the subcommand: 0 all well, 1 something was found; 2 (an error) nobody could be asked.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // Whoever else installs the same provider does no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let given = Given::new(&arguments.server.url, &arguments.senders)?;
    let trust = Trust::new(arguments.senders.ca_file.as_deref())?;
    let report = block_on(async {
        if let Some(report) = distrusted(&given, &trust).await {
            return Ok(report);
        }
        // Its certificate was judged by ourselves, just now.
        let client = Client::trusting(&arguments.server, any_certificate(&[b"h2", b"http/1.1"])?)?;
        examine(&client, &given, &trust, &arguments.since).await
    })?;
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

async fn examine(client: &Client, given: &Given, trust: &Trust, since: &str) -> anyhow::Result<Report> {
    let mut asked = Asked::default();
    let (is_ready, ready_text) = plain(client, "readyz").await?;
    asked.metrics = plain(client, "metrics").await?.1;
    asked.is_ready = is_ready;
    asked.reasons =
        ready_text.lines().filter_map(|line| line.strip_prefix("- ")).map(str::to_owned).collect();
    asked.service = optional(client, &["api", "v1", "service"], &[]).await?;

    let mut findings = service::check(&asked);
    findings.extend(way(given, trust, asked.service.as_ref()).await?);
    let window = [("since", since.to_owned())];
    let reply = client.send(client.request(Method::GET, &["api", "v1", "ledger"])?.query(&window)).await?;
    // While the store is away there is still something to say; any other refusal is for whoever asks.
    if reply.is_busy() {
        findings.push(Finding::problem(
            "store",
            format!("the store cannot be asked: {}", client.refusal(&reply)),
            "deliveries are accepted all the same and wait in the spool; look at the service's log, then ask again",
        ));
        return Ok(Report::new(given.url.as_str(), None, findings));
    }
    anyhow::ensure!(reply.status.is_success(), client.refusal(&reply));
    asked.ledger = serde_json::from_slice(&reply.body)
        .with_context(|| format!("{} answers, but is not of this version", given.url))?;
    asked.sources = client.read(&["api", "v1", "sources"], &[]).await?;
    asked.coverage = optional(client, &["api", "v1", "coverage"], &window).await?;
    let newest = [("limit", REJECTS.to_owned())];
    let page: Option<RefusedPage> = optional(client, &["api", "v1", "rejects"], &newest).await?;
    asked.rejects = page.unwrap_or_default().rejects;

    findings.extend(asked.service.iter().flat_map(store::check));
    findings.extend(books::check(&asked));
    findings.extend(sources::check(&asked));
    findings.extend(senders::check(&asked));
    findings.extend(clocks::check(&asked));
    if let Some(coverage) = &asked.coverage {
        findings.extend(ids::check(coverage));
        findings.extend(requests::check(coverage));
        findings.extend(unsupported::check(coverage, &asked.rejects));
    }
    let window = (asked.ledger.since.clone(), asked.ledger.until.clone());
    Ok(Report::new(given.url.as_str(), Some(window), findings))
}

/// The way to the service as its senders go it: ports, certificates, challenge, tokens, disk.
async fn way(given: &Given, trust: &Trust, service: Option<&ServiceAnswer>) -> anyhow::Result<Vec<Finding>> {
    let Some(service) = service else {
        let what = "does not say what it is: it is of an older version, or another program";
        let advice =
            "ports, tokens, disk and schema are not looked at; use the command of the service's version";
        return Ok(vec![Finding::note("service", what, advice)]);
    };
    let reached = probe::reach(ports::to_ask(given, service)).await;
    let mut findings = ports::check(given, service, &reached);
    let now_s = now_s();
    let mut may_show = true;
    for shown in probe::look(probe::certificates(given, Some(service))).await {
        let judged = tls::check(&shown, trust, given.is_local(), now_s);
        may_show &= judged.iter().all(|finding| finding.level != Level::Problem);
        findings.extend(judged);
    }
    let grpc_tls = given.grpc.as_ref().map_or(service.grpc.tls, |url| url.scheme() == "https");
    let prober = Prober::new(grpc_tls)?;
    if service.sources.iter().any(|source| source.kind == "fastly") {
        findings.extend(challenge::check(given, service, &prober.challenge(&given.public_url).await));
    }
    let may_show = may_show || given.may_show_anyway();
    findings.extend(tokens::check(given, service, &prober.tokens(given, service, may_show).await));
    findings.extend(disk::check(&service.disk));
    findings.extend(clocks::own(&service.now, now_s));
    Ok(findings)
}

/// What is said of a service whose certificate cannot be trusted, where it may not be shown the token.
async fn distrusted(given: &Given, trust: &Trust) -> Option<Report> {
    if given.may_show_anyway() {
        return None;
    }
    let shown = probe::look(probe::certificates(given, None)).await;
    let mut findings: Vec<Finding> =
        shown.iter().flat_map(|shown| tls::check(shown, trust, given.is_local(), now_s())).collect();
    if findings.iter().all(|finding| finding.level != Level::Problem) {
        return None;
    }
    let what = "nothing else was asked: the token is not shown to a service that cannot prove who it is";
    findings.push(Finding::note(
        "service",
        what,
        "mend the certificate, or pass --any-certificate if you know better",
    ));
    Some(Report::new(given.url.as_str(), None, findings))
}

fn now_s() -> u64 {
    (unix_ns() / 1_000_000_000).unsigned_abs()
}

/// An answer of a service that may be older than this command.
async fn optional<T: DeserializeOwned>(
    client: &Client,
    path: &[&str],
    query: &[(&str, String)],
) -> anyhow::Result<Option<T>> {
    let reply = client.send(client.request(Method::GET, path)?.query(query)).await?;
    Ok(reply.status.is_success().then(|| serde_json::from_slice(&reply.body).ok()).flatten())
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
        writeln!(out, "{:<8} {:<9} {}", finding.level.name(), finding.check, safe(&finding.what))?;
        if !finding.advice.is_empty() {
            writeln!(out, "{:18} -> {}", "", safe(&finding.advice))?;
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
#[cfg(test)]
mod way_tests;
