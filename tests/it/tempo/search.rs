//! Searching, and what can be searched for.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use serde_json::Value;

use super::{REQUESTS, encoded, protobuf, traffic};
use crate::app::Service;

fn search(service: &Service, query: &str) -> Vec<Value> {
    let answer = service.json(&format!("/tempo/api/search?limit=200&spss=100&q={}", encoded(query)));
    answer["traces"].as_array().unwrap().clone()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let value = attributes.iter().find(|it| it.key == key).and_then(|it| it.value.as_ref()?.value.as_ref());
    if let Some(Any::StringValue(text)) = value { text } else { "" }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    let value = attributes.iter().find(|it| it.key == key).and_then(|it| it.value.as_ref()?.value.as_ref());
    if let Some(Any::IntValue(number)) = value { *number } else { 0 }
}

/// A span with the name of its service.
struct Seen {
    service: String,
    span: Span,
}

/// Every trace of the store by its id, as its protobuf says.
fn traces(service: &Service) -> BTreeMap<String, Vec<Seen>> {
    let mut all = BTreeMap::new();
    for trace in search(service, "{}") {
        let id = trace["traceID"].as_str().unwrap().to_owned();
        let (status, kind, body) = protobuf(service, &format!("/tempo/api/traces/{id}"));
        assert_eq!((status, kind.as_str()), (200, "application/protobuf"), "{id}");
        let mut spans = Vec::new();
        for resource in TracesData::decode(body.as_slice()).unwrap().resource_spans {
            let service = text(&resource.resource.unwrap().attributes, "service.name").to_owned();
            let own = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(own.map(|span| Seen { service: service.clone(), span }));
        }
        all.insert(id, spans);
    }
    all
}

/// Queries with what they mean, told of one span, the root's service and the trace's length.
type Meaning = fn(&Seen, &str, u64) -> bool;
const QUERIES: &[(&str, Meaning)] = &[
    ("{}", |_, _, _| true),
    ("{ status = error }", |seen, _, _| seen.span.status.as_ref().is_some_and(|status| status.code == 2)),
    ("{ kind = client }", |seen, _, _| seen.span.kind == 3),
    ("{ span.http.response.status_code >= 500 }", |seen, _, _| status(seen) >= 500),
    ("{ span.http.response.status_code = 200 && kind = server }", |seen, _, _| {
        status(seen) == 200 && seen.span.kind == 2
    }),
    (r#"{ name = "GET" || name = "POST" }"#, |seen, _, _| ["GET", "POST"].contains(&seen.span.name.as_str())),
    (r#"{ resource.service.name =~ ".*-gateway|cart" }"#, |seen, _, _| {
        seen.service.ends_with("-gateway") || seen.service == "cart"
    }),
    ("{ duration > 50ms && duration <= 1s }", |seen, _, _| {
        (50_000_001..=1_000_000_000).contains(&length(&seen.span))
    }),
    ("{ traceDuration > 100ms }", |_, _, trace_ns| trace_ns > 100_000_000),
    (r#"{ span.throughline.hop = "shield" }"#, |seen, _, _| {
        text(&seen.span.attributes, "throughline.hop") == "shield"
    }),
    (r#"{ span.envoy.response_flags != nil && .throughline.hop = "gateway" }"#, |seen, _, _| {
        !text(&seen.span.attributes, "envoy.response_flags").is_empty()
            && text(&seen.span.attributes, "throughline.hop") == "gateway"
    }),
    (r#"{ span.url.path !~ "/cart.*" }"#, |seen, _, _| {
        let path = text(&seen.span.attributes, "url.path");
        !path.is_empty() && !path.starts_with("/cart")
    }),
    (r#"{ .no.such.attribute = "x" }"#, |_, _, _| false),
];

fn status(seen: &Seen) -> i64 {
    number(&seen.span.attributes, "http.response.status_code")
}

fn length(span: &Span) -> u64 {
    span.end_time_unix_nano - span.start_time_unix_nano
}

#[test]
fn a_search_finds_what_the_spans_say() {
    let service = Service::start();
    traffic(&service);
    let all = traces(&service);
    assert_eq!(all.len(), REQUESTS as usize);
    let mut telling = 0;
    for (query, meaning) in QUERIES {
        let mut wanted = BTreeMap::new();
        for (id, spans) in &all {
            let start = spans.iter().map(|seen| seen.span.start_time_unix_nano).min().unwrap();
            let end = spans.iter().map(|seen| seen.span.end_time_unix_nano).max().unwrap();
            let root = spans.iter().find(|seen| seen.span.parent_span_id.is_empty()).unwrap();
            let fits = |seen: &&Seen| meaning(seen, &root.service, end - start);
            let found: BTreeSet<String> =
                spans.iter().filter(fits).map(|seen| hex(&seen.span.span_id)).collect();
            if !found.is_empty() {
                wanted.insert(id.clone(), found);
            }
        }
        let found: BTreeMap<String, BTreeSet<String>> = search(&service, query)
            .iter()
            .map(|trace| {
                let spans = trace["spanSets"][0]["spans"].as_array().unwrap();
                assert_eq!(trace["spanSets"][0]["matched"], spans.len());
                let ids = spans.iter().map(|span| span["spanID"].as_str().unwrap().to_owned());
                (trace["traceID"].as_str().unwrap().to_owned(), ids.collect())
            })
            .collect();
        assert_eq!(found, wanted, "{query}");
        telling += usize::from(!found.is_empty() && found.len() < all.len());
    }
    assert!(telling >= 6, "only {telling} of the queries tell traces apart");
    // Conditions of a trace, and on several of its spans.
    let roots: BTreeSet<_> =
        search(&service, "{}").iter().map(|it| it["rootServiceName"].as_str().unwrap().to_owned()).collect();
    let root = roots.first().unwrap();
    let of_root = search(&service, &format!("{{ rootServiceName = {root:?} }}"));
    assert!(!of_root.is_empty() && of_root.iter().all(|it| it["rootServiceName"] == *root));
    let both =
        search(&service, r#"{ span.throughline.hop = "edge" } && { span.throughline.hop = "sidecar" }"#);
    let none = search(&service, r#"{ span.throughline.hop = "edge" && span.throughline.hop = "sidecar" }"#);
    assert!(!both.is_empty() && none.is_empty());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_summary_has_the_members_that_grafana_reads_and_no_others() {
    let service = Service::start();
    let requests = traffic(&service);
    let failed = &requests[0];
    let trace = search(
        &service,
        &format!(
            r#"{{ span.throughline.correlation_id = "{}" && status = error }} | select(span.url.path)"#,
            failed.correlation_text()
        ),
    )
    .remove(0);
    // Grafana reads it by protobuf's JSON mapping, which refuses members that it does not know.
    let members: BTreeSet<_> = trace.as_object().unwrap().keys().map(String::as_str).collect();
    let known = [
        "traceID",
        "rootServiceName",
        "rootTraceName",
        "startTimeUnixNano",
        "durationMs",
        "spanSet",
        "spanSets",
        "serviceStats",
    ];
    assert_eq!(members, known.into_iter().collect());
    assert_eq!(trace["traceID"], format!("{:032x}", failed.trace_id));
    assert!(trace["durationMs"].as_u64().unwrap() > 0, "{trace}");
    let span = &trace["spanSets"][0]["spans"][0];
    let attributes: Vec<_> = span["attributes"].as_array().unwrap().iter().map(|it| &it["key"]).collect();
    assert_eq!(attributes, ["throughline.correlation_id", "status", "url.path"]);
    let services = trace["serviceStats"].as_object().unwrap();
    let spans: u64 = services.values().map(|counts| counts["spanCount"].as_u64().unwrap()).sum();
    assert_eq!(spans, failed.hops.len() as u64);
    assert!(services.values().any(|counts| counts["errorCount"].as_u64().unwrap() > 0));
    assert_eq!(trace["rootTraceName"], failed.method);

    // By the older parameters; by time; limits.
    let count =
        |query: &str| service.json(&format!("/tempo/api/search?{query}"))["traces"].as_array().unwrap().len();
    let path = encoded(&format!("url.path={} status.code=ERROR", &failed.path()[1..]));
    assert!(count(&format!("tags={path}")) >= 1);
    assert_eq!(count("tags=url.path%3Dnowhere-at-all"), 0);
    assert_eq!(count(""), 20);
    assert_eq!(count("limit=7"), 7);
    let total = count("limit=200");
    let slow = count("limit=200&minDuration=100ms");
    assert!(slow < total && slow + count("limit=200&maxDuration=99999999ns") == total);
    let start = failed.hops[0].logged_start_ns() / 1_000_000_000;
    assert!(count(&format!("limit=200&start={start}&end={}", start + 1)) >= 1);
    assert_eq!(
        count(&format!("start={}&end={start}", start - 3_600)),
        count(&format!("start={}&end={start}", start - 2))
    );
    assert_eq!(count("start=1000&end=2000"), 0);
}

#[test]
fn tags_and_their_values_are_listed_with_types() {
    let service = Service::start();
    traffic(&service);
    let scopes = service.json("/tempo/api/v2/search/tags");
    let tags = |scope: &str| {
        let scope =
            scopes["scopes"].as_array().unwrap().iter().find(|it| it["name"] == scope).unwrap().clone();
        scope["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(tags("resource").contains(&"service.name".to_owned()));
    assert!(tags("span").contains(&"http.response.status_code".to_owned()));
    assert!(tags("span").iter().any(|tag| tag.starts_with("throughline.attribute.")), "unmapped fields");
    assert!(tags("intrinsic").contains(&"rootServiceName".to_owned()));
    let names = service.json("/tempo/api/search/tags?scope=resource");
    assert!(names["tagNames"].as_array().unwrap().contains(&"fastly.pop".into()));
    assert_eq!(service.get("/tempo/api/v2/search/tags?scope=nonsense").0, 400);

    let values = |name: &str, query: &str| {
        let path = format!("/tempo/api/v2/search/tag/{}/values?{query}", encoded(name));
        service.json(&path)["tagValues"].as_array().unwrap().clone()
    };
    let services = values("resource.service.name", "");
    assert!(services.len() > 1 && services.iter().all(|value| value["type"] == "string"), "{services:?}");
    let of_edge = values(
        "resource.service.name",
        &format!("q={}", encoded(r#"{ .throughline.hop = "edge" && .x = }"#)),
    );
    assert!(!of_edge.is_empty() && of_edge.len() < services.len());
    let statuses = values("span.http.response.status_code", "");
    assert!(statuses.iter().any(|value| value["value"] == "200" && value["type"] == "int"), "{statuses:?}");
    assert!(values("status", "").iter().any(|value| value["type"] == "keyword" && value["value"] == "error"));
    assert!(values("name", "").iter().any(|value| value["value"] == "GET"));
    assert_eq!(values("rootServiceName", ""), services);
    assert_eq!(values(".throughline.hop", "limit=2").len(), 2);
    assert!(values(".no.such.attribute", "").is_empty());
    assert!(values("resource.service.name", "start=1000&end=2000").is_empty());
    // Every listed name can be asked for and searched by, the unmapped ones included.
    for (scope, prefix) in [("resource", "resource."), ("span", "span.")] {
        for tag in tags(scope) {
            values(&format!("{prefix}{tag}"), "limit=1");
            assert_eq!(
                service
                    .get(&format!(
                        "/tempo/api/search?q={}",
                        encoded(&format!("{{ {prefix}\"{tag}\" != nil }}"))
                    ))
                    .0,
                200,
                "{tag}"
            );
        }
    }
    let plain = service.json("/tempo/api/search/tag/service.name/values");
    assert_eq!(plain["tagValues"].as_array().unwrap().len(), services.len());
}
