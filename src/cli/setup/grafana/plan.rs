//! What would change in a Grafana: read, shown, and on request done.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::api::Grafana;
use super::wanted::{
    self, Board, FOLDER_UID, Group, STORE_PLUGIN, STORE_UID, Source, TRACES_UID, holds, is_our_board,
};
use crate::render::safe;

/// One call that is to be made.
#[derive(Debug)]
enum Call {
    MakeFolder,
    DeleteFolder,
    MakeSource(Value),
    ChangeSource(&'static str, Value),
    DeleteSource(&'static str),
    SaveBoard(Value),
    SaveGroup(String, Value),
    DeleteRule(String),
    DeleteBoard(String),
}

/// What stands before it: one line each, and the calls.
#[derive(Debug, Default)]
pub(super) struct Plan {
    lines: String,
    calls: Vec<(String, Call)>,
    /// What is somebody else's under our names: why nothing is done.
    pub(super) foreign: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Plan {
    fn keep(&mut self, what: &str) {
        let _ = writeln!(self.lines, "= {what}");
    }

    fn call(&mut self, mark: char, what: &str, details: &[String], call: Call) {
        let _ = writeln!(self.lines, "{mark} {what}");
        for detail in details {
            let _ = writeln!(self.lines, "      {detail}");
        }
        self.calls.push((what.to_owned(), call));
    }

    pub(super) fn show(&self) -> &str {
        self.lines.trim_end()
    }

    pub(super) fn is_done(&self) -> bool {
        self.calls.is_empty() && self.foreign.is_empty()
    }

    /// What brings everything in.
    pub(super) async fn install(
        grafana: &Grafana,
        sources: &[Source; 2],
        boards: &[Board],
        groups: &[Group],
        renew_secrets: bool,
    ) -> anyhow::Result<Self> {
        let mut plan = Self::default();
        match grafana.folder().await? {
            Some(_) => plan.keep("folder Throughline"),
            None => plan.call('+', "folder Throughline", &[], Call::MakeFolder),
        }
        for source in sources {
            plan.install_source(source, grafana.source(source.uid).await?, renew_secrets);
        }
        for board in boards {
            plan.install_board(board, grafana.board(&board.uid).await?);
        }
        for group in groups {
            let rules = group.json["rules"].as_array().map_or(0, Vec::len);
            let what = format!("alert rules {} ({rules})", group.name);
            let save = || Call::SaveGroup(group.name.clone(), group.json.clone());
            match grafana.group(&group.name).await? {
                None => plan.call('+', &what, &[], save()),
                Some(there) if holds(&there, &group.json) => plan.keep(&what),
                Some(_) => plan.call('~', &what, &["other rules".to_owned()], save()),
            }
        }
        Ok(plan)
    }

    fn install_source(&mut self, wanted: &Source, there: Option<Value>, renew_secrets: bool) {
        let what = format!("data source {}", wanted.uid);
        let has_secret = wanted.secrets.as_object().is_some_and(|secrets| !secrets.is_empty());
        let Some(there) = there else {
            if !has_secret && wanted.uid == STORE_UID {
                self.notes.push(format!(
                    "{what}: without a password; set {} if the store asks for one",
                    wanted.secret_from
                ));
            }
            let mut body = wanted.settings.clone();
            body["uid"] = wanted.uid.into();
            body["secureJsonData"] = wanted.secrets.clone();
            let details = differences(&wanted.settings, &Value::Null);
            self.call('+', &what, &details, Call::MakeSource(body));
            return;
        };
        if there["type"] != wanted.settings["type"] {
            self.foreign.push(format!(
                "{what} is of type {}: delete it, or give it another uid",
                safe(&there["type"].to_string())
            ));
            return;
        }
        // The name is the operator's to change.
        let mut settings = wanted.settings.clone();
        settings["name"] = there["name"].clone();
        let mut details = differences(&settings, &there);
        let lacks_secret = |name: &String| there["secureJsonFields"][name] != true;
        let sends_secret = has_secret
            && (renew_secrets
                || wanted.secrets.as_object().is_some_and(|secrets| secrets.keys().any(lacks_secret)));
        if sends_secret {
            details.push(format!("secret: the one in {}", wanted.secret_from));
        }
        if details.is_empty() {
            self.keep(&what);
            return;
        }
        if there["readOnly"] == true {
            self.keep(&what);
            self.notes.push(format!(
                "{what} is provisioned from a file and differs; change it there: {}",
                details.join(", ")
            ));
            return;
        }
        let mut body = there;
        merge(&mut body, &settings);
        // Without a secret that is sent, Grafana keeps the one that it has.
        if sends_secret {
            body["secureJsonData"] = wanted.secrets.clone();
        }
        self.call('~', &what, &details, Call::ChangeSource(wanted.uid, body));
    }

    fn install_board(&mut self, wanted: &Board, there: Option<Value>) {
        let title = safe(wanted.json["title"].as_str().unwrap_or_default()).to_string();
        let what = format!("board {} ({title})", wanted.uid);
        let Some(there) = there else {
            self.call('+', &what, &[], Call::SaveBoard(wanted.json.clone()));
            return;
        };
        if !is_our_board(&there["dashboard"]) {
            self.foreign.push(format!(
                "{what} is somebody else's: it has no tag {}; give it another uid",
                wanted::TAG
            ));
            return;
        }
        // Grafana counts versions and ids itself.
        let mut json = wanted.json.clone();
        if let Some(json) = json.as_object_mut() {
            json.retain(|name, _| !["id", "version"].contains(&name.as_str()));
        }
        let mut details = Vec::new();
        if !holds(&there["dashboard"], &json) {
            details.push("another content: changes made in Grafana stay in its version history".to_owned());
        }
        if there["meta"]["folderUid"] != FOLDER_UID {
            details.push("in another folder".to_owned());
        }
        if details.is_empty() {
            self.keep(&what);
        } else if there["meta"]["provisioned"] == true {
            self.keep(&what);
            self.notes.push(format!("{what} is provisioned from a file and differs; change it there"));
        } else {
            self.call('~', &what, &details, Call::SaveBoard(wanted.json.clone()));
        }
    }

    /// What takes ours out, and nothing else.
    pub(super) async fn remove(
        grafana: &Grafana,
        boards: &[Board],
        groups: &[Group],
    ) -> anyhow::Result<Self> {
        let mut plan = Self::default();
        for group in groups {
            let uids = |group: &Value| {
                let rules = group["rules"].as_array().into_iter().flatten();
                rules.filter_map(|rule| rule["uid"].as_str().map(str::to_owned)).collect::<Vec<_>>()
            };
            let there = grafana.group(&group.name).await?.map(|there| uids(&there)).unwrap_or_default();
            for uid in uids(&group.json).into_iter().filter(|uid| there.contains(uid)) {
                plan.call('-', &format!("alert rule {uid}"), &[], Call::DeleteRule(uid.clone()));
            }
        }
        let mut ours = Vec::new();
        for board in boards {
            let Some(there) = grafana.board(&board.uid).await? else { continue };
            let what = format!("board {}", board.uid);
            if there["meta"]["provisioned"] == true || !is_our_board(&there["dashboard"]) {
                plan.notes.push(format!("{what} is somebody else's or provisioned from a file, and stays"));
                continue;
            }
            ours.push(board.uid.clone());
            plan.call('-', &what, &[], Call::DeleteBoard(board.uid.clone()));
        }
        for (uid, kind) in [(STORE_UID, STORE_PLUGIN), (TRACES_UID, "tempo")] {
            let Some(there) = grafana.source(uid).await? else { continue };
            let what = format!("data source {uid}");
            if there["readOnly"] == true || there["type"] != kind {
                plan.notes.push(format!("{what} is somebody else's or provisioned from a file, and stays"));
                continue;
            }
            plan.call('-', &what, &[], Call::DeleteSource(uid));
        }
        if grafana.folder().await?.is_some() {
            // Grafana deletes a folder with all that is in it.
            let others = grafana.in_folder().await?.into_iter().filter(|uid| !ours.contains(uid)).count();
            match others {
                0 => plan.call('-', "folder Throughline", &[], Call::DeleteFolder),
                others => plan.notes.push(format!("folder Throughline holds {others} more and stays")),
            }
        }
        Ok(plan)
    }

    /// Makes every call, in order.
    pub(super) async fn execute(&self, grafana: &Grafana) -> anyhow::Result<()> {
        for (made, (what, call)) in self.calls.iter().enumerate() {
            match call {
                Call::MakeFolder => grafana.make_folder().await,
                Call::DeleteFolder => grafana.delete_folder().await,
                Call::MakeSource(body) => grafana.make_source(body).await,
                Call::ChangeSource(uid, body) => grafana.change_source(uid, body).await,
                Call::DeleteSource(uid) => grafana.delete_source(uid).await,
                Call::SaveBoard(board) => grafana.save_board(board).await,
                Call::SaveGroup(name, body) => grafana.save_group(name, body).await,
                Call::DeleteRule(uid) => grafana.delete_rule(uid).await,
                Call::DeleteBoard(uid) => grafana.delete_board(uid).await,
            }
            .with_context(|| {
                format!("{what}; {made} of {} changes are made: run this again to go on", self.calls.len())
            })?;
        }
        Ok(())
    }
}

/// Every setting that differs, `jsonData` key by key; secrets are not among them.
fn differences(wanted: &Value, there: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut compare = |prefix: &str, wanted: &Map<String, Value>, there: &Value| {
        for (name, is) in wanted.iter().filter(|(name, _)| *name != "jsonData") {
            let was = &there[name];
            if holds(was, is) {
                continue;
            }
            let shown = |value: &Value| safe(value.as_str().unwrap_or(&value.to_string())).to_string();
            found.push(if there.is_null() {
                format!("{prefix}{name}: {}", shown(is))
            } else {
                format!("{prefix}{name}: {} -> {}", shown(was), shown(is))
            });
        }
    };
    compare("", &fields(wanted), there);
    compare("", &fields(&wanted["jsonData"]), &there["jsonData"]);
    found
}

/// Puts values over others, object by object.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => into.clone_from(from),
    }
}
