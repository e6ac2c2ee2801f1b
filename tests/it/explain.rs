//! `throughline explain`: files in, answer out; no service, no engine.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::app::BINARY;

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn sample() -> Vec<PathBuf> {
    ["edge.ndjson", "gateway.log", "sidecar-a.log", "sidecar-b.log"]
        .map(|name| data("sample").join(name))
        .into()
}

fn explain<'a>(arguments: &[&str], files: impl IntoIterator<Item = &'a PathBuf>) -> Output {
    Command::new(BINARY).arg("explain").args(arguments).args(files).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What is shown, wherever its lines are broken.
fn words(output: &Output) -> String {
    text(output).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same files by another way: each line's own correlation id, read by serde.
fn correlation_ids(file: &Path, key: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line[key].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_sample_is_joined_as_its_ids_say() {
    let answer = json(&explain(&["--json"], &sample()));
    let edge = correlation_ids(&data("sample/edge.ndjson"), "correlation_id");
    let gateway = correlation_ids(&data("sample/gateway.log"), "x_correlation_id");
    assert!(gateway.is_subset(&edge) && !gateway.is_empty());
    let lines: usize =
        sample().iter().map(|file| std::fs::read_to_string(file).unwrap().lines().count()).sum();
    assert_eq!(answer["version"], 1);
    assert_eq!((answer["records"].as_u64(), answer["rejected"].as_u64()), (Some(lines as u64), Some(0)));
    let requests = &answer["requests"];
    assert_eq!(requests["edge_to_mesh"].as_u64(), Some(gateway.len() as u64), "{requests}");
    assert_eq!(requests["edge_only"].as_u64(), Some((edge.len() - gateway.len()) as u64), "{requests}");
    let joined_by = |between: &str| -> BTreeSet<&str> {
        let joins = answer["joined_by"].as_array().unwrap().iter().filter(|join| join["between"] == between);
        joins.filter_map(|join| join["by"].as_str()).collect()
    };
    assert_eq!(joined_by("edge_to_mesh"), BTreeSet::from(["correlation_id"]));
    // The last sidecar logs Istio's default format, which has no correlation id.
    assert_eq!(joined_by("in_mesh"), BTreeSet::from(["correlation_id", "request_id"]));
}

#[test]
fn the_sample_on_the_page() {
    let shown = words(&explain(&["--top", "3"], &sample()));
    for expected in [
        "requests: ",
        "from the edge into the mesh",
        "edge to mesh joined by correlation_id",
        "Failing, by kind; the latest of each:",
        "Slowest that did not fail:",
        "while app-a had not answered; the client saw 504.",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours into a pipe");
}

#[test]
fn one_request_is_shown_whole_by_any_of_its_ids() {
    let gateway = std::fs::read_to_string(data("sample/gateway.log")).unwrap();
    let chain = gateway.lines().find(|line| line.contains("/chain?x=1")).unwrap();
    let chain: Value = serde_json::from_str(chain).unwrap();
    for key in ["x_correlation_id", "request_id"] {
        let output = explain(&["--trace", chain[key].as_str().unwrap()], &sample());
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(0));
        for hop in ["edge", "gateway", "sidecar inbound", "sidecar outbound"] {
            assert!(shown.contains(hop), "{hop} is not in\n{shown}");
        }
        assert_eq!(shown.matches("sidecar inbound").count(), 2, "{shown}");
    }
    let nobody = explain(&["--trace", "00000000-0000-4000-8000-000000000000"], &sample());
    assert_eq!((nobody.status.code(), nobody.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no record in these files"));
}

#[test]
fn packed_and_piped_files_tell_the_same() {
    let plain = json(&explain(&["--json"], &[data("sample/edge.ndjson")]));
    let packed = zstd::encode_all(std::fs::read(data("sample/edge.ndjson")).unwrap().as_slice(), 1).unwrap();
    let mut child = Command::new(BINARY)
        .args(["explain", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&packed).unwrap();
    let piped = json(&child.wait_with_output().unwrap());
    for part in ["records", "first", "last", "hops", "requests", "joined_by", "slowest", "failing", "advice"]
    {
        assert_eq!(plain[part], piped[part], "{part}");
    }
}

#[test]
fn what_cannot_be_read_is_described_and_costs_the_others_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let strange = directory.path().join("strange.log");
    std::fs::write(&strange, "{\"colour\":\"red\",\"size\":3}\n").unwrap();
    let missing = directory.path().join("missing.log");
    let alone = explain(&[], [&strange, &missing]);
    assert_eq!(alone.status.code(), Some(1), "{}", text(&alone));
    let shown = words(&alone);
    for said in
        ["the keys colour, size", "--fastly-preset", "No such file", "Nothing in these files could be read"]
    {
        assert!(shown.contains(said), "{said:?} is not in\n{shown}");
    }
    let edge = data("sample/edge.ndjson");
    let edge_lines = std::fs::read_to_string(&edge).unwrap().lines().count() as u64;
    let beside = json(&explain(&["--json"], [&strange, &edge, &missing]));
    assert_eq!(beside["files"][1]["records"].as_u64(), Some(edge_lines));
    assert!(beside["files"][0]["looks_like"].as_str().unwrap().contains("colour, size"));
}

#[test]
fn advice_names_what_is_missing_and_what_to_paste() {
    let directory = tempfile::tempdir().unwrap();
    let edge = directory.path().join("edge.ndjson");
    let line = r#"{"timestamp":"2026-11-21T19:41:04+0000","client_ip":"203.0.113.7","geo_country":"germany","geo_city":"berlin","host":"shop.example.com","url":"/ok","request_method":"GET","request_protocol":"HTTP/2","request_referer":"","request_user_agent":"x","response_state":"MISS","response_status":200,"response_reason":"OK","response_body_size":9,"fastly_server":"cache-fra-1","fastly_is_edge":true}"#;
    std::fs::write(&edge, format!("{line}\n").repeat(20)).unwrap();
    let gateway = data("envoy/file/gw.text.log");
    let answer = json(&explain(&["--json"], [&edge, &gateway]));
    let advice = answer["advice"].as_array().unwrap();
    let snippet = |code: &str| {
        let found = advice.iter().find(|advice| advice["code"] == code);
        found.unwrap_or_else(|| panic!("{code} is not in {advice:?}"))["snippet"].as_str().unwrap_or_default()
    };
    assert!(snippet("edge_without_id").contains("uuid.version4()"));
    assert!(snippet("gateway_without_correlation_id").contains("%REQ(X-CORRELATION-ID)%"));
    assert!(snippet("coarse_edge_times").contains("time.start.usec"));
    snippet("unknown_hop");
    // Said to be a gateway's, its hop is known.
    let output =
        Command::new(BINARY).args(["explain", "--json"]).arg(&edge).arg("--gateway").arg(&gateway).output();
    let said = json(&output.unwrap());
    assert!(!said["advice"].as_array().unwrap().iter().any(|advice| advice["code"] == "unknown_hop"));
}

#[test]
fn what_does_not_fit_is_left_out_oldest_first_and_said() {
    let all = json(&explain(&["--json"], &sample()));
    let answer = json(&explain(&["--json", "--memory", "60KiB"], &sample()));
    let left_out = answer["left_out"]["records"].as_u64().unwrap();
    assert!(left_out > 0 && left_out < answer["records"].as_u64().unwrap(), "{answer}");
    assert_eq!(all["left_out"], Value::Null);
    assert!(words(&explain(&["--memory", "60KiB"], &sample())).contains("left out for want of memory"));
}

#[test]
fn lines_of_several_senders_in_one_file_are_all_read() {
    let directory = tempfile::tempdir().unwrap();
    let mixed = directory.path().join("mixed.log");
    let all: Vec<u8> = sample().iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    std::fs::write(&mixed, all).unwrap();
    let (apart, together) = (json(&explain(&["--json"], &sample())), json(&explain(&["--json"], [&mixed])));
    for part in ["records", "rejected", "requests", "joined_by"] {
        assert_eq!(apart[part], together[part], "{part}");
    }
}

#[test]
fn neither_secrets_nor_control_characters_come_through() {
    let directory = tempfile::tempdir().unwrap();
    let hostile = directory.path().join("hostile\u{1b}[2J.ndjson");
    let line = r#"{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"elapsed_us":5,"edge":true,"visits":0,"correlation_id":"0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f","method":"GET","host":"h","url":"/\u001b[2Jx\u202ey?access_token=s3cr3t-s3cr3t-s3cr3t","status":503,"state":"ERROR","pop":"F\u0007A"}"#;
    std::fs::write(&hostile, format!("{line}\n{{\"broken\u{1b}[31m\": \"Bearer s3cr3t-s3cr3t-s3cr3t\n"))
        .unwrap();
    for arguments in [vec![], vec!["--trace", "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f"], vec!["--json"]] {
        let shown = text(&explain(&arguments, [&hostile]));
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
        assert!(arguments == ["--json"] || !shown.contains('\u{202e}'), "{shown:?}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("h/"), "{shown}");
    }
}
