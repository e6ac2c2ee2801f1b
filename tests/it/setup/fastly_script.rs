//! What `throughline setup fastly` prints, run in a real shell with a stand-in for Fastly's CLI.

use std::fs;
use std::process::Command;

use super::fastly::SNIPPETS;
use super::stand_in;
use crate::app::BINARY;

/// Writes down each call; what it is asked to describe is not there.
const FASTLY: &str = r#"#!/bin/sh
{ printf '%s\n' "fastly"; printf '  [%s]\n' "$@"; } >> "$CALLS"
case "$*" in *describe*) exit 1 ;; esac
for argument; do case "$argument" in --content=* | --format=*) cp -- "${argument#*=}" "$CALLS.${argument##*/}" ;; esac; done
"#;

#[test]
fn the_printed_script_makes_a_clone_and_does_not_activate_it() {
    let directory = tempfile::tempdir().unwrap();
    stand_in(directory.path(), "fastly", FASTLY);
    let run = |more: &[&str], token: Option<&str>| {
        let printed = Command::new(BINARY).args(["setup", "fastly"]).args(more).output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        fs::write(directory.path().join("setup.sh"), &printed.stdout).unwrap();
        let calls = directory.path().join("calls");
        let _ = fs::remove_file(&calls);
        let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command
            .arg("setup.sh")
            .current_dir(&directory)
            .env("PATH", path)
            .env("CALLS", &calls)
            .env("SERVICE_ID", "svc");
        command.env_remove("THROUGHLINE_INGEST_TOKEN");
        command.envs(token.map(|token| ("THROUGHLINE_INGEST_TOKEN", token)));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said, fs::read_to_string(calls).unwrap_or_default())
    };
    let arguments = ["--endpoint", "https://logs.example.com/v1/fastly/site", "--region", "eu"];
    let (is_done, said, calls) = run(&arguments, None);
    assert!(!is_done && said.contains("THROUGHLINE_INGEST_TOKEN: set it"), "{said}");
    assert_eq!(calls, "", "nothing may be made before everything is known");

    let (is_done, said, calls) = run(&arguments, Some("tok en"));
    assert!(is_done, "{said}");
    assert!(said.contains("to activate: fastly service version activate --service-id=svc"), "{said}");
    assert!(!calls.contains("[activate]"), "{calls}");
    let clone = "fastly\n  [service]\n  [version]\n  [clone]\n  [--service-id=svc]\n  [--version=active]\n";
    assert!(calls.starts_with(clone), "{calls}");
    assert!(calls.ends_with("  [validate]\n  [--service-id=svc]\n  [--version=latest]\n"), "{calls}");
    for kind in SNIPPETS {
        let made = format!(
            "  [snippet]\n  [create]\n  [--name=throughline {kind}]\n  [--type={kind}]\n  [--priority=5]\n"
        );
        assert!(calls.contains(&made), "{made} is not in {calls}");
        let sent = fs::read_to_string(directory.path().join(format!("calls.{kind}.vcl"))).unwrap();
        let text =
            fs::read_to_string(format!("{}/deploy/fastly/{kind}.vcl", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(sent, text);
    }
    for part in [
        "  [create]\n  [--name=throughline]\n  [--url=https://logs.example.com/v1/fastly/site]\n  [--processing-region=eu]\n",
        "  [--message-type=blank]\n",
        "  [--header-value=Bearer tok en]\n  [--compression-codec=zstd]\n",
    ] {
        assert!(calls.contains(part), "{part} is not in\n{calls}");
    }

    let (is_done, said, calls) = run(&["--endpoint", "https://logs.example.com", "--compute"], Some("t"));
    assert!(is_done, "{said}");
    assert!(!calls.contains("[snippet]") && !calls.contains("[--format"), "{calls}");
    let (is_done, said, calls) = run(&["--undo"], None);
    assert!(is_done, "{said}");
    assert_eq!(calls.matches("[describe]").count(), 7, "{calls}");
}
