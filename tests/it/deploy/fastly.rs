//! The VCL snippets and the log format of `deploy/fastly`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn fastly() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fastly")
}

/// Variables that the snippets use, and the subroutines in which Fastly has them.
const VARIABLES: [(&str, &[&str]); 10] = [
    ("client.ip", &["recv"]),
    ("req.http", &["recv", "miss", "pass", "fetch", "deliver"]),
    ("req.restarts", &["recv"]),
    ("fastly.ff.visits_this_service", &["recv"]),
    ("bereq.http", &["miss", "pass", "fetch"]),
    ("beresp.http", &["fetch"]),
    ("beresp.status", &["fetch"]),
    ("resp.http", &["deliver"]),
    ("fastly_info.state", &["deliver"]),
    ("time.elapsed.usec", &["recv", "miss", "pass", "fetch", "deliver"]),
];

/// A snippet without comments and with its strings emptied.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(code, _)| code));
    let pieces: Vec<String> = lines.collect::<Vec<_>>().join("\n").split('"').map(str::to_owned).collect();
    assert_eq!(pieces.len() % 2, 1, "a string is not closed:\n{text}");
    pieces.into_iter().step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// No linter of VCL is to be had from a registry that this project uses; this catches what a slip of an editor breaks.
#[test]
fn the_snippets_are_balanced_and_use_variables_where_they_exist() {
    for kind in ["init", "recv", "miss", "pass", "fetch", "deliver"] {
        let code = code(&fs::read_to_string(fastly().join(format!("{kind}.vcl"))).unwrap());
        for (open, close) in [('{', '}'), ('(', ')')] {
            assert_eq!(code.matches(open).count(), code.matches(close).count(), "{kind}: {open}{close}");
        }
        for line in
            code.lines().map(str::trim).filter(|line| line.starts_with("set ") || line.starts_with("unset "))
        {
            assert!(line.ends_with(';'), "{kind}: {line}");
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        for word in code.split(|c| !is_part(c)).filter(|word| word.contains('.')) {
            let local = ["var.", "re.group.", "std.", "uuid."].iter().any(|prefix| word.starts_with(prefix));
            let known = VARIABLES.iter().find(|(name, _)| {
                word.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            assert!(
                local || known.is_some_and(|(_, scopes)| scopes.contains(&kind)),
                "{kind} may not use {word}"
            );
        }
    }
    let [miss, pass] =
        ["miss.vcl", "pass.vcl"].map(|name| code(&fs::read_to_string(fastly().join(name)).unwrap()));
    assert_eq!(miss, pass, "a fetch is timed the same way, cached or not");
}

#[test]
fn the_edges_headers_are_stripped_before_they_are_set() {
    let recv = fs::read_to_string(fastly().join("recv.vcl")).unwrap();
    let at = |what: &str| recv.find(what).unwrap_or_else(|| panic!("recv.vcl has no {what:?}"));
    let guard = at("if (fastly.ff.visits_this_service == 0 && req.restarts == 0)");
    for header in ["X-Correlation-Id", "X-Edge-Token", "X-Auth-Sub", "X-Request-Id"] {
        assert!(guard < at(&format!("unset req.http.{header};")));
        // Origins read _ as -, wherever it stands.
        let words: Vec<&str> = header.split('-').collect();
        for spelling in 0..1_u32 << (words.len() - 1) {
            let mark = |place: usize| if spelling >> place & 1 == 1 { "_" } else { "-" };
            let rest = words.iter().skip(1).enumerate().map(|(place, word)| format!("{}{word}", mark(place)));
            assert!(guard < at(&format!("unset req.http.{}{};", words[0], rest.collect::<String>())));
        }
    }
    assert!(at("unset req.http.X-Correlation-Id;") < at("set req.http.X-Correlation-Id = uuid.version7();"));
    let deliver = fs::read_to_string(fastly().join("deliver.vcl")).unwrap();
    assert!(deliver.contains("set resp.http.X-Correlation-Id = req.http.X-Correlation-Id;"));
}

/// The line as Fastly would fill it in; every field must be one that the preset maps, and every expression one that exists.
#[test]
fn the_log_line_is_json_that_the_preset_maps_field_by_field() {
    let format = fs::read_to_string(fastly().join("log-format.json")).unwrap();
    assert_eq!(format.trim().lines().count(), 1, "Fastly takes one line");
    let mut line = String::new();
    let mut rest = format.trim();
    while let Some((before, expression)) = rest.split_once("%{") {
        let (expression, after) = expression.split_once("}V").expect("%{ ends with }V");
        line.push_str(before);
        line.push_str(match expression {
            "server.datacenter" => "FRA",
            "fastly_info.state" => "MISS",
            _ if expression.contains("\"true\"") => "true",
            _ if before.ends_with('"') => "7",
            _ => "1795290064270000",
        });
        rest = after;
    }
    line.push_str(rest);
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    // Codes, tokens and session ids stand in queries.
    assert!(!format.contains("req.url,") && format.contains("regsub(req.http.Referer,"), "a query is logged");
    let preset = fs::read_to_string(fastly().join("../../schemas/fastly/throughline-vcl.toml")).unwrap();
    let preset: toml::Table = preset.parse().unwrap();
    let fields = preset["fields"].as_table().unwrap();
    for name in line.as_object().unwrap().keys() {
        assert!(fields.contains_key(name), "the preset does not map {name}");
    }
    for name in preset["detect"]["all"].as_array().unwrap() {
        assert!(line.get(name.as_str().unwrap()).is_some(), "without {name} the preset is not recognised");
    }
}
