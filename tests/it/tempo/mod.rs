//! Tempo's API over sample traffic: what Grafana's Tempo data source asks (its published source at 2026-08), answers
//! decoded by OpenTelemetry's own types, and searches held against the spans themselves.

mod search;

use base64::Engine as _;
use event::Hop;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use serde_json::Value;
use testkit::{Mix, Story, fastly, istio};

use crate::app::{Options, Service};

/// Requests of the mix; each has some six records.
const REQUESTS: u64 = 60;

/// What Grafana reads of Tempo's second answer.
#[derive(Clone, PartialEq, prost::Message)]
struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

/// The lines of requests: those that Fastly sends, and those of the mesh.
pub(crate) fn lines_by_side(requests: &[testkit::Request]) -> (Vec<String>, Vec<String>) {
    let (mut edge, mut mesh) = (Vec::new(), Vec::new());
    for request in requests {
        for hop in &request.hops {
            match hop.hop {
                Hop::Edge | Hop::Shield => edge.push(fastly::vcl_line(request, hop)),
                _ => mesh.push(istio::json_line_with_ids(request, hop)),
            }
        }
    }
    (edge, mesh)
}

/// Sends the mix as its senders would; the requests, and how many records there are.
fn traffic(service: &Service) -> Vec<testkit::Request> {
    let mix = Mix::new(21);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|n| if n == 0 { mix.request_as(0, Story::Timeout) } else { mix.request(n) })
        .collect();
    let (edge, mesh) = lines_by_side(&requests);
    let records = edge.len() + mesh.len();
    service.accept("/v1/fastly", edge.join("\n"));
    service.accept("/v1/envoy", mesh.join("\n"));
    service.wait_stored(records as u64);
    requests
}

/// Status, content type and body of a GET that asks for protobuf.
fn protobuf(service: &Service, path: &str) -> (u16, String, Vec<u8>) {
    let response = reqwest::blocking::Client::new()
        .get(service.url() + path)
        .header("accept", "application/protobuf")
        .send()
        .unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status().as_u16(), kind, response.bytes().unwrap().to_vec())
}

fn encoded(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => (byte as char).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

#[test]
fn traces_are_told_in_both_forms_of_both_versions() {
    let service = Service::start();
    let requests = traffic(&service);
    assert_eq!(service.get("/tempo/api/echo"), (200, "echo".to_owned()));
    assert_eq!(service.get("/tempo/ready").0, 200);
    assert!(service.json("/tempo/api/status/buildinfo")["version"].is_string());

    let request = &requests[0];
    let id = format!("{:032x}", request.trace_id);
    let (_, _, first) = protobuf(&service, &format!("/tempo/api/traces/{id}"));
    let first = TracesData::decode(first.as_slice()).unwrap();
    let (status, _, second) = protobuf(&service, &format!("/tempo/api/v2/traces/{id}?start=1&end=2"));
    assert_eq!(status, 200);
    let second = TraceByIdResponse::decode(second.as_slice()).unwrap();
    assert_eq!((second.status, second.message.as_str()), (0, ""));
    assert_eq!(second.trace.as_ref(), Some(&first));
    let spans = |traces: &TracesData| -> Vec<Span> {
        traces.resource_spans.iter().flat_map(|it| &it.scope_spans).flat_map(|it| it.spans.clone()).collect()
    };
    let own = spans(&first);
    assert_eq!(own.len(), request.hops.len());
    assert!(own.iter().all(|span| span.trace_id == request.trace_id.to_be_bytes()));
    assert_eq!(own.iter().filter(|span| span.parent_span_id.is_empty()).count(), 1, "one root");

    // Ids in JSON are base64, and the two versions differ by one name.
    let one = service.json(&format!("/tempo/api/traces/{id}"));
    let two = service.json(&format!("/tempo/api/v2/traces/{id}"));
    assert_eq!(one["batches"], two["trace"]["resourceSpans"]);
    let told = &one["batches"][0]["scopeSpans"][0]["spans"][0];
    let bytes = |member: &str| {
        base64::engine::general_purpose::STANDARD.decode(told[member].as_str().unwrap()).unwrap()
    };
    assert_eq!(bytes("traceId"), request.trace_id.to_be_bytes());
    assert_eq!(bytes("spanId"), own[0].span_id);
    assert_eq!(told["kind"], "SPAN_KIND_SERVER");
    assert_eq!(told["startTimeUnixNano"], own[0].start_time_unix_nano.to_string());

    // Any id of the request leads there; Grafana lets through hex digits only.
    let correlation = format!("{:032x}", request.correlation_id);
    for other in [correlation.as_str(), &request.correlation_text(), &format!("{:032x}", request.request_id)]
    {
        let (status, _, body) = protobuf(&service, &format!("/tempo/api/traces/{other}"));
        assert_eq!(status, 200, "{other}");
        assert_eq!(spans(&TracesData::decode(body.as_slice()).unwrap()).len(), own.len(), "{other}");
    }
    let (status, answer) = service.get("/tempo/api/v2/traces/00000000000000000000000000000bad");
    assert!(status == 404 && answer.contains("trace not found"), "{status} {answer}");

    // A filter keeps the spans above those that fit, and says that it left some out.
    let q = encoded(r#"{ span.throughline.hop = "gateway" }"#);
    let (_, _, filtered) =
        protobuf(&service, &format!("/tempo/api/v2/traces/{id}?q={q}&keep_hierarchy=false"));
    let filtered = TraceByIdResponse::decode(filtered.as_slice()).unwrap();
    let kept = spans(&filtered.trace.unwrap());
    assert_eq!((kept.len(), filtered.status), (1, 1));
    let (_, _, whole) = protobuf(&service, &format!("/tempo/api/v2/traces/{id}?q={q}"));
    let whole = spans(&TraceByIdResponse::decode(whole.as_slice()).unwrap().trace.unwrap());
    assert!(whole.len() > 1 && whole.len() < own.len(), "{} of {}", whole.len(), own.len());
    assert!(whole.iter().any(|span| span.parent_span_id.is_empty()));
}

#[test]
fn a_trace_id_that_was_made_leads_back_and_requests_of_one_trace_are_one() {
    let service = Service::start();
    let line = |n: u8, correlation: &str, traceparent: &str| {
        format!(
            r#"{{"v":1,"src":"fastly-vcl","service_id":"SVC","ts_us":179529006{n}270000,"elapsed_us":25000,"edge":true,"visits":0,"traceparent":"{traceparent}","correlation_id":"{correlation}","method":"GET","host":"h","url":"/{n}","status":200,"pop":"FRA"}}"#
        )
    };
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let lines = [
        line(1, "0192f0c4-8a4e-7cc3-98c4-000000000001", ""),
        line(2, "0192f0c4-8a4e-7cc3-98c4-000000000002", traceparent),
        line(3, "0192f0c4-8a4e-7cc3-98c4-000000000003", traceparent),
    ];
    service.accept("/v1/fastly", lines.join("\n"));
    service.wait_stored(3);
    let found = service.json("/tempo/api/search?q=%7B%7D");
    let rows = found["traces"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "two requests share a trace id: {found}");
    assert_eq!(rows[0]["spanSets"][0]["matched"], 2);
    for (row, spans) in rows.iter().zip([2, 1]) {
        let id = row["traceID"].as_str().unwrap();
        let (status, _, body) = protobuf(&service, &format!("/tempo/api/traces/{id}"));
        assert_eq!(status, 200, "{id}");
        let trace = TracesData::decode(body.as_slice()).unwrap();
        let own = trace.resource_spans.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans);
        assert_eq!(own.filter(|span| span.trace_id == hex_bytes(id)).count(), spans, "{id}");
    }
}

fn hex_bytes(hex: &str) -> [u8; 16] {
    u128::from_str_radix(hex, 16).unwrap().to_be_bytes()
}

#[test]
fn what_is_not_supported_is_refused_in_a_sentence() {
    let service = Service::start();
    for (query, why) in [
        ("q=%7B%7D%20%3E%3E%20%7B%7D", "structural operators"),
        ("q=%7B%7D%20%7C%20rate()", "metrics"),
        ("q=%7B&tags=a%3Db", "not both"),
        ("limit=0", "at least one"),
        ("limit=many", "limit"),
        ("minDuration=5", "time span"),
        ("tags=%3D", "name is expected"),
        ("start=5&end=5", "before"),
    ] {
        let (status, answer) = service.get(&format!("/tempo/api/search?{query}"));
        assert!(status == 400 && answer.contains(why), "{query}: {status} {answer}");
    }
    let (status, answer) = service.get("/tempo/api/metrics/query_range?q=%7B%7D");
    assert!(status == 404 && answer.contains("Tempo"), "{answer}");
    assert_eq!(service.get("/tempo/api/v2/search/tag/nonsense/values").0, 400);
    // Nothing is stored yet: empty, and no error.
    assert_eq!(service.json("/tempo/api/search?q=%7B%7D")["traces"], Value::Array(Vec::new()));
    assert!(
        service.json("/tempo/api/search/tag/service.name/values")["tagValues"].as_array().unwrap().is_empty()
    );
}

#[test]
fn a_reader_sees_its_own_tenant_only() {
    let service = Service::with(Options {
        config:
            "[[source]]\nname = 'in'\nkind = 'fastly'\ntenant = 'shop'\ntoken = 'ingest-token-of-the-shop'\n\
                 [[reader]]\nname = 'ours'\ntenant = 'shop'\ntoken = 'reader-token-of-the-shop'\n\
                 [[reader]]\nname = 'theirs'\ntenant = 'other'\ntoken = 'reader-token-of-others'\n"
                .to_owned(),
        ..Options::default()
    });
    let mix = Mix::new(3);
    let request = mix.request(1);
    let lines: Vec<_> = request
        .hops
        .iter()
        .filter(|hop| matches!(hop.hop, Hop::Edge | Hop::Shield))
        .map(|hop| fastly::vcl_line(&request, hop))
        .collect();
    let headers = [("authorization", "Bearer ingest-token-of-the-shop")];
    assert_eq!(service.post("/v1/fastly", &headers, lines.join("\n")).0, 200);
    let client = reqwest::blocking::Client::new();
    let ask = |path: &str, token: &str| {
        let response = client.get(service.url() + path).bearer_auth(token).send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    let paths = [
        format!("/tempo/api/traces/{:032x}", request.trace_id),
        "/tempo/api/search?q=%7B%7D".to_owned(),
        "/tempo/api/v2/search/tag/.url.path/values".to_owned(),
    ];
    crate::app::eventually("the shop's records are there", || {
        (ask(&paths[0], "reader-token-of-the-shop").0 == 200).then_some(())
    });
    for path in &paths {
        assert_eq!(ask(path, "no-token-of-anybody").0, 401, "{path}");
        let shown = request.path();
        assert!(
            ask(path, "reader-token-of-the-shop").1.contains(if path.contains("search?") {
                "traceID"
            } else {
                shown
            }),
            "{path}"
        );
        let (status, answer) = ask(path, "reader-token-of-others");
        assert!(status == 404 || answer.contains("[]"), "{path}: {answer}");
    }
    assert_eq!(service.get("/tempo/api/echo").0, 200, "the data source's test carries no secret");
}
