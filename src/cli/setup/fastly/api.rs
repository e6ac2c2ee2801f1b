//! Fastly's API, as far as it is used here: a service, its versions, their snippets, log endpoints and VCL.
//!
//! After its published reference, and the answers that Fastly's own Go client recorded (2022 to July 2026). Numbers come as
//! numbers or as texts, so they are read as either.

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};

use crate::cli::setup::rest::{Answer, Api, Body};
use crate::render::safe;

/// One service, and the token to change it.
pub(super) struct Fastly {
    pub(super) api: Api,
    pub(super) service_id: String,
}

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) is_compute: bool,
    pub(super) versions: Vec<Version>,
}

/// A version of a service; active ones are locked.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) is_active: bool,
    pub(super) is_locked: bool,
    pub(super) comment: String,
}

/// A snippet as it is. A dynamic one has no content in a version.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveSnippet {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) priority: String,
    pub(super) is_dynamic: bool,
    pub(super) content: String,
}

/// What a version has.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) snippets: Vec<LiveSnippet>,
    /// HTTPS log endpoints, their values as texts.
    pub(super) endpoints: Vec<Vec<(String, String)>>,
    /// The text of the main custom VCL, if there is one.
    pub(super) main_vcl: Option<String>,
}

/// A collection of a version: its place below the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    Snippets,
    Endpoints,
}

impl Collection {
    fn path(self) -> &'static [&'static str] {
        match self {
            Self::Snippets => &["snippet"],
            Self::Endpoints => &["logging", "https"],
        }
    }
}

impl Fastly {
    pub(super) async fn service(&self) -> anyhow::Result<Service> {
        let found = self.call(Method::GET, &["service", &self.service_id], &[], "read the service").await?;
        let is_compute = match text(&found["type"]).as_str() {
            "vcl" => false,
            "wasm" => true,
            other => bail!("the service is of type {other:?}; only VCL and Compute services are known here"),
        };
        let listed = found["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let version = |value: &Value| {
            Some(Version {
                number: text(&value["number"]).parse().ok()?,
                is_active: value["active"] == true,
                is_locked: value["locked"] == true,
                comment: text(&value["comment"]),
            })
        };
        let versions = listed.iter().filter_map(version).collect();
        Ok(Service { name: text(&found["name"]), is_compute, versions })
    }

    /// What a version has; a Compute service has neither snippets nor VCL.
    pub(super) async fn live(&self, version: u64, is_compute: bool) -> anyhow::Result<Live> {
        let mut live = Live::default();
        let endpoints = self.list(version, &["logging", "https"], "read the log endpoints").await?;
        live.endpoints.extend(endpoints.iter().filter_map(Value::as_object).map(texts));
        if is_compute {
            return Ok(live);
        }
        for found in self.list(version, &["snippet"], "read the snippets").await? {
            live.snippets.push(LiveSnippet {
                name: text(&found["name"]),
                kind: text(&found["type"]),
                priority: text(&found["priority"]),
                is_dynamic: text(&found["dynamic"]) == "1",
                content: text(&found["content"]),
            });
        }
        let vcls = self.list(version, &["vcl"], "read the custom VCL").await?;
        live.main_vcl = vcls.iter().find(|vcl| vcl["main"] == true).map(|vcl| text(&vcl["content"]));
        Ok(live)
    }

    async fn list(&self, version: u64, path: &[&str], doing: &str) -> anyhow::Result<Vec<Value>> {
        match self.in_version(Method::GET, version, path, &[], doing).await? {
            Value::Array(list) => Ok(list),
            _ => bail!("Fastly answers with no list when asked to {doing}: is --api right?"),
        }
    }

    /// A new version with all that another has.
    pub(super) async fn clone_version(&self, from: u64) -> anyhow::Result<u64> {
        let made = self.in_version(Method::PUT, from, &["clone"], &[], "clone a version").await?;
        text(&made["number"]).parse().context("Fastly cloned the version and did not say its number")
    }

    pub(super) async fn set_comment(&self, version: u64, comment: &str) -> anyhow::Result<()> {
        let fields = [("comment", comment)];
        self.in_version(Method::PUT, version, &[], &fields, "comment on a version").await.map(drop)
    }

    pub(super) async fn create(
        &self,
        version: u64,
        collection: Collection,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let doing = "create an object in a version";
        self.in_version(Method::POST, version, collection.path(), fields, doing).await.map(drop)
    }

    pub(super) async fn update(
        &self,
        version: u64,
        collection: Collection,
        name: &str,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let path = [collection.path(), &[name]].concat();
        let doing = "change an object in a version";
        self.in_version(Method::PUT, version, &path, fields, doing).await.map(drop)
    }

    pub(super) async fn delete(
        &self,
        version: u64,
        collection: Collection,
        name: &str,
    ) -> anyhow::Result<()> {
        let path = [collection.path(), &[name]].concat();
        let doing = "delete an object of a version";
        self.in_version(Method::DELETE, version, &path, &[], doing).await.map(drop)
    }

    /// `None`, or what is wrong with the version.
    pub(super) async fn objection(&self, version: u64) -> anyhow::Result<Option<String>> {
        let said = self.in_version(Method::GET, version, &["validate"], &[], "validate a version").await?;
        if said["status"] == "ok" {
            return Ok(None);
        }
        let message = text(&said["msg"]);
        Ok(Some(if message.is_empty() { "Fastly gives no reason".to_owned() } else { message }))
    }

    /// Activates a version; what Fastly has to say about it, if anything.
    pub(super) async fn activate(&self, version: u64) -> anyhow::Result<String> {
        let said = self.in_version(Method::PUT, version, &["activate"], &[], "activate a version").await?;
        Ok(text(&said["msg"]))
    }

    async fn in_version(
        &self,
        method: Method,
        version: u64,
        path: &[&str],
        fields: &[(&str, &str)],
        doing: &str,
    ) -> anyhow::Result<Value> {
        let version = version.to_string();
        let path = [&["service", &self.service_id, "version", &version], path].concat();
        self.call(method, &path, fields, doing).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        fields: &[(&str, &str)],
        doing: &str,
    ) -> anyhow::Result<Value> {
        let body = if fields.is_empty() { Body::Nothing } else { Body::Form(fields) };
        let answer = self.api.call(method, path, &[], body).await?;
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(&answer.body).with_context(|| {
                format!("{} answers, but not like Fastly's API: is --api right?", self.api.place())
            });
        }
        Err(refusal(&answer, doing, &self.service_id))
    }
}

/// A refusal as what to do about it.
fn refusal(answer: &Answer, doing: &str, service_id: &str) -> anyhow::Error {
    let said = answer.json();
    let mut reason = text(&said["msg"]);
    let detail = text(&said["detail"]);
    if !detail.is_empty() {
        reason = if reason.is_empty() { detail } else { format!("{reason}: {detail}") };
    }
    let reason = if reason.is_empty() { "no reason given".to_owned() } else { safe(&reason).to_string() };
    let status = answer.status.as_u16();
    let advice = match status {
        401 => "is FASTLY_API_TOKEN right, and has it not expired?".to_owned(),
        403 => "the token needs the scope `global` (`global:read` for a dry run), and its user the right to change this service"
            .to_owned(),
        404 => format!("is {} the service's id, and may the token's user see it?", safe(service_id)),
        409 => "somebody made the same meanwhile: run this again".to_owned(),
        422 => "the version cannot be changed like this: was it locked or activated meanwhile? run this again".to_owned(),
        429 => format!("the hour's calls are used up{}: run this again then", opens_again(answer)),
        500.. => "the failure is Fastly's: run this again later".to_owned(),
        _ => "Fastly did not take what was sent".to_owned(),
    };
    anyhow::anyhow!("Fastly refuses to {doing} ({status}, {reason}): {advice}")
}

/// When calls are taken again, by the header that Fastly sends with every answer to a change.
fn opens_again(answer: &Answer) -> String {
    let header = answer.headers.get("Fastly-RateLimit-Reset").and_then(|value| value.to_str().ok());
    let at = header.and_then(|value| value.trim().parse().ok());
    at.and_then(|second| jiff::Timestamp::from_second(second).ok())
        .map_or_else(String::new, |at| format!(", until {at}"))
}

/// A text, a number as text, or nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn texts(object: &Map<String, Value>) -> Vec<(String, String)> {
    object.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}
