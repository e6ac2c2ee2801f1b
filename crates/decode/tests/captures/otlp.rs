//! OTLP logs as Envoy sent them, over gRPC and over HTTP, bad UTF-8 included.

use decode::Origin;
use decode::sniff::{Family, family};
use event::{Hop, Notes, Precision, RejectReason};

use crate::support::{Found, capture, decode_lines, delimited, delivery, rules};

/// Decodes messages one after the other; how many records the decoder counted, and what it gave.
fn decode(messages: &[&[u8]]) -> (u64, Found) {
    let (origin, rules, mut found) = (Origin::default(), rules(), Found::default());
    let count = messages
        .iter()
        .map(|message| decode::otlp::decode_protobuf(message, &delivery(&origin), &rules, &mut found))
        .sum();
    (count, found)
}

fn decode_json(text: &str) -> Found {
    let (origin, rules, mut found) = (Origin::default(), rules(), Found::default());
    let count = decode::otlp::decode_json(text.as_bytes(), &delivery(&origin), &rules, &mut found);
    assert_eq!(count, found.len() as u64);
    found
}

/// A strict decoder reads 322 and 95 records of these files and loses the frames with bad UTF-8 whole: 26 and 7 more.
#[test]
fn every_record_is_an_event() {
    for (name, strict, behind_bad_utf8) in [("grpc", 322, 26), ("http", 95, 7)] {
        let bytes = capture(&format!("otlp/logs.{name}.binpb"));
        let messages = delimited(&bytes);
        let (count, found) = decode(&messages);
        assert!(found.rejects.is_empty(), "{name}: {:?}", found.rejects);
        assert_eq!(
            (count, found.events().len()),
            (strict + behind_bad_utf8, (strict + behind_bad_utf8) as usize)
        );
        let bad = match name {
            "grpc" => vec!["grpc.frame71", "grpc.frame72", "grpc.frame73", "grpc.frame74"],
            _ => vec!["http.frame24"],
        };
        let bad: Vec<_> = bad.iter().map(|frame| capture(&format!("otlp/bad-utf8.{frame}.bin"))).collect();
        let good: Vec<_> =
            messages.into_iter().filter(|message| !bad.iter().any(|bad| bad == message)).collect();
        assert_eq!(decode(&good).0, strict, "{name}");
        insta::assert_snapshot!(format!("otlp.{name}"), found.table());
    }
}

#[test]
fn one_bad_user_agent_costs_no_neighbour() {
    for name in ["grpc.frame71", "grpc.frame72", "grpc.frame73", "grpc.frame74", "http.frame24"] {
        let bytes = capture(&format!("otlp/bad-utf8.{name}.bin"));
        assert!(std::str::from_utf8(&bytes).is_err());
        let (count, found) = decode(&[&bytes]);
        assert!(found.rejects.is_empty(), "{name}: {:?}", found.rejects);
        assert_eq!(count as usize, found.events().len());
        assert!(count > 1, "{name}");
        let events = found.events();
        let bad: Vec<_> = events.iter().filter(|event| event.notes.contains(Notes::BAD_UTF8)).collect();
        assert!(!bad.is_empty() && bad.len() < events.len(), "{name}: {} of {}", bad.len(), events.len());
        insta::assert_snapshot!(format!("otlp.bad.{name}"), found.table());
    }
}

#[test]
fn a_body_is_read_as_the_line_it_is_with_the_finer_time_of_the_record() {
    let bytes = capture("otlp/logs.grpc.binpb");
    let (_, found) = decode(&delimited(&bytes));
    let events = found.events();
    let line = events.iter().find(|event| event.format == "envoy-otlp-text").unwrap();
    assert_eq!((line.start_ns, line.start_precision), (1_795_290_064_276_894_000, Precision::Microsecond));
    assert_eq!((line.method.as_ref(), line.path.as_ref(), line.status), ("GET", "/ok", 200));
    assert_eq!(line.hop, Hop::Unknown, "with an empty resource nothing says who sent it");
    let labels =
        events.iter().find(|event| event.format == "envoy-otlp-labels" && event.hop == Hop::Gateway).unwrap();
    assert_eq!((labels.hop, labels.pod.as_ref()), (Hop::Gateway, "istio-ingressgateway-6c8b7f9d5-x2k4p"));
    assert_eq!((labels.service.as_ref(), labels.log_type.as_ref()), ("gw", "DownstreamEnd"));
    assert_ne!(labels.correlation_id, 0);
    assert_eq!((line.request_id, &line.upstream_cluster), (labels.request_id, &labels.upstream_cluster));
}

#[test]
fn bodies_agree_with_the_text_lines_of_the_same_envoys() {
    let bytes = capture("otlp/logs.grpc.binpb");
    let (_, found) = decode(&delimited(&bytes));
    let lines = ["gw", "a", "b"].map(|role| decode_lines(&capture(&format!("file/{role}.text.log"))));
    let lines: Vec<_> = lines.iter().flat_map(Found::events).collect();
    let mut compared = 0;
    for event in found.events().iter().filter(|event| event.format == "envoy-otlp-text") {
        let twin = lines.iter().find(|line| {
            line.request_id == event.request_id
                && line.start_ns / 1_000_000 == event.start_ns / 1_000_000
                && line.upstream_cluster == event.upstream_cluster
                && line.duration_ns == event.duration_ns
        });
        let Some(line) = twin else { continue };
        compared += 1;
        assert_eq!((line.status, &line.response_flags), (event.status, &event.response_flags));
        assert_eq!((&line.user_agent, &line.details), (&event.user_agent, &event.details));
    }
    assert!(compared > 120, "only {compared} of the bodies were found among the lines");
}

#[test]
fn json_carries_the_same_record() {
    let json = r#"{"resourceLogs":[{"resource":{},"scopeLogs":[{"logRecords":[{
        "timeUnixNano":"1795290064276894000","traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331",
        "body":{"stringValue":"[2026-11-21T19:41:04.276Z] \"GET /ok HTTP/1.1\" 200 - via_upstream - \"-\" 0 9 10 9 \"-\" \"probe\" \"42322d1a-c026-4a05-84a7-b6ce5d11d011\" \"shop\" \"127.0.0.1:21100\" outbound|80||a.b 127.0.0.1:1 127.0.0.1:2 203.0.113.7:0 - default\n"}},
        {"timeUnixNano":1795290064276894000,"attributes":[
            {"key":"http.request.method","value":{"stringValue":"GET"}},
            {"key":"http.response.status_code","value":{"intValue":"503"}},
            {"key":"url.path","value":{"stringValue":"/cart"}}]},
        {"body":{"stringValue":"server started"}}]}]}]}"#;
    let found = decode_json(json);
    let events = found.events();
    assert_eq!(events.len(), 2);
    assert_eq!(
        (events[0].trace_id, events[0].span_id),
        (0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331)
    );
    assert_eq!((events[0].format.as_ref(), events[0].status), ("envoy-otlp-text", 200));
    assert_eq!((events[1].hop, events[1].status, events[1].path.as_ref()), (Hop::Service, 503, "/cart"));
    assert_eq!((found.rejects[0].reason, found.rejects[0].offset), (RejectReason::NoKnownField, 2));
}

#[test]
fn a_large_resource_is_not_multiplied_by_its_records() {
    let attribute =
        |n: usize| format!(r#"{{"key":"k{n}","value":{{"stringValue":"{}"}}}}"#, "v".repeat(10_000));
    let resource = (0..100).map(attribute).collect::<Vec<_>>().join(",");
    let record = r#"{"attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},
        {"key":"url.path","value":{"stringValue":"/a"}}]}"#;
    let found = decode_json(&format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{resource}]}},"scopeLogs":[{{"logRecords":[{record},{record}]}}]}}]}}"#
    ));
    for event in found.events() {
        let held: usize = event.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!((30_000..33_000).contains(&held), "{held}");
        assert!(event.notes.contains(Notes::TRUNCATED));
    }
    assert_eq!(found.events().len(), 2);
}

#[test]
fn documents_that_are_no_logs_are_explained() {
    for (text, reason) in [
        (r#"{"resourceSpans":[]}"#, RejectReason::UnknownFormat),
        (r#"{"hello":1}"#, RejectReason::UnknownFormat),
        (r#"{"resourceLogs":["#, RejectReason::Truncated),
        (r#"{"resourceLogs":x}"#, RejectReason::BadJson),
    ] {
        assert_eq!(decode_json(text).rejects[0].reason, reason, "{text}");
    }
    let (count, found) = decode(&[&[0x0a, 0x7f, 1]]);
    assert_eq!((count, found.rejects[0].reason), (1, RejectReason::BadProtobuf));
}

#[test]
fn captures_are_told_apart_by_their_first_bytes() {
    for (path, expected) in [
        ("als/gw.http_envoy_accesslog.stream0.binpb", Family::AlsDelimited),
        ("als/a.tcp_envoy_accesslog.stream5.binpb", Family::AlsDelimited),
        ("otlp/logs.grpc.binpb", Family::OtlpProtobufDelimited),
        ("otlp/logs.http.binpb", Family::OtlpProtobufDelimited),
        ("file/gw.text.log", Family::EnvoyLines),
        ("file/gw.json.log", Family::EnvoyLines),
        ("file/gw.ext.log", Family::EnvoyLines),
    ] {
        assert_eq!(family(&capture(path)), Some(expected), "{path}");
    }
}
