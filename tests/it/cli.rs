//! The command line as scripts see it: exit codes, streams, and what `--print-config` shows.

use std::process::Command;

use crate::app::{BINARY, Service};

#[test]
fn import_tells_rejects_by_its_exit_code() {
    let service = Service::start();
    let file = service.directory().join("mixed.log");
    std::fs::write(&file, "no log line\n").unwrap();
    let file = file.to_str().unwrap();
    let strict = service.cli(&["import", "--format", "fastly", file]);
    assert_eq!(strict.status.code(), Some(1), "{}", String::from_utf8_lossy(&strict.stderr));
    let lenient = service.cli(&["import", "--format", "fastly", "--allow-rejects", file]);
    assert_eq!(lenient.status.code(), Some(0), "{}", String::from_utf8_lossy(&lenient.stderr));
    let missing = service.cli(&["import", "/no/such/file.log"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn nobody_listening_is_said_in_a_sentence() {
    let output = Command::new(BINARY).args(["trace", "abc", "--url", "http://127.0.0.1:9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("throughline serve"), "{said}");
}

#[test]
fn the_configuration_is_shown_with_its_origins() {
    let output = Command::new(BINARY)
        .args(["serve", "--print-config", "--grpc", "127.0.0.1:9999"])
        .env("THROUGHLINE_DATA_DIR", "elsewhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("data_dir = \"elsewhere\"  # $THROUGHLINE_DATA_DIR"), "{shown}");
    assert!(shown.contains("grpc.listen = \"127.0.0.1:9999\"  # --grpc"), "{shown}");
    let read_again: toml::Table = shown.parse().unwrap();
    assert_eq!(read_again["grpc"]["listen"].as_str(), Some("127.0.0.1:9999"));
}

#[test]
fn control_characters_in_logs_never_reach_the_terminal() {
    let service = Service::start();
    let line = r#"{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"edge":true,"visits":0,"correlation_id":"0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f","method":"GET","host":"h","url":"/\u001b[2Jx\u202ey","status":200,"pop":"FRA"}"#;
    service.accept("/v1/fastly", line);
    service.wait_stored(1);
    for arguments in [vec!["trace", "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f"], vec!["search", "--pop", "FRA"]] {
        let output = service.cli(&arguments);
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
        assert!(shown.contains("FRA"), "{shown}");
    }
}
