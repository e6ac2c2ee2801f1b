//! A stand-in for Grafana's HTTP API, in the form of its published reference.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::setup_in;

pub(super) const TOKEN: &str = "glsa_of-an-admin";
pub(super) const PASSWORD: &str = "password-of-the-store";
pub(super) const READER: &str = "token-of-a-reader";
pub(super) const STORE: &str = "throughline-store";
pub(super) const TRACES: &str = "throughline-traces";

#[derive(Default)]
pub(super) struct Contents {
    pub(super) has_plugin: bool,
    pub(super) folders: BTreeMap<String, Value>,
    pub(super) sources: BTreeMap<String, Value>,
    /// What Grafana never shows: `secureJsonData`.
    pub(super) secrets: BTreeMap<String, Value>,
    /// `{"dashboard", "meta"}` by uid.
    pub(super) boards: BTreeMap<String, Value>,
    /// Rule groups of our folder.
    pub(super) groups: BTreeMap<String, Value>,
    calls: Vec<String>,
    /// So many changes are taken, then this is the answer.
    pub(super) fails_after: Option<(usize, u16)>,
    writes: usize,
}

pub(super) struct Grafana {
    pub(super) url: String,
    contents: Arc<Mutex<Contents>>,
}

impl Grafana {
    pub(super) fn start() -> Self {
        let contents = Arc::new(Mutex::new(Contents { has_plugin: true, ..Contents::default() }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        // Served under a path, as behind many a proxy.
        let url = format!("http://{}/grafana", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&contents));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { url, contents }
    }

    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap()
    }

    /// The calls since the last time that change something.
    pub(super) fn writes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.contents().calls);
        calls.into_iter().filter(|call| !call.starts_with("GET ")).collect()
    }

    pub(super) fn setup_as(&self, more: &[&str], token: &str) -> (i32, String, String) {
        let arguments = [
            "grafana",
            "--url",
            &self.url,
            "--store-url",
            "http://clickhouse:8123",
            "--tempo-url",
            "http://throughline:8080",
        ];
        let environment =
            [("GRAFANA_TOKEN", token), ("GRAFANA_STORE_PASSWORD", PASSWORD), ("THROUGHLINE_TOKEN", READER)];
        let (code, printed, said) = setup_in(&[&arguments, more].concat(), &environment, "");
        for secret in [TOKEN, PASSWORD, READER] {
            assert!(!printed.contains(secret) && !said.contains(secret), "{printed}{said}");
        }
        (code, printed, said)
    }

    pub(super) fn setup(&self, more: &[&str]) -> (i32, String, String) {
        self.setup_as(more, TOKEN)
    }

    pub(super) fn good(&self, more: &[&str]) -> (String, String) {
        let (code, printed, said) = self.setup(more);
        assert_eq!(code, 0, "{printed}{said}");
        (printed, said)
    }
}

fn said(status: u16, value: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(value)).into_response()
}

fn message(status: u16, text: &str) -> Response {
    said(status, json!({"message": text}))
}

async fn answer(
    State(contents): State<Arc<Mutex<Contents>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut contents = contents.lock().unwrap();
    let Some(path) = uri.path().strip_prefix("/grafana/api/") else {
        return (StatusCode::NOT_FOUND, "404 page not found").into_response();
    };
    contents.calls.push(format!("{method} {path}"));
    if path == "health" {
        return said(200, json!({"database": "ok", "version": "12.2.0", "commit": "x"}));
    }
    if headers.get("authorization").is_none_or(|value| value != &format!("Bearer {TOKEN}")) {
        return message(401, "Invalid API key");
    }
    if method != Method::GET {
        contents.writes += 1;
        if let Some((after, status)) = contents.fails_after
            && contents.writes > after
        {
            return message(status, "this is a test");
        }
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path: Vec<&str> = path.split('/').collect();
    match (method.as_str(), path.as_slice()) {
        ("GET", ["plugins", "grafana-clickhouse-datasource", "settings"]) if contents.has_plugin => {
            said(200, json!({"id": "grafana-clickhouse-datasource", "info": {"version": "4.11.1"}}))
        }
        ("GET", ["plugins", ..]) => message(404, "Plugin not found, no installed plugin with that id"),
        ("GET", ["folders", uid]) => found(contents.folders.get(*uid), "folder not found"),
        ("POST", ["folders"]) => {
            let uid = body["uid"].as_str().unwrap().to_owned();
            if contents.folders.contains_key(&uid) {
                return message(409, "a folder with the same uid already exists");
            }
            contents.folders.insert(uid, body.clone());
            said(200, body)
        }
        ("DELETE", ["folders", uid]) => {
            assert_eq!(uri.query(), Some("forceDeleteRules=false"));
            if !contents.groups.is_empty() {
                return message(400, "folder contains alert rules");
            }
            contents.folders.remove(*uid);
            // As Grafana does: with all that lies in it.
            contents.boards.retain(|_, board| board["meta"]["folderUid"] != *uid);
            message(200, "Folder deleted")
        }
        ("GET", ["search"]) => {
            assert_eq!(uri.query(), Some("folderUIDs=throughline&limit=5000"));
            let in_folder =
                contents.boards.iter().filter(|(_, board)| board["meta"]["folderUid"] == "throughline");
            said(200, in_folder.map(|(uid, _)| json!({"uid": uid, "type": "dash-db"})).collect())
        }
        (_, ["v1", "provisioning", rest @ ..]) => in_alerting(&mut contents, method.as_str(), rest, body),
        (_, ["datasources", rest @ ..]) => in_sources(&mut contents, method.as_str(), rest, body),
        (_, ["dashboards", rest @ ..]) => in_boards(&mut contents, method.as_str(), rest, &body),
        _ => message(404, "Not found"),
    }
}

/// Rules have more fields than they were given; a group without rules is none.
fn in_alerting(contents: &mut Contents, method: &str, path: &[&str], mut body: Value) -> Response {
    match (method, path) {
        ("GET", ["folder", "throughline", "rule-groups", group]) => {
            found(contents.groups.get(*group), "rule group not found")
        }
        ("PUT", ["folder", "throughline", "rule-groups", group]) => {
            assert!(contents.folders.contains_key("throughline") && body["interval"].is_u64());
            for rule in body["rules"].as_array_mut().unwrap() {
                assert_eq!(rule["folderUID"], "throughline");
                (rule["id"], rule["provenance"], rule["isPaused"]) = (3.into(), "api".into(), false.into());
            }
            contents.groups.insert((*group).to_owned(), body.clone());
            said(200, body)
        }
        ("DELETE", ["alert-rules", uid]) => {
            for group in contents.groups.values_mut() {
                group["rules"].as_array_mut().unwrap().retain(|rule| rule["uid"] != *uid);
            }
            contents.groups.retain(|_, group| !group["rules"].as_array().unwrap().is_empty());
            StatusCode::NO_CONTENT.into_response()
        }
        _ => message(404, "Not found"),
    }
}

fn found(value: Option<&Value>, missing: &str) -> Response {
    value.map_or_else(|| message(404, missing), |value| said(200, value.clone()))
}

fn in_sources(contents: &mut Contents, method: &str, path: &[&str], mut body: Value) -> Response {
    match (method, path) {
        ("GET", ["uid", uid]) => found(contents.sources.get(*uid), "Data source not found"),
        ("GET", ["uid", STORE, "health"]) => {
            said(200, json!({"status": "OK", "message": "Data source is working"}))
        }
        ("GET", ["uid", TRACES, "health"]) => message(404, "Not found"),
        ("POST", []) => {
            if contents.sources.values().any(|other| other["name"] == body["name"]) {
                return message(409, "data source with the same name already exists");
            }
            let uid = body["uid"].as_str().unwrap().to_owned();
            (body["readOnly"], body["version"], body["isDefault"]) = (false.into(), 1.into(), false.into());
            keep_source(contents, &uid, body);
            message(200, "Datasource added")
        }
        ("PUT", ["uid", uid]) => match contents.sources.get(*uid) {
            None => message(404, "Data source not found"),
            Some(there) if there["readOnly"] == true => message(403, "Cannot update read-only data source"),
            Some(there) if there["version"] != body["version"] => {
                message(409, "Datasource has already been updated by someone else")
            }
            Some(_) => {
                body["version"] = (body["version"].as_u64().unwrap() + 1).into();
                keep_source(contents, uid, body);
                message(200, "Datasource updated")
            }
        },
        ("DELETE", ["uid", uid]) => {
            contents.sources.remove(*uid);
            message(200, "Data source deleted")
        }
        _ => message(404, "Not found"),
    }
}

/// Secrets go where nobody reads them; of them Grafana says only that they are there.
fn keep_source(contents: &mut Contents, uid: &str, mut body: Value) {
    let secrets = body.as_object_mut().unwrap().remove("secureJsonData").unwrap_or_default();
    let kept = contents.secrets.entry(uid.to_owned()).or_insert_with(|| json!({}));
    for (name, secret) in secrets.as_object().into_iter().flatten() {
        kept[name] = secret.clone();
    }
    body["secureJsonFields"] =
        kept.as_object().unwrap().keys().map(|name| (name.clone(), Value::Bool(true))).collect();
    contents.sources.insert(uid.to_owned(), body);
}

fn in_boards(contents: &mut Contents, method: &str, path: &[&str], body: &Value) -> Response {
    match (method, path) {
        ("GET", ["uid", uid]) => found(contents.boards.get(*uid), "Dashboard not found"),
        ("POST", ["db"]) => {
            assert!(body["dashboard"]["id"].is_null(), "an id is this Grafana's own");
            if !contents.folders.contains_key(body["folderUid"].as_str().unwrap()) {
                return message(400, "folder not found");
            }
            let uid = body["dashboard"]["uid"].as_str().unwrap().to_owned();
            let was =
                contents.boards.get(&uid).map_or(0, |there| there["dashboard"]["version"].as_u64().unwrap());
            let mut board = body["dashboard"].clone();
            (board["id"], board["version"]) = (7.into(), (was + 1).into());
            let meta = json!({"folderUid": body["folderUid"], "provisioned": false});
            contents.boards.insert(uid, json!({"dashboard": board, "meta": meta}));
            said(200, json!({"status": "success"}))
        }
        ("DELETE", ["uid", uid]) => {
            contents.boards.remove(*uid);
            message(200, "deleted")
        }
        _ => message(404, "Not found"),
    }
}
