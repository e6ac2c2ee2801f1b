//! `throughline erase`: everything of one person, counted, or with `--yes` deleted; prints the receipt.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use jiff::Timestamp;
use reqwest::Method;

use super::client::{Client, Server, block_on};
use super::search::time;
use crate::api::erase::EraseQuery;
use crate::erase::{Kind, Receipt, State};
use crate::render::safe;

/// How long `--yes` waits for the end: the store takes half a minute to remove old parts.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_secs(1);
/// Exit code where nothing was found, or where the erasure is not done yet.
const NOT_DONE: u8 = 1;

/// Erase what is held of one person, with a receipt.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("who").required(true).args(["subject", "pseudonym", "client", "id"])))]
pub(crate) struct Arguments {
    /// Who asked, in plain: hashed by the service with its key; texts are searched, too
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Who asked, as the stored pseudonym
    #[arg(long, value_name = "HEX")]
    pseudonym: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    client: Option<std::net::IpAddr>,
    /// Correlation, request, edge request or trace id
    #[arg(long)]
    id: Option<String>,
    /// Only what was received at or after: 2026-11-21T12:00:00Z, '2026-11-21 12:00' (UTC), or unix seconds
    #[arg(long, value_parser = time, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only what was received until
    #[arg(long, value_parser = time, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only by the record's own fields, not where the value stands in a text
    #[arg(long)]
    exact: bool,
    /// Delete every original of a damaged segment, too
    #[arg(long)]
    delete_corrupt: bool,
    /// Delete; without it, what would be deleted is counted
    #[arg(long)]
    yes: bool,
    /// Print the receipt as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Arguments {
    fn query(&self) -> EraseQuery {
        let client = self.client.map(|address| address.to_string());
        let (kind, value) = match (&self.subject, &self.pseudonym, client, &self.id) {
            (Some(name), ..) => (Kind::Subject, name.clone()),
            (_, Some(hex), ..) => (Kind::Pseudonym, hex.clone()),
            (_, _, Some(address), _) => (Kind::Client, address),
            (.., id) => (Kind::Id, id.clone().unwrap_or_default()),
        };
        EraseQuery {
            kind,
            value,
            from: self.from.map(|time| time.to_string()),
            to: self.to.map(|time| time.to_string()),
            exact: self.exact,
            delete_corrupt: self.delete_corrupt,
            confirm: self.yes,
        }
    }
}

/// Runs the subcommand: 0 done (or something was found), 1 not done yet (or nothing was found).
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.server)?;
    let receipt = block_on(ask(&client, &arguments.query()))?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&receipt)?)?;
    } else {
        write!(out, "{}", told(&receipt))?;
    }
    let found = receipt.places.iter().any(|place| place.before > 0);
    let good = match receipt.state {
        State::Done => true,
        State::DryRun => found,
        State::Pending => false,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(NOT_DONE) })
}

async fn ask(client: &Client, query: &EraseQuery) -> anyhow::Result<Receipt> {
    let request = client.request(Method::POST, &["api", "v1", "erase"])?.json(query);
    let reply = client.send(request).await?;
    if !reply.status.is_success() {
        bail!(client.refusal(&reply));
    }
    let mut receipt: Receipt = serde_json::from_slice(&reply.body)?;
    let since = Instant::now();
    while receipt.state == State::Pending && since.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
        receipt = client.read(&["api", "v1", "erasures", &receipt.id], &[]).await?;
    }
    Ok(receipt)
}

fn told(receipt: &Receipt) -> String {
    let mut lines = vec![format!(
        "{} {} in tenant {}, received until {}",
        match receipt.state {
            State::DryRun => "would be erased (nothing was deleted; --yes does it):",
            State::Pending => "noted, and not done yet:",
            State::Done => "erased:",
        },
        receipt.id,
        safe(&receipt.tenant),
        receipt.until
    )];
    for place in &receipt.places {
        let left = place.after.map_or_else(String::new, |after| format!(", {after} left"));
        lines.push(format!("  {:<10} {}{left}", safe(&place.place), place.before));
    }
    if receipt.exported.spans > 0 {
        lines.push(format!(
            "exported before: {} spans, trace ids {}",
            receipt.exported.spans,
            safe(&receipt.exported.trace_ids.join(" "))
        ));
    }
    lines.extend(receipt.waiting.iter().map(|line| format!("waits: {}", safe(line))));
    lines.push("not reached:".to_owned());
    lines.extend(receipt.out_of_reach.iter().map(|line| format!("  - {}", safe(line))));
    lines.join("\n") + "\n"
}
