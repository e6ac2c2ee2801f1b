//! `throughline setup fastly --apply` against a stand-in for Fastly's API.

use std::fs;

use serde_json::json;

use super::fastly_api::{Api, KEY, SERVICE};
use super::setup_in;
use crate::app::{Options, Service};
use crate::exposure::certificate;

const ENDPOINT: &str = "https://127.0.0.1:9/v1/fastly/site";
const TOKEN: &str = "the-token-of-the-source";
pub(super) const SNIPPETS: [&str; 6] = ["init", "recv", "miss", "pass", "fetch", "deliver"];

/// `setup fastly --apply` with these environment variables.
fn apply_to((url, service): (&str, &str), more: &[&str], key: &str, token: &str) -> (i32, String, String) {
    let arguments = ["fastly", "--endpoint", ENDPOINT, "--apply", "--service-id", service, "--api", url];
    let environment = [("FASTLY_API_TOKEN", key), ("THROUGHLINE_INGEST_TOKEN", token)];
    let (code, printed, said) = setup_in(&[&arguments, more].concat(), &environment, "");
    for secret in [KEY, TOKEN] {
        assert!(!printed.contains(secret) && !said.contains(secret), "{printed}{said}");
    }
    (code, printed, said)
}

fn apply(api: &Api, more: &[&str]) -> (i32, String, String) {
    apply_to((&api.url, SERVICE), more, KEY, TOKEN)
}

/// Runs it and is done well.
fn good(api: &Api, more: &[&str]) -> (String, String) {
    let (code, printed, said) = apply(api, more);
    assert_eq!(code, 0, "{said}");
    (printed, said)
}

#[test]
fn a_dry_run_shows_everything_and_writes_nothing() {
    let api = Api::start("vcl");
    let before = api.version(2);
    let (printed, said) = good(&api, &[]);
    assert!(
        printed.starts_with(&format!("service {SERVICE} (shop, VCL), version 2 (active):\n")),
        "{printed}"
    );
    for kind in SNIPPETS {
        assert!(printed.contains(&format!("+ snippet throughline {kind}\n")), "{printed}");
    }
    assert!(printed.contains(&format!("+ log endpoint throughline\n      url: {ENDPOINT}\n")), "{printed}");
    assert!(
        said.contains("dry run: nothing was written. --yes makes this in a clone of version 2"),
        "{said}"
    );
    assert!(said.contains("warn  the endpoint is on this machine"), "{said}");
    assert!(said.contains("?     the endpoint was not checked"), "{said}");
    assert_eq!(api.writes(), Vec::<String>::new());
    assert_eq!(api.version(2), before);
    assert_eq!(api.account().versions.len(), 2);
}

#[test]
fn a_clone_gets_everything_is_activated_on_request_and_undone_exactly() {
    let api = Api::start("vcl");
    let mine = json!({"name": "mine", "type": "recv", "content": "set req.http.A = \"1\";", "priority": "100", "dynamic": "0"});
    let other = json!({"name": "s3-like", "url": "https://elsewhere.example/in"});
    {
        let mut account = api.account();
        let active = account.versions.get_mut(&2).unwrap();
        active.snippets.insert("mine".to_owned(), mine.as_object().unwrap().clone());
        active.endpoints.insert("s3-like".to_owned(), other.as_object().unwrap().clone());
    }
    let before = api.version(2);

    let (_, said) = good(&api, &["--yes"]);
    assert!(said.contains("ok    version 3 is made and valid"), "{said}");
    assert!(said.contains("not active yet"), "{said}");
    assert_eq!(api.active(), 2);
    assert_eq!(api.version(2), before, "the active version is never written to");
    let made = api.version(3);
    assert_eq!(made.snippets.len(), 7);
    for kind in SNIPPETS {
        let snippet = &made.snippets[&format!("throughline {kind}")];
        let text =
            fs::read_to_string(format!("{}/deploy/fastly/{kind}.vcl", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!((&snippet["type"], &snippet["content"]), (&json!(kind), &json!(text)));
        assert_eq!((&snippet["dynamic"], &snippet["priority"]), (&json!("0"), &json!("5")));
    }
    let endpoint = &made.endpoints["throughline"];
    for (field, value) in [
        ("url", json!(ENDPOINT)),
        ("method", json!("POST")),
        ("message_type", json!("blank")),
        ("json_format", json!("2")),
        ("format_version", json!("2")),
        ("compression_codec", json!("zstd")),
        ("header_name", json!("Authorization")),
        ("header_value", json!(format!("Bearer {TOKEN}"))),
        ("log_processing_region", json!("none")),
        ("request_max_bytes", json!(4_000_000)),
    ] {
        assert_eq!(endpoint[field], value, "{field}");
    }
    assert!(!endpoint.contains_key("placement"), "Fastly puts the log call where the format's version says");

    // Again: the clone that is there is enough, and is what gets activated.
    api.writes();
    let (_, said) = good(&api, &[]);
    assert!(said.contains("Version 3, made by an earlier run and not active, has all of this"), "{said}");
    let (_, said) = good(&api, &["--yes"]);
    assert!(said.contains("nothing to change: version 3, made by an earlier run, has it"), "{said}");
    assert_eq!(api.writes(), Vec::<String>::new());
    let (_, said) = good(&api, &["--yes", "--activate"]);
    assert_eq!(api.writes(), [format!("PUT /service/{SERVICE}/version/3/activate")]);
    assert!(said.contains("ok    version 3 is active"), "{said}");
    assert!(said.contains(&format!("--service-id={SERVICE} --version=2`")), "the way back: {said}");
    assert_eq!(api.active(), 3);
    let (printed, said) = good(&api, &["--yes", "--activate"]);
    assert!(said.contains("ok    nothing to change: version 3 is as it should be"), "{said}");
    assert_eq!(printed.matches("\n= ").count(), 7, "{printed}");
    assert_eq!(api.writes(), Vec::<String>::new());

    // Another region is one change.
    let (printed, _) = good(&api, &["--region", "eu", "--yes", "--activate"]);
    assert!(
        printed.contains("~ log endpoint throughline\n      log_processing_region: none -> eu\n"),
        "{printed}"
    );
    assert_eq!(api.version(4).endpoints["throughline"]["log_processing_region"], "eu");

    let (printed, said) = good(&api, &["--undo"]);
    assert_eq!(printed.matches("\n- ").count(), 7, "{printed}");
    assert!(said.contains("dry run"), "{said}");
    assert_eq!(api.active(), 4);
    good(&api, &["--undo", "--yes", "--activate"]);
    assert_eq!(api.active(), 5);
    let after = api.version(5);
    assert_eq!((after.snippets, after.endpoints), (before.snippets, before.endpoints), "as it was before");
    let (_, said) = good(&api, &["--undo", "--yes", "--activate"]);
    assert!(said.contains("ok    nothing to undo"), "{said}");
    assert_eq!(api.account().versions.len(), 5);
}

#[test]
fn what_is_somebody_elses_stops_it_until_replaced() {
    let api = Api::start("vcl");
    let foreign = json!({"name": "throughline recv", "type": "recv", "content": "# mine", "priority": "100", "dynamic": "0"});
    let insert = foreign.as_object().unwrap().clone();
    api.account().versions.get_mut(&2).unwrap().snippets.insert("throughline recv".to_owned(), insert);
    let (code, _, said) = apply(&api, &["--yes", "--activate"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("FAIL  snippet throughline recv is somebody else's: --replace takes its place"),
        "{said}"
    );
    assert_eq!(api.writes(), Vec::<String>::new());
    good(&api, &["--undo", "--yes"]);
    assert_eq!(api.writes(), Vec::<String>::new());
    let (printed, _) = good(&api, &["--yes", "--replace"]);
    assert!(printed.contains("~ snippet throughline recv\n"), "{printed}");
    assert!(
        api.version(3).snippets["throughline recv"]["content"]
            .as_str()
            .unwrap()
            .starts_with("# Throughline,")
    );
}

#[test]
fn refusals_of_the_api_say_what_to_do() {
    let api = Api::start("vcl");
    let (code, printed, said) = apply_to((&api.url, SERVICE), &[], "wrong", TOKEN);
    assert_eq!((code, printed.as_str()), (2, ""));
    assert!(
        said.contains("(401, Provided credentials are missing or invalid): is FASTLY_API_TOKEN right"),
        "{said}"
    );
    let (code, _, said) = apply_to((&api.url, SERVICE), &[], "", TOKEN);
    assert_eq!(code, 2);
    assert!(said.contains("set FASTLY_API_TOKEN"), "{said}");
    let (code, _, said) = apply_to((&api.url, SERVICE), &["--yes"], KEY, "");
    assert_eq!(code, 2);
    assert!(said.contains("set THROUGHLINE_INGEST_TOKEN"), "{said}");
    let (code, _, said) = apply_to((&api.url, "other"), &[], KEY, TOKEN);
    assert_eq!(code, 2);
    assert!(said.contains("404") && said.contains("is other the service's id"), "{said}");
    let (code, _, said) = apply_to(("http://api.example.com", SERVICE), &[], KEY, TOKEN);
    assert_eq!(code, 2);
    assert!(said.contains("must be https or this machine"), "{said}");
    assert_eq!(api.writes(), Vec::<String>::new());

    for (status, part) in [
        (403, "scope `global`"),
        (409, "run this again"),
        (422, "was it locked"),
        (429, "the hour's calls are used up, until 2026-11-21T20:00:00Z"),
        (500, "the failure is Fastly's"),
    ] {
        api.account().fails_after = Some((0, status));
        let (code, _, said) = apply(&api, &["--yes"]);
        assert_eq!(code, 2);
        assert!(
            said.contains(&format!("Fastly refuses to clone a version ({status}, This is: a test)")),
            "{said}"
        );
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(api.account().versions.len(), 2);
}

#[test]
fn a_failure_midway_leaves_the_active_version_and_the_next_run_goes_on() {
    let api = Api::start("vcl");
    let before = api.version(2);
    // Clone, comment, three snippets.
    api.account().fails_after = Some((5, 503));
    let (code, _, said) = apply(&api, &["--yes", "--activate"]);
    assert_eq!(code, 2);
    assert!(
        said.contains("version 3 is half made and not active, version 2 is as it was: run this again"),
        "{said}"
    );
    assert!(said.contains("snippet throughline pass"), "{said}");
    assert_eq!((api.active(), api.version(2)), (2, before));
    assert_eq!(api.version(3).snippets.len(), 3);

    api.account().fails_after = None;
    api.writes();
    good(&api, &["--yes", "--activate"]);
    assert_eq!((api.active(), api.account().versions.len()), (3, 3));
    assert_eq!(api.writes().len(), 3 + 1 + 1, "what was there is not made again");
    assert_eq!((api.version(3).snippets.len(), api.version(3).endpoints.len()), (6, 1));
}

#[test]
fn a_version_that_does_not_validate_is_not_activated() {
    let api = Api::start("vcl");
    api.account().objection = Some("Syntax error: Expected ';' at line 7");
    let (code, _, said) = apply(&api, &["--yes", "--activate"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("FAIL  version 3 is made, and Fastly does not take it as valid: Syntax error"),
        "{said}"
    );
    assert_eq!(api.active(), 2);
}

#[test]
fn clones_that_are_not_of_use_any_more_are_left_alone() {
    let api = Api::start("vcl");
    good(&api, &["--yes"]);
    // Somebody activated something else, and cloned our clone.
    {
        let mut account = api.account();
        let clone = account.versions[&3].clone();
        account.versions.insert(4, clone);
        let mut other = account.versions[&2].clone();
        account.versions.get_mut(&2).unwrap().is_active = false;
        other.comment = "other".to_owned();
        account.versions.insert(5, other);
    }
    api.writes();
    good(&api, &["--yes"]);
    assert!(
        api.writes()[0].ends_with("/version/5/clone"),
        "a clone of what was active before would take changes back"
    );
    assert_eq!(api.version(6).snippets.len(), 6);
}

#[test]
fn a_compute_service_gets_the_endpoint_alone() {
    let api = Api::start("wasm");
    let (printed, said) = good(&api, &["--yes", "--activate"]);
    assert!(printed.contains("(shop, Compute)") && !printed.contains("snippet"), "{printed}");
    assert!(said.contains("--compute --print format"), "{said}");
    let made = api.version(3);
    assert!(made.snippets.is_empty());
    let endpoint = &made.endpoints["throughline"];
    for field in ["format", "format_version", "placement", "response_condition"] {
        assert!(!endpoint.contains_key(field), "{field} is for VCL services");
    }
    good(&api, &["--undo", "--yes", "--activate"]);
    assert!(api.version(4).endpoints.is_empty());
    let (code, _, said) = apply(&Api::start("vcl"), &["--compute"]);
    assert_eq!(code, 2);
    assert!(said.contains("the service is a VCL service"), "{said}");
}

/// The real service over TLS, asked as Fastly asks, before anything is changed.
#[test]
fn the_endpoint_is_asked_for_its_challenge_and_its_token() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(directory.path());
    let api = Api::start("vcl");
    let ask = |services: &str, token: &str| {
        let service = Service::with(Options {
            tls: Some((cert.clone(), key.clone())),
            config: format!(
                "[fastly]\nservices = '{services}'\n[[source]]\nname = 'site'\nkind = 'fastly'\ntoken = '{TOKEN}'\n"
            ),
            ..Options::default()
        });
        let endpoint = format!("https://localhost:{}/v1/fastly/site", service.http.port());
        let arguments = [
            "fastly",
            "--endpoint",
            &endpoint,
            "--apply",
            "--service-id",
            SERVICE,
            "--api",
            &api.url,
            "--ca-file",
        ];
        let environment = [("FASTLY_API_TOKEN", KEY), ("THROUGHLINE_INGEST_TOKEN", token)];
        let (code, _, said) =
            setup_in(&[&arguments[..], &[cert.to_str().unwrap()]].concat(), &environment, "");
        assert_eq!(code, 0, "what is found here stops nothing: {said}");
        said
    };
    let said = ask(SERVICE, TOKEN);
    assert!(said.contains("ok    the endpoint answers Fastly's challenge for this service"), "{said}");
    assert!(said.contains("ok    the endpoint takes the token"), "{said}");
    let said = ask("another", "a token that opens nothing");
    assert!(
        said.contains(&format!("warn  the endpoint does not take this service's logs: add {SERVICE}")),
        "{said}"
    );
    assert!(said.contains("warn  the endpoint refuses the token in THROUGHLINE_INGEST_TOKEN (401"), "{said}");
}
