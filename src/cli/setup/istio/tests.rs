//! What `setup istio` prints without a cluster, as golden files and held against `deploy/istio`. With a cluster: tests/it/setup.

use clap::Parser;
use serde::Deserialize as _;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(line: &[&str]) -> Arguments {
    let line = [&["istio", "--offline"], line].concat();
    Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).arguments
}

/// What is printed and said for a mesh that was not looked at.
fn printed(line: &[&str]) -> (String, String) {
    let arguments = arguments(line);
    let mut talk = Talk::default();
    let live = look(&arguments, &mut talk);
    let shown = print(&arguments, &live, &mut talk).unwrap_or_else(|error| panic!("{error:#}"));
    let mut said = Vec::new();
    talk.write(&mut said).unwrap();
    (shown, String::from_utf8(said).unwrap())
}

fn refused(line: &[&str]) -> String {
    let arguments = arguments(line);
    format!("{:#}", print(&arguments, &Live::default(), &mut Talk::default()).unwrap_err())
}

fn documents(text: &str) -> Vec<Value> {
    let read = |document| Value::deserialize(document).unwrap();
    serde_yaml_ng::Deserializer::from_str(text).map(read).filter(Value::is_object).collect()
}

#[test]
fn what_is_printed_for_a_mesh_that_nobody_looked_at() {
    for (name, line) in [
        ("als", vec!["--istio", "1.28", "--tcp", "--logs-host", "logs.example.com"]),
        ("otlp_old", vec!["--istio", "1.22.1", "--via", "otlp", "--address", "collect.logs.svc:4317"]),
        (
            "stdout_namespace",
            vec!["--istio", "1.30", "--via", "stdout", "--namespace", "shop", "--leave-ids"],
        ),
        ("undo", vec!["--undo", "--namespace", "shop", "--context", "it's prod"]),
    ] {
        let (shown, said) = printed(&line);
        insta::assert_snapshot!(format!("{name}_printed"), shown);
        insta::assert_snapshot!(format!("{name}_said"), said);
    }
}

#[test]
fn it_is_what_deploy_istio_holds() {
    let (shown, _) = printed(&["--istio", "1.28", "--logs-host", "logs.example.com"]);
    let printed = documents(&shown);
    let written = documents(include_str!("../../../../deploy/istio/telemetry.yaml"));
    for (ours, theirs) in printed.iter().zip(&written) {
        assert_eq!(ours["metadata"]["namespace"], theirs["metadata"]["namespace"]);
        assert_eq!(ours["spec"], theirs["spec"]);
    }
    assert_eq!((printed.len(), written.len()), (3, 2));
    let filter = documents(include_str!("../../../../deploy/istio/envoy-filter-ids.yaml"));
    assert_eq!(printed[2]["spec"], filter[0]["spec"]);
    let values = documents(include_str!("../../../../deploy/istio/mesh-config.yaml"));
    let provider = providers(&arguments(&[]), Release(28)).unwrap();
    assert_eq!(values[0]["meshConfig"]["extensionProviders"], Value::from(provider));
}

#[test]
fn what_cannot_work_is_refused() {
    for (line, part) in [
        (vec![], "which Istio? say it with --istio 1.28"),
        (vec!["--istio", "1.21"], "older than 1.22"),
        (vec!["--istio", "1.28", "--via", "otlp", "--tcp"], "--tcp needs --via als"),
        (
            vec!["--istio", "1.28", "--correlation-header", "x-my-id"],
            "ALS sends headers under their own names",
        ),
        (vec!["--istio", "1.28", "--namespace", "a b"], "--namespace \"a b\""),
    ] {
        let said = refused(&line);
        assert!(said.contains(part), "{line:?}: {said}");
    }
}

#[test]
fn the_oldest_that_runs_decides_what_is_asked_for() {
    let live = Live {
        istiod: Some(Release(28)),
        proxies: Some([(Release(22), 3), (Release(28), 9)].into()),
        ..Live::default()
    };
    let mut talk = Talk::default();
    let shown = print(&arguments(&["--istio", "1.28", "--via", "otlp"]), &live, &mut talk).unwrap();
    assert!(!shown.contains("%TRACE_ID%") && !shown.contains("_RAW%"), "{shown}");
    let says = |part: &str| talk.0.iter().any(|(_, text)| text.contains(part));
    assert!(says("--istio says 1.28, but the oldest that runs is 1.22"), "{talk:?}");
    assert!(says("proxies: 3 of 1.22, 9 of 1.28"), "{talk:?}");
    let shown = print(
        &arguments(&["--via", "otlp"]),
        &Live { istiod: Some(Release(30)), ..Live::default() },
        &mut talk,
    );
    assert!(shown.unwrap().contains("%SPAN_ID%"), "nobody stated a release, and the cluster told");
}
