//! `throughline setup istio` against a cluster that answers: a stand-in for kubectl gives objects in the API's own form, made by
//! hand. What is printed is held against what Istio would make of it, and the way back is really run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use chain::get;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::setup;
use crate::app::eventually;
use crate::deploy::assert_known_fields;
use crate::envoy::proxy;

/// Answers `get KIND …` with the file of that name, fails for what has none, and writes down everything else with its input.
const KUBECTL: &str = r##"#!/bin/sh
here="$(dirname -- "$0")"
case "$1" in
    get)
        case "$2" in *.*) kind="${2%%.*}" ;; *) kind="$2" ;; esac
        [ -e "$here/$kind" ] || { echo "error: you must be logged in to the server (Unauthorized)" >&2; exit 1; }
        cat -- "$here/$kind" ;;
    *) { echo "# $*"; case "$*" in *"-f -"*) cat ;; esac; echo "---"; } >> "$here/done" ;;
esac
"##;

const MESH: &str = "# by hand\naccessLogFile: /dev/stdout\nenableTracing: yes\nextensionProviders:\n- name: otel\n  envoyOtelAls:\n    \
    service: otel.observability.svc.cluster.local\n    port: 4317\nrootNamespace: istio-system\n";

fn list(items: Value) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn object(kind: &str, name: &str, namespace: &str, rest: Value) -> Value {
    let mut object = rest;
    object["kind"] = kind.into();
    object["metadata"]["name"] = name.into();
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    object["metadata"]["resourceVersion"] = "4711".into();
    object["metadata"]["uid"] = "0b7e".into();
    object
}

fn telemetry(name: &str, namespace: &str, logging: Value) -> Value {
    let rest = json!({"apiVersion": "telemetry.istio.io/v1", "spec": {"accessLogging": logging}});
    object("Telemetry", name, namespace, rest)
}

/// A mesh with a provider, a Telemetry for all, one namespace that overrides it, an ambient one, and proxies of two releases.
fn cluster() -> BTreeMap<&'static str, String> {
    let istiod =
        json!({"spec": {"template": {"spec": {"containers": [{"image": "docker.io/istio/pilot:1.28.3"}]}}}});
    let map = json!({"apiVersion": "v1", "data": {"mesh": MESH, "meshNetworks": "networks: {}"},
        "metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}});
    let revision = json!({"apiVersion": "v1", "data": {"mesh": "{}"}});
    let foreign = json!({"apiVersion": "networking.istio.io/v1alpha3", "spec": {"configPatches": [
        {"applyTo": "NETWORK_FILTER", "patch": {"value": {"typed_config": {"generate_request_id": false}}}}]}});
    let labelled =
        |name: &str, labels: Value| object("Namespace", name, "", json!({"metadata": {"labels": labels}}));
    let service = json!({"spec": {"ports": [{"name": "grpc", "port": 4317, "appProtocol": "grpc"}]}});
    BTreeMap::from([
        (
            "configmaps",
            list(json!([
                object("ConfigMap", "istio", "istio-system", map),
                object("ConfigMap", "istio-canary", "istio-system", revision),
                object(
                    "ConfigMap",
                    "istio-ca-root-cert",
                    "istio-system",
                    json!({"data": {"root-cert.pem": ""}})
                ),
            ])),
        ),
        (
            "telemetries",
            list(json!([
                telemetry("mesh-default", "istio-system", json!([{"providers": [{"name": "otel"}]}])),
                telemetry("own", "shop", json!([{"providers": [{"name": "envoy"}]}])),
                telemetry("off", "quiet", json!([{"disabled": true}])),
            ])),
        ),
        ("envoyfilters", list(json!([object("EnvoyFilter", "no-ids", "shop", foreign)]))),
        (
            "namespaces",
            list(json!([
                labelled("istio-system", json!({})),
                labelled("shop", json!({"istio-injection": "enabled"})),
                labelled("plain", json!({})),
                labelled("mist", json!({"istio.io/dataplane-mode": "ambient"})),
            ])),
        ),
        ("deployments", list(json!([object("Deployment", "istiod", "istio-system", istiod)]))),
        (
            "pods",
            "docker.io/istio/proxyv2:1.28.3\n\nproxyv2:1.24.6-distroless\nproxyv2:1.24.6-distroless\n"
                .to_owned(),
        ),
        ("services", list(json!([object("Service", "throughline", "throughline", service)]))),
    ])
}

/// Writes the stand-in and what it answers; its path.
fn kubectl(directory: &Path, answers: &BTreeMap<&str, String>) -> String {
    for (kind, text) in answers {
        fs::write(directory.join(kind), text).unwrap();
    }
    let path = directory.join("kubectl");
    fs::write(&path, KUBECTL).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn documents(text: &str) -> Vec<Value> {
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    serde_yaml_ng::Deserializer::from_str(text).map(read).filter(Value::is_object).collect()
}

fn find<'a>(documents: &'a [Value], kind: &str, namespace: &str) -> &'a Value {
    let found = documents.iter().find(|it| it["kind"] == kind && it["metadata"]["namespace"] == namespace);
    found.unwrap_or_else(|| panic!("no {kind} in {namespace}: {documents:#?}"))
}

#[test]
fn a_mesh_keeps_what_it_has_and_logs_here_too() {
    let directory = tempfile::tempdir().unwrap();
    let kubectl = kubectl(directory.path(), &cluster());
    let (code, printed, said) =
        setup(&["istio", "--kubectl", &kubectl, "--istio", "1.28", "--via", "otlp"], "");
    assert_eq!(code, 0, "{said}");
    let printed = documents(&printed);
    for document in printed.iter().filter(|document| document["kind"] != "ConfigMap") {
        assert_known_fields(document);
    }
    let map = find(&printed, "ConfigMap", "istio-system");
    assert_eq!(map["metadata"]["resourceVersion"], "4711", "a change in between must make applying fail");
    assert!(map["metadata"].get("uid").is_none());
    assert_eq!(map["data"]["meshNetworks"], "networks: {}");
    let mesh = map["data"]["mesh"].as_str().unwrap();
    assert!(mesh.starts_with("# by hand\naccessLogFile: /dev/stdout\nenableTracing: yes\n"), "{mesh}");
    let mesh: Value = serde_yaml_ng::from_str(mesh).unwrap();
    assert_eq!(mesh["extensionProviders"][0]["name"], "otel");
    let labels = &mesh["extensionProviders"][1]["envoyOtelAls"]["logFormat"]["labels"];
    assert_eq!(labels["trace_id"], "%TRACE_ID%");
    assert!(labels.get("span_id").is_none(), "two proxies run 1.24, which is Envoy 1.32");
    let names = |names: [&str; 2]| json!(names.map(|name| json!({"providers": [{"name": name}]})));
    let root = find(&printed, "Telemetry", "istio-system");
    assert_eq!(root["metadata"]["name"], "mesh-default");
    assert_eq!(root["spec"]["accessLogging"], names(["otel", "throughline"]));
    let quiet = find(&printed, "Telemetry", "throughline");
    assert_eq!(
        quiet["spec"]["accessLogging"][1],
        json!({"providers": [{"name": "throughline"}], "disabled": true})
    );
    find(&printed, "EnvoyFilter", "istio-system");
    assert_eq!(printed.len(), 4);
    for part in [
        "ok    proxies: 2 of 1.24, 1 of 1.28",
        "warn  --istio says 1.28, but the oldest that runs is 1.24: printed for 1.24",
        "ok    Service throughline/throughline has port 4317 for grpc",
        "ok    meshConfig in istio-system/istio has the providers otel; they stay",
        "need  Helm owns ConfigMap istio-system/istio",
        "run again with --revision canary",
        "warn  namespace shop: Telemetry shop/own names envoy instead",
        "warn  namespace quiet: Telemetry quiet/off turns its logging off",
        "warn  ambient: mist: ztunnel has no log provider",
        "warn  EnvoyFilter shop/no-ids sets generate_request_id too",
        "cost  CPU: some 7 us a request",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[test]
fn one_namespace_first_and_all_the_way_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut answers = cluster();
    let program = kubectl(directory.path(), &answers);
    let (code, printed, said) = setup(&["istio", "--kubectl", &program, "--namespace", "shop"], "");
    assert_eq!(code, 0, "{said}");
    let printed = documents(&printed);
    assert_eq!(printed.len(), 3, "meshConfig, one Telemetry, one filter: {printed:#?}");
    let shop = find(&printed, "Telemetry", "shop");
    assert_eq!(shop["spec"]["accessLogging"][1], json!({"providers": [{"name": "throughline"}]}));
    assert_eq!(find(&printed, "EnvoyFilter", "shop")["metadata"]["namespace"], "shop");
    assert!(said.contains("one namespace only"), "{said}");
    assert!(!said.contains("quiet/off"), "another namespace's business: {said}");

    // As the cluster is once all of it is applied, and something of another's beside it.
    answers.insert("configmaps", list(json!([find(&printed, "ConfigMap", "istio-system")])));
    let others =
        telemetry("throughline-access-logs", "cart", json!([{"providers": [{"name": "throughline"}]}]));
    answers.insert("telemetries", list(json!([shop, others])));
    answers.insert("envoyfilters", list(json!([find(&printed, "EnvoyFilter", "shop")])));
    kubectl(directory.path(), &answers);
    let (_, again, said) = setup(&["istio", "--kubectl", &program, "--namespace", "shop"], "");
    assert_eq!((again.as_str(), said.contains("nothing is left to apply")), ("", true), "{said}");

    let undo = |line: &[&str]| {
        let _ = fs::remove_file(directory.path().join("done"));
        let (code, script, said) = setup(&[&["istio", "--kubectl", &program, "--undo"], line].concat(), "");
        assert_eq!(code, 0, "{said}");
        let ran = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
        fs::read_to_string(directory.path().join("done")).unwrap()
    };
    let done = undo(&["--namespace", "shop"]);
    let back = documents(done.split("# delete").next().unwrap());
    assert_eq!(back[0]["spec"]["accessLogging"], json!([{"providers": [{"name": "envoy"}]}]), "{done}");
    assert!(
        done.contains("# delete envoyfilters.networking.istio.io preserve-request-ids -n shop"),
        "{done}"
    );
    assert!(!done.contains("ConfigMap"), "cart still needs the provider: {done}");
    let done = undo(&[]);
    let map = documents(&done).into_iter().find(|it| it["kind"] == "ConfigMap").unwrap();
    assert_eq!(map["data"]["mesh"], MESH, "to the letter");
    assert_eq!(map["metadata"]["resourceVersion"], "4711");
    let telemetry = done.find("Telemetry").unwrap();
    assert!(telemetry < done.find("ConfigMap").unwrap(), "whoever names the provider goes first: {done}");
}

#[test]
fn the_labels_for_a_mesh_run_in_the_real_envoy() {
    let (code, printed, said) = setup(&["istio", "--offline", "--istio", "1.30", "--via", "stdout"], "");
    assert_eq!(code, 0, "{said}");
    let fragment: String = printed
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .map(|line| format!("{line}\n"))
        .collect();
    let provider = documents(&fragment).remove(0)["extensionProviders"][0].take();
    let labels = &provider["envoyFileAccessLog"]["logFormat"]["labels"];

    // Nobody is behind it: the answer is Envoy's own, and it is logged all the same.
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let line = ["envoy", "--whole", "--via", "file", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9"];
    let (code, whole, said) = setup(&[&line[..], &["--file", log.to_str().unwrap()]].concat(), "");
    assert_eq!(code, 0, "{said}");
    let mut bootstrap = documents(&whole).remove(0);
    let filter = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    filter["typed_config"]["access_log"][0]["typed_config"]["log_format"]["json_format"] = labels.clone();
    bootstrap["node"] = json!({"id": "sidecar~10.0.0.7~cart-1.shop~shop.svc.cluster.local", "cluster": "cart.shop",
        "metadata": {"NAMESPACE": "shop", "WORKLOAD_NAME": "cart", "CLUSTER_ID": "Kubernetes"}});
    bootstrap["admin"] = json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}});
    let file = directory.path().join("sidecar.json");
    fs::write(&file, bootstrap.to_string()).unwrap();
    let mut envoy = proxy(&file);
    let address = envoy.listener("ingress").unwrap();
    let correlation = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f";
    assert_eq!(
        get(address, "/cart", &[("host", "shop"), ("x-correlation-id", correlation)]).unwrap().status,
        503
    );
    let line = eventually("the request is logged", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        serde_json::from_str::<Value>(text.lines().next()?).ok()
    });
    for (label, value) in [
        ("namespace", "shop"),
        ("workload", "cart"),
        ("mesh_cluster", "Kubernetes"),
        ("x_correlation_id", correlation),
        ("upstream_cluster", "upstream"),
        ("access_log_type", "DownstreamEnd"),
    ] {
        assert_eq!(line[label], value, "{line:#}");
    }
    let missing: Vec<_> =
        labels.as_object().unwrap().keys().filter(|label| line.get(label.as_str()).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_could_not_be_looked_at_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (code, printed, said) = setup(&["istio", "--kubectl", "/nowhere/kubectl", "--istio", "1.28"], "");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("skip  cannot run /nowhere/kubectl"), "{said}");
    assert!(printed.starts_with("# meshConfig was not read"), "{printed}");
    assert!(
        !printed.contains("ConfigMap\n"),
        "a ConfigMap that was not read would erase the mesh's: {printed}"
    );

    let program = kubectl(directory.path(), &BTreeMap::new());
    let (code, _, said) = setup(&["istio", "--kubectl", &program], "");
    assert_eq!(code, 2);
    assert!(said.contains("which Istio? say it with --istio 1.28"), "{said}");
    let (code, _, said) = setup(&["istio", "--kubectl", &program, "--istio", "1.28"], "");
    assert_eq!(code, 0);
    for kind in ["configmaps -n istio-system", "telemetries.telemetry.istio.io -A", "namespaces", "services"]
    {
        let line = format!("skip  kubectl get {kind}");
        assert!(said.contains(&line) && said.contains("(Unauthorized)"), "{kind}: {said}");
    }

    let mut broken = cluster();
    let map = json!({"apiVersion": "v1", "data": {"mesh": "extensionProviders: ["}});
    broken.insert("configmaps", list(json!([object("ConfigMap", "istio", "istio-system", map)])));
    let program = kubectl(directory.path(), &broken);
    let (code, printed, said) = setup(&["istio", "--kubectl", &program], "");
    assert_eq!((code, printed.as_str()), (2, ""), "{said}");
    assert!(said.contains("cannot read meshConfig in ConfigMap istio-system/istio"), "{said}");
}
