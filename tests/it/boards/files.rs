//! The files themselves: one formatting, Grafana's own types, links that lead somewhere, metrics that exist.

use std::process::Command;

use serde_json::Value;

use super::board::{Board, directory};
use super::{clients, shared};
use crate::app::eventually;

/// Names of metrics in a text: `throughline_…`.
pub(super) fn metrics_in(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("throughline_")).map(str::to_owned).collect()
}

/// The metric names that the service answers with, by their `TYPE` lines and samples.
pub(super) fn known_metrics() -> String {
    // Rows are seen before their segment is counted as shipped, and a family without a sample is not shown.
    eventually("a segment is counted", || {
        let (status, text) = shared().service.get("/metrics");
        assert_eq!(status, 200);
        is_known(&text, "throughline_segments_total").then_some(text)
    })
}

/// A counter's samples end in `_total`, its family does not.
pub(super) fn is_known(metrics: &str, name: &str) -> bool {
    let family = name.trim_end_matches("_total").trim_end_matches("_bucket");
    metrics.lines().any(|line| {
        line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()).is_some_and(|it| it == family)
    })
}

/// One formatting: two spaces a level, one member a line, empty ones closed at once.
fn formatted(text: &str) -> String {
    let (mut out, mut depth, mut in_text, mut escaped) = (String::new(), 0, false, false);
    let mut letters = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(letter) = letters.next() {
        if in_text {
            out.push(letter);
            in_text = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
            continue;
        }
        match letter {
            '"' => {
                in_text = true;
                out.push(letter);
            }
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(|next| next.is_whitespace()).is_some() {}
                if let Some(close) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            letter if letter.is_whitespace() => {}
            letter => out.push(letter),
        }
    }
    out + "\n"
}

#[test]
fn boards_have_one_formatting() {
    for board in Board::all() {
        let expected = formatted(&board.text);
        let first = board.text.lines().zip(expected.lines()).position(|(is, should)| is != should);
        assert!(board.text == expected, "{}: line {:?} is formatted otherwise", board.file, first);
    }
}

#[test]
fn boards_are_what_grafana_s_schema_says() {
    let files: Vec<_> = Board::all().iter().map(|board| directory().join(&board.file)).collect();
    let checked = Command::new("node")
        .arg(clients::script("check-boards.cjs"))
        .arg(clients::tools().join("node_modules"))
        .args(&files)
        .output()
        .expect("run node");
    let said =
        format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("6 boards"), "{said}");
}

#[test]
fn boards_share_variables_and_link_every_row() {
    for board in Board::all() {
        let names: Vec<_> = board.variables().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert!(names.starts_with(&["datasource", "traces"]) && names.contains(&"tenant"), "{names:?}");
        if !["throughline-request", "throughline-pipeline"].contains(&board.uid()) {
            for name in ["service", "pop", "namespace", "workload"] {
                assert!(names.contains(&name), "{}: no variable {name}", board.file);
            }
        }
        for panel in board.panels().iter().filter(|panel| panel["type"] == "table") {
            let title = panel["title"].as_str().unwrap();
            let is_of_rows = panel["targets"][0]["rawSql"].is_string();
            let has_links = panel["fieldConfig"].to_string().contains("\"links\"");
            // Tables and instances of the store, and what could not be read, have no trace.
            let has_trace = !["Instances", "Newest rejects", "Tables", "Schema"].contains(&title);
            assert!(!is_of_rows || has_links == has_trace, "{}: {title}", board.file);
        }
        for other in board.text.split("/d/").skip(1) {
            let uid = other.split(['/', '?']).next().unwrap();
            assert!(Board::all().iter().any(|board| board.uid() == uid), "no board {uid}");
        }
    }
}

#[test]
fn metrics_of_the_boards_exist() {
    let known = known_metrics();
    let mut seen = 0;
    for board in Board::all() {
        for panel in board.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                for name in target["expr"].as_str().map(metrics_in).unwrap_or_default() {
                    assert!(is_known(&known, &name), "{}: no metric {name}:\n{known}", board.file);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// What the boards are provisioned with is what they ask for.
#[test]
fn data_sources_are_provisioned() {
    let path = directory().join("provisioning/datasources/throughline.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let sources: Value = serde_yaml_ng::from_str(&text).unwrap();
    let sources = sources["datasources"].as_array().unwrap();
    for board in Board::all() {
        for variable in board.variables().iter().filter(|variable| variable["type"] == "datasource") {
            // Nobody's Prometheus is ours to provision.
            if variable["name"] == "metrics" {
                continue;
            }
            let (uid, kind) = (&variable["current"]["value"], &variable["query"]);
            assert!(sources.iter().any(|source| source["uid"] == *uid && source["type"] == *kind), "{uid}");
        }
    }
}
