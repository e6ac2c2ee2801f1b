//! Fastly bodies as they come over the wire, to events and rejects: each sample set, each trap, any split and order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, not only test functions, may fail")]

use std::path::Path;

use decode::fastly::{self, Presets};
use decode::{Delivery, Origin, Redactor, Rules, Sink};
use event::{Hop, HopEvent, Notes, Precision, Record, Reject, RejectReason, wire};
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;
const FEB_10: i64 = 1_770_699_936 * SECOND;

#[derive(Default)]
struct Found {
    events: Vec<HopEvent<'static>>,
    rejects: Vec<(RejectReason, u64, u64, String)>,
}

impl Sink for Found {
    fn event(&mut self, event: &HopEvent<'_>) {
        // The byte form is the one way to an owned copy; a test's process is short enough to leak it.
        let mut bytes = Vec::new();
        wire::put_event(event, &mut bytes);
        let Ok(Record::Event(event)) = wire::read(bytes.leak()) else { panic!("an event must read back") };
        self.events.push(*event);
    }

    fn reject(&mut self, reject: Reject<'_>) {
        self.rejects.push((reject.reason, reject.offset, reject.length, reject.detail.into_owned()));
    }
}

fn rules() -> Rules {
    Rules {
        redactor: Redactor::default(),
        fastly: Presets::built_in().unwrap(),
        envoy: decode::envoy::Formats::default(),
    }
}

fn decode_by(rules: &Rules, body: &[u8], preset: Option<&str>) -> Found {
    let origin = Origin::default();
    let delivery = Delivery { tenant: "default", source: "test", received_ns: 1, id: 7, origin: &origin };
    let preset = preset.map(|name| rules.fastly.find(name).unwrap());
    let mut found = Found::default();
    fastly::decode_with(body, preset, &delivery, rules, &mut found);
    found
}

fn decode(body: impl AsRef<[u8]>) -> Found {
    decode_by(&rules(), body.as_ref(), None)
}

#[track_caller]
fn one(body: impl AsRef<[u8]>) -> HopEvent<'static> {
    let mut found = decode(body);
    assert_eq!((found.events.len(), found.rejects.len()), (1, 0), "{:?}", found.rejects);
    found.events.remove(0)
}

#[track_caller]
fn rejected(body: impl AsRef<[u8]>) -> (RejectReason, u64, u64, String) {
    let mut found = decode(body);
    assert_eq!((found.events.len(), found.rejects.len()), (0, 1), "{:?}", found.events);
    found.rejects.remove(0)
}

fn data(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/fastly");
    std::fs::read(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn attribute<'e>(event: &'e HopEvent<'_>, name: &str) -> Option<&'e str> {
    event.attributes.iter().find(|(known, _)| known == name).map(|(_, text)| &**text)
}

#[test]
fn every_sample_set_is_known_by_its_keys() {
    for (file, format, events, rejects) in [
        ("f01-default.ndjson", "fastly-default", 8, 0),
        ("f02-datadog.ndjson", "fastly-datadog", 6, 0),
        ("f03-splunk.ndjson", "fastly-splunk", 6, 0),
        ("f04-honeycomb.ndjson", "fastly-honeycomb", 6, 0),
        ("f05-new-relic.ndjson", "fastly-newrelic", 5, 0),
        ("f06-sumo-logic.ndjson", "fastly-sumologic", 6, 0),
        ("f07-fastly-log-analytics.ndjson", "fastly-log-analytics", 6, 0),
        ("f08-aem-cdn.ndjson", "fastly-aem", 6, 0),
        ("f09-severity-status.ndjson", "fastly-pypi", 5, 0),
        ("f10-correlated.ndjson", "fastly-correlated", 5, 0),
        ("f11-compute.log", "fastly-compute-static", 4, 1),
        ("f12-combined.log", "fastly-clf", 6, 0),
    ] {
        let found = decode(data(file));
        assert_eq!(
            (found.events.len(), found.rejects.len()),
            (events, rejects),
            "{file}: {:?}",
            found.rejects
        );
        for event in &found.events {
            assert_eq!(event.format, format, "{file}");
            assert!(event.start_ns > SECOND && event.start_precision != Precision::Received, "{file}");
            assert!(
                event.status >= 100 && !event.path.is_empty() && !event.method.is_empty(),
                "{file}: {event:?}"
            );
            assert!(!event.notes.contains(Notes::UNREADABLE_FIELD), "{file}: {event:?}");
        }
    }
    let rejects = decode(data("f11-compute.log")).rejects;
    assert_eq!(rejects[0].0, RejectReason::UnknownFormat);
}

#[test]
fn public_samples_come_out_whole() {
    let events = decode(data("public-samples.ndjson")).events;
    let [arxiv, adobe, sentry] = &events[..] else { panic!("three lines") };
    assert_eq!(arxiv.start_ns, 1_699_391_759 * SECOND);
    assert_eq!((&*arxiv.path, arxiv.status, &*arxiv.cache_result), ("/list/astro-ph/new", 200, "pass"));
    assert_eq!((&*arxiv.pop, arxiv.hop, arxiv.first_byte_ns), ("LGA", Hop::Edge, Some(579_000_000)));
    assert_eq!((arxiv.response_bytes, &*arxiv.country), (Some(102_030), "united states"));
    assert_eq!(attribute(arxiv, "geo_lat"), Some("42.200"));
    assert_eq!(arxiv.upstream_rx_first_ns, Some(579_000_000));
    assert!(arxiv.notes.contains(Notes::UPSTREAM_ESTIMATED));
    assert_eq!((adobe.first_byte_ns, &*adobe.pop, &*adobe.country), (Some(19_000_000), "PAR", "ch"));
    assert!(adobe.edge_request_id != 0 && adobe.notes.contains(Notes::WEAK_ID));
    assert_eq!(attribute(adobe, "edge_request_id"), Some("974e67f6"));
    assert_eq!((sentry.status, &*sentry.cache_result, &*sentry.pop), (503, "error", "XYZ"));
    assert_eq!(attribute(sentry, "response_reason"), Some("origin timeout"));
}

#[test]
fn field_sets_keep_their_units_and_words() {
    let first = |file: &str| decode(data(file)).events.remove(0);
    assert_eq!(first("f02-datadog.ndjson").duration_ns, Some(48_000_000));
    assert_eq!(first("f02-datadog.ndjson").service_id, "SU1Z0isxPaozGVKXdv0eY");
    let splunk = first("f03-splunk.ndjson");
    assert_eq!(
        (&*splunk.method, splunk.duration_ns, &*splunk.host),
        ("GET", Some(48_213_000), "shop.example.com")
    );
    let relic = first("f05-new-relic.ndjson");
    assert_eq!((relic.start_ns, relic.start_precision), (FEB_10 + 123_000_000, Precision::Millisecond));
    assert_eq!((relic.first_byte_ns, relic.duration_ns), (Some(45_000_000), Some(48_213_000)));
    assert_eq!(first("f06-sumo-logic.ndjson").scheme, "https");
    let analytics = decode(data("f07-fastly-log-analytics.ndjson")).events;
    assert_eq!((analytics[0].hop, analytics[1].hop), (Hop::Edge, Hop::Shield));
    assert_eq!((&*analytics[0].protocol, &*analytics[0].tls_version), ("HTTP/2", "TLSv1.3"));
    assert_eq!(analytics[1].upstream_rx_last_ns, Some(30_000_000 - 28_114_000 + 30_021_000));
    let aem = decode(data("f08-aem-cdn.ndjson")).events;
    assert_eq!((aem[0].first_byte_ns, aem[5].first_byte_ns), (Some(45_000_000), Some(123_000_000)));
    let severity = decode(data("f09-severity-status.ndjson")).events;
    assert_eq!((severity[0].hop, severity[1].hop, severity[2].status), (Hop::Edge, Hop::Shield, 404));
    assert_eq!(attribute(&severity[0], "status"), Some("info"));
    let correlated = decode(data("f10-correlated.ndjson")).events;
    assert_eq!(correlated[0].request_id, correlated[1].request_id);
    assert_eq!((correlated[2].request_id, &*correlated[2].referer), (0, ""));
    let compute = first("f11-compute.log");
    assert_eq!((&*compute.scheme, &*compute.host), ("https", "static.example.com"));
    assert_eq!((&*compute.path, compute.start_ns), ("/packages/a/a-1.0.0.tar.gz", FEB_10 + 123_456_789));
}

#[test]
fn shields_do_not_tell_of_the_client() {
    let body = |edge: u8| {
        format!(
            r#"{{"timestamp":"2026-02-10T05:05:36+0000","client_ip":"203.0.113.10","geo_country":"DE",
            "fastly_is_edge":{edge},"response_status":200}}"#
        )
    };
    let (edge, shield) = (one(body(1)), one(body(0)));
    assert_eq!((edge.hop, &*edge.country, attribute(&edge, "geo_country")), (Hop::Edge, "de", None));
    assert_eq!(
        (shield.hop, &*shield.country, attribute(&shield, "geo_country")),
        (Hop::Shield, "", Some("DE"))
    );
    // This set logs Fastly-Client-IP, which the edge set and the shield keeps.
    assert_eq!(edge.client_address, shield.client_address);
}

#[test]
fn combined_lines() {
    let events = decode(data("f12-combined.log")).events;
    assert_eq!((&*events[0].method, &*events[0].path, events[0].status), ("GET", "/api/orders", 200));
    assert_eq!((&*events[1].query, events[1].response_bytes, events[1].start_ns), ("v=3", None, FEB_10));
    assert_eq!(
        (&*events[2].referer, events[2].client_address >> 112),
        ("https://shop.example.com/cart", 0x2001)
    );
    assert_eq!(events[3].start_ns, FEB_10 + SECOND);
    assert!(events[4].notes.contains(Notes::AMBIGUOUS_FIELDS));
    assert_eq!((&*events[5].server, &*events[5].pop), ("cache-fra-etou8220160", "FRA"));
}

#[test]
fn constructed_traps() {
    let events = decode(data("edge/array.log")).events;
    assert_eq!(events.iter().map(|event| event.status).collect::<Vec<_>>(), [200, 404]);
    assert_eq!(decode(data("edge/blank-lines.log")).events.len(), 2);
    assert_eq!(decode(data("edge/concatenated.log")).events.len(), 2);

    let escaped = one(data("edge/cstr-escape.log"));
    assert_eq!((&*escaped.path, escaped.status), ("/aé\u{b}", 200));
    assert!(escaped.notes.contains(Notes::REPAIRED));

    let (reason, offset, length, detail) = rejected(data("edge/cut-at-16384.log"));
    assert_eq!((reason, offset, length), (RejectReason::Truncated, 0, 16_384), "{detail}");

    let doubled = one(data("edge/duplicate-key.log"));
    assert!(doubled.notes.contains(Notes::DUPLICATE_KEYS));
    assert_eq!(doubled.attributes.iter().filter(|(name, _)| name == "waf").count(), 2);

    let empty = one(data("edge/empty-numeric.log"));
    assert_eq!((empty.status, empty.request_bytes, attribute(&empty, "a")), (200, None, Some("x")));
    let nulls = one(data("edge/null-spellings.log"));
    assert_eq!((&*nulls.user_agent, &*nulls.host, nulls.attributes.len()), ("", "", 0));

    let local = one(data("edge/local-prefix.log"));
    assert_eq!((local.status, attribute(&local, "log.name")), (200, Some("my_endpoint")));
    let syslog = one(data("edge/syslog-prefix.log"));
    assert_eq!((syslog.status, &*syslog.server, &*syslog.pop), (200, "cache-fra-etou8220160", "FRA"));
    assert_eq!(attribute(&syslog, "log.name"), Some("my-endpoint"));

    let (reason, _, _, detail) = rejected(data("edge/unescaped-quote.log"));
    assert_eq!((reason, detail.contains("byte 22")), (RejectReason::BadJson, true), "{detail}");
    let zone = one(data("edge/utc-suffix.log"));
    assert_eq!(
        (zone.start_ns, zone.start_precision, zone.notes.contains(Notes::TIME_MISSING)),
        (FEB_10, Precision::Second, false)
    );

    // Nothing but spellings of "none" in unknown fields: no event can be made of it.
    assert_eq!(rejected(data("edge/nan-and-sentinels.log")).0, RejectReason::NoKnownField);
    let sentinels = one(r#"{"ploss":NAN,"lat":999.900,"geo_region":"?","status":"200"}"#);
    assert_eq!((sentinels.status, sentinels.attributes.len()), (200, 0));
}

#[test]
fn framings() {
    for body in [
        "<134>1 2026-02-10T05:05:36Z cache-fra-x1-FRA name 62959 - [token@41058 tag=\"a]b\"] {\"status\":200}",
        "<134>1 2026-02-10T05:05:36Z cache-fra-x1-FRA name 62959 - - {\"status\":200}",
        "72 <134>1 2026-02-10T05:05:36Z cache-fra-x1-FRA name web.1 - {\"status\":200}",
    ] {
        let event = one(body);
        assert_eq!((event.status, &*event.pop, event.start_ns), (200, "FRA", FEB_10), "{body}");
        assert_eq!(attribute(&event, "log.name"), Some("name"), "{body}");
    }
    assert_eq!(one("{\n  \"status\": 200,\n  \"url\": \"/a\"\n}\n").path, "/a");
    let found = decode("[\n{\"status\":200},\n{\"status\":x},\n 5,\n{\"status\":404}\n]\n");
    assert_eq!(found.events.len(), 2);
    let reasons: Vec<_> = found.rejects.iter().map(|reject| reject.0).collect();
    assert_eq!(reasons, [RejectReason::BadJson, RejectReason::NotAnObject]);
    let found = decode(r#"[{"status":200},{"referer":"a"b","status":1},{"status":404}]"#);
    assert_eq!((found.events.len(), found.rejects.len()), (2, 1));
    let bad = b"{\"status\":200,\"ua\":\"\xff\"}\n{\"status\":404}";
    let found = decode(bad);
    assert_eq!((found.events.len(), &*found.events[0].user_agent), (2, "\u{fffd}"));
    assert!(
        found.events[0].notes.contains(Notes::BAD_UTF8) && !found.events[1].notes.contains(Notes::BAD_UTF8)
    );
    let deep = format!("{{\"status\":200,\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(rejected(deep).0, RejectReason::TooDeep);
}

#[test]
fn otlp_documents_stand_among_lines() {
    let logs = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1770699936123456789",
        "body":{"stringValue":"nonsense"}}]}]}]}"#;
    let spans = r#"{"resourceSpans":[]}"#;
    let found = decode(format!("{{\"status\":200}}\n{logs}\n{spans}\n{{\"status\":404}}"));
    assert_eq!(found.events.iter().filter(|event| event.format == "fastly-generic").count(), 2);
    // The one record in the logs is an event or a reject of the OTLP decoder; spans are refused with the reason.
    assert_eq!(found.events.len() + found.rejects.len(), 4, "{:?}", found.rejects);
    assert!(found.rejects.iter().any(|reject| reject.3.contains("resourceSpans")), "{:?}", found.rejects);
}

#[test]
fn secrets_do_not_pass() {
    let secret =
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    let event = one(format!(
        r#"{{"status":200,"url":"https://u:p@h/a?access_token={secret}","ua":"x {secret}","headers":[{{"authorization":"Bearer {secret}"}}],
        "referer":"http://h/?token={secret}"}}"#
    ));
    assert!(!format!("{event:?}").contains(secret), "{event:?}");
    assert!(event.notes.contains(Notes::REDACTED) && event.host == "h", "{event:?}");
}

#[test]
fn one_bad_line_costs_its_neighbours_nothing() {
    for bad in [
        "{\"a\":",
        "{\"status\":200,",
        "{",
        "}",
        "nonsense",
        "{\"a\":\"",
        "{\"a\":{\"b\":",
        "\u{0}",
        "{\"a\" 1}",
        "<134>",
        "5 <",
    ] {
        let found = decode(format!("{{\"status\":200}}\n{bad}\n{{\"status\":404}}\n{{\"status\":500}}\n"));
        let statuses: Vec<_> = found.events.iter().map(|event| event.status).collect();
        assert_eq!((statuses, found.rejects.len()), (vec![200, 404, 500], 1), "{bad:?}: {:?}", found.rejects);
        assert_eq!(found.rejects[0].1, 15, "{bad:?}");
    }
}

#[test]
fn our_own_formats_lose_nothing() {
    let event = one(include_str!("../benches/throughline-vcl.json"));
    assert_eq!((&*event.format, event.hop, event.visits), ("throughline-vcl", Hop::Edge, Some(0)));
    assert_eq!((event.start_ns, event.start_precision), (FEB_10 + 123_456_000, Precision::Microsecond));
    assert_eq!((event.duration_ns, event.first_byte_ns), (Some(48_213_000), Some(45_000_000)));
    assert_eq!((event.upstream_tx_first_ns, event.upstream_rx_first_ns), (Some(1_200_000), Some(44_000_000)));
    assert_eq!(event.correlation_id, 0x019c_4597_8f40_7cc3_98c4_dc0c_0c07_398f);
    assert_eq!((event.parent_span_id, event.span_id), (0, 0x00f0_67aa_0ba9_02b7), "the edge minted it");
    let left: Vec<_> = event.attributes.iter().map(|(name, text)| (&**name, &**text)).collect();
    assert_eq!((left, event.notes), (vec![("o_status", "200")], Notes::NONE));

    let event = one(
        r#"{"v":1,"src":"throughline-edge","ts_us":1770699936123456,"correlation_id":"019c45978f407cc398c4dc0c0c07398f",
        "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","service_id":"S","service_version":"3",
        "pop":"FRA","server":"cache-fra-x1-FRA","backend":"mesh","route":"orders","method":"GET","host":"h","url":"/a?b=1",
        "status":403,"client_ip":"2001:db8::1","subject":"u-1","issuer":"https://idp","kid":"k1",
        "verdict":{"outcome":"deny","rule":"orders","reason":"expired","policy_version":"7"},
        "timings":{"duration_us":900,"verify_us":120}}"#,
    );
    assert_eq!(
        (&*event.format, event.hop, event.span_id),
        ("throughline-edge", Hop::Edge, 0x00f0_67aa_0ba9_02b7)
    );
    assert_eq!(
        (&*event.verdict, &*event.verdict_rule, &*event.verdict_reason),
        ("deny", "orders", "expired")
    );
    assert_eq!((&*event.policy_version, &*event.issuer, &*event.key_id), ("7", "https://idp", "k1"));
    assert_eq!((event.duration_ns, &*event.route, &*event.query), (Some(900_000), "orders", "b=1"));
    assert_eq!(event.attributes, [("timings.verify_us".into(), "120".into())]);
}

#[test]
fn the_edges_second_pop_is_a_shield_under_the_first_ones_span() {
    let line = |more: &str| {
        one(format!(
            r#"{{"v":1,"src":"throughline-edge","ts_us":1770699936123456,{more}
        "correlation_id":"019c45978f407cc398c4dc0c0c07398f","path":"/a","status":200,
        "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "verdict":{{"outcome":"allow","rule":"r","reason":"verified","policy_version":"7"}},"timings":{{}}}}"#
        ))
    };
    let (first, second) =
        (line(r#""to_shield":true,"#), line(r#""hop":"shield","parent_span_id":"0000000000000007","#));
    assert_eq!((first.hop, first.to_shield), (Hop::Edge, Some(true)));
    assert_eq!((second.hop, second.to_shield, second.parent_span_id), (Hop::Shield, None, 7));
    assert_eq!((&*second.format, second.correlation_id), ("throughline-edge", first.correlation_id));
    assert!(first.attributes.is_empty() && second.attributes.is_empty());
}

#[test]
fn a_configured_preset_wins_over_detection() {
    let rules = Rules {
        fastly: Presets::with_user(
            "name = \"mine\"\n[fields]\nelapsed = { to = \"duration_ns\", unit = \"ms\" }\n",
        )
        .unwrap(),
        ..rules()
    };
    let line = br#"{"timestamp":"2026-02-10T05:05:36Z","elapsed":5,"rid":"x","status":200}"#;
    let event = &decode_by(&rules, line, Some("mine")).events[0];
    assert_eq!((&*event.format, event.duration_ns, event.status), ("mine", Some(5_000_000), 0));
    assert_eq!(decode_by(&rules, line, None).events[0].format, "fastly-log-analytics");
}

/// Lines of every sample set.
fn sample_lines() -> Vec<Vec<u8>> {
    let files =
        ["f01-default", "f02-datadog", "f03-splunk", "f04-honeycomb", "f05-new-relic", "f06-sumo-logic"];
    let more = ["f07-fastly-log-analytics", "f09-severity-status", "f10-correlated"];
    let bodies = files.iter().chain(&more).map(|name| data(&format!("{name}.ndjson")));
    let lines =
        bodies.flat_map(|body| body.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>());
    lines.filter(|line| !line.is_empty()).collect()
}

fn comparable(mut events: Vec<HopEvent<'static>>) -> Vec<Vec<u8>> {
    let mut found: Vec<_> = events
        .iter_mut()
        .map(|event| {
            let own_id = event.correlation_id | event.request_id | event.edge_request_id | event.trace_id;
            if own_id == 0 {
                event.event_key = 0; // keyed by its place
            }
            let mut bytes = Vec::new();
            wire::put_event(event, &mut bytes);
            bytes
        })
        .collect();
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_split_give_the_same_events(
        picks in prop::collection::vec(0usize..1000, 1..40), cut in 0usize..40,
    ) {
        let lines = sample_lines();
        let picked: Vec<&[u8]> = picks.iter().map(|pick| &lines[pick % lines.len()][..]).collect();
        let whole = decode(picked.join(&b'\n')).events;
        prop_assert_eq!(whole.len(), picked.len());
        let mut turned = picked.clone();
        turned.rotate_left(cut % picked.len());
        let (left, right) = turned.split_at(cut % picked.len());
        let mut parts = decode(left.join(&b'\n')).events;
        parts.extend(decode(right.join(&b'\n')).events);
        prop_assert_eq!(comparable(whole), comparable(parts));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(bytes);
    }

    #[test]
    fn json_shaped_bytes_are_survived(text in r#"[\[\]{}:, "\\a1<>\n\-]{0,60}"#) {
        decode(text);
    }

    #[test]
    fn a_mutated_line_is_one_record_and_spares_its_neighbours(
        pick in 0usize..1000, at in 0usize..2000, byte in any::<u8>().prop_filter("no break", |byte| *byte != b'\n'),
    ) {
        let lines = sample_lines();
        let mut line = lines[pick % lines.len()].clone();
        let at = at % line.len();
        line[at] = byte;
        let found = decode([b"{\"status\":200}\n", &line[..], b"\n{\"status\":404}"].concat());
        let statuses: Vec<_> = found.events.iter().map(|event| event.status).collect();
        prop_assert_eq!(statuses.first(), Some(&200));
        prop_assert_eq!(statuses.last(), Some(&404));
        // A brace or comma may split the line in two records, never lose it.
        prop_assert!((3..=4).contains(&(found.events.len() + found.rejects.len())));
    }
}
