//! `throughline search`: hop events by what they say.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::client::{Client, Server, block_on, is_broken_pipe};
use crate::api::answer::EventsAnswer;
use crate::render::{self, Colour, Screen, Table};

/// Events asked for at once; more are read page by page.
const PAGE: u32 = 500;

/// Events shown where --limit does not say.
const DEFAULT_LIMIT: u32 = 100;

/// What the events must say; every option narrows.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Filters {
    /// Status class or status: 5xx, 503; 0 for no response
    #[arg(long, value_parser = status)]
    status: Option<String>,
    /// edge, shield, gateway, sidecar, …
    #[arg(long, value_parser = hop)]
    hop: Option<String>,
    /// inbound or outbound
    #[arg(long, value_parser = direction)]
    direction: Option<String>,
    /// Service name
    #[arg(long)]
    service: Option<String>,
    /// Authority that the client asked for
    #[arg(long)]
    host: Option<String>,
    /// Beginning of the path
    #[arg(long, value_name = "PATH")]
    path_prefix: Option<String>,
    /// Fastly POP, such as FRA
    #[arg(long)]
    pop: Option<String>,
    /// Client country
    #[arg(long)]
    country: Option<String>,
    /// Client address
    #[arg(long, value_name = "ADDRESS")]
    client: Option<std::net::IpAddr>,
    /// Pseudonym of who asked
    #[arg(long)]
    subject: Option<String>,
    /// Why a policy point decided
    #[arg(long, value_name = "REASON")]
    verdict_reason: Option<String>,
    /// One of Envoy's response flags, such as UF
    #[arg(long)]
    flag: Option<String>,
    /// Least duration: 250ms, 1.5s
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    min_duration: Option<Duration>,
}

impl Filters {
    /// The filters as the API's query parameters.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let min_duration_ms = self.min_duration.map(|least| (least.as_secs_f64() * 1e3).to_string());
        [
            ("status", self.status.clone()),
            ("hop", self.hop.clone()),
            ("direction", self.direction.clone()),
            ("service", self.service.clone()),
            ("host", self.host.clone()),
            ("path_prefix", self.path_prefix.clone()),
            ("pop", self.pop.as_ref().map(|pop| pop.to_uppercase())),
            ("country", self.country.as_ref().map(|country| country.to_lowercase())),
            ("client", self.client.map(|address| address.to_string())),
            ("subject", self.subject.clone()),
            ("verdict_reason", self.verdict_reason.clone()),
            ("flag", self.flag.as_ref().map(|flag| flag.to_uppercase())),
            ("min_duration_ms", min_duration_ms),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect()
    }
}

/// Find hop events.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    filters: Filters,
    /// Started at or after: 2026-11-21T12:00:00Z, '2026-11-21 12:00' (UTC), or unix seconds
    #[arg(long, value_parser = time, value_name = "TIME", conflicts_with = "since")]
    from: Option<Timestamp>,
    /// Started before
    #[arg(long, value_parser = time, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Started within the last: 15m, 2h, 1d
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    since: Option<Duration>,
    /// Most events to show
    #[arg(long, default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    limit: u32,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
    #[command(flatten)]
    server: Server,
}

impl Arguments {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = self.filters.query();
        let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
        add("from", self.from.map(|time| time.to_string()));
        add("to", self.to.map(|time| time.to_string()));
        add("since", self.since.map(|length| format!("{}s", length.as_secs().max(1))));
        query
    }
}

/// Runs the subcommand: 0 found, 1 nothing found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.server)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let screen = Screen::of_stdout(arguments.color);
    match block_on(search(&client, &arguments, screen, &mut out)) {
        Ok(0) => {
            writeln!(std::io::stderr().lock(), "no event matches")?;
            Ok(ExitCode::from(1))
        }
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

/// Reads and shows page by page until the limit; how many were shown.
async fn search(
    client: &Client,
    arguments: &Arguments,
    screen: Screen,
    out: &mut dyn Write,
) -> anyhow::Result<u32> {
    let mut table = Table::new(screen);
    let (mut shown, mut after): (u32, Option<String>) = (0, None);
    loop {
        let mut query = arguments.query();
        query.push(("limit", (arguments.limit - shown).min(PAGE).to_string()));
        query.extend(after.take().map(|cursor| ("after", cursor)));
        let page: EventsAnswer = client.read(&["api", "v1", "events"], &query).await?;
        let is_empty = page.events.is_empty();
        for event in page.events.iter().take((arguments.limit - shown) as usize) {
            if arguments.json {
                render::json_line(out, event)?;
            } else {
                table.row(out, event)?;
            }
            shown += 1;
        }
        out.flush()?;
        after = page.next;
        // A cursor beside no events would have us ask for ever.
        if shown >= arguments.limit || is_empty || after.is_none() {
            return Ok(shown);
        }
    }
}

fn status(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let is_class =
        bytes.len() == 3 && (b'1'..=b'5').contains(&bytes[0]) && bytes[1..].eq_ignore_ascii_case(b"xx");
    let is_status = text.parse::<u16>().is_ok_and(|status| status == 0 || (100..1000).contains(&status));
    if is_class || is_status {
        Ok(text.to_lowercase())
    } else {
        Err("neither a class such as 5xx nor a status such as 503".to_owned())
    }
}

fn hop(text: &str) -> Result<String, String> {
    event::Hop::from_name(text).map(|hop| hop.name().to_owned()).ok_or_else(|| {
        let names: Vec<&str> = event::Hop::ALL.iter().map(|hop| hop.name()).collect();
        format!("no hop; one of {}", names.join(", "))
    })
}

fn direction(text: &str) -> Result<String, String> {
    let known = event::Direction::from_name(text).map(|direction| direction.name().to_owned());
    known.ok_or_else(|| "one of inbound, outbound, unknown".to_owned())
}

/// `250ms`, `1.5s`, `15m`, `2h`, `1d`: a number and a unit, or several of them.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "no duration such as 250ms, 1.5s, 15m, 2h or 1d".to_owned();
    // Days are 24 hours here, as everywhere in the service.
    let parsed = match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) => SignedDuration::from_hours(i64::from(days) * 24),
        _ => text.parse::<SignedDuration>().map_err(|_| wrong())?,
    };
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// RFC 3339, or a date with or without a time (UTC), or unix seconds.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let read = || -> anyhow::Result<Timestamp> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(time);
        }
        if let Ok(seconds) = text.parse::<i64>() {
            return Timestamp::from_second(seconds).context("out of range");
        }
        let civil: DateTime = text.parse()?;
        Ok(civil.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp())
    };
    read().map_err(|_| "no time such as 2026-11-21T12:00:00Z, '2026-11-21 12:00' or unix seconds".to_owned())
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
