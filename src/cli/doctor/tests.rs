//! Checks against answers made by hand: what is well is said to be, and each trouble has its finding.

use axum::Json;
use axum::http::StatusCode;
use axum::routing::get;

use super::*;
use crate::api::answer::{ConfiguredSource, LedgerLine, ReasonCount, SenderAnswer, SourceAnswer};
use crate::cli::client::tests::answering;

fn line(source: &str) -> LedgerLine {
    LedgerLine {
        source: source.to_owned(),
        deliveries: 100,
        received: 1_000,
        accepted: 1_000,
        stored_events: 1_000,
        missing: Some(0),
        duplicated: Some(0),
        exported: Some(0),
        without_id: Some(0),
        clock_ahead: Some(0),
        time_guessed: Some(0),
        ..LedgerLine::default()
    }
}

fn asked(line: LedgerLine) -> Asked {
    let configured = ConfiguredSource { source: line.source.clone(), kind: "fastly".to_owned() };
    let metrics = "throughline_spool_used_bytes 10\nthroughline_spool_max_bytes 1000\n";
    Asked {
        is_ready: true,
        metrics: metrics.to_owned(),
        ledger: LedgerAnswer {
            balanced: line.missing.unwrap_or(0) == 0,
            compared: true,
            sums: vec![line],
            sources: vec![configured],
            ..LedgerAnswer::default()
        },
        ..Asked::default()
    }
}

fn findings(asked: &Asked) -> Vec<Finding> {
    let groups = [
        service::check(asked),
        books::check(asked),
        sources::check(asked),
        senders::check(asked),
        clocks::check(asked),
    ];
    groups.into_iter().flatten().collect()
}

/// The findings that are not `ok`, of which there must be one.
fn only(asked: &Asked) -> (Level, String) {
    let found: Vec<_> = findings(asked).into_iter().filter(|finding| finding.level != Level::Ok).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    let finding = found.into_iter().next().unwrap();
    (finding.level, format!("{} -> {}", finding.what, finding.advice))
}

#[test]
fn what_is_well_is_said_to_be() {
    let found = findings(&asked(line("cdn")));
    assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
    let checks: Vec<_> = found.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["service", "spool", "books", "sources"]);
}

#[test]
fn each_trouble_of_the_books_has_its_finding() {
    let one = |cause: &str, count: u64| [(cause.to_owned(), count)].into();
    let cases = [
        (
            LedgerLine { missing: Some(3), ..line("cdn") },
            Level::Problem,
            "cdn: 3 of 1000 records that were received",
        ),
        (
            LedgerLine { missing: Some(-3), ..line("cdn") },
            Level::Problem,
            "cdn: 3 rows are in the store and not",
        ),
        (
            LedgerLine { set_aside: 1, lost_records: 9, ..line("cdn") },
            Level::Problem,
            "at most 9 of their records",
        ),
        (LedgerLine { store_refused: 2, ..line("cdn") }, Level::Problem, "reason=store_refused"),
        (
            LedgerLine { unread: one("too_large", 4), ..line("cdn") },
            Level::Problem,
            "4 deliveries were not read",
        ),
        (LedgerLine { refused: one("busy", 1), ..line("cdn") }, Level::Problem, "limits.in_flight"),
        (LedgerLine { refused: one("stranger", 1), ..line("cdn") }, Level::Problem, "change the token"),
        (LedgerLine { refused: one("stopped", 90), ..line("cdn") }, Level::Note, "going down"),
        (LedgerLine { refused: one("spool_full", 1), ..line("cdn") }, Level::Problem, "spool.max_bytes"),
        (
            LedgerLine { rejected: 20, ..line("cdn") },
            Level::Problem,
            "20 of 1000 records (2.0%) could not be read",
        ),
        (LedgerLine { rejected: 2, ..line("cdn") }, Level::Note, "/api/v1/rejects?source=cdn"),
        (LedgerLine { without_id: Some(60), ..line("cdn") }, Level::Note, "throughline explain"),
        (
            LedgerLine { without_id: Some(600), ..line("cdn") },
            Level::Problem,
            "600 of 1000 events (60.0%) carry no id",
        ),
        (
            LedgerLine { duplicated: Some(50), ..line("cdn") },
            Level::Note,
            "50 of 1000 events (5.0%) had come before",
        ),
        (
            LedgerLine { clock_ahead: Some(50), ..line("cdn") },
            Level::Problem,
            "a clock or a time zone is wrong",
        ),
        (LedgerLine { time_guessed: Some(50), ..line("cdn") }, Level::Note, "UTC, or the time of receipt"),
    ];
    for (line, level, text) in cases {
        let found = only(&asked(line));
        assert!(found.0 == level && found.1.contains(text), "{text}: {found:?}");
    }
}

#[test]
fn what_senders_lost_is_told_and_what_is_on_its_way_is_not() {
    let with = |written, dropped, missing| {
        asked(LedgerLine { sender: Some(SenderAnswer { written, dropped, missing }), ..line("als") })
    };
    assert!(only(&with(1_010, 5, 10)).1.contains("dropped 5 records"));
    assert!(only(&with(2_000, 0, 1_000)).1.contains("1000 (50.0%) more than were received"));
    assert_eq!(only(&with(500, 0, -5_000)).0, Level::Note);
    assert!(findings(&with(500, 0, -500)).iter().all(|finding| finding.level == Level::Ok));
    assert!(findings(&with(1_010, 0, 9)).iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn a_source_that_fell_silent_is_told_from_one_that_never_sent() {
    let mut asked = asked(LedgerLine { received: 0, accepted: 0, stored_events: 0, ..line("cdn") });
    assert_eq!(only(&asked).0, Level::Note);
    let rejects = vec![ReasonCount { reason: "bad_json".to_owned(), count: 7 }];
    asked.sources.sources.push(SourceAnswer { source: "cdn".to_owned(), rejects, ..SourceAnswer::default() });
    let (level, text) = only(&asked);
    assert!(level == Level::Problem && text.contains("fell silent"), "{text}");
}

#[test]
fn trouble_of_the_instance_is_read_from_its_metrics() {
    let with = |metrics: &str| Asked { metrics: metrics.to_owned(), ..asked(line("cdn")) };
    for (metrics, text) in [
        (
            "throughline_spool_used_bytes 800\nthroughline_spool_max_bytes 1000\n",
            "80.0% of the spool is taken",
        ),
        ("throughline_spool_oldest_age_seconds 61.5\n", "waits for 61 s"),
        ("throughline_segments_total{outcome=\"held\"} 2\n", "2 segments were written by a newer version"),
        ("throughline_engine_restarts_total 3\n", "raise `engine.memory`"),
    ] {
        let found = only(&with(metrics));
        assert!(found.0 == Level::Problem && found.1.contains(text), "{text}: {found:?}");
    }
    let away = "throughline_turned_away_total{kind=\"als\",cause=\"wrong_token\"} 2\n\
                throughline_turned_away_total{kind=\"otlp\",cause=\"wrong_token\"} 3\n";
    let found = only(&with(away));
    assert!(
        found.0 == Level::Note && found.1.contains("5 deliveries came with a missing or wrong"),
        "{found:?}"
    );
    let down = Asked { is_ready: false, reasons: vec!["draining".to_owned()], ..asked(line("cdn")) };
    assert!(only(&down).1.starts_with("is not ready: draining"));
}

async fn examined(client: &Client) -> anyhow::Result<Report> {
    let given = Given::new("http://127.0.0.1:1", &Senders::default()).unwrap();
    examine(client, &given, &Trust::new(None).unwrap(), "1h").await
}

#[tokio::test]
async fn a_store_that_is_away_is_a_finding_and_a_wrong_token_is_an_error() {
    let router = |status: StatusCode, detail: &'static str| {
        let problem = move || async move {
            let headers = [("content-type", "application/problem+json")];
            (status, headers, format!("{{\"title\":\"t\",\"detail\":\"{detail}\"}}"))
        };
        axum::Router::new()
            .route("/readyz", get(|| async { "ready\n" }))
            .route("/metrics", get(|| async { "" }))
            .route("/api/v1/ledger", get(problem))
    };
    let away = answering(router(StatusCode::SERVICE_UNAVAILABLE, "the engine is restarting")).await;
    let report = examined(&away).await.unwrap();
    assert!(!report.well && report.findings.iter().any(|finding| finding.check == "store"), "{report:?}");
    let unknown = answering(router(StatusCode::UNAUTHORIZED, "send a token")).await;
    let error = examined(&unknown).await.unwrap_err();
    assert!(format!("{error:#}").ends_with("answers 401: send a token"), "{error:#}");
}

#[tokio::test]
async fn a_report_is_one_line_a_finding_and_escapes_what_it_shows() {
    let ledger = LedgerAnswer {
        since: "2026-11-21T20:00:00.000000000Z".to_owned(),
        until: "2026-11-21T21:00:00.000000000Z".to_owned(),
        ..asked(LedgerLine { missing: Some(1), ..line("\u{1b}[31mcdn") }).ledger
    };
    let router = axum::Router::new()
        .route("/readyz", get(|| async { "ready\n" }))
        .route(
            "/metrics",
            get(|| async { "throughline_spool_used_bytes 1\nthroughline_spool_max_bytes 10\n" }),
        )
        .route("/api/v1/ledger", get(move || async move { Json(ledger) }))
        .route("/api/v1/sources", get(|| async { Json(SourcesAnswer::default()) }));
    let report = examined(&answering(router).await).await.unwrap();
    let mut out = Vec::new();
    show(&mut out, &report).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}
