//! One provider more at every level, beside everything that may stand there.

use super::*;

fn telemetry(namespace: &str, name: &str, logging: Value) -> Value {
    json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
        "metadata": {"name": name, "namespace": namespace, "uid": "1", "resourceVersion": "7"},
        "spec": {"accessLogging": logging}})
}

fn added() -> Added<'static> {
    Added { providers: &["throughline"], filter: None, disabled: false }
}

fn logging(change: Change) -> Value {
    match change {
        Change::None => Value::Null,
        Change::New(object) | Change::Edited(object) => object["spec"]["accessLogging"].clone(),
    }
}

fn after(telemetries: &[Value], mesh: &Value, namespace: &str) -> Value {
    logging(change(telemetries, mesh, &Level { namespace, root: "istio-system" }, &added()))
}

fn named(names: &[&str]) -> Value {
    entry(names)
}

#[test]
fn an_empty_mesh_gets_a_telemetry_of_its_own() {
    assert_eq!(after(&[], &Value::Null, "istio-system"), json!([named(&["throughline"])]));
    assert_eq!(after(&[], &Value::Null, "shop"), json!([named(&["throughline"])]));
}

#[test]
fn what_logged_before_goes_on_logging() {
    let by_file = json!({"accessLogFile": "/dev/stdout"});
    assert_eq!(after(&[], &by_file, "istio-system"), json!([named(&["envoy"]), named(&["throughline"])]));
    assert_eq!(after(&[], &by_file, "shop"), json!([named(&["envoy"]), named(&["throughline"])]));
    let by_default = json!({"accessLogFile": "/dev/stdout", "defaultProviders": {"accessLogging": ["otel"]}});
    assert_eq!(after(&[], &by_default, "istio-system"), json!([named(&["otel"]), named(&["throughline"])]));

    let filtered = json!({"providers": [{"name": "otel"}], "filter": {"expression": "response.code >= 400"}});
    let root = telemetry("istio-system", "mesh", json!([filtered]));
    let both = json!([filtered, named(&["throughline"])]);
    assert_eq!(after(std::slice::from_ref(&root), &by_file, "istio-system"), both);
    assert_eq!(after(&[root], &by_file, "shop"), both, "with the filter that stands in the root");
}

#[test]
fn entries_that_name_nobody_keep_whom_they_meant() {
    let errors = json!({"filter": {"expression": "response.code >= 400"}});
    let spelled = json!({"providers": [{"name": "envoy"}], "filter": {"expression": "response.code >= 400"}});
    let mesh = json!({"accessLogFile": "/dev/stdout"});
    let root = telemetry("istio-system", "mesh", json!([errors]));
    assert_eq!(after(&[root], &mesh, "istio-system"), json!([spelled, named(&["throughline"])]));
    let own = telemetry("shop", "own", json!([errors]));
    assert_eq!(after(std::slice::from_ref(&own), &mesh, "shop"), json!([spelled, named(&["throughline"])]));
    // What the root names stands before what meshConfig says.
    let root = telemetry("istio-system", "mesh", json!([named(&["otel"])]));
    assert_eq!(after(&[root, own], &mesh, "shop")[0]["providers"], json!([{"name": "otel"}]));
}

#[test]
fn the_oldest_telemetry_without_a_selector_is_the_one_that_counts() {
    let mut newer = telemetry("shop", "a", json!([named(&["b"])]));
    newer["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z".into();
    let mut older = telemetry("shop", "z", json!([named(&["c"])]));
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let mut selective = telemetry("shop", "s", json!([named(&["d"])]));
    selective["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z".into();
    selective["spec"]["selector"] = json!({"matchLabels": {"app": "cart"}});
    let all = [newer, older, selective];
    let level = Level { namespace: "shop", root: "istio-system" };
    let Change::Edited(edited) = change(&all, &Value::Null, &level, &added()) else { panic!("not edited") };
    assert_eq!(edited["metadata"], json!({"name": "z", "namespace": "shop", "resourceVersion": "7"}));
    assert_eq!(edited["spec"]["accessLogging"], json!([named(&["c"]), named(&["throughline"])]));
    let said = overriding(&all, &level, "throughline");
    assert_eq!(said, ["workloads in namespace shop: Telemetry shop/s names d instead"]);
}

#[test]
fn what_logs_here_already_is_left_alone() {
    let root = telemetry("istio-system", "mesh", json!([named(&["otel", "throughline"])]));
    assert_eq!(after(std::slice::from_ref(&root), &Value::Null, "istio-system"), Value::Null);
    assert_eq!(after(std::slice::from_ref(&root), &Value::Null, "shop"), Value::Null, "inherited");
    let own = telemetry("shop", "own", json!([named(&["otel"])]));
    assert_eq!(after(&[root, own], &Value::Null, "shop"), json!([named(&["otel"]), named(&["throughline"])]));
}

#[test]
fn who_overrides_is_told_with_what_it_does() {
    let off = telemetry("quiet", "off", json!([{"disabled": true}]));
    let others = telemetry("shop", "own", json!([named(&["otel", "envoy", "otel"])]));
    let keeps = telemetry("fine", "own", json!([{"filter": {"expression": "true"}}]));
    let all = [off, others, keeps];
    let level = Level { namespace: "istio-system", root: "istio-system" };
    assert_eq!(
        overriding(&all, &level, "throughline"),
        [
            "namespace quiet: Telemetry quiet/off turns its logging off",
            "namespace shop: Telemetry shop/own names envoy, otel instead"
        ]
    );
    assert!(overriding(&all, &Level { namespace: "cart", root: "istio-system" }, "throughline").is_empty());
}

#[test]
fn the_way_back_leaves_what_others_said() {
    let mixed = telemetry(
        "a",
        "mixed",
        json!([named(&["otel"]), named(&["throughline", "envoy"]), named(&["throughline"])]),
    );
    let left = without(&mixed, &["throughline", "throughline-tcp"]).unwrap().unwrap();
    assert_eq!(left["spec"]["accessLogging"], json!([named(&["otel"]), named(&["envoy"])]));
    assert_eq!(left["metadata"]["resourceVersion"], "7");
    let only = telemetry("a", "only", json!([named(&["throughline"])]));
    assert_eq!(without(&only, &["throughline"]), Some(None));
    let mut traced = only;
    traced["spec"]["tracing"] = json!([{"providers": [{"name": "otel"}]}]);
    assert!(without(&traced, &["throughline"]).unwrap().unwrap()["spec"].get("accessLogging").is_none());
    assert_eq!(without(&telemetry("a", "b", json!([named(&["otel"])])), &["throughline"]), None);
}
