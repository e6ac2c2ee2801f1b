//! Who may come in: TLS, tokens, and what is refused at start.

use std::process::Command;

use crate::app::{BINARY, Options, Service, data, eventually};

/// A self-signed certificate for the loopback names.
pub(crate) fn certificate(directory: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

#[test]
fn https_with_a_token_and_a_certificate_that_changes() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(directory.path());
    let service = Service::with(Options {
        tls: Some((cert, key)),
        config: "[fastly]\nservices = 'abc'\n[[source]]\nname = 'edge'\nkind = 'fastly'\ntenant = 'shop'\ntoken = 'a-token-of-sixteen'\nheader = 'x-log-token'\n\
                 [[reader]]\nname = 'oncall'\ntenant = 'shop'\ntoken = 'another-token-of-sixteen'\n"
            .to_owned(),
        ..Default::default()
    });
    let body = data("fastly/f01-default.ndjson");
    assert_eq!(service.post("/v1/fastly", &[], body.clone()).0, 401);
    assert_eq!(service.post("/v1/fastly", &[("x-log-token", "wrong-token-of-sixteen")], body.clone()).0, 401);
    let (status, answer) = service.post("/v1/fastly/edge", &[("x-log-token", "a-token-of-sixteen")], body);
    assert_eq!(status, 200, "{answer}");
    let (status, challenge) = service.get("/.well-known/fastly/logging/challenge");
    assert_eq!(
        (status, challenge.as_str()),
        (200, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n")
    );
    assert_eq!(service.get("/api/v1/sources").0, 401, "queries need the reader's token");

    certificate(directory.path());
    eventually("the new certificate is read", || {
        service.log.lock().unwrap().contains("certificate read again").then_some(())
    });
    assert_eq!(service.get("/healthz").0, 200);
}

#[test]
fn tenants_do_not_see_each_other() {
    let service = Service::with(Options {
        config: ["a", "b"]
            .map(|tenant| {
                format!(
                    "[[source]]\nname = 'in-{tenant}'\nkind = 'fastly'\ntenant = '{tenant}'\ntoken = 'ingest-token-of-{tenant}-1'\n\
                     [[reader]]\nname = 'out-{tenant}'\ntenant = '{tenant}'\ntoken = 'reader-token-of-{tenant}-1'\n"
                )
            })
            .concat(),
        ..Default::default()
    });
    let id = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f";
    let line = format!(
        r#"{{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"edge":true,"visits":0,"correlation_id":"{id}","method":"GET","host":"h","url":"/","status":200,"pop":"FRA","tenant":"b"}}"#
    );
    let (status, answer) =
        service.post("/v1/fastly", &[("authorization", "Bearer ingest-token-of-a-1")], line);
    assert_eq!(status, 200, "{answer}");
    let ask = |tenant: &str| {
        let client = reqwest::blocking::Client::new();
        let token = format!("reader-token-of-{tenant}-1");
        client
            .get(format!("{}/api/v1/traces/{id}", service.url()))
            .bearer_auth(token)
            .send()
            .unwrap()
            .status()
            .as_u16()
    };
    eventually("tenant a finds it", || (ask("a") == 200).then_some(()));
    assert_eq!(ask("b"), 404, "the payload's word on the tenant counts for nothing");
}

#[test]
fn what_would_expose_or_loop_is_refused_at_start() {
    let refused = |arguments: &[&str], part: &str| {
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(BINARY)
            .arg("serve")
            .args(arguments)
            .arg("--data-dir")
            .arg(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "{said}");
    };
    refused(&["--http", "0.0.0.0:0"], "is not loopback");
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("t.toml");
    std::fs::write(&config, "[telemetry]\notlp_endpoint = 'http://127.0.0.1:4317'\n").unwrap();
    refused(&["--config", config.to_str().unwrap()], "feed on its own spans");
    std::fs::write(&config, "[htpp]\nlisten = 'x'\n").unwrap();
    refused(&["--config", config.to_str().unwrap()], "did you mean `http.listen`?");
}
