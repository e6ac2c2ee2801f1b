//! The boards of `dashboards/` against the real service: every query returns what its panel shows, over the read-only
//! port and the Tempo API; official clients read the same; the files are what Grafana's schema says; alerts fire.

mod alerts;
mod board;
mod clients;
mod files;
mod macros;
mod promised;
mod traffic;

use std::sync::OnceLock;

use serde_json::Value;

use board::Board;
use macros::View;
use traffic::{Filled, filled};

use crate::app::Service;

/// Panels whose rows are what did not happen in the sample traffic, with why.
const MAY_BE_EMPTY: &[(&str, &str)] = &[];

/// One filled service for the tests of this module: they only read.
fn shared() -> &'static Filled {
    static FILLED: OnceLock<Filled> = OnceLock::new();
    FILLED.get_or_init(filled)
}

/// Runs every query of a board; columns and rows must be there. Then again with single values chosen.
fn holds(file: &str) {
    let (board, filled) = (Board::named(file), shared());
    let mut view = filled.view.clone();
    for query in board.queries() {
        view.interval_s = query.interval_s;
        let answer = filled.store.ask(&query.of, &view.sent(&query.sql));
        let columns: Vec<&str> = answer.columns.iter().map(|(name, _)| name.as_str()).collect();
        let promised = promised::PROMISED.iter().find(|(uid, of, _)| *uid == board.uid() && *of == query.of);
        let (_, _, promised) = promised.unwrap_or_else(|| panic!("{}: nothing is promised", query.of));
        assert_eq!(columns, *promised, "{}", query.of);
        let may_be_empty = MAY_BE_EMPTY.iter().any(|(of, _)| *of == query.of);
        assert!(
            may_be_empty || !answer.rows.is_empty(),
            "{} has no rows:\n{}",
            query.of,
            view.sent(&query.sql)
        );
        assert!(answer.rows.len() <= 20_000, "{}: {} rows", query.of, answer.rows.len());
        let text = |name: &str| answer.columns.iter().position(|(own, _)| own == name);
        if let Some(at) = text("id") {
            let ids = answer.rows.iter().map(|row| row[at].as_str().unwrap());
            assert!(ids.clone().all(|id| id.len() == 32), "{}: {:?}", query.of, ids.collect::<Vec<_>>());
        }
    }
    for query in board.annotations() {
        let answer = filled.store.ask(&query.of, &view.sent(&query.sql));
        let columns: Vec<&str> = answer.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(columns, ["time", "text", "tags"], "{}", query.of);
        assert!(!answer.rows.is_empty(), "{} has no rows", query.of);
    }
    narrowed(&board, filled);
}

/// Every query with the first value of each variable chosen must run. With only the POP chosen, something is left.
fn narrowed(board: &Board, filled: &Filled) {
    let mut view = filled.view.clone();
    let queries = board.queries();
    for variable in board.variables().iter().filter(|variable| variable["type"] == "query") {
        let (name, sql) = (variable["name"].as_str().unwrap(), variable["query"]["rawSql"].as_str().unwrap());
        let answer = filled.store.ask(&format!("variable {name}"), &view.sent(sql));
        let first = answer.rows.first().unwrap_or_else(|| panic!("variable {name} has no value"));
        let chosen = vec![first[0].as_str().unwrap().to_owned()];
        if name == "pop" {
            let mut one = filled.view.clone();
            one.variables.insert(name.to_owned(), chosen.clone());
            let answer = filled.store.ask(&queries[0].of, &one.sent(&queries[0].sql));
            assert!(!answer.rows.is_empty(), "{}: nothing of {chosen:?}", board.file);
        }
        view.variables.insert(name.to_owned(), chosen);
    }
    view.variables.insert("edge_peer".into(), vec!["^spiffe://edge.example.com/".into()]);
    for query in &queries {
        filled.store.ask(&query.of, &view.sent(&query.sql));
    }
}

/// The number in a column of the only row.
fn cell(view: &View, board: &str, panel: &str, column: &str) -> Value {
    let query = Board::named(board).queries().into_iter().find(|query| query.of == panel).expect("the panel");
    let answer = shared().store.ask(panel, &view.sent(&query.sql));
    let at = answer.columns.iter().position(|(name, _)| name == column).expect("the column");
    answer.rows[0][at].clone()
}

/// Rows of a panel as maps from column to value.
fn rows(panel: &str, board: &str) -> Vec<std::collections::BTreeMap<String, Value>> {
    let query = Board::named(board).queries().into_iter().find(|query| query.of == panel).expect("the panel");
    let answer = shared().store.ask(panel, &shared().view.sent(&query.sql));
    let names = answer.columns.iter().map(|(name, _)| name.clone());
    let map = |row: &Value| names.clone().zip(row.as_array().unwrap().iter().cloned()).collect();
    answer.rows.iter().map(map).collect()
}

#[test]
fn overview_shows_every_hop() {
    holds("overview.json");
    let requests = cell(&shared().view, "overview.json", "At the first hop", "all_requests");
    assert_eq!(requests, 300.0, "one edge record a request");
    let hops: Vec<_> =
        rows("Each hop", "overview.json").iter().map(|row| row["hop_name"].to_string()).collect();
    for hop in ["edge", "shield", "gateway", "sidecar inbound", "sidecar outbound"] {
        assert!(hops.contains(&format!("\"{hop}\"")), "{hops:?}");
    }
    let sql: String = Board::named("overview.json").queries().into_iter().map(|query| query.sql).collect();
    assert!(!sql.contains("FROM events"), "the overview reads rollups only");
}

#[test]
fn request_shows_one_request_whole() {
    holds("request.json");
    let filled = shared();
    let path = rows("Path", "request.json");
    let hops: Vec<_> = path.iter().map(|row| row["hop_name"].as_str().unwrap()).collect();
    assert_eq!(hops[0], "edge", "{hops:?}");
    assert!(hops.contains(&"gateway") && hops.contains(&"sidecar inbound"), "{hops:?}");
    let verdicts = rows("Verdicts", "request.json");
    let said: Vec<_> = verdicts.iter().map(|row| row["decision"].as_str().unwrap()).collect();
    assert_eq!(said, ["allow", "deny"], "{verdicts:?}");
    // Every id of the request leads to the same rows.
    let ids = rows("Records", "request.json");
    let mut view = filled.view.clone();
    for column in ["correlation", "request", "trace"] {
        let id = ids.iter().find_map(|row| row[column].as_str().filter(|id| !id.is_empty())).expect(column);
        view.variables.insert("id".into(), vec![id.to_owned()]);
        let query = Board::named("request.json").queries().remove(0);
        let answer = filled.store.ask(column, &view.sent(&query.sql));
        assert_eq!(answer.rows.len(), path.len(), "by {column} {id}");
    }
}

/// The Tempo API answers what the boards ask of it: the sentence, completeness, the trace.
#[test]
fn request_has_its_sentence_from_the_service() {
    let filled = shared();
    let asked = Board::named("request.json").tempo();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let summary = filled.service.json(&format!("/api/v1/traces/{}", filled.id))["summary"].clone();
    let spans = search(&filled.service, &filled.view.interpolated(&asked[0].1));
    assert_eq!(spans.len(), 1, "{spans:?}");
    let told = |name: &str| {
        let attributes = spans[0]["attributes"].as_array().unwrap();
        attributes.iter().find(|pair| pair["key"] == name).map(|pair| pair["value"].clone())
    };
    assert_eq!(told("throughline.summary").unwrap()["stringValue"], summary, "{spans:?}");
    assert!(told("throughline.complete").unwrap()["boolValue"].is_boolean());
    assert_eq!(filled.view.interpolated(&asked[1].1), filled.id);
    let trace = filled.service.json(&format!("/tempo/api/traces/{}", filled.id.replace('-', "")));
    assert!(trace.to_string().contains("throughline.link.evidence"), "{trace}");
    // A request without its edge record has a gap, and says which.
    let missing = &rows("Newest without an edge record", "verdicts.json")[0]["id"];
    let query = format!("{{ .throughline.id = {missing} }} | select(.throughline.gaps)");
    let spans = search(&filled.service, &query);
    assert!(spans[0]["attributes"].to_string().contains("edge"), "{spans:?}");
}

fn search(service: &Service, query: &str) -> Vec<Value> {
    let q: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let answer = service.json(&format!("/tempo/api/search?q={q}&limit=20"));
    let traces = answer["traces"].as_array().unwrap().iter();
    traces.flat_map(|trace| trace["spanSet"]["spans"].as_array().unwrap().clone()).collect()
}

/// What links of aggregated rows search for is understood and finds something.
#[test]
fn rows_lead_to_traces() {
    let filled = shared();
    let mut tried = 0;
    for board in Board::all() {
        for query in board.queries().iter().filter(|query| query.sql.contains(" AS traces")) {
            let found = rows(&query.of, &board.file);
            let state = found[0]["traces"].as_str().unwrap();
            let state: String = form_urlencoded::parse(format!("s={}", state.replace('+', "%2B")).as_bytes())
                .map(|(_, value)| value.into_owned())
                .collect();
            let state: Value =
                serde_json::from_str(&state).unwrap_or_else(|error| panic!("{error}: {state}"));
            assert_eq!(state["t"]["datasource"], "throughline-traces");
            let wanted = state["t"]["queries"][0]["query"].as_str().unwrap();
            let first = search(&filled.service, wanted);
            let errors = wanted.contains("status = error");
            assert!(errors || !first.is_empty(), "{}: {wanted} finds nothing", query.of);
            tried += 1;
        }
    }
    assert!(tried >= 5, "{tried}");
}

#[test]
fn latency_is_split_by_place() {
    holds("latency.json");
    let places = rows("By place", "latency.json");
    let mean = |place: &str| {
        let row = places.iter().find(|row| row["place"] == place).expect(place);
        row["mean"].as_f64().unwrap()
    };
    let parts: f64 = ["edge", "network", "gateway", "mesh", "workload"].into_iter().map(mean).sum();
    let total = mean("total");
    assert!((parts - total).abs() < total * 0.15, "the places add up: {parts} of {total}: {places:?}");
    assert!(mean("workload") > mean("gateway"), "{places:?}");
}

#[test]
fn verdicts_show_disagreements_and_ways_around() {
    holds("verdicts.json");
    let plain = |id: &str| id.replace('-', "");
    let allowed = rows("Allowed at the edge, denied in the mesh", "verdicts.json");
    assert!(allowed.iter().any(|row| row["id"] == plain(&shared().id).as_str()), "{allowed:?}");
    assert!(allowed.iter().all(|row| row["mesh_said"].as_str().unwrap().starts_with("deny")), "{allowed:?}");
    let seen = rows("Denied at the edge, seen in the mesh", "verdicts.json");
    assert!(seen.iter().all(|row| row["edge_said"].as_str().unwrap().starts_with("deny")), "{seen:?}");
    // Five without a token; the five others only lack their edge record.
    let bypass = rows("Bypass", "verdicts.json");
    assert_eq!(bypass.len(), 5, "{bypass:?}");
    assert!(bypass.iter().all(|row| row["evidence"] == "no valid edge token: Jwt_is_missing"), "{bypass:?}");
    let missing = rows("Newest without an edge record", "verdicts.json");
    assert_eq!(missing.len(), 5, "{missing:?}");
    assert!(missing.iter().all(|row| bypass.iter().all(|other| other["id"] != row["id"])));
}

#[test]
fn changes_rank_what_got_worse() {
    holds("changes.json");
    let ranked = rows("Ranked by shift", "changes.json");
    assert_eq!(ranked[0]["place"], "recommendations", "{ranked:?}");
    assert!(ranked[0]["version"] == "v2" && ranked[0]["was"] == "v1", "{ranked:?}");
    assert!(ranked[0]["error_shift"].as_f64().unwrap() > 0.2, "{ranked:?}");
    assert!(ranked[0]["latency_shift"].as_f64().unwrap() > 1.0, "{ranked:?}");
    assert!(
        ranked.iter().any(|row| row["kind"] == "service version" && row["version"] == "43"),
        "{ranked:?}"
    );
}

#[test]
fn pipeline_balances() {
    holds("pipeline.json");
    let of = |column: &str| cell(&shared().view, "pipeline.json", "What came in", column);
    assert_eq!(of("accepted"), of("stored"));
    assert_eq!(of("rejected").to_string().trim_matches('"'), "1");
    assert_eq!(of("missing").to_string().trim_matches('"'), "0");
}
