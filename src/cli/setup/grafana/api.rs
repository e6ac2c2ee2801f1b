//! Grafana's HTTP API, as far as it is used here. After its published reference (10 to 12; 13 keeps it).

use anyhow::bail;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::wanted::{FOLDER_UID, STORE_PLUGIN};
use crate::cli::setup::rest::{Answer, Api, Body};
use crate::render::safe;

/// A Grafana, and the right to change it.
pub(super) struct Grafana {
    pub(super) api: Api,
}

/// Whether something works.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Check {
    Good(String),
    Bad(String),
    /// It could not be found out, and why.
    Unknown(String),
}

impl Grafana {
    /// Its version; an error if this is no Grafana.
    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let found = self.read(&["api", "health"], "say its version").await?.unwrap_or_default();
        match found["version"].as_str() {
            Some(version) => Ok(version.to_owned()),
            None => bail!("{} answers, but not like Grafana: is --url right?", self.api.place()),
        }
    }

    /// Whether the plugin for the store is there.
    pub(super) async fn plugin(&self) -> anyhow::Result<Check> {
        let path = ["api", "plugins", STORE_PLUGIN, "settings"];
        let answer = self.api.call(Method::GET, &path, &[], Body::Nothing).await?;
        Ok(match answer.status {
            StatusCode::OK => {
                let found = answer.json();
                let version = found["info"]["version"].as_str().unwrap_or("of unknown version");
                Check::Good(format!("the plugin {STORE_PLUGIN} is there ({})", safe(version)))
            }
            StatusCode::NOT_FOUND => Check::Bad(format!(
                "the plugin {STORE_PLUGIN} is missing: `grafana cli plugins install {STORE_PLUGIN}` where Grafana runs, then restart it \
                 (in a container: GF_PLUGINS_PREINSTALL={STORE_PLUGIN})"
            )),
            status => Check::Unknown(format!(
                "whether the plugin {STORE_PLUGIN} is there was not checked ({status})"
            )),
        })
    }

    /// Whether a data source reaches what it is for.
    pub(super) async fn health(&self, uid: &str) -> anyhow::Result<Check> {
        let path = ["api", "datasources", "uid", uid, "health"];
        let answer = self.api.call(Method::GET, &path, &[], Body::Nothing).await?;
        let said = answer.json();
        let message = safe(said["message"].as_str().unwrap_or_default()).to_string();
        Ok(match (answer.status, said["status"].as_str()) {
            (StatusCode::OK, Some("OK")) => Check::Good(format!("data source {uid}: {message}")),
            (_, Some("ERROR")) | (StatusCode::OK, Some(_)) => {
                Check::Bad(format!("data source {uid}: {message}"))
            }
            (status, _) => Check::Unknown(format!(
                "data source {uid} was not checked: Grafana answers {status} {message}"
            )),
        })
    }

    pub(super) async fn source(&self, uid: &str) -> anyhow::Result<Option<Value>> {
        self.read(&["api", "datasources", "uid", uid], "show a data source").await
    }

    pub(super) async fn folder(&self) -> anyhow::Result<Option<Value>> {
        self.read(&["api", "folders", FOLDER_UID], "show a folder").await
    }

    pub(super) async fn board(&self, uid: &str) -> anyhow::Result<Option<Value>> {
        self.read(&["api", "dashboards", "uid", uid], "show a dashboard").await
    }

    /// Uids of what lies in our folder.
    pub(super) async fn in_folder(&self) -> anyhow::Result<Vec<String>> {
        let query = [("folderUIDs", FOLDER_UID), ("limit", "5000")];
        let answer = self.api.call(Method::GET, &["api", "search"], &query, Body::Nothing).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer, "list a folder"));
        }
        let found = answer.json();
        let uids = found.as_array().into_iter().flatten().filter_map(|item| item["uid"].as_str());
        Ok(uids.map(str::to_owned).collect())
    }

    pub(super) async fn make_folder(&self) -> anyhow::Result<()> {
        let body = json!({"uid": FOLDER_UID, "title": "Throughline"});
        self.write(Method::POST, &["api", "folders"], &body, "make a folder").await
    }

    pub(super) async fn make_source(&self, body: &Value) -> anyhow::Result<()> {
        self.write(Method::POST, &["api", "datasources"], body, "make a data source").await
    }

    pub(super) async fn change_source(&self, uid: &str, body: &Value) -> anyhow::Result<()> {
        self.write(Method::PUT, &["api", "datasources", "uid", uid], body, "change a data source").await
    }

    pub(super) async fn save_board(&self, board: &Value) -> anyhow::Result<()> {
        let mut board = board.clone();
        board["id"] = Value::Null;
        let version = env!("CARGO_PKG_VERSION");
        let body = json!({"dashboard": board, "folderUid": FOLDER_UID, "overwrite": true,
            "message": format!("throughline setup grafana {version}")});
        self.write(Method::POST, &["api", "dashboards", "db"], &body, "save a dashboard").await
    }

    pub(super) async fn group(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let path = ["api", "v1", "provisioning", "folder", FOLDER_UID, "rule-groups", name];
        self.read(&path, "show alert rules").await
    }

    pub(super) async fn save_group(&self, name: &str, body: &Value) -> anyhow::Result<()> {
        let path = ["api", "v1", "provisioning", "folder", FOLDER_UID, "rule-groups", name];
        self.write(Method::PUT, &path, body, "save alert rules").await
    }

    pub(super) async fn delete_rule(&self, uid: &str) -> anyhow::Result<()> {
        self.delete(&["api", "v1", "provisioning", "alert-rules", uid], &[], "delete an alert rule").await
    }

    pub(super) async fn delete_source(&self, uid: &str) -> anyhow::Result<()> {
        self.delete(&["api", "datasources", "uid", uid], &[], "delete a data source").await
    }

    pub(super) async fn delete_board(&self, uid: &str) -> anyhow::Result<()> {
        self.delete(&["api", "dashboards", "uid", uid], &[], "delete a dashboard").await
    }

    /// Refused by Grafana if alert rules lie in it.
    pub(super) async fn delete_folder(&self) -> anyhow::Result<()> {
        let query = [("forceDeleteRules", "false")];
        self.delete(&["api", "folders", FOLDER_UID], &query, "delete a folder").await
    }

    async fn read(&self, path: &[&str], doing: &str) -> anyhow::Result<Option<Value>> {
        let answer = self.api.call(Method::GET, path, &[], Body::Nothing).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.json())),
            // Something else than Grafana would answer a page of its own.
            StatusCode::NOT_FOUND if answer.json().is_object() => Ok(None),
            _ => Err(refusal(&answer, doing)),
        }
    }

    async fn write(&self, method: Method, path: &[&str], body: &Value, doing: &str) -> anyhow::Result<()> {
        let answer = self.api.call(method, path, &[], Body::Json(body)).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refusal(&answer, doing)) }
    }

    async fn delete(&self, path: &[&str], query: &[(&str, &str)], doing: &str) -> anyhow::Result<()> {
        let answer = self.api.call(Method::DELETE, path, query, Body::Nothing).await?;
        if answer.status.is_success() { Ok(()) } else { Err(refusal(&answer, doing)) }
    }
}

/// A refusal as what to do about it.
fn refusal(answer: &Answer, doing: &str) -> anyhow::Error {
    let said = answer.json();
    let message = said["message"].as_str().filter(|message| !message.is_empty()).unwrap_or("no reason given");
    let status = answer.status.as_u16();
    let advice = match status {
        401 => "is GRAFANA_TOKEN a service account's token, and has it not expired?",
        403 => "the service account needs the role Admin: data sources are an admin's",
        404 => "is --url right, with the path that Grafana is served under?",
        409 => "something else has that name: rename it in Grafana, and run this again",
        412 => "somebody changed it meanwhile: run this again",
        429 => "Grafana limits calls: run this again later",
        500.. => "the failure is Grafana's: look at its log",
        _ => "Grafana did not take what was sent",
    };
    anyhow::anyhow!("Grafana refuses to {doing} ({status}, {}): {advice}", safe(message))
}
