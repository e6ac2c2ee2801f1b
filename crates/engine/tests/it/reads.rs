//! Queries: streamed and whole answers, errors before and after the first byte, cancelling, settings, credentials.

use engine::{Credentials, SERVICE_USER};

use crate::support::{Engine, open, request, shared, until};

/// A query that fails after its first chunk has been sent.
const FAILS_LATE: &str = "SELECT throwIf(number = 300000) FROM numbers(400000) SETTINGS max_threads = 1";

#[tokio::test]
async fn the_official_client_reads_with_parameters_and_validation() {
    #[derive(clickhouse::Row, serde::Deserialize)]
    struct Row {
        n: u64,
        text: String,
    }
    let sql = "SELECT number AS n, concat({text:String}, toString(n)) AS text FROM numbers(300000) WHERE number >= ?";
    let text = "a\n\nb\t';\\";
    let client = shared().client();
    let mut rows = client.query(sql).bind(100_000).param("text", text).fetch::<Row>().unwrap();
    let (mut count, mut sum) = (0, 0);
    while let Some(row) = rows.next().await.unwrap() {
        assert_eq!(row.text, format!("{text}{}", row.n));
        count += 1;
        sum += row.n;
    }
    assert_eq!((count, sum), (200_000, (100_000..300_000).sum()));
}

#[tokio::test]
async fn an_empty_answer_still_has_its_columns() {
    let none: Vec<u64> = shared().client().query("SELECT number FROM numbers(0)").fetch_all().await.unwrap();
    assert!(none.is_empty());
}

#[tokio::test]
async fn the_official_client_sees_errors_before_and_after_the_first_row() {
    let client = shared().client();
    let early = client.query("SELECT nothing FROM nowhere").fetch_one::<u8>().await.unwrap_err().to_string();
    assert!(early.contains("Code: 60"), "{early}");
    let late = client.query(FAILS_LATE).fetch_all::<u8>().await.unwrap_err().to_string();
    assert!(late.contains("Code: 395"), "{late}");
}

#[test]
fn an_error_before_the_first_byte_has_a_status_and_a_code() {
    let answer = shared().ask("SELECT nothing FROM nowhere");
    assert_eq!((answer.status, answer.header("x-clickhouse-exception-code")), (404, Some("60")));
    assert!(answer.text().starts_with("Code: 60. DB::Exception: "), "{}", answer.text());
    assert_eq!(shared().ask("SELECT 1 FROM").status, 400);
}

#[test]
fn an_error_after_the_first_byte_closes_the_body_with_its_tag() {
    let answer = shared().ask(FAILS_LATE);
    let tag = answer.header("x-clickhouse-exception-tag").unwrap().to_owned();
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() > 100_000);
    let text = answer.text();
    let (_, end) = text.split_once("\r\n__exception__\r\n").unwrap();
    assert!(
        end.starts_with(&format!("{tag}\r\nCode: 395."))
            && end.ends_with(&format!(" {tag}\r\n__exception__\r\n")),
        "{end}"
    );
}

#[test]
fn a_failed_answer_leaves_nothing_for_the_next_one() {
    let engine = Engine::fresh();
    for format in ["TSV", "JSONCompact", "CSV"] {
        for _ in 0..3 {
            let failed = engine.ask(&format!("SELECT throwIf(number = 300000) FROM numbers(400000) FORMAT {format} SETTINGS max_threads = 1"));
            assert!(failed.status != 200 || failed.text().contains("__exception__"), "{format}");
            let timed_out = engine.post(
                "max_execution_time=1&default_format=JSONCompact",
                b"SELECT number, sleepEachRow(0.01) FROM numbers(1000) SETTINGS max_block_size = 10",
            );
            assert_ne!(timed_out.status, 200, "{}", timed_out.text());
            assert_eq!(engine.value("SELECT 7"), "7");
            assert_eq!(engine.value("SELECT 7 FORMAT Values"), "(7)");
            if format != "TSV" {
                break;
            }
        }
    }
}

#[test]
fn streamed_formats_have_their_prefix_once() {
    for (format, prefix) in [("CSVWithNames", "\"number\"\n"), ("TSVWithNamesAndTypes", "number\nUInt64\n")] {
        let text = shared().ask(&format!("SELECT number FROM numbers(200000) FORMAT {format}")).text();
        let rows = text.strip_prefix(prefix).unwrap();
        assert!(rows.lines().map(|line| line.parse::<u64>().unwrap()).eq(0..200_000), "{format}");
    }
    let json = shared().ask("SELECT number FROM numbers(200000) FORMAT JSON");
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["data"].as_array().unwrap().len(), 200_000);
    let totals =
        shared().value("SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k");
    assert_eq!(totals, "0\t5\n1\t5\n\n0\t10");
}

#[test]
fn a_large_answer_does_not_gather_in_memory() {
    let engine = Engine::fresh();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", engine.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
    };
    engine.value("SELECT sum(number) FROM numbers(1000000)");
    let before = peak();
    let answer = engine.ask("SELECT number FROM numbers(50000000)");
    assert_eq!(answer.body.len(), 438_888_890);
    assert!(peak() < before + 150, "the peak went from {before} to {} MB", peak());
}

#[test]
fn statements_run_side_by_side() {
    let engine = shared();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| engine.value("SELECT 'side by side', sleep(2)"));
        until("both run", || {
            engine.value("SELECT count() FROM system.processes WHERE query LIKE '%side by side%'") == "2"
        });
        slow.join().unwrap();
    });
}

#[test]
fn a_client_that_leaves_ends_its_statement() {
    let engine = shared();
    let running = || engine.value("SELECT count() FROM system.processes WHERE query LIKE '%abandoned%'");
    let who = Credentials { user: SERVICE_USER.into(), secret: "a secret of the tests".into() };
    let sql = b"SELECT 'abandoned', sum(cityHash64(number)) FROM numbers(1000000000000)";
    let stream = open(&engine.ready.listening, "POST", "", &who, sql);
    until("it runs", || running() == "2");
    drop(stream);
    until("it is gone", || running() == "1");
    assert_eq!(engine.value("SELECT 7"), "7");
}

#[test]
fn settings_and_database_come_from_the_query_string() {
    let engine = shared();
    engine.value("CREATE DATABASE IF NOT EXISTS other");
    let answer =
        engine.post("database=other&max_threads=3", b"SELECT currentDatabase(), getSetting('max_threads')");
    assert_eq!(answer.text(), "other\t3\n");
    assert_eq!(engine.value("SELECT currentDatabase()"), "default");
    assert_eq!(
        engine.post("no_such_setting=1", b"SELECT 1").header("x-clickhouse-exception-code"),
        Some("115")
    );
    assert_eq!(
        engine.post("database=nowhere", b"SELECT 1").header("x-clickhouse-exception-code"),
        Some("81")
    );
    engine.value("SET max_threads = 5");
    assert_ne!(
        engine.value("SELECT getSetting('max_threads')"),
        "5",
        "a session setting reached another request"
    );
}

#[test]
fn get_reads_and_changes_nothing() {
    let engine = shared();
    assert_eq!(engine.get("query=SELECT%201").text(), "1\n");
    assert_eq!(engine.get("").text(), "Ok.\n");
    assert_eq!(engine.get("query=CREATE%20DATABASE%20by_get").status, 403);
    assert_eq!(engine.ask("SELECT 1; SELECT 2").status, 400);
    assert_eq!(engine.ask("SELECT 1 INTO OUTFILE '/tmp/out'").status, 403);
}

#[test]
fn only_the_right_secret_is_let_in() {
    let engine = shared();
    let ask = |user: &str, secret: &str| {
        let who = Credentials { user: user.into(), secret: secret.into() };
        request(&engine.ready.listening, "POST", "", &who, b"SELECT 1").status
    };
    assert_eq!(ask(SERVICE_USER, "a secret of the tests"), 200);
    assert_eq!(ask(SERVICE_USER, "a secret of the test"), 403);
    assert_eq!(ask("default", ""), 403);
}

#[test]
fn answers_come_in_frames_when_asked_for() {
    let answer = shared().post("compress=1", b"SELECT number FROM numbers(100000)");
    assert_eq!(answer.body[16], 0x82);
    assert!(answer.body.len() < 500_000);
}

#[test]
fn the_engine_s_bounds_hold() {
    let value = |name: &str| {
        shared().value(&format!("SELECT value FROM system.server_settings WHERE name = '{name}'"))
    };
    assert_eq!(value("max_server_memory_usage"), (2_u64 << 30).to_string());
    assert_eq!(value("background_pool_size"), "4");
    assert_eq!(value("mark_cache_size"), (128 << 20).to_string());
    assert_eq!(value("max_thread_pool_size"), "400");
}
