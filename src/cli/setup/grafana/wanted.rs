//! What Grafana is to have: a folder, two data sources, the boards of `dashboards/`, compiled in.

use anyhow::{Context as _, bail};
use reqwest::Url;
use serde_json::{Value, json};

use super::Arguments;
use crate::cli::setup::rest;

/// The boards ask for these data sources by their uids.
pub(super) const STORE_UID: &str = "throughline-store";
pub(super) const TRACES_UID: &str = "throughline-traces";
pub(super) const FOLDER_UID: &str = "throughline";
pub(super) const STORE_PLUGIN: &str = "grafana-clickhouse-datasource";
/// A board that has this tag is ours.
pub(super) const TAG: &str = "throughline";
const DATABASE: &str = "throughline";
/// Password of the store's user, and the token of a reader.
pub(super) const PASSWORD_VARIABLE: &str = "GRAFANA_STORE_PASSWORD";
pub(super) const READER_VARIABLE: &str = "THROUGHLINE_TOKEN";
/// ClickHouse's HTTP interface, where a URL names no port.
const STORE_PORTS: [(&str, u16); 2] = [("http", 8123), ("https", 8443)];

/// File name and text of every board.
const BOARDS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// Provisioning files of alert rules, as JSON.
const ALERTS: &[&str] = &include!(concat!(env!("OUT_DIR"), "/alerts.rs"));

/// A group of alert rules, as the API takes it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) json: Value,
}

/// A data source: what is compared, and what Grafana never shows again.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) uid: &'static str,
    /// `name`, `type`, `access`, `url`, `jsonData`.
    pub(super) settings: Value,
    /// `secureJsonData`; empty where nothing is secret or nothing is at hand.
    pub(super) secrets: Value,
    /// Which variable would have held it.
    pub(super) secret_from: &'static str,
}

/// A board.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) uid: String,
    pub(super) json: Value,
}

/// The two data sources.
pub(super) fn sources(arguments: &Arguments) -> anyhow::Result<[Source; 2]> {
    let Some(store_url) = &arguments.store_url else {
        bail!("--store-url says where Grafana reaches the store, such as http://127.0.0.1:8123");
    };
    let store = parsed(store_url, "--store-url")?;
    let port = store
        .port()
        .or_else(|| STORE_PORTS.iter().find(|(scheme, _)| *scheme == store.scheme()).map(|(_, port)| *port));
    let (user, password) = credentials(arguments)?;
    let Some(tempo_url) = &arguments.tempo_url else {
        bail!("--tempo-url says where Grafana reaches throughline serve, such as http://127.0.0.1:8080");
    };
    let mut tempo = parsed(tempo_url, "--tempo-url")?;
    if tempo.path() == "/" {
        tempo.set_path("/tempo");
    }
    let reader = rest::secret(READER_VARIABLE);
    let mut traces = json!({"streamingEnabled": {"search": false, "metrics": false}});
    if reader.is_some() {
        traces["httpHeaderName1"] = "Authorization".into();
    }
    Ok([
        Source {
            uid: STORE_UID,
            settings: json!({"name": "Throughline store", "type": STORE_PLUGIN, "access": "proxy", "url": "",
                "jsonData": {"host": store.host_str().unwrap_or_default(), "port": port, "protocol": "http",
                    "secure": store.scheme() == "https", "username": user, "defaultDatabase": DATABASE}}),
            secrets: password.map_or_else(|| json!({}), |password| json!({"password": password})),
            secret_from: PASSWORD_VARIABLE,
        },
        Source {
            uid: TRACES_UID,
            settings: json!({"name": "Throughline traces", "type": "tempo", "access": "proxy",
                "url": tempo.as_str().trim_end_matches('/'), "jsonData": traces}),
            secrets: reader
                .map_or_else(|| json!({}), |token| json!({"httpHeaderValue1": format!("Bearer {token}")})),
            secret_from: READER_VARIABLE,
        },
    ])
}

/// User and password of the store: of a file as the service writes it, or by option and variable.
fn credentials(arguments: &Arguments) -> anyhow::Result<(String, Option<String>)> {
    let Some(file) = &arguments.store_credentials else {
        return Ok((arguments.store_user.clone(), rest::secret(PASSWORD_VARIABLE)));
    };
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read {shown} (--store-credentials)"))?;
    let Some((user, password)) = text.trim().split_once(':') else {
        bail!(
            "{shown} (--store-credentials) must hold user:password, as DATA_DIR/clickhouse-credentials does"
        );
    };
    Ok((user.to_owned(), Some(password.to_owned())))
}

fn parsed(text: &str, option: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("{option} {text:?} is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        bail!("{option} {text:?}: must be http://HOST:PORT or https://HOST:PORT");
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!("{option}: no user or password in the URL");
    }
    Ok(url)
}

/// The boards; an error names the file that is none.
pub(super) fn boards() -> anyhow::Result<Vec<Board>> {
    let read = |&(file, text): &(&str, &str)| {
        let json: Value = serde_json::from_str(text).with_context(|| format!("dashboards/{file}"))?;
        let uid = json["uid"].as_str().with_context(|| format!("dashboards/{file} has no uid"))?.to_owned();
        Ok(Board { uid, json })
    };
    BOARDS.iter().map(read).collect()
}

/// The alert rules.
pub(super) fn groups() -> anyhow::Result<Vec<Group>> {
    let files =
        ALERTS.iter().map(|text| serde_json::from_str::<Value>(text)).collect::<Result<Vec<_>, _>>()?;
    let groups = files.iter().flat_map(|file| file["groups"].as_array().into_iter().flatten());
    groups.map(group).collect()
}

/// A group of a provisioning file: the API counts the interval in seconds, and each rule says where it lies.
fn group(provisioned: &Value) -> anyhow::Result<Group> {
    let name = provisioned["name"].as_str().context("a group of alert rules has no name")?;
    let interval = provisioned["interval"].as_str().and_then(seconds);
    let interval = interval.with_context(|| format!("the group {name} has no interval"))?;
    let mut rules = provisioned["rules"].as_array().cloned().unwrap_or_default();
    for rule in &mut rules {
        (rule["folderUID"], rule["ruleGroup"], rule["orgID"]) = (FOLDER_UID.into(), name.into(), 1.into());
    }
    let json = json!({"title": name, "folderUid": FOLDER_UID, "interval": interval, "rules": rules});
    Ok(Group { name: name.to_owned(), json })
}

/// `30s`, `5m`, `1h`.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whether a board is one of ours, of this version or another.
pub(super) fn is_our_board(board: &Value) -> bool {
    board["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == TAG))
}

/// Whether everything that is wanted is there; more than that does not count, for Grafana adds fields of its own.
pub(super) fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| holds(there.get(name).unwrap_or(&Value::Null), value))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len()
                && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        (there, wanted) => there == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_of_the_directory_is_in_the_binary_and_known_as_ours() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
        let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).count();
        let boards = boards().unwrap();
        assert!(files >= 1 && boards.len() == files, "{files} files, {} boards", boards.len());
        for board in &boards {
            assert!(is_our_board(&board.json), "{} has no tag {TAG}", board.uid);
            assert!(board.uid.starts_with("throughline-") && board.uid.len() <= 40, "{}", board.uid);
        }
        let mut uids: Vec<_> = boards.iter().map(|board| &board.uid).collect();
        uids.dedup();
        assert_eq!(uids.len(), boards.len(), "two boards have one uid");
    }

    #[test]
    fn the_alert_rules_are_in_the_binary_as_the_api_takes_them() {
        let groups = groups().unwrap();
        assert!(!groups.is_empty());
        for group in &groups {
            assert!(group.json["interval"].as_u64().unwrap() >= 10, "{}", group.name);
            let rules = group.json["rules"].as_array().unwrap();
            assert!(!rules.is_empty());
            for rule in rules {
                assert!(rule["uid"].as_str().unwrap().starts_with("throughline-"), "{rule}");
                assert_eq!(
                    (&rule["folderUID"], &rule["ruleGroup"]),
                    (&json!(FOLDER_UID), &json!(group.name))
                );
                for field in ["title", "condition", "data", "for", "noDataState", "execErrState"] {
                    assert!(!rule[field].is_null(), "{field}: {rule}");
                }
            }
        }
        assert_eq!(
            [seconds("30s"), seconds("5m"), seconds("1h"), seconds("m"), seconds("")],
            [Some(30), Some(300), Some(3600), None, None]
        );
    }

    #[test]
    fn fields_that_grafana_adds_are_no_difference_and_changed_ones_are() {
        let wanted = json!({"a": 1, "list": [{"b": "x"}], "none": null});
        assert!(holds(&json!({"a": 1, "list": [{"b": "x", "added": 1}], "id": 7}), &wanted));
        assert!(!holds(&json!({"a": 2, "list": [{"b": "x"}]}), &wanted));
        assert!(!holds(&json!({"a": 1, "list": [{"b": "x"}, {}]}), &wanted));
        assert!(!holds(&json!({"list": [{"b": "x"}]}), &wanted));
    }
}
