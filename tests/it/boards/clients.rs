//! The read-only port as ClickHouse's official clients see it (Python, Node, and what the Go client behind Grafana's data
//! source sends): the boards' statements, the types of their columns, and an INSERT that is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::board::Board;
use super::{Filled, shared};

/// Where set-up put the clients and Grafana's schema.
pub(super) fn tools() -> PathBuf {
    let given = std::env::var_os("THROUGHLINE_BOARD_TOOLS");
    let tools = PathBuf::from(
        given
            .expect("THROUGHLINE_BOARD_TOOLS is not set: eval what scripts/setup-tests prints, or make test"),
    );
    assert!(tools.is_dir(), "{} is missing: run scripts/setup-tests", tools.display());
    tools
}

pub(super) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/boards/clients").join(name)
}

/// The first statements of every board, as Grafana would send them.
fn statements(filled: &Filled) -> Vec<String> {
    let boards = Board::all();
    let of = |board: &Board| -> Vec<String> {
        board.queries().iter().take(3).map(|query| filled.view.sent(&query.sql)).collect()
    };
    boards.iter().flat_map(of).collect()
}

/// The types without their time zone, which the Python client does not name where it is UTC.
fn without_zone(columns: Vec<(String, String)>) -> Vec<(String, String)> {
    let plain = |kind: String| kind.replace("('UTC')", "").replace(", 'UTC'", "");
    columns.into_iter().map(|(name, kind)| (name, plain(kind))).collect()
}

/// Runs a client; its answers must be those of the plain HTTP interface, and its INSERT refused.
fn reads_the_same(mut client: Command) {
    let filled = shared();
    let statements = statements(filled);
    let said = client
        .env("URL", &filled.store.url)
        .env("NAME", &filled.store.user)
        .env("PASSWORD", &filled.store.password)
        .env("QUERIES", serde_json::to_string(&statements).unwrap())
        .output()
        .expect("run the client");
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{errors}");
    let answers: Vec<Value> = said
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(answers.len(), statements.len() + 1, "{errors}");
    for (sql, answer) in statements.iter().zip(&answers) {
        let plain = filled.store.ask("plain", sql);
        let columns: Vec<(String, String)> = serde_json::from_value(answer["columns"].clone()).unwrap();
        assert_eq!(without_zone(columns), without_zone(plain.columns), "{sql}");
        assert_eq!(answer["rows"].as_array().unwrap().len(), plain.rows.len(), "{sql}");
    }
    let refused = answers[statements.len()]["refused"].as_str().expect("an INSERT is refused");
    assert!(refused.contains("may only read"), "{refused}");
    let rows = filled.store.ask("rejects", "SELECT count() AS n FROM rejects").rows;
    assert_eq!(rows[0][0].to_string().trim_matches('"'), "1", "the INSERT left a row");
}

#[test]
fn the_python_client_reads_the_boards() {
    let mut python = Command::new("python3");
    python.arg(script("read.py")).env("PYTHONPATH", tools().join("python"));
    reads_the_same(python);
}

#[test]
fn the_node_client_reads_the_boards() {
    let mut node = Command::new("node");
    node.arg(script("read.cjs")).arg(tools().join("node_modules"));
    reads_the_same(node);
}

/// What clickhouse-go sends over HTTP, by its source: credentials in headers, a hello whose answer it decodes in the
/// newest form of Native and which tells it to speak the oldest from then on, gzip. It is emulated: no Go runs here.
#[test]
fn the_go_client_s_questions_are_answered() {
    let filled = shared();
    let ask = |query: &str, sql: &str| {
        let response = reqwest::blocking::Client::new()
            .post(format!("{}/?{query}", filled.store.url))
            .header("x-clickhouse-user", &filled.store.user)
            .header("x-clickhouse-key", &filled.store.password)
            .header("accept-encoding", "gzip")
            .header("user-agent", "clickhouse-go/2.40.1 (lv:go/1.25; os:linux)")
            .body(sql.to_owned())
            .send()
            .unwrap();
        assert_eq!(response.status(), 200);
        let is_packed = response.headers().get("content-encoding").is_some_and(|it| it == "gzip");
        let body = response.bytes().unwrap();
        let encoding = is_packed.then_some("gzip");
        decode::compression::decompress(body, encoding, 64 << 20).unwrap().to_vec()
    };
    let session =
        "database=throughline&default_format=Native&client_protocol_version=54460&max_execution_time=60";
    let hello = ask(session, "SELECT displayName(), version(), revision(), timezone()");
    // Block info, four columns of one row.
    assert_eq!(&hello[..10], b"\x01\0\x02\xff\xff\xff\xff\0\x04\x01", "{hello:?}");
    // Columns, rows, then name and type of the first column: Native without revision.
    let plain = ask(session, "SELECT 7 AS seven, 'x' AS text");
    assert_eq!(plain, b"\x02\x01\x05seven\x05UInt8\x07\x04text\x06String\x01x");
    for sql in statements(filled) {
        assert!(!ask(session, &sql).is_empty(), "{sql}");
    }
}
