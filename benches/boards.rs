//! Times every panel of every board over the default range, six hours, on a store that holds ten million events; fails
//! where the best of several tries is slower than [`BOUND`].
//!
//! `cargo bench --bench boards -- URL` with `STORE_USER` and `STORE_PASSWORD` in the environment, on a database that
//! `measure --boards` of crates/store filled (benches/runs says how). Without URL it says so and ends well, so that
//! `make bench` needs no such database.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/it/boards/board.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the boards, which use all of it")]
mod board;
#[path = "../tests/it/boards/macros.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the boards, which use all of it")]
mod macros;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest that a panel may take.
const BOUND: Duration = Duration::from_millis(300);
/// Tries of each panel; the best counts, for the machine does other things too.
const TRIES: usize = 5;
const RANGE_S: i64 = 6 * 3600;

struct Store {
    url: String,
    database: String,
    client: reqwest::blocking::Client,
}

impl Store {
    fn ask(&self, sql: &str) -> Value {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let url = format!("{}/?database={}&default_format=JSONCompact", self.url, self.database);
        let request =
            self.client.post(url).basic_auth(variable("STORE_USER"), Some(variable("STORE_PASSWORD")));
        let response = request.body(sql.to_owned()).send().expect("an answer of the store");
        let status = response.status();
        let text = response.text().expect("a body");
        assert_eq!(status, 200, "{text}\n{sql}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The first cell as text.
    fn cell(&self, sql: &str) -> String {
        self.ask(sql)["data"][0][0].to_string().trim_matches('"').to_owned()
    }
}

fn main() {
    let Some(url) = std::env::args().skip(1).find(|argument| argument.starts_with("http")) else {
        println!("no URL of a filled store is given, so nothing is timed; see benches/boards.rs");
        return;
    };
    let database = std::env::var("STORE_DATABASE").unwrap_or_else(|_| "default".to_owned());
    let store = Store { url, database, client: reqwest::blocking::Client::new() };
    let to_s: i64 =
        store.cell("SELECT toUnixTimestamp(max(minute)) + 60 FROM rollup_minute").parse().unwrap();
    let id = store.cell("SELECT UUIDNumToString(any(correlation_id)) FROM events WHERE hop = 'gateway' AND (tenant, bucket) IN (SELECT tenant, max(bucket) FROM events GROUP BY tenant)");
    let one = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    let all = |name: &str| (name.to_owned(), Vec::new());
    let variables = BTreeMap::from([
        one("tenant", "default"),
        one("datasource", "throughline-store"),
        one("traces", "throughline-traces"),
        one("place", "total"),
        one("edge_peer", ""),
        one("id", &id),
        all("service"),
        all("pop"),
        all("namespace"),
        all("workload"),
    ]);
    let mut view = macros::View { from_s: to_s - RANGE_S, to_s, interval_s: 60, variables };
    println!(
        "{} events, {} rows of rollups",
        store.cell("SELECT count() FROM events"),
        store.cell("SELECT count() FROM rollup_minute")
    );
    println!("| board | panel | best ms | median ms | rows |\n|---|---|---:|---:|---:|");
    let mut slow = Vec::new();
    for board in board::Board::all() {
        for query in board.queries().into_iter().chain(board.annotations()) {
            view.interval_s = query.interval_s;
            let sql = view.sent(&query.sql);
            let mut rows = 0;
            let mut times: Vec<Duration> = (0..TRIES)
                .map(|_| {
                    let since = Instant::now();
                    rows = store.ask(&sql)["rows"].as_u64().unwrap_or(0);
                    since.elapsed()
                })
                .collect();
            times.sort();
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            println!(
                "| {} | {} | {:.0} | {:.0} | {rows} |",
                board.file,
                query.of,
                ms(times[0]),
                ms(times[TRIES / 2])
            );
            if times[0] > BOUND {
                slow.push(query.of);
            }
        }
    }
    println!("{} over {BOUND:?}: {slow:?}", slow.len());
    std::process::exit(i32::from(!slow.is_empty()));
}
