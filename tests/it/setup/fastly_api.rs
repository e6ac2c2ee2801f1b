//! A stand-in for Fastly's API: one service, versions that lock, answers in the form that Fastly's own Go client recorded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

pub(super) const SERVICE: &str = "SU1Z0isxPaozGVKXdv0eY";
pub(super) const KEY: &str = "fastly-key-7f3a";

type Objects = BTreeMap<String, Map<String, Value>>;

/// A version, as far as it is looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Version {
    pub(super) is_active: bool,
    pub(super) is_locked: bool,
    pub(super) comment: String,
    pub(super) snippets: Objects,
    pub(super) endpoints: Objects,
    pub(super) vcls: Vec<Value>,
}

/// The service, and how it misbehaves.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) kind: &'static str,
    pub(super) versions: BTreeMap<u64, Version>,
    /// Every call: method and path.
    pub(super) calls: Vec<String>,
    /// So many changes are taken, then this status is the answer.
    pub(super) fails_after: Option<(usize, u16)>,
    /// What validation finds.
    pub(super) objection: Option<&'static str>,
    writes: usize,
}

/// The stand-in, on loopback as long as the test's process lives.
pub(super) struct Api {
    pub(super) url: String,
    account: Arc<Mutex<Account>>,
}

impl Api {
    /// A service of the type `vcl` or `wasm`; version 2 is active, version 1 was before.
    pub(super) fn start(kind: &'static str) -> Self {
        let mut account = Account { kind, ..Account::default() };
        let locked = Version { is_locked: true, comment: "by hand".to_owned(), ..Version::default() };
        account.versions.insert(1, locked.clone());
        account.versions.insert(2, Version { is_active: true, ..locked });
        let account = Arc::new(Mutex::new(account));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&account));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { url, account }
    }

    pub(super) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    pub(super) fn version(&self, number: u64) -> Version {
        self.account().versions[&number].clone()
    }

    /// Number of the active version.
    pub(super) fn active(&self) -> u64 {
        let account = self.account();
        let mut active = account.versions.iter().filter(|(_, version)| version.is_active);
        let (number, _) = active.next().unwrap();
        assert!(active.next().is_none(), "two versions are active");
        *number
    }

    /// The calls since the last time that change something.
    pub(super) fn writes(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.account().calls);
        calls.into_iter().filter(|call| !call.starts_with("GET ")).collect()
    }
}

fn refused(status: u16, message: &str, detail: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, axum::Json(json!({"msg": message, "detail": detail}))).into_response()
}

fn said(value: Value) -> Response {
    axum::Json(value).into_response()
}

async fn answer(
    State(account): State<Arc<Mutex<Account>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut account = account.lock().unwrap();
    account.calls.push(format!("{method} {}", uri.path()));
    if headers.get("Fastly-Key").is_none_or(|key| key != KEY) {
        // As Fastly does: JSON that calls itself plain text.
        return (StatusCode::UNAUTHORIZED, r#"{"msg":"Provided credentials are missing or invalid"}"#)
            .into_response();
    }
    if method != Method::GET {
        account.writes += 1;
        if let Some((after, status)) = account.fails_after
            && account.writes > after
        {
            let mut response = refused(status, "This is", "a test");
            let reset = [("fastly-ratelimit-remaining", "0"), ("fastly-ratelimit-reset", "1795291200")];
            response.headers_mut().extend(
                reset.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
            );
            return response;
        }
    }
    let path: Vec<String> =
        uri.path().trim_start_matches('/').split('/').map(|segment| segment.replace("%20", " ")).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let fields: Map<String, Value> = form_urlencoded::parse(&body)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    match path.as_slice() {
        ["service", id, rest @ ..] if *id == SERVICE => in_service(&mut account, &method, rest, fields),
        _ => refused(404, "Record not found", "Cannot load service"),
    }
}

fn version_json(number: u64, version: &Version) -> Value {
    json!({"number": number, "active": version.is_active, "locked": version.is_locked, "comment": version.comment,
        "service_id": SERVICE, "staging": false, "testing": false, "deployed": false, "deleted_at": null})
}

fn in_service(account: &mut Account, method: &Method, path: &[&str], fields: Map<String, Value>) -> Response {
    if path.is_empty() {
        let versions = account.versions.iter().map(|(number, version)| version_json(*number, version));
        let versions: Vec<Value> = versions.collect();
        return said(
            json!({"id": SERVICE, "name": "shop", "type": account.kind, "versions": versions, "paused": false}),
        );
    }
    let ["version", number, rest @ ..] = path else {
        return refused(404, "Not found", "");
    };
    let number: u64 = number.parse().unwrap();
    let last = account.versions.keys().max().copied().unwrap();
    let (kind, objection) = (account.kind, account.objection);
    if method == Method::PUT && rest == ["activate"] {
        account.versions.values_mut().for_each(|version| version.is_active = false);
    }
    let Some(version) = account.versions.get_mut(&number) else {
        return refused(404, "Record not found", "Couldn't find Version");
    };
    match (method.as_str(), rest) {
        ("GET", []) => said(version_json(number, version)),
        ("PUT", ["clone"]) => {
            let made = Version { is_active: false, is_locked: false, ..version.clone() };
            let told = version_json(last + 1, &made);
            account.versions.insert(last + 1, made);
            said(told)
        }
        ("PUT", ["activate"]) => {
            (version.is_active, version.is_locked) = (true, true);
            said(version_json(number, version))
        }
        ("GET", ["validate"]) => match objection {
            None => said(json!({"status": "ok", "msg": null})),
            Some(message) => said(json!({"status": "error", "msg": message, "errors": [message]})),
        },
        ("GET", ["vcl"]) => said(Value::Array(version.vcls.clone())),
        (_, ["snippet" | "vcl", ..]) if kind == "wasm" => {
            refused(400, "Bad request", "not for this service type")
        }
        ("GET", ["snippet"]) => said(version.snippets.values().cloned().map(Value::Object).collect()),
        ("GET", ["logging", "https"]) => {
            said(version.endpoints.values().cloned().map(Value::Object).collect())
        }
        _ if version.is_locked => {
            refused(422, "Version locked", &format!("Version '{number}' for service '{SERVICE}' is locked"))
        }
        ("PUT", []) => {
            version.comment = fields["comment"].as_str().unwrap().to_owned();
            said(version_json(number, version))
        }
        (_, ["snippet", rest @ ..]) => {
            in_collection(&mut version.snippets, method, rest, fields, "VCL snippet")
        }
        (_, ["logging", "https", rest @ ..]) => {
            if fields.get("url").is_some_and(|url| !url.as_str().unwrap().starts_with("https://")) {
                return refused(400, "Bad request", "url must be https");
            }
            in_collection(&mut version.endpoints, method, rest, fields, "logging_https")
        }
        _ => refused(404, "Not found", ""),
    }
}

/// Numbers of an endpoint come back as numbers, its format's version as a text; what was not sent has its default.
fn kept(fields: Map<String, Value>) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in fields {
        let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
        let is_number =
            ["period", "request_max_bytes", "request_max_entries", "gzip_level"].contains(&name.as_str());
        kept.insert(name, number.filter(|_| is_number).map_or(value, Value::from));
    }
    kept.insert("deleted_at".to_owned(), Value::Null);
    kept
}

fn in_collection(
    objects: &mut Objects,
    method: &Method,
    path: &[&str],
    fields: Map<String, Value>,
    what: &str,
) -> Response {
    match (method.as_str(), path) {
        ("POST", []) => {
            let Some(name) = fields.get("name").and_then(Value::as_str).map(str::to_owned) else {
                return refused(400, "Bad request", "Name can't be blank");
            };
            if objects.contains_key(&name) {
                return refused(409, "Duplicate record", &format!("Duplicate {what}: '{name}'"));
            }
            let made = kept(fields);
            objects.insert(name, made.clone());
            said(Value::Object(made))
        }
        (_, [name]) if !objects.contains_key(*name) => {
            refused(404, "Record not found", &format!("Couldn't find {what} '{name}'"))
        }
        ("PUT", [name]) => {
            let object = objects.get_mut(*name).unwrap();
            object.extend(kept(fields));
            said(Value::Object(object.clone()))
        }
        ("DELETE", [name]) => {
            objects.remove(*name);
            said(json!({"status": "ok"}))
        }
        _ => refused(405, "Method not allowed", ""),
    }
}
