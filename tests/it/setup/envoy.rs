//! `throughline setup envoy` on the real Envoy: what is printed starts, and a request through it is found by its ids.

use std::fs;

use chain::get;
use serde_json::Value;

use super::setup;
use crate::app::{Options, Service, eventually};
use crate::envoy::proxy;

const TOKEN: &str = "token-of-the-gateways-envoys";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Each way, with the release whose form is printed and the format that comes of it; all run on the pinned Envoy.
const WAYS: [(&str, &str, &str); 4] = [
    ("als", "1.40", "als-http"),
    ("otlp", "1.40", "otlp-labels"),
    ("otlp", "1.36", "otlp-labels"),
    ("file", "1.30", "json"),
];

#[test]
fn what_is_printed_runs_in_the_real_envoy_and_keeps_the_ids() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let source =
        |kind: &str| format!("[[source]]\nname = 'the-{kind}'\nkind = '{kind}'\ntoken = '{TOKEN}'\n");
    let files = format!("[[source]]\nname = 'lines'\nkind = 'file'\npaths = ['{}']\n", at("access.log"));
    let config = source("als") + &source("otlp") + &files;
    let service = Service::with(Options { config, ..Options::default() });
    fs::write(at("token"), TOKEN).unwrap();

    let (http, grpc) = (service.http.to_string(), service.grpc.to_string());
    let mut envoys = Vec::new();
    for (nth, (via, release, _)) in WAYS.into_iter().enumerate() {
        let mut line = vec!["envoy", "--whole", "--listen", "127.0.0.1:0", "--upstream", &http, "--via", via];
        line.extend(["--envoy", release, "--address", &grpc]);
        let (token, file) = (at("token"), at("access.log"));
        line.extend(if via == "file" { ["--file", &file] } else { ["--token-file", &token] });
        let (code, printed, said) = setup(&line, "");
        assert_eq!(code, 0, "{said}");
        // The harness asks Envoy for its listeners; what is printed opens no administration port.
        let bootstrap = at(&format!("{nth}.yaml"));
        fs::write(&bootstrap, &printed).unwrap();
        let admin = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n";
        fs::write(&bootstrap, printed + admin).unwrap();
        envoys.push(proxy(bootstrap.as_ref()));
    }
    let correlation = |nth: usize| format!("0192f0c4-8a4e-7cc3-98c4-{nth:012x}");
    // The digit that Envoy would write its trace decision into is a 9, which no generator of ids sets.
    let request_id = |nth: usize| format!("0192f0c4-8a4e-9cc3-98c4-{:012x}", 16 + nth);
    for (nth, envoy) in envoys.iter_mut().enumerate() {
        let address = envoy.listener("ingress").unwrap();
        let traceparent = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
        let headers = [
            ("host", "shop.example.com"),
            ("x-correlation-id", &correlation(nth)),
            ("x-request-id", &request_id(nth)),
            ("traceparent", &traceparent),
            ("user-agent", "say \"hello\""),
        ];
        assert_eq!(get(address, "/healthz?way", &headers).unwrap().status, 200);
    }
    for (nth, (via, release, format)) in WAYS.into_iter().enumerate() {
        let found = eventually(&format!("the record over {via} for {release} is found"), || {
            let (status, body) = service.get(&format!("/api/v1/traces/{}", correlation(nth)));
            (status == 200).then(|| serde_json::from_str::<Value>(&body).unwrap())
        });
        let event = &found["spans"][0]["event"];
        assert_eq!(event["format"], format!("envoy-{format}"), "{event:#}");
        for (field, value) in [
            ("request_id", request_id(nth).replace("-9cc3", "-4cc3")),
            ("request_id_reason", "9".to_owned()),
            ("trace_id", TRACE_ID.to_owned()),
            ("host", "shop.example.com".to_owned()),
            ("path", "/healthz".to_owned()),
            ("upstream_cluster", "upstream".to_owned()),
            ("user_agent", "say \"hello\"".to_owned()),
            ("start_precision", "us".to_owned()),
        ] {
            assert_eq!(event[field], *value, "{via} {release}: {field}\n{event:#}");
        }
        assert!(
            event["upstream_rx_first_ns"].as_u64().is_some_and(|ns| ns > 0),
            "{via} {release}: {event:#}"
        );
        // Who sent it: files and labels know the machine, the others the node.
        assert!(event["node"] == "gateway-1" || event["pod"].is_string(), "{via} {release}: {event:#}");
    }
}
