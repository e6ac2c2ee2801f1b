//! Asking: one request by any of its ids, searches by every filter, what could not be read, and the errors.

use serde_json::Value;

use crate::app::{Service, eventually};

const CORRELATION: &str = "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const GATEWAY_REQUEST: &str = "42322d1a-c026-4a05-84a7-b6ce5d11d011";
/// The same id as a sidecar logs it when the request was sampled.
const SIDECAR_REQUEST: &str = "42322d1a-c026-9a05-84a7-b6ce5d11d011";

/// One request over edge, gateway and sidecar: the edge knows the correlation id, the sidecar only the request id.
fn one_request(service: &Service) {
    let edge = format!(
        r#"{{"v":1,"src":"fastly-vcl","service_id":"SVC","service_version":7,"ts_us":1795290064270000,"elapsed_us":25000,"ttfb_s":"0.024","edge":true,"visits":0,"restarts":0,"to_shield":false,"traceparent":"00-{TRACE}-00f067aa0ba902b7-01","correlation_id":"{CORRELATION}","method":"GET","host":"shop.example.com","url":"/cart?token=abcdefghijklmnop&page=2","proto":"HTTP/2","status":503,"state":"PASS","pop":"FRA","server":"cache-fra-etou8220160-FRA","backend":"mesh","client_ip":"203.0.113.7","asn":64500,"country":"DE","tls":"TLSv1.3","resp_bytes":512,"completed":true,"ua":"probe/1.0","o_start_us":null,"o_ttfb_us":null,"o_status":null}}"#
    );
    let line = |start: &str, request: &str, correlation: &str, cluster: &str, flags: &str| {
        format!(
            r#"{{"authority":"shop.example.com","bytes_received":0,"bytes_sent":91,"duration":10,"method":"GET","path":"/cart","protocol":"HTTP/1.1","request_id":"{request}","x_correlation_id":{correlation},"response_code":503,"response_code_details":"via_upstream","response_flags":"{flags}","route_name":"default","start_time":"{start}","upstream_cluster":"{cluster}","upstream_host":"127.0.0.1:21100","user_agent":"probe/1.0","x_forwarded_for":"203.0.113.7"}}"#
        )
    };
    let gateway = line(
        "2026-11-21T19:41:04.276Z",
        GATEWAY_REQUEST,
        &format!("\"{CORRELATION}\""),
        "outbound|8080||app-a.default.svc.cluster.local",
        "-",
    );
    let sidecar = line("2026-11-21T19:41:04.280Z", SIDECAR_REQUEST, "null", "inbound|8080||", "UF,URX");
    service.accept("/v1/fastly", edge);
    service.accept("/v1/envoy", format!("{gateway}\n{sidecar}\n"));
    service.wait_stored(3);
}

#[test]
fn any_id_finds_the_whole_request() {
    let service = Service::start();
    one_request(&service);
    for id in [CORRELATION, TRACE, GATEWAY_REQUEST, SIDECAR_REQUEST, &CORRELATION.to_uppercase()] {
        let answer = service.json(&format!("/api/v1/traces/{id}"));
        assert_eq!(answer["others"], Value::Null, "{id}: {answer}");
        let spans = answer["spans"].as_array().unwrap();
        let hops: Vec<&str> = spans.iter().map(|span| span["hop"].as_str().unwrap()).collect();
        assert_eq!(hops.len(), 3, "{id}: {hops:?}");
        assert_eq!(hops[0], "edge", "{id}: {hops:?}");
        assert_eq!(answer["status"], 503);
        for pair in spans.windows(2) {
            assert_eq!(pair[1]["parent_span_id"], pair[0]["span_id"], "{id}: {answer}");
        }
    }
    let found = service.cli(&["trace", CORRELATION]);
    assert_eq!(found.status.code(), Some(0));
    let shown = String::from_utf8(found.stdout).unwrap();
    for part in ["edge", "FRA", "503", "UF,URX", "/cart", "tied by unknown outbound"] {
        assert!(shown.contains(part), "{part} is missing:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours into a pipe");
    let json = service.cli(&["trace", SIDECAR_REQUEST, "--json"]);
    let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(answer["spans"].as_array().unwrap().len(), 3);
    for member in [
        "summary",
        "correlation_id",
        "trace_id",
        "ids",
        "complete",
        "spans",
        "gaps",
        "skew",
        "split",
        "related",
    ] {
        assert!(!answer[member].is_null(), "{member} is missing: {answer}");
    }
    let keys: Vec<&str> =
        answer["spans"].as_array().unwrap().iter().map(|span| span["event_key"].as_str().unwrap()).collect();
    let why = service.cli(&["trace", CORRELATION, "--why", keys[0], SIDECAR_REQUEST]);
    let said = String::from_utf8(why.stdout).unwrap();
    assert!(said.starts_with("one request:") && said.contains("correlation_id"), "{said}");
    assert_eq!(service.cli(&["trace", CORRELATION, "--why", keys[0], "nowhere"]).status.code(), Some(1));
}

#[test]
fn a_hot_id_and_a_request_of_a_thousand_hops_answer_within_bounds() {
    let service = Service::start();
    // One correlation id that a client sets on every request: nothing of it is one request.
    let hot = "0192f0c4-8a4e-7cc3-98c4-dc0c0c070001";
    let line = |number: usize| {
        format!(
            r#"{{"v":1,"src":"fastly-vcl","service_id":"SVC","ts_us":{},"elapsed_us":900,"edge":true,"visits":0,"correlation_id":"{hot}","method":"GET","host":"h","url":"/{number}","status":200,"pop":"FRA"}}"#,
            1_795_290_064_270_000u64 + number as u64
        )
    };
    let hot_records = 100_000;
    for first in (0..hot_records).step_by(10_000) {
        let lines: Vec<String> = (first..first + 10_000).map(line).collect();
        service.accept("/v1/fastly", lines.join("\n"));
    }
    // A workload that is called once and calls another 499 times.
    let id = "7e6d0f1a-c026-4a05-84a7-b6ce5d11d0aa";
    let call = |number: usize, cluster: &str, local: &str, remote: &str| {
        let at = jiff::Timestamp::from_millisecond(1_795_290_070_000 + number as i64).unwrap();
        format!(
            r#"{{"start_time":"{at:.3}","method":"GET","path":"/part/{number}","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","response_code_details":"via_upstream","duration":1,"request_id":"{id}","authority":"orders","upstream_cluster":"{cluster}","upstream_host":"{remote}","upstream_local_address":"10.8.0.4:40000","downstream_local_address":"{local}","downstream_remote_address":"10.8.0.4:40000","bytes_received":0,"bytes_sent":{number}}}"#
        )
    };
    let called = call(0, "inbound|8080||", "10.8.0.4:8080", "10.8.0.4:8080");
    let called = called.replace(r#""duration":1,"#, r#""duration":900,"#).replace("/part/0", "/all");
    let wide: Vec<String> = (1..500)
        .flat_map(|number| {
            [
                call(
                    number,
                    "outbound|8080||orders.shop.svc.cluster.local",
                    "10.9.0.1:8080",
                    "10.8.0.7:8080",
                ),
                call(number, "inbound|8080||", "10.8.0.7:8080", "10.8.0.7:8080"),
            ]
        })
        .chain([called])
        .collect();
    service.accept("/v1/envoy", wide.join("\n"));
    service.wait_stored(hot_records as u64 + 999);

    let begin = std::time::Instant::now();
    let answer = service.json(&format!("/api/v1/traces/{hot}"));
    let hot_took = begin.elapsed();
    assert_eq!(answer["others"].as_array().unwrap().len(), 100);
    assert!(answer["truncated"].as_str().unwrap().contains("more"), "{}", answer["truncated"]);
    assert_eq!(answer["spans"].as_array().unwrap().len(), 1, "an id on so many records joins nothing");
    let begin = std::time::Instant::now();
    let answer = service.json(&format!("/api/v1/traces/{id}"));
    let wide_took = begin.elapsed();
    assert_eq!(answer["spans"].as_array().unwrap().len(), 999, "{}", answer["truncated"]);
    println!("hot id with {hot_records} records: {hot_took:?}; request of 999 hops: {wide_took:?}");
    assert!(hot_took.as_secs() < 20 && wide_took.as_secs() < 20, "{hot_took:?}, {wide_took:?}");
}

#[test]
fn a_redelivery_is_one_hop_that_came_twice() {
    let service = Service::start();
    let line = format!(
        r#"{{"v":1,"src":"fastly-vcl","ts_us":1795290064270000,"edge":true,"visits":0,"correlation_id":"{CORRELATION}","method":"GET","host":"h","url":"/","status":200,"pop":"FRA"}}"#
    );
    service.accept("/v1/fastly", line.clone());
    service.accept("/v1/fastly", line);
    service.wait_stored(2);
    let answer = service.json(&format!("/api/v1/traces/{CORRELATION}"));
    let spans = answer["spans"].as_array().unwrap();
    assert_eq!((spans.len(), &spans[0]["deliveries"]), (1, &2.into()), "{answer}");
}

#[test]
fn each_filter_of_a_search_finds_and_leaves_out() {
    let service = Service::start();
    one_request(&service);
    let count =
        |query: &str| service.json(&format!("/api/v1/events?{query}"))["events"].as_array().unwrap().len();
    for (query, found) in [
        ("status=5xx", 3),
        ("status=503", 3),
        ("status=2xx", 0),
        ("status=504", 0),
        ("hop=edge", 1),
        ("hop=shield", 0),
        ("direction=inbound", 1),
        ("host=shop.example.com", 3),
        ("host=other", 0),
        ("path_prefix=/ca", 3),
        ("path_prefix=/x", 0),
        ("pop=FRA", 1),
        ("pop=fra", 1),
        ("country=de", 1),
        ("country=fr", 0),
        ("client=203.0.113.7", 1),
        ("client=203.0.113.8", 0),
        ("flag=URX", 1),
        ("flag=UR", 0),
        ("min_duration_ms=20", 1),
        ("min_duration_ms=100", 0),
        ("from=2026-11-21T19:41:04Z", 3),
        ("to=2026-11-21T19:41:04Z", 0),
        ("limit=2", 2),
        ("subject=x", 0),
        ("verdict_reason=x", 0),
    ] {
        assert_eq!(count(query), found, "{query}");
    }
    let page = service.json("/api/v1/events?limit=2");
    let rest = service.json(&format!("/api/v1/events?limit=2&after={}", page["next"].as_str().unwrap()));
    assert_eq!(rest["events"].as_array().unwrap().len(), 1);
    assert!(rest["next"].is_null());
    let tail = eventually("the tail has settled", || {
        let tail = service.json("/api/v1/events?order=oldest&since=1h&limit=2");
        (tail["events"].as_array().unwrap().len() == 2).then_some(tail)
    });
    let more = service.json(&format!("/api/v1/events?order=oldest&after={}", tail["next"].as_str().unwrap()));
    assert_eq!(more["events"].as_array().unwrap().len(), 1);
    let shown = service.cli(&["search", "--status", "5xx", "--hop", "edge", "--json"]);
    assert_eq!(
        String::from_utf8(shown.stdout).unwrap().lines().count(),
        1,
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
}

#[test]
fn errors_say_what_to_do() {
    let service = Service::start();
    for (path, status, part) in [
        ("/api/v1/traces/0192f0c4-8a4e-7cc3-98c4-000000000000", 404, "no record carries"),
        ("/api/v1/traces/-", 400, "not an id"),
        ("/api/v1/events?status=abc", 400, "5xx"),
        ("/api/v1/events?sttus=5xx", 400, "sttus"),
        ("/api/v1/rejects?reason=x", 400, "bad_json"),
        ("/nowhere", 404, "openapi.json"),
    ] {
        let (got, body) = service.get(path);
        let problem: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
        assert_eq!(got, status, "{path}: {body}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{path}: {body}");
    }
    let missing = service.cli(&["trace", "0192f0c4-8a4e-7cc3-98c4-000000000000"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stdout.is_empty());
}

#[test]
fn the_service_describes_itself() {
    let service = Service::start();
    let document = service.json("/api/v1/openapi.json");
    assert!(document["paths"]["/api/v1/traces/{id}"].is_object());
    let (status, metrics) = service.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("throughline_spool_used_bytes") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert_eq!(service.get("/healthz").0, 200);
}
