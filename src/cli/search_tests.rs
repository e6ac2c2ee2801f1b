//! Tests of [`super`]: what the options mean, and that pages end.

use axum::extract::Query;
use clap::Parser;

use super::*;
use crate::api::answer::EventAnswer;
use crate::cli::client::tests::answering;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
    Line::try_parse_from(["search"].iter().chain(words)).map(|line| line.arguments)
}

#[test]
fn options_become_query_parameters() {
    let arguments = parse(&[
        "--status",
        "5XX",
        "--hop",
        "sidecar",
        "--pop",
        "fra",
        "--country",
        "DE",
        "--client",
        "::1",
        "--flag",
        "uf",
        "--min-duration",
        "250ms",
        "--path-prefix",
        "/a b",
        "--from",
        "2026-11-21T12:00:00Z",
        "--to",
        "1795262400",
    ]);
    let query = arguments.unwrap().query();
    let expected = [
        ("status", "5xx"),
        ("hop", "sidecar"),
        ("path_prefix", "/a b"),
        ("pop", "FRA"),
        ("country", "de"),
        ("client", "::1"),
        ("flag", "UF"),
        ("min_duration_ms", "250"),
        ("from", "2026-11-21T12:00:00Z"),
        ("to", "2026-11-21T12:00:00Z"),
    ];
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(query, expected);
}

#[test]
fn since_is_sent_in_seconds_and_excludes_from() {
    assert_eq!(parse(&["--since", "15m"]).unwrap().query(), [("since", "900s".to_owned())]);
    assert_eq!(parse(&["--since", "1d"]).unwrap().query(), [("since", "86400s".to_owned())]);
    assert!(parse(&["--since", "15m", "--from", "2026-11-21"]).is_err());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_asked() {
    for words in [
        ["--status", "6xx"],
        ["--status", "99"],
        ["--hop", "moon"],
        ["--direction", "up"],
        ["--client", "localhost"],
        ["--min-duration", "-5s"],
        ["--min-duration", "fast"],
        ["--from", "yesterday"],
        ["--limit", "0"],
    ] {
        assert!(parse(&words).is_err(), "{words:?}");
    }
}

#[test]
fn durations_and_times_are_read_in_their_usual_forms() {
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
    let noon = Timestamp::from_second(1_795_262_400).unwrap();
    for text in ["2026-11-21T12:00:00Z", "2026-11-21T13:00:00+01:00", "2026-11-21 12:00", "1795262400"] {
        assert_eq!(time(text), Ok(noon), "{text}");
    }
}

/// Serves events 1 to 12, at most five a page, by a cursor that is the last number given.
async fn paged(Query(query): Query<std::collections::BTreeMap<String, String>>) -> axum::Json<EventsAnswer> {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let first = number("after").unwrap_or(0) + 1;
    let last = (first - 1 + number("limit").unwrap_or(0).min(5)).min(12);
    let event = |number: u64| serde_json::from_value::<EventAnswer>(serde_json::json!({"status": number}));
    let events = (first..=last).map(|number| event(number).unwrap()).collect();
    axum::Json(EventsAnswer { events, next: (last < 12).then(|| last.to_string()) })
}

async fn found(words: &[&str]) -> (u32, String) {
    let client = answering(axum::Router::new().route("/api/v1/events", axum::routing::get(paged))).await;
    let mut out = Vec::new();
    let screen = Screen { columns: 80, coloured: false };
    let shown = search(&client, &parse(words).unwrap(), screen, &mut out).await.unwrap();
    (shown, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn pages_are_read_up_to_the_limit() {
    let (shown, out) = found(&["--json", "--limit", "7"]).await;
    assert_eq!(shown, 7);
    assert_eq!(out.lines().last(), Some(r#"{"status":7}"#));
    assert_eq!(found(&["--json"]).await.0, 12);
}

#[tokio::test]
async fn the_table_has_a_header_and_a_line_for_every_event() {
    let (_, out) = found(&["--limit", "3"]).await;
    assert_eq!(out.lines().count(), 4);
    assert!(out.starts_with("TIME"));
}
