//! `throughline tail`: hop events as they arrive, in the order they were received.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::client::{Client, Server, block_on, is_broken_pipe};
use super::search::Filters;
use crate::api::answer::EventsAnswer;
use crate::render::{self, Colour, Screen, Table};

/// How often the service is asked: quick to the eye, and two small queries a second cost the store little.
const POLL: Duration = Duration::from_millis(500);

/// Events of one poll. A page that is full is followed by the next one at once.
const PAGE: u32 = 500;

/// How far back the first poll looks, so that there is something to see.
const FIRST_SINCE: &str = "10s";

/// Follow hop events.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    filters: Filters,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Colour,
    #[command(flatten)]
    server: Server,
}

/// Runs the subcommand until Ctrl-C, which ends it with 0.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::new(&arguments.server)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut follower = Follower::new(&arguments, Screen::of_stdout(arguments.color));
    let ended = block_on(async {
        let follow = async {
            loop {
                if !follower.poll(&client, &mut out).await? {
                    tokio::time::sleep(POLL).await;
                }
            }
        };
        tokio::select! {
            ended = follow => ended,
            interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
        }
    });
    match ended {
        Err(error) if !is_broken_pipe(&error) => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Where the following stands.
struct Follower {
    query: Vec<(&'static str, String)>,
    json: bool,
    table: Table,
    cursor: Option<String>,
}

impl Follower {
    fn new(arguments: &Arguments, screen: Screen) -> Self {
        let mut query = arguments.filters.query();
        query.extend([("order", "oldest".to_owned()), ("limit", PAGE.to_string())]);
        Self { query, json: arguments.json, table: Table::new(screen), cursor: None }
    }

    /// Asks once and shows what is new; whether the page was full, so that more is waiting.
    async fn poll(&mut self, client: &Client, out: &mut dyn Write) -> anyhow::Result<bool> {
        let place = match &self.cursor {
            Some(cursor) => ("after", cursor.clone()),
            None => ("since", FIRST_SINCE.to_owned()),
        };
        let query: Vec<_> = self.query.iter().cloned().chain([place]).collect();
        let page: EventsAnswer = client.read(&["api", "v1", "events"], &query).await?;
        for event in &page.events {
            if self.json {
                render::json_line(out, event)?;
            } else {
                self.table.row(out, event)?;
            }
        }
        out.flush()?;
        // Without a new cursor the place stays: the next poll asks from there again.
        self.cursor = page.next.or(self.cursor.take());
        Ok(page.events.len() >= PAGE as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::extract::Query;

    use super::*;
    use crate::cli::client::tests::answering;

    /// Echoes the place that was asked for as an event; gives a cursor on the first two polls.
    async fn echo(Query(query): Query<BTreeMap<String, String>>) -> axum::Json<EventsAnswer> {
        let place = query.get("after").cloned();
        let next = match place.as_deref() {
            None => Some("1".to_owned()),
            Some("1") => Some("2".to_owned()),
            _ => None,
        };
        let event =
            serde_json::json!({"path": place, "method": query.get("order"), "host": query.get("since")});
        axum::Json(EventsAnswer { events: vec![serde_json::from_value(event).unwrap()], next })
    }

    #[tokio::test]
    async fn the_cursor_moves_on_and_stays_where_nothing_is_new() {
        let client = answering(axum::Router::new().route("/api/v1/events", axum::routing::get(echo))).await;
        let server = Server { url: String::new(), token: None };
        let arguments = Arguments { filters: Filters::default(), json: true, color: Colour::Never, server };
        let mut follower = Follower::new(&arguments, Screen { columns: 80, coloured: false });
        let mut out = Vec::new();
        for _ in 0..4 {
            assert!(!follower.poll(&client, &mut out).await.unwrap());
        }
        let out = String::from_utf8(out).unwrap();
        let paths: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let places: Vec<_> = paths.iter().map(|event| event["path"].clone()).collect();
        assert_eq!(places, [serde_json::Value::Null, "1".into(), "2".into(), "2".into()]);
        assert!(paths.iter().all(|event| event["method"] == "oldest"));
        assert_eq!(paths[0]["host"], "10s");
    }
}
