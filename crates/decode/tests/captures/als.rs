//! ALS streams, message by message as they were received.

use std::collections::HashMap;

use decode::Origin;
use decode::envoy::AlsStream;
use event::{Direction, Hop, Notes};

use crate::support::{Found, capture, decode_lines, delimited, delivery, rules};

fn stream(name: &str) -> Found {
    let (origin, rules, mut found) = (Origin::default(), rules(), Found::default());
    let bytes = capture(&format!("als/{name}.binpb"));
    let mut stream = AlsStream::new("192.0.2.2:5000");
    for message in delimited(&bytes) {
        stream.decode(message, &delivery(&origin), &rules, &mut found);
    }
    found
}

#[test]
fn every_entry_is_an_event() {
    for (name, count) in [
        ("gw.http_envoy_accesslog.stream0", 87),
        ("a.http_envoy_accesslog.stream2", 62),
        ("b.http_envoy_accesslog.stream1", 3),
        ("gw.tcp_envoy_accesslog.stream4", 12),
        ("a.tcp_envoy_accesslog.stream5", 7),
        ("gw.listener_envoy_accesslog.stream3", 3),
    ] {
        let found = stream(name);
        assert!(found.rejects.is_empty(), "{name}: {:?}", found.rejects);
        assert_eq!(found.events().len(), count, "{name}");
        insta::assert_snapshot!(name, found.table());
    }
}

#[test]
fn the_identifier_holds_for_the_whole_stream() {
    let found = stream("a.http_envoy_accesslog.stream2");
    for event in found.events() {
        assert_eq!((event.hop, event.pod.as_ref()), (Hop::Sidecar, "app-a-v1-5d7f8c9b6-q8z2m"));
        assert_eq!((event.namespace.as_ref(), event.workload.as_ref()), ("default", "app-a-v1"));
        assert_eq!((event.service.as_ref(), event.workload_revision.as_ref()), ("app-a-v1", "v1"));
        assert_eq!(event.mesh_cluster, "Kubernetes");
        assert!(event.node.starts_with("sidecar~10.244.1.21~"));
    }
    let gateway = stream("gw.http_envoy_accesslog.stream0");
    assert!(gateway.events().iter().all(|event| event.hop == Hop::Gateway));
}

/// The same requests as the TEXT lines of the same Envoy: what both say must be equal.
#[test]
fn entries_agree_with_the_lines_of_the_same_requests() {
    for (role, name) in [("gw", "gw.http_envoy_accesslog.stream0"), ("a", "a.http_envoy_accesslog.stream2")] {
        let (als, lines) = (stream(name), decode_lines(&capture(&format!("file/{role}.json.log"))));
        let lines = lines.events();
        let mut compared = 0;
        let by_key: HashMap<_, _> = als
            .events()
            .into_iter()
            .filter(|event| !event.intermediate && event.request_id != 0)
            .map(|event| ((event.request_id, event.start_ns / 1_000_000), event))
            .collect();
        for line in &lines {
            let Some(entry) = by_key.get(&(line.request_id, line.start_ns / 1_000_000)) else { continue };
            if line.status == 0 && entry.status != 0 || line.response_bytes != entry.response_bytes {
                continue; // a start or periodic line of the same request
            }
            compared += 1;
            assert_eq!((line.status, &line.response_flags), (entry.status, &entry.response_flags));
            assert_eq!(
                (&line.details, &line.method, &line.host),
                (&entry.details, &entry.method, &entry.host)
            );
            assert_eq!((&line.path, &line.query), (&entry.path, &entry.query));
            assert_eq!((line.client_address, &line.sni), (entry.client_address, &entry.sni));
            // ALS counts on until the stream is torn down, the line stops when it is formatted.
            let (line_ms, entry_ms) =
                (line.duration_ns.unwrap() / 1_000_000, entry.duration_ns.unwrap() / 1_000_000);
            assert!((line_ms..line_ms + 20).contains(&entry_ms), "{line_ms} {entry_ms}");
            assert_eq!((&line.upstream_remote, &line.route), (&entry.upstream_remote, &entry.route));
        }
        assert!(compared > 50, "{role}: only {compared} compared");
    }
}

#[test]
fn a_denial_names_its_rule_and_a_token_leaves_no_claim() {
    let gateway = stream("gw.http_envoy_accesslog.stream0");
    let events = gateway.events();
    let denied = events.iter().find(|event| event.details.starts_with("rbac_access_denied")).unwrap();
    assert_eq!((denied.verdict.as_ref(), denied.verdict_reason.as_ref()), ("deny", "rbac_access_denied"));
    assert_eq!(denied.verdict_rule, "ns[istio-system]-policy[deny-admin]-rule[0]");
    assert!(events.iter().any(|event| event.verdict == "allow"));
    let table = format!("{events:?}");
    assert!(!table.contains("testing@secure.istio.io"), "a JWT claim came through");
    assert!(events.iter().any(|event| event.notes.contains(Notes::REDACTED)));
    let tcp = stream("gw.tcp_envoy_accesslog.stream4");
    assert!(tcp.events().iter().any(|event| event.verdict == "deny" && event.protocol == "TCP"));
}

#[test]
fn retries_are_told_apart_by_the_header_at_the_sidecar() {
    let sidecar = stream("a.http_envoy_accesslog.stream2");
    let events = sidecar.events();
    let attempts: Vec<u16> =
        events.iter().filter(|e| e.direction == Direction::Inbound).map(|e| e.attempt).collect();
    assert!(attempts.contains(&2), "{attempts:?}");
}

#[test]
fn a_damaged_entry_costs_only_itself() {
    let bytes = capture("als/gw.http_envoy_accesslog.stream0.binpb");
    let messages = delimited(&bytes);
    let (origin, rules) = (Origin::default(), rules());
    let mut whole = Found::default();
    AlsStream::new("").decode(messages[1], &delivery(&origin), &rules, &mut whole);
    // The length of one text inside of the last entry is made to reach past the entry's end.
    let mut damaged = messages[1].to_vec();
    let text = damaged.windows(11).rposition(|window| window == b"istio-envoy").unwrap();
    damaged[text - 1] = 0x7f;
    let mut found = Found::default();
    AlsStream::new("").decode(&damaged, &delivery(&origin), &rules, &mut found);
    assert_eq!(found.len(), whole.len());
    assert_eq!(found.rejects.len(), 1);
}
