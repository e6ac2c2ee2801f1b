//! Sample traffic with all that the boards tell apart: verdicts of edge and mesh that agree and that do not, ways around
//! the edge, two versions of everything, and lines that cannot be read.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use event::Hop;
use serde_json::{Value, json};
use testkit::{Mix, Request, Server, Story, TrueHop, fastly, istio};

use super::macros::View;
use crate::app::{Options, Service, eventually};

const REQUESTS: u64 = 300;
const INTERVAL_US: u64 = 6_000_000;
/// Of a request that the edge let in and a policy of the mesh denied.
const DENIED: u64 = 3;
/// Of a request that the edge denied and the mesh saw all the same.
const DENIED_AND_SEEN: u64 = 5;

/// One source a kind, of which one may send next to nothing.
const SOURCES: &str = "
[[source]]
name = 'fastly'
kind = 'fastly'
[[source]]
name = 'envoy'
kind = 'envoy'
[[source]]
name = 'otlp'
kind = 'otlp'
rate_bytes = 100
burst_bytes = '1KiB'
";

/// Lines of a mesh that logs which revision ran, in a format of its own.
const PRESET: &str = r#"
name = "revisions"
hop = "sidecar"
[detect]
all = ["rev", "wl"]
[fields]
cid = "correlation_id"
at_us = { to = "start_ns", unit = "us" }
took_us = { to = "duration_ns", unit = "us" }
rev = "workload_revision"
wl = "workload"
status = "status"
method = "method"
"#;

/// A service with its read-only port open, filled; ended when dropped.
pub(crate) struct Filled {
    pub(crate) service: Service,
    pub(crate) store: Reader,
    pub(crate) view: View,
    /// A request that crossed every hop and was denied in the mesh.
    pub(crate) id: String,
}

/// The read-only port, as Grafana asks it.
pub(crate) struct Reader {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// An answer: names and types of columns, and rows.
pub(crate) struct Answer {
    pub(crate) columns: Vec<(String, String)>,
    pub(crate) rows: Vec<Value>,
}

impl Reader {
    pub(crate) fn try_ask(&self, sql: &str) -> Result<Answer, String> {
        let url = format!("{}/?database=throughline&default_format=JSONCompact", self.url);
        let client = reqwest::blocking::Client::new();
        let request = client.post(url).basic_auth(&self.user, Some(&self.password)).body(sql.to_owned());
        let response = request.send().expect("an answer of the read-only port");
        let status = response.status();
        let text = response.text().unwrap();
        if status != 200 {
            return Err(text);
        }
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let column = |column: &Value| {
            (column["name"].as_str().unwrap().to_owned(), column["type"].as_str().unwrap().to_owned())
        };
        let columns = answer["meta"].as_array().unwrap().iter().map(column).collect();
        Ok(Answer { columns, rows: answer["data"].as_array().unwrap().clone() })
    }

    pub(crate) fn ask(&self, of: &str, sql: &str) -> Answer {
        self.try_ask(sql).unwrap_or_else(|error| panic!("{of}: {error}\n{sql}"))
    }
}

/// Starts a service and fills it with half an hour up to a minute ago.
pub(crate) fn filled() -> Filled {
    let presets = tempfile::tempdir().unwrap();
    let preset = presets.path().join("revisions.toml");
    std::fs::write(&preset, PRESET).unwrap();
    let service = Service::with(Options {
        public: true,
        root: format!("fastly.presets = '{}'\n", preset.display()),
        config: SOURCES.into(),
        ..Options::default()
    });
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let start_ms = (now_us - REQUESTS * INTERVAL_US) / 1000 - 60_000;
    let mix = Mix::new(31).starting(start_ms, INTERVAL_US);
    let (mut cdn, mut mesh, mut id) = (Vec::new(), Vec::new(), String::new());
    for n in 0..REQUESTS {
        let request = match n {
            DENIED => mix.request_as(n, Story::Denied),
            DENIED_AND_SEEN => mix.request_as(n, Story::Plain),
            n if n % 10 == 2 => mix.request_as(n, Story::Timeout),
            n => mix.request(n),
        };
        if n == DENIED {
            id = request.correlation_text();
        }
        for hop in &request.hops {
            match hop.hop {
                Hop::Edge if n % 2 == 1 => cdn.push(edge_line(&request, hop, n)),
                Hop::Edge | Hop::Shield => cdn.push(fastly::vcl_line(&request, hop)),
                _ => mesh.push(istio::json_line_with_ids(&request, hop)),
            }
        }
        cdn.push(revision_line(&request, n));
    }
    // Around the edge, and edge records that did not come.
    let others = Mix::new(32).starting(start_ms, INTERVAL_US);
    for n in 0..10 {
        let request = others.request_as(n, Story::Plain);
        for hop in request.hops.iter().filter(|hop| hop.hop == Hop::Gateway) {
            let line = istio::json_line_with_ids(&request, hop);
            mesh.push(if n % 2 == 0 { line } else { without_token(&line) });
        }
    }
    let records = (cdn.len() + mesh.len()) as u64;
    service.accept("/v1/fastly", cdn.join("\n"));
    service.accept("/v1/envoy", mesh.join("\n"));
    service.post("/v1/fastly", &[], "{\"cut\": ");
    // More than this source may send: the first overdraws, the second is refused.
    for _ in 0..2 {
        let body = format!("{{\"resourceLogs\":[]}}{}", " ".repeat(4096));
        service.post("/v1/logs", &[("content-type", "application/json")], body);
    }
    service.wait_stored(records);
    let store = reader(&service);
    eventually("the reject is stored", || {
        let found = store.ask("rejects", "SELECT 1 FROM rejects");
        (found.rows.len() == 1).then_some(())
    });
    let one = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    let all = |name: &str| (name.to_owned(), Vec::new());
    let variables = BTreeMap::from([
        one("tenant", "default"),
        one("datasource", "throughline-store"),
        one("traces", "throughline-traces"),
        one("metrics", "throughline-metrics"),
        one("place", "total"),
        one("edge_peer", ""),
        one("page", &service.url()),
        one("id", &id),
        all("service"),
        all("pop"),
        all("namespace"),
        all("workload"),
    ]);
    let to_s = (now_us / 1_000_000) as i64 + 60;
    let view = View { from_s: to_s - 6 * 3600, to_s, interval_s: 60, variables };
    Filled { service, store, view, id }
}

fn reader(service: &Service) -> Reader {
    let address = {
        let log = service.log.lock().unwrap();
        let line = log.lines().find(|line| line.contains("read-only, on http://")).expect("the public port");
        let (_, rest) = line.split_once("read-only, on ").unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let credentials = std::fs::read_to_string(service.data().join("clickhouse-credentials")).unwrap();
    let (user, password) = credentials.trim().split_once(':').expect("user:password");
    Reader { url: address, user: user.to_owned(), password: password.to_owned() }
}

/// The verdict line of the edge service.
fn edge_line(request: &Request, hop: &TrueHop, n: u64) -> String {
    let late = n > REQUESTS * 2 / 3;
    let denied = n == DENIED_AND_SEEN || n % 50 == 9;
    let Server::Fastly { pop, .. } = &hop.server else { panic!("an edge is Fastly's: {hop:?}") };
    let us = |ns: Option<u64>| ns.map(|ns| ns / 1000);
    let line = json!({
        "v": 1, "src": "fastly-compute", "hop": "edge", "ts_us": hop.logged_start_ns() / 1000,
        "correlation_id": request.correlation_text(), "traceparent": request.traceparent(),
        "service_id": fastly::SERVICE_ID, "service_version": if late { "43" } else { "42" }, "pop": pop,
        "server": "cache-fra-1", "method": request.method, "host": request.host, "url": request.url,
        "status": hop.status, "client_ip": request.client.to_string(),
        "verdict": {
            "outcome": if denied { "deny" } else { "allow" }, "rule": "members",
            "reason": if denied { "token_expired" } else { "token_valid" },
            "policy_version": if late { "2026-11-2" } else { "2026-11-1" },
        },
        "issuer": "https://id.example.com", "kid": "2026-11",
        "timings": {
            "duration_us": hop.duration_ns / 1000, "upstream_start_us": us(hop.sent_ns),
            "upstream_first_byte_us": us(hop.answered_ns), "verify_us": 120,
        },
    });
    line.to_string()
}

fn revision_line(request: &Request, n: u64) -> String {
    let late = n > REQUESTS * 2 / 3;
    let line = json!({
        "cid": request.correlation_text(), "at_us": request.hops[0].logged_start_ns() / 1000 + 4_000_000,
        "took_us": if late { 9_000 } else { 3_000 }, "rev": if late { "v2" } else { "v1" },
        "wl": "recommendations", "status": if late && n.is_multiple_of(4) { 500 } else { 200 }, "method": "GET",
    });
    line.to_string()
}

/// The same request with no valid edge token, as Envoy's filter denies it.
fn without_token(line: &str) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    line["response_code"] = json!(401);
    line["response_code_details"] = json!("jwt_authn_access_denied{Jwt_is_missing}");
    line.to_string()
}
