//! `throughline setup grafana` against a stand-in for Grafana's HTTP API.

use serde_json::json;

use super::grafana_api::{Grafana, PASSWORD, READER, STORE, TOKEN, TRACES};
use super::setup_in;

const OVERVIEW: &str = "throughline-overview";

#[test]
fn everything_comes_in_on_request_once_and_goes_again() {
    let grafana = Grafana::start();
    let (printed, said) = grafana.good(&[]);
    assert!(
        printed.starts_with(&format!("Grafana 12.2.0 at {}:\n+ folder Throughline\n", grafana.url)),
        "{printed}"
    );
    assert!(printed.contains(&format!("+ board {OVERVIEW} (")), "{printed}");
    assert!(said.contains("ok    the plugin grafana-clickhouse-datasource is there (4.11.1)"), "{said}");
    assert!(said.contains("dry run: nothing was written"), "{said}");
    assert_eq!(grafana.writes(), Vec::<String>::new());

    let (_, said) = grafana.good(&["--yes"]);
    assert!(said.contains("ok    done"), "{said}");
    assert!(said.contains(&format!("ok    data source {STORE}: Data source is working")), "{said}");
    assert!(said.contains(&format!("?     data source {TRACES} was not checked")), "{said}");
    {
        let contents = grafana.contents();
        let store = &contents.sources[STORE]["jsonData"];
        let wanted = json!({"host": "clickhouse", "port": 8123, "protocol": "http", "secure": false, "username": "grafana",
            "defaultDatabase": "throughline"});
        assert_eq!(*store, wanted);
        assert_eq!(contents.secrets[STORE], json!({"password": PASSWORD}));
        assert_eq!(contents.sources[TRACES]["url"], "http://throughline:8080/tempo");
        assert_eq!(contents.sources[TRACES]["jsonData"]["httpHeaderName1"], "Authorization");
        assert_eq!(contents.secrets[TRACES], json!({"httpHeaderValue1": format!("Bearer {READER}")}));
        let files = std::fs::read_dir(format!("{}/dashboards", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let files = files
            .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "json"));
        assert_eq!(contents.boards.len(), files.count());
        assert_eq!(contents.boards[OVERVIEW]["meta"]["folderUid"], "throughline");
    }

    grafana.writes();
    let (printed, said) = grafana.good(&["--yes"]);
    assert!(said.contains("ok    nothing to change") && !printed.contains("\n+ "), "{printed}{said}");
    assert_eq!(grafana.writes(), Vec::<String>::new());

    // Changed in Grafana: the board comes back, the operator's own name and settings stay.
    {
        let mut contents = grafana.contents();
        contents.boards.get_mut(OVERVIEW).unwrap()["dashboard"]["title"] = "mine".into();
        let store = contents.sources.get_mut(STORE).unwrap();
        store["name"] = "Logs".into();
        store["isDefault"] = true.into();
        store["jsonData"]["queryTimeout"] = "60".into();
        store["jsonData"]["host"] = "elsewhere".into();
    }
    let (printed, _) = grafana.good(&["--yes"]);
    assert!(
        printed.contains(&format!("~ data source {STORE}\n      host: elsewhere -> clickhouse\n")),
        "{printed}"
    );
    assert!(printed.contains(&format!("~ board {OVERVIEW} (")), "{printed}");
    assert_eq!(grafana.writes(), [format!("PUT datasources/uid/{STORE}"), "POST dashboards/db".to_owned()]);
    {
        let contents = grafana.contents();
        let store = &contents.sources[STORE];
        assert_eq!((&store["name"], &store["isDefault"]), (&json!("Logs"), &json!(true)));
        assert_eq!(
            (&store["jsonData"]["queryTimeout"], &store["jsonData"]["host"]),
            (&json!("60"), &json!("clickhouse"))
        );
        assert_eq!(contents.secrets[STORE], json!({"password": PASSWORD}));
    }

    let (printed, _) = grafana.good(&["--undo"]);
    assert!(printed.contains(&format!("- data source {TRACES}\n- folder Throughline")), "{printed}");
    assert_eq!(grafana.writes(), Vec::<String>::new());
    grafana.good(&["--undo", "--yes"]);
    let contents = grafana.contents();
    assert!(contents.folders.is_empty() && contents.sources.is_empty() && contents.boards.is_empty());
}

#[test]
fn alert_rules_come_only_when_asked_for() {
    let grafana = Grafana::start();
    let (printed, _) = grafana.good(&["--yes"]);
    assert!(!printed.contains("alert"), "{printed}");
    let (printed, _) = grafana.good(&["--yes", "--alerts"]);
    assert!(printed.contains("+ alert rules throughline ("), "{printed}");
    let rules = grafana.contents().groups["throughline"]["rules"].as_array().unwrap().len();
    assert!(rules >= 1);
    grafana.writes();
    let (printed, _) = grafana.good(&["--yes", "--alerts"]);
    assert!(printed.contains(&format!("= alert rules throughline ({rules})")), "{printed}");
    assert_eq!(grafana.writes(), Vec::<String>::new());
    grafana.contents().groups.get_mut("throughline").unwrap()["rules"][0]["for"] = "9m".into();
    let (printed, _) = grafana.good(&["--yes", "--alerts"]);
    assert!(printed.contains("~ alert rules throughline"), "{printed}");
    let (printed, _) = grafana.good(&["--undo", "--yes"]);
    assert_eq!(printed.matches("\n- alert rule throughline-").count(), rules, "{printed}");
    let contents = grafana.contents();
    assert!(contents.groups.is_empty() && contents.folders.is_empty());
}

#[test]
fn what_is_somebody_elses_stays() {
    let grafana = Grafana::start();
    let board = json!({"dashboard": {"uid": OVERVIEW, "title": "mine", "tags": ["other"], "version": 1}, "meta": {"folderUid": ""}});
    grafana.contents().boards.insert(OVERVIEW.to_owned(), board.clone());
    grafana
        .contents()
        .sources
        .insert(STORE.to_owned(), json!({"uid": STORE, "type": "postgres", "name": "x", "readOnly": false}));
    let (code, _, said) = grafana.setup(&["--yes"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("FAIL  data source {STORE} is of type")), "{said}");
    assert!(said.contains(&format!("FAIL  board {OVERVIEW} ")), "{said}");
    grafana.good(&["--undo", "--yes"]);
    assert_eq!(grafana.writes(), Vec::<String>::new());
    assert_eq!(grafana.contents().boards[OVERVIEW], board);

    // Provisioned from files, as with Compose: what differs is said, nothing is tried.
    let grafana = Grafana::start();
    grafana.good(&["--yes"]);
    {
        let mut contents = grafana.contents();
        contents.sources.get_mut(STORE).unwrap()["readOnly"] = true.into();
        contents.sources.get_mut(STORE).unwrap()["jsonData"]["host"] = "other".into();
        let board = contents.boards.get_mut(OVERVIEW).unwrap();
        board["meta"]["provisioned"] = true.into();
        board["dashboard"]["title"] = "older".into();
        let mine = json!({"dashboard": {"uid": "mine", "tags": []}, "meta": {"folderUid": "throughline"}});
        contents.boards.insert("mine".to_owned(), mine);
    }
    grafana.writes();
    let (_, said) = grafana.good(&["--yes"]);
    assert!(
        said.contains("is provisioned from a file and differs; change it there: host: other -> clickhouse"),
        "{said}"
    );
    assert_eq!(grafana.writes(), Vec::<String>::new());
    let (_, said) = grafana.good(&["--undo", "--yes"]);
    assert!(said.contains("folder Throughline holds 2 more and stays"), "{said}");
    let contents = grafana.contents();
    assert!(contents.boards.contains_key("mine") && contents.boards.contains_key(OVERVIEW));
    assert!(contents.sources.contains_key(STORE) && !contents.sources.contains_key(TRACES));
}

#[test]
fn what_is_missing_or_refused_is_said_with_what_to_do() {
    let grafana = Grafana::start();
    grafana.contents().has_plugin = false;
    let (code, _, said) = grafana.setup(&["--yes"]);
    assert_eq!(code, 1);
    assert!(said.contains("`grafana cli plugins install grafana-clickhouse-datasource`"), "{said}");
    assert_eq!(grafana.writes(), Vec::<String>::new());
    grafana.contents().has_plugin = true;

    let (code, _, said) = grafana.setup_as(&[], "wrong");
    assert_eq!(code, 2);
    assert!(said.contains("(401, Invalid API key): is GRAFANA_TOKEN a service account's token"), "{said}");
    let (code, _, said) = grafana.setup_as(&[], "");
    assert_eq!(code, 2);
    assert!(said.contains("set GRAFANA_TOKEN"), "{said}");

    grafana.contents().fails_after = Some((2, 403));
    let (code, _, said) = grafana.setup(&["--yes"]);
    assert_eq!(code, 2);
    assert!(
        said.contains(&format!("data source {TRACES}; 2 of ")) && said.contains("needs the role Admin"),
        "{said}"
    );
    grafana.contents().fails_after = None;
    grafana.writes();
    grafana.good(&["--yes"]);
    assert!(!grafana.writes().contains(&"POST folders".to_owned()), "what is there is not made again");

    let nothing = setup_in(
        &["grafana", "--url", &grafana.url.replace("/grafana", ""), "--undo"],
        &[("GRAFANA_TOKEN", TOKEN)],
        "",
    );
    assert_eq!(nothing.0, 2);
    assert!(nothing.2.contains("404") && nothing.2.contains("is --url right"), "{}", nothing.2);
}
