//! The doctor at a service with several things wrong at once: it names each, with what to do, and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::app::{Options, Service, eventually};

const CONFIG: &str = "
[correlate]
settle = '1s'
[fastly]
services = 'SU1Z0isxPaozGVKXdv0eY'
[[source]]
name = 'cdn'
kind = 'fastly'
token = 'ingest-token-of-the-cdn'
[[source]]
name = 'pods'
kind = 'envoy'
token = 'ingest-token-of-the-pods'
hop = 'sidecar'
direction = 'inbound'
workload = 'web'
[[source]]
name = 'old-pods'
kind = 'envoy'
token = 'ingest-token-of-old-pods'
hop = 'sidecar'
direction = 'inbound'
workload = 'batch'
[[source]]
name = 'als'
kind = 'als'
token = 'ingest-token-of-the-mesh'
[[reader]]
name = 'oncall'
token = 'reader-token-of-oncall'
";

/// A certificate that ended years ago, for another name.
fn expired(directory: &Path) -> (PathBuf, PathBuf) {
    let mut asked = rcgen::CertificateParams::new(vec!["logs.example.com".to_owned()]).unwrap();
    asked.not_before = rcgen::date_time_ymd(2020, 1, 1);
    asked.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let made = asked.self_signed(&key).unwrap();
    let files = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&files.0, made.pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();
    files
}

/// What the edge and a sidecar write of a request, with no gateway between; and a line of a pod that logs no id.
fn lines(n: u64) -> [String; 3] {
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let start = jiff::Timestamp::from_microsecond(now_us as i64 + 2_000).unwrap();
    let id = format!("0192f0c4-8a4e-7cc3-98c4-{n:012x}");
    let envoy = |ids: &str| {
        format!(
            r#"{{"authority":"h","method":"GET","path":"/{n}","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","start_time":"{start}","duration":3,"upstream_cluster":"inbound|8080||","requested_server_name":"outbound_.8080_._.web.shop.svc.cluster.local"{ids}}}"#
        )
    };
    let edge = format!(
        r#"{{"v":1,"src":"fastly-vcl","ts_us":{now_us},"elapsed_us":9000,"edge":true,"visits":0,"correlation_id":"{id}","method":"GET","host":"h","url":"/{n}","status":200,"pop":"FRA","service_id":"SU1Z0isxPaozGVKXdv0eY","state":"MISS"}}"#
    );
    [edge, envoy(&format!(r#","correlation_id":"{id}""#)), envoy("")]
}

fn report(service: &Service, more: &[&str]) -> (Option<i32>, Value) {
    let grpc = format!("https://{}", service.grpc);
    let mut arguments = vec!["doctor", "--json", "--token", "reader-token-of-oncall", "--grpc", &grpc];
    arguments.extend(more);
    let output = service.cli(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report)
}

/// The texts of the findings of one level and check.
fn told(report: &Value, level: &str, check: &str) -> String {
    let findings = report["findings"].as_array().into_iter().flatten();
    let fit = findings.filter(|one| one["level"] == level && one["check"] == check);
    fit.map(|one| format!("{} -> {}\n", one["what"].as_str().unwrap(), one["advice"].as_str().unwrap()))
        .collect()
}

#[test]
fn every_planted_fault_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::with(Options {
        tls: Some(expired(directory.path())),
        config: CONFIG.to_owned(),
        ..Options::default()
    });
    let all: Vec<[String; 3]> = (1..=40).map(lines).collect();
    for (at, path, token) in [
        (0, "/v1/fastly/cdn", "ingest-token-of-the-cdn"),
        (1, "/v1/envoy/pods", "ingest-token-of-the-pods"),
        (2, "/v1/envoy/old-pods", "ingest-token-of-old-pods"),
    ] {
        let body: String = all.iter().map(|of_one| of_one[at].clone() + "\n").collect();
        let (status, answer) = service.post(path, &[("authorization", token)], body);
        assert_eq!(status, 200, "{answer}");
    }
    let given = [
        "--source-token",
        "cdn=a-token-that-was-rotated-away",
        "--source-token",
        "pods=ingest-token-of-the-pods",
        "--source-token",
        "als=ingest-token-of-the-mesh",
        "--fastly-service",
        "SU1Z0isxPaozGVKXdv0eY",
        "--fastly-service",
        "a-second-service",
    ];
    let report = eventually("the requests have settled, and their gap is seen", || {
        let (code, report) = report(&service, &given);
        assert_eq!(code, Some(1), "{report}");
        told(&report, "problem", "requests").contains("missing").then_some(report)
    });
    let expect = |level: &str, check: &str, texts: &[&str]| {
        let told = told(&report, level, check);
        for text in texts {
            assert!(told.contains(text), "{check}: {text:?} is not in {told:?}\n{report:#}");
        }
    };
    expect("problem", "tls", &["expired on 2021-01-01", "is for logs.example.com, not for 127.0.0.1"]);
    expect("problem", "challenge", &["does not name the Fastly services a-second-service"]);
    expect("problem", "tokens", &["cdn (fastly) does not open to the token that it was given here (401)"]);
    expect("ok", "tokens", &["open to their token and to no other: pods, als"]);
    expect("note", "tokens", &["not tried: old-pods"]);
    expect("problem", "ids", &["old-pods: sidecar batch (envoy-json): 100.0% of its events carry no id"]);
    expect("ok", "ids", &["cdn: edge SU1Z0isxPaozGVKXdv0eY (throughline-vcl): 40 events"]);
    expect("problem", "requests", &["(100.0%) the gateway is missing", "no ingress gateway sends"]);
    expect("ok", "store", &["(embedded) answers, with the schema of"]);
    expect("ok", "ports", &["gRPC (Envoy's access log service, OTLP) at 127.0.0.1"]);
    expect("ok", "books", &["balance: 120 records received"]);

    let rejects = service.cli(&["search", "--token", "reader-token-of-oncall", "--since", "1h", "--json"]);
    assert_ne!(rejects.status.code(), Some(0), "no other command trusts that certificate");
    let (code, refused) = report_of_a_wrong_reader(&service);
    assert_eq!((code, refused), (Some(2), true));
}

/// Exit code, and whether stderr says why, for a token that no reader has.
fn report_of_a_wrong_reader(service: &Service) -> (Option<i32>, bool) {
    let output = service.cli(&["doctor", "--token", "another-token-entirely"]);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).contains("401"))
}
