//! Layers, hints, and the rules between values.

use std::path::Path;

use super::*;

fn file(text: &str) -> Result<Settings, ConfigError> {
    let mut written = Written::defaults();
    written.add_toml(text, Path::new("t.toml"))?;
    Settings::from_written(&written)
}

fn refusal(text: &str) -> String {
    file(text).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_defaults_hold_by_themselves() {
    let settings = Settings::from_written(&Written::defaults()).unwrap();
    assert_eq!(settings.http.address.port(), 8080);
    assert_eq!(settings.challenge, "*\n");
    assert_eq!(settings.sources_of(SourceKind::Als)[0].name, "als");
}

#[test]
fn later_layers_win_and_say_so() {
    let mut written = Written::defaults();
    written.add_toml("data_dir = 'a'\n[http]\nlisten = '127.0.0.1:1'", Path::new("t.toml")).unwrap();
    written.add_environment([("THROUGHLINE_DATA_DIR".to_owned(), "b".to_owned())].into_iter()).unwrap();
    written.add_flag("http", "http.listen", Some("127.0.0.1:2".to_owned())).unwrap();
    let shown = written.print();
    assert!(shown.contains("data_dir = \"b\"  # $THROUGHLINE_DATA_DIR"), "{shown}");
    assert!(shown.contains("http.listen = \"127.0.0.1:2\"  # --http"), "{shown}");
    assert!(shown.contains("grpc.listen = \"127.0.0.1:4317\"  # default"), "{shown}");
}

#[test]
fn a_mistyped_key_names_the_nearest() {
    assert!(refusal("[http]\nlisen = 'x'").ends_with("no key `http.lisen`; did you mean `http.listen`?"));
    assert!(refusal("[[source]]\nname='a'\nkind='als'\ntokn='x'").contains("did you mean `token`?"));
    let mut written = Written::defaults();
    let error = written.add_environment([("THROUGHLINE_DATADIR".to_owned(), "x".to_owned())].into_iter());
    assert!(error.unwrap_err().to_string().contains("did you mean `THROUGHLINE_DATA_DIR`?"));
}

/// Whoever evals the output of set-up and starts the service in that shell.
#[test]
fn variables_of_set_up_are_passed_over() {
    let set_up = include_str!("../../scripts/setup-tests");
    let names: Vec<&str> = set_up
        .lines()
        .filter_map(|line| line.trim().strip_prefix("printf 'export "))
        .filter_map(|rest| rest.split('=').next())
        .collect();
    assert!(names.len() > 4, "{names:?}");
    for name in names {
        let outcome = Written::defaults().add_environment([(name.to_owned(), "x".to_owned())].into_iter());
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}

#[test]
fn a_wrong_value_names_key_origin_and_form() {
    let message = refusal("[limits]\nbody = 'lots'");
    assert_eq!(message, "t.toml: `limits.body` = \"lots\" is not a size such as 64MiB");
}

#[test]
fn a_segment_that_a_large_delivery_would_not_fit_is_refused_at_the_start() {
    // Such a delivery was refused with 503 for ever, and a followed file never went on.
    assert!(refusal("spool.segment_bytes = '1MiB'").contains("give it at least 8388608 (8MiB)"));
    assert!(refusal("spool.max_bytes = '16MiB'").contains("holds no segment"));
    assert!(file("spool.segment_bytes = '8MiB'\nspool.max_bytes = '8MiB'").is_ok());
}

#[test]
fn other_addresses_need_tls_and_tokens() {
    assert!(refusal("[http]\nlisten = '0.0.0.0:8080'").contains("is not loopback: set its tls_cert"));
    let tls = "[http]\nlisten = '0.0.0.0:8080'\ntls_cert = 'c'\ntls_key = 'k'\n";
    assert!(refusal(tls).contains("no [[source]] with a token"));
    let open = format!("{tls}[[source]]\nname = 'f'\nkind = 'fastly'");
    assert!(refusal(&open).contains("source `f` has no token"));
    assert!(file(&format!("{open}\ntoken = '0123456789abcdef'")).is_ok());
    assert!(file("insecure = true\n[http]\nlisten = '0.0.0.0:8080'").is_ok());
}

#[test]
fn its_own_port_is_no_place_for_its_spans() {
    let message = refusal("[telemetry]\notlp_endpoint = 'http://localhost:4317'");
    assert!(message.contains("this service's own `grpc.listen`"), "{message}");
    assert!(file("[telemetry]\notlp_endpoint = 'http://tempo:4317'").is_ok());
}

#[test]
fn the_challenge_hashes_the_bare_id() {
    let settings = file("[fastly]\nservices = 'abc'").unwrap();
    // sha256("abc"), the test vector of FIPS 180-2.
    assert_eq!(settings.challenge, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
}

#[test]
fn weak_tokens_and_twin_names_are_refused() {
    assert!(refusal("[[source]]\nname='a'\nkind='als'\ntoken='short'").contains("shorter than 16"));
    assert!(
        refusal("[[source]]\nname='a'\nkind='als'\n[[source]]\nname='a'\nkind='otlp'")
            .contains("two sources")
    );
    assert!(refusal("[[source]]\nname='a b'\nkind='als'").contains("must be 1 to 64"));
}

#[test]
fn export_is_off_until_it_has_a_mode_and_a_place() {
    let off = file("").unwrap();
    assert!(off.export.is_none() && !off.correlate.on);
    assert!(file("[correlate]\nmode = 'on'").unwrap().correlate.on);
    assert!(refusal("[export]\nmode = 'all'").contains("`export.endpoint` is empty"));
    let export = |more: &str| format!("[export]\nmode = 'fill'\nendpoint = 'http://tempo:4317'\n{more}");
    let on = file(&export("headers = 'a=b=c, x-scope=shop'")).unwrap();
    assert!(on.correlate.on);
    let headers = on.export.unwrap().headers;
    assert_eq!(headers.len(), 2);
    assert_eq!((headers[0].0.as_str(), headers[0].1.to_str().unwrap()), ("a", "b=c"));
    assert!(refusal(&export("keep.share = 1.5")).contains("a number from 0 to 1"));
    assert!(refusal(&export("timeout = '0s'")).contains("nothing could be sent"));
    assert!(refusal("[export]\nmode = 'all'\nendpoint = 'tempo:4317'").contains("a URL such as"));
    assert!(refusal("[correlate]\nsettle = '100ms'").contains("`correlate.settle` is under 1s"));
    assert!(refusal("[correlate]\nmemory = '64MiB'").contains("`correlate.memory` is under 96MiB"));
    let own = refusal("[export]\nmode = 'all'\nendpoint = 'http://127.0.0.1:4317'");
    assert!(own.contains("this service's own `grpc.listen`"), "{own}");
}

#[test]
fn export_headers_are_secret_even_where_they_are_wrong() {
    let message = refusal("[export]\nmode = 'all'\nendpoint = 'http://x:1'\nheaders = 'Bearer hunter2'");
    assert!(message.contains("`export.headers` is not a list") && !message.contains("hunter2"), "{message}");
    let mut written = Written::defaults();
    written.add_toml("[export]\nheaders = 'authorization=hunter2'", Path::new("t.toml")).unwrap();
    let shown = written.print();
    assert!(!shown.contains("hunter2") && shown.contains("export.headers = \"(set)\""), "{shown}");
}
