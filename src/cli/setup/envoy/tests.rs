//! What `setup envoy` prints: golden files, and that the pieces are those of the whole bootstrap that the real Envoy runs.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(line: &[&str]) -> Arguments {
    Line::try_parse_from([&["envoy"], line].concat()).unwrap_or_else(|error| panic!("{error}")).arguments
}

#[test]
fn the_pieces_are_written_down() {
    for (name, line) in [
        ("als", vec!["--via", "als"]),
        (
            "otlp_by_name",
            vec![
                "--via",
                "otlp",
                "--envoy",
                "1.36",
                "--address",
                "logs.example.com:443",
                "--tls-ca",
                "/etc/ssl/ca.pem",
            ],
        ),
        (
            "file_old",
            vec!["--via", "file", "--envoy", "1.30.2", "--leave-ids", "--correlation-header", "X-My-Id"],
        ),
    ] {
        let parts = Parts::new(&arguments(&line)).unwrap();
        insta::assert_snapshot!(format!("pieces_{name}"), parts.pieces());
    }
}

#[test]
fn the_whole_holds_the_pieces() {
    for via in ["als", "otlp", "file"] {
        let arguments = arguments(&["--via", via, "--whole"]);
        let parts = Parts::new(&arguments).unwrap();
        let whole = parts.whole(&arguments).unwrap();
        let filter = &whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        assert_eq!(filter["typed_config"]["access_log"], json!([parts.access_log]));
        for (name, value) in parts.ids.as_ref().unwrap().as_object().unwrap() {
            assert_eq!(&filter["typed_config"][name], value);
        }
        assert_eq!(whole["static_resources"]["clusters"].get(1), parts.cluster.as_ref());
    }
}

#[test]
fn what_cannot_work_is_refused() {
    let refused = |line: &[&str]| format!("{:#}", Parts::new(&arguments(line)).err().expect("refused"));
    assert!(
        refused(&["--correlation-header", "x-my-id"]).contains("ALS sends headers under their own names")
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    for (text, part) in [
        ("# none\n", "holds no token"),
        ("sha256:00\n", "holds a token's hash"),
        ("a b\n", "no header may have"),
    ] {
        std::fs::write(&path, text).unwrap();
        assert!(refused(&["--token-file", &path]).contains(part), "{text}");
    }
    std::fs::write(&path, "secret-token\n").unwrap();
    let parts = Parts::new(&arguments(&["--token-file", &path])).unwrap();
    assert!(parts.pieces().contains("Bearer secret-token"));
    let error = run(&arguments(&["--envoy", "1.29"])).unwrap_err();
    assert!(error.to_string().contains("older than 1.30"), "{error}");
}

#[test]
fn what_an_operator_should_know_is_said() {
    let said = |line: &[&str]| {
        let mut text = Vec::new();
        talk(&arguments(line)).write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let local = said(&[]);
    assert!(!local.contains("in the clear") && local.contains("cost  CPU: some 6 us"), "{local}");
    let remote = said(&["--address", "logs.example.com:4317"]);
    assert!(
        remote.contains("in the clear") && remote.contains("need  Throughline wants a token"),
        "{remote}"
    );
    let old = said(&["--via", "otlp", "--envoy", "1.36"]);
    assert!(old.contains("warn  left out: %SPAN_ID% needs Envoy 1.38"), "{old}");
    assert!(said(&["--envoy", "1.41"]).contains("newer than 1.40"));
}
