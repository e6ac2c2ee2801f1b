//! `throughline setup` as an operator runs it: what it says, its exit codes, and whether what it prints does what it should.
//!
//! Nothing of Fastly is here. The printed script runs in a real shell against stand-ins that write down how they were called.

mod envoy;
mod fastly;
mod fastly_api;
mod fastly_script;
mod grafana;
mod grafana_api;
mod idp;
mod istio;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::app::BINARY;

/// Runs `throughline setup` with this standard input: exit code, stdout, stderr.
fn setup(arguments: &[&str], input: &str) -> (i32, String, String) {
    setup_in(arguments, &[], input)
}

/// The same with these environment variables.
fn setup_in(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> (i32, String, String) {
    let mut child = Command::new(BINARY)
        .arg("setup")
        .args(arguments)
        .envs(environment.iter().copied())
        // What is asked here is on this machine.
        .env("NO_PROXY", "localhost,127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that ends before it has read everything is judged by what it says.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn item() -> Value {
    json!({"version": 1, "policy_version": "2026-11-22",
        "issuers": [{"name": "main", "iss": "https://login.example.com", "jwks": {"backend": "idp", "path": "/keys"},
            "audiences": ["shop"]}],
        "edge_token": {"issuer": "https://edge.example.com", "audience": "mesh",
            "keys": [{"kid": "k1", "secret": "edge-key-1"}]},
        "routes": [{"name": "all", "action": {"forward": {"backend": "origin"}}}]})
}

#[test]
fn a_good_item_is_told_and_its_installation_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edge.json");
    fs::write(&file, item().to_string()).unwrap();
    let file = file.to_str().unwrap();
    let (code, script, said) = setup(&["edge", file], "");
    assert_eq!(code, 0, "{said}");
    let chars = item().to_string().len();
    assert!(said.contains(&format!("policy_version 2026-11-22: {chars} of 8000 characters")), "{said}");
    assert!(said.contains("need  secret edge-key-1: private key k1 of the edge token"), "{said}");
    assert!(said.contains("warn  subject_secret: is not set"), "{said}");
    assert!(script.ends_with(&format!("--key=config --stdin < {file}\n")), "{script}");
    let (code, hcl, _) = setup(&["edge", file, "--terraform"], "");
    assert_eq!(code, 0);
    assert!(hcl.contains(&format!("config = file(\"{file}\")")), "{hcl}");
    let (code, same, _) = setup(&["edge", "-"], &item().to_string());
    assert_eq!(code, 0);
    assert!(same.ends_with("--stdin < edge.json\n"), "{same}");
}

#[test]
fn what_is_wrong_with_an_item_is_said_with_its_place_and_nothing_is_printed() {
    let mut typo = item();
    typo["routes"][0]["acton"] = json!({});
    let mut secret = item();
    secret["edge_token"]["keys"][0]["secret"] = "-----BEGIN PRIVATE KEY-----".into();
    let mut unsafe_name = item();
    unsafe_name["routes"][0]["action"]["forward"]["backend"] = "a\u{1b}[2J".into();
    for (item, part) in [
        (typo.to_string(), "FAIL  edge.json: routes[0].acton: unknown field"),
        (secret.to_string(), "FAIL  edge.json: edge_token.keys[0].secret: is no name of a secret"),
        (unsafe_name.to_string(), "may have no control characters"),
        ("{".to_owned(), "FAIL  edge.json: the item: "),
        (format!("{}{}", item(), " ".repeat(8000)), "fits: jq -c . FILE"),
    ] {
        let (code, printed, said) = setup(&["edge", "-"], &item);
        assert_eq!((code, printed.as_str()), (1, ""), "{said}");
        assert!(said.contains(part), "{part} is not in {said}");
        assert!(!said.contains("PRIVATE KEY") && !said.contains('\u{1b}'), "{said}");
    }
    let (code, printed, said) = setup(&["edge", "-", "--mtls", "orgin"], &item().to_string());
    assert_eq!((code, printed.as_str()), (2, ""));
    assert!(said.contains(r#"--mtls: the item has no backend "orgin"; it has idp, origin"#), "{said}");
    let (code, _, said) = setup(&["edge", "/no/such/item.json"], "");
    assert_eq!(code, 2);
    assert!(said.contains("cannot open /no/such/item.json"), "{said}");
}

#[test]
fn an_item_over_8000_characters_is_refused_with_its_length() {
    let mut long = item();
    long["redirect_hosts"] = json!(["h".repeat(8000)]);
    let long = long.to_string();
    let (code, printed, said) = setup(&["edge", "-"], &long);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(said.contains(&format!("{} characters, and a config store takes 8000", long.len())), "{said}");
    assert!(said.contains(&format!("{} too many", long.len() - 8000)), "{said}");
    let (code, _, said) = setup(&["edge", "-"], &" ".repeat(2 << 20));
    assert_eq!(code, 2);
    assert!(said.contains("more than 1048576 bytes"), "{said}");
}

#[test]
fn the_documented_item_is_good() {
    let text = include_str!("../../docs/edge-setup.md");
    let (item, _) = text.split_once("```json\n").unwrap().1.split_once("```").unwrap();
    for more in [&[][..], &["--terraform"], &["--mtls", "origin"]] {
        let (code, printed, said) = setup(&[&["edge", "-"], more].concat(), item);
        assert_eq!(code, 0, "{said}");
        assert!(!said.contains("warn") && printed.contains("origin"), "{said}");
    }
}

/// Writes down each call with an argument a line, finds nothing, and makes what it is told to.
const FASTLY: &str = r#"#!/bin/sh
{ printf '%s\n' "fastly"; printf '  [%s]\n' "$@"; } >> "$CALLS"
case "$*" in
    *"-store create"*) echo "id-of-$1" ;;
    *describe*) exit 1 ;;
    config-store-entry*) sed 's/^/  stdin: /' >> "$CALLS" ;;
esac
"#;
/// Finds nothing in a list, and the id that the above gave.
const JQ: &str = r#"#!/bin/sh
case "$*" in
    *"length > 0"*) exit 1 ;;
    *) sed 's/^\[\]$//' ;;
esac
"#;

fn stand_in(directory: &Path, name: &str, text: &str) {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_script_calls_the_cli_with_exactly_the_names_of_the_item() {
    let hostile = ["-rf", "it's $(touch pwned) `id`", "a\\b\"${HOME}\" %{x}", "läuft; exit 7"];
    let mut item = item();
    let route = |(i, backend)| json!({"name": format!("r{i}"), "auth": "public", "action": {"forward": {"backend": backend}}});
    item["routes"] = hostile.iter().enumerate().map(route).collect();
    item["log_endpoint"] = "it's \"logs\" $(id)".into();
    let directory = tempfile::tempdir().unwrap();
    let file = "-it's `item`\n$(x).json";
    fs::write(directory.path().join(file), item.to_string()).unwrap();
    fs::write(directory.path().join("edge-key-1.secret"), "a key").unwrap();
    fs::write(directory.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nA\n").unwrap();
    fs::write(directory.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----\nB\n").unwrap();
    stand_in(directory.path(), "fastly", FASTLY);
    stand_in(directory.path(), "jq", JQ);

    let output = Command::new(BINARY)
        .args(["setup", "edge", "--mtls", hostile[1], "--", file])
        .current_dir(&directory)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(directory.path().join("install.sh"), &output.stdout).unwrap();
    let script = String::from_utf8(output.stdout).unwrap();

    let run = |with_hosts: bool| {
        let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.arg("install.sh").current_dir(&directory).env("PATH", path).env("CALLS", "calls");
        command.env("SERVICE_ID", "svc").env("THROUGHLINE_INGEST_TOKEN", "tok en");
        command.env("THROUGHLINE_LOGS_URL", "https://logs.example.com/v1/fastly/edge");
        for variable in script.split("${").filter_map(|rest| rest.split_once(":?")).map(|(name, _)| name) {
            match variable.split_once('_').map_or("", |(kind, _)| kind) {
                "host" if with_hosts => command.env(variable, format!("{variable}.example")),
                "client" if variable.starts_with("client_cert") => command.env(variable, "cert.pem"),
                "client" => command.env(variable, "key.pem"),
                _ => &mut command,
            };
        }
        command.output().unwrap()
    };
    let lacking = run(false);
    assert!(!lacking.status.success());
    let said = String::from_utf8_lossy(&lacking.stderr).into_owned();
    assert!(said.contains("set it to the host name of the backend"), "{said}");
    assert!(!directory.path().join("calls").exists(), "nothing may be made before everything is known");

    let done = run(true);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let calls = fs::read_to_string(directory.path().join("calls")).unwrap();
    for name in hostile {
        assert_eq!(calls.matches(&format!("  [--name={name}]\n")).count(), 3, "{name} in {calls}");
    }
    for part in [
        "  [--name=it's \"logs\" $(id)]\n",
        "  [--header-value=Bearer tok en]\n",
        "  [--url=https://logs.example.com/v1/fastly/edge]\n",
        "  [--ssl-client-cert=-----BEGIN CERTIFICATE-----\nA]\n  [--ssl-client-key=-----BEGIN PRIVATE KEY-----\nB]\n",
        "  [--store-id=id-of-secret-store]\n  [--name=edge-key-1]\n  [--file=./edge-key-1.secret]\n",
        "  [--resource-id=id-of-kv-store]\n  [--name=edge_keys]\n",
        "  [--address=login.example.com]\n",
        &format!("  [--store-id=id-of-config-store]\n  [--key=config]\n  [--stdin]\n  stdin: {item}"),
    ] {
        assert!(calls.contains(part), "{part} is not in\n{calls}");
    }
    assert_eq!(calls.matches("[--ssl-client-key=").count(), 1, "only the backend that --mtls names");
    assert_eq!(calls.matches("[--use-ssl]").count(), hostile.len() + 1, "every backend");
    assert!(calls.find("[activate]") < calls.find("[config-store-entry]"), "the item last");
    assert!(!directory.path().join("pwned").exists());
}

#[test]
fn help_says_what_comes_out_and_how_it_ends() {
    for (command, parts) in [
        ("fastly", ["Exit code 0:", "--apply", "--undo", "FASTLY_API_TOKEN"]),
        ("grafana", ["Exit code 0:", "--store-credentials <FILE>", "--undo", "GRAFANA_TOKEN"]),
        ("edge", ["Exit code 0:", "--terraform", "--mtls <BACKEND>", "sh install.sh"]),
        ("idp", ["Exit", "--token", "--audience <AUDIENCE>", "--ca-file <FILE>"]),
    ] {
        let (code, shown, _) = setup(&[command, "--help"], "");
        assert_eq!(code, 0);
        for part in parts {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    }
}
