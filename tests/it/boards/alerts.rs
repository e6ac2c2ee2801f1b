//! Alert rules: Grafana's run against the store and fire on the sample traffic; Prometheus' name metrics that exist; each
//! leads to a place in the operations guide.

use std::collections::BTreeSet;

use serde_json::Value;

use super::board::directory;
use super::files::{is_known, known_metrics, metrics_in};
use super::shared;

fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(directory().join(path)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules(file: &Value) -> Vec<&Value> {
    let groups = file["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect()
}

/// The anchors of the operations guide, as they are made of its headings.
fn anchors() -> BTreeSet<String> {
    let path = directory().join("../docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let heading = |line: &str| line.trim_start_matches('#').trim().to_lowercase();
    let anchor = |text: String| -> String {
        let kept = text.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).map(heading).map(anchor).collect()
}

fn leads_to_the_guide(rule: &Value, anchors: &BTreeSet<String>) {
    let url = rule["annotations"]["runbook_url"].as_str().unwrap_or_else(|| panic!("no runbook_url: {rule}"));
    let anchor = url.strip_prefix("docs/operations.md#").unwrap_or_else(|| panic!("{url}"));
    assert!(anchors.contains(anchor), "no heading for {url} in {anchors:?}");
    assert!(rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(), "{rule}");
}

#[test]
fn grafana_s_rules_run_and_lead_to_the_guide() {
    let file = yaml("provisioning/alerting/throughline.yaml");
    assert_eq!(file["apiVersion"], 1);
    let (rules, anchors, filled) = (rules(&file), anchors(), shared());
    let mut firing = BTreeSet::new();
    for rule in &rules {
        leads_to_the_guide(rule, &anchors);
        let uid = rule["uid"].as_str().unwrap();
        assert!(uid.len() <= 40 && rule["title"].is_string() && rule["for"].is_string(), "{uid}");
        let data = rule["data"].as_array().unwrap();
        assert_eq!((data.len(), &rule["condition"]), (2, &data[1]["refId"]), "{uid}");
        assert_eq!(
            (&data[0]["datasourceUid"], &data[0]["refId"]),
            (&"throughline-store".into(), &"A".into())
        );
        let (ask, judge) = (&data[0]["model"], &data[1]["model"]);
        assert_eq!((&judge["type"], &judge["expression"]), (&"threshold".into(), &"A".into()), "{uid}");
        let sql = ask["rawSql"].as_str().unwrap();
        // Grafana replaces `$NAME` in files of provisioning by its environment.
        assert!(!sql.contains('$'), "{uid}: {sql}");
        // The sample traffic is up to half an hour old.
        let answer = filled.store.ask(uid, &sql.replace("INTERVAL 10 MINUTE", "INTERVAL 60 MINUTE"));
        let is_number =
            |kind: &str| kind.starts_with("Float") || kind.starts_with("UInt") || kind.starts_with("Int");
        let numbers: Vec<usize> = answer
            .columns
            .iter()
            .enumerate()
            .filter(|(_, (_, kind))| is_number(kind))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(numbers.len(), 1, "{uid}: one number, labels beside it: {:?}", answer.columns);
        let evaluator = &judge["conditions"][0]["evaluator"];
        let bound = evaluator["params"][0].as_f64().unwrap();
        assert_eq!(evaluator["type"], "gt", "{uid}");
        let value = |row: &Value| {
            let cell = &row[numbers[0]];
            cell.as_f64().unwrap_or_else(|| cell.as_str().unwrap().parse().unwrap())
        };
        assert!(!answer.rows.is_empty(), "{uid}: no rows");
        if answer.rows.iter().any(|row| value(row) > bound) {
            firing.insert(uid);
        }
    }
    let expected = [
        "throughline-bypass",
        "throughline-disagreement",
        "throughline-error-share",
        "throughline-missing-hops",
        "throughline-rejects",
    ];
    assert_eq!(firing.into_iter().filter(|uid| expected.contains(uid)).collect::<Vec<_>>(), expected);
    assert!(rules.iter().any(|rule| rule["uid"] == "throughline-lag"));
}

#[test]
fn prometheus_rules_name_metrics_that_exist() {
    let file = yaml("prometheus/throughline.rules.yaml");
    let (known, anchors) = (known_metrics(), anchors());
    let mut named = BTreeSet::new();
    for rule in rules(&file) {
        leads_to_the_guide(rule, &anchors);
        let expr = rule["expr"].as_str().unwrap();
        let metrics = metrics_in(expr);
        assert!(!metrics.is_empty(), "{expr}");
        for metric in metrics {
            assert!(is_known(&known, &metric), "no metric {metric}:\n{known}");
        }
        let depth = expr.chars().try_fold(0, |depth: i32, letter| match letter {
            '(' => Some(depth + 1),
            ')' => (depth > 0).then_some(depth - 1),
            _ => Some(depth),
        });
        assert_eq!(depth, Some(0), "brackets: {expr}");
        assert!(named.insert(rule["alert"].as_str().unwrap()), "{rule}");
        let since = rule["for"].as_str().unwrap();
        assert!(since.ends_with(['s', 'm', 'h']), "{since}");
    }
    for wanted in ["ThroughlineLag", "ThroughlineRejects", "ThroughlineSpoolBudget"] {
        assert!(named.contains(wanted), "{named:?}");
    }
}
