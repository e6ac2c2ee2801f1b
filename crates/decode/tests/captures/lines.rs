//! Istio's TEXT and JSON lines, and lines with one key per Envoy operator.

use std::collections::HashMap;

use decode::coerce::flags;
use event::{Direction, Hop, HopEvent, Notes, RejectReason};
use serde::Deserialize;

use crate::support::{capture, decode_lines};

/// What `records.jsonl` says of one line.
#[derive(Debug, Deserialize)]
struct Fact {
    line: usize,
    scn: Option<String>,
    log_type: String,
    code: u16,
    flags: String,
    details: Option<String>,
    cterm: Option<String>,
    cluster: Option<String>,
    attempts: u16,
    stream_id: Option<String>,
}

fn facts(role: &str) -> Vec<Fact> {
    let file = capture(&format!("file/{role}.records.jsonl"));
    file.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn assert_fact(fact: &Fact, event: &HopEvent<'_>, place: &str) {
    let absent = |text: &Option<String>| text.clone().filter(|text| text != "-").unwrap_or_default();
    assert_eq!(event.status, fact.code, "{place}");
    assert_eq!(event.response_flags, flags(&fact.flags), "{place}");
    assert_eq!(event.details, absent(&fact.details), "{place}");
    assert_eq!(event.termination_details, absent(&fact.cterm), "{place}");
    assert_eq!(event.upstream_cluster, absent(&fact.cluster), "{place}");
    if fact.details.as_deref() == Some("via_upstream") {
        assert_ne!(event.request_id, 0, "{place}");
    }
}

#[test]
fn text_and_json_lines_carry_the_facts_of_their_scenarios() {
    let mut counts = HashMap::new();
    for role in ["gw", "a", "b"] {
        let facts = facts(role);
        for form in ["text", "json"] {
            let found = decode_lines(&capture(&format!("file/{role}.{form}.log")));
            assert!(found.rejects.is_empty(), "{role}.{form}: {:?}", found.rejects);
            let events = found.events();
            assert_eq!(events.len(), facts.len(), "{role}.{form}");
            for (fact, event) in facts.iter().zip(&events) {
                assert_fact(fact, event, &format!("{role}.{form}.log line {} ({:?})", fact.line, fact.scn));
            }
            *counts.entry(form).or_insert(0) += events.len();
            insta::assert_snapshot!(format!("{role}.{form}"), found.table());
        }
    }
    assert_eq!(counts, HashMap::from([("text", 174), ("json", 174)]));
}

#[test]
fn text_and_json_of_one_request_are_the_same_event() {
    for role in ["gw", "a", "b"] {
        let (text, json) =
            (capture(&format!("file/{role}.text.log")), capture(&format!("file/{role}.json.log")));
        let (text, json) = (decode_lines(&text), decode_lines(&json));
        for (mut text, mut json) in text.events().into_iter().zip(json.events()) {
            // Bad bytes: U+FFFD from raw ones in TEXT, Latin-1 from Envoy's escapes in JSON.
            for event in [&mut text, &mut json] {
                event.format = "".into();
                event.event_key = 0; // a record without any id is keyed by its place
                if event.user_agent.starts_with("bad") {
                    event.user_agent = "bad".into();
                    event.notes = Notes::NONE;
                }
            }
            assert_eq!(text, json);
        }
    }
}

#[test]
fn a_quote_in_a_user_agent_moves_nothing() {
    let found = decode_lines(&capture("file/gw.text.log"));
    let events = found.events();
    let quoted = events.iter().find(|event| event.user_agent.contains("quoted")).unwrap();
    assert_eq!(quoted.user_agent, r#"Mozilla "quoted" \back\ [x]"#);
    assert_eq!((quoted.status, quoted.route.as_ref()), (200, "default"));
    assert_eq!(quoted.request_id >> 96, 0xefc5_0915);
    assert!(!quoted.notes.contains(Notes::AMBIGUOUS_FIELDS), "there is only one way to read this line");
}

#[test]
fn bad_bytes_are_noted_in_text_and_kept_as_envoy_wrote_them_in_json() {
    let text = decode_lines(&capture("file/gw.text.log"));
    let events = text.events();
    let bad = events.iter().find(|event| event.user_agent.starts_with("bad")).unwrap();
    assert_eq!(bad.user_agent, "bad\u{fffd}\u{fffd}utf");
    assert!(bad.notes.contains(Notes::BAD_UTF8));
    let json = decode_lines(&capture("file/gw.json.log"));
    let events = json.events();
    let bad = events.iter().find(|event| event.user_agent.starts_with("bad")).unwrap();
    assert_eq!(bad.user_agent, "bad\u{ff}\u{fe}utf");
}

#[test]
fn operators_as_keys_give_every_column() {
    for role in ["gw", "a", "b"] {
        let bytes = capture(&format!("file/{role}.ext.log"));
        let found = decode_lines(&bytes);
        assert!(found.rejects.is_empty(), "{:?}", found.rejects);
        let facts: HashMap<String, Vec<Fact>> =
            facts(role).into_iter().fold(HashMap::new(), |mut map, fact| {
                map.entry(fact.stream_id.clone().unwrap_or_default()).or_insert_with(Vec::new).push(fact);
                map
            });
        for (raw, event) in bytes.split(|&byte| byte == b'\n').zip(found.events()) {
            let raw: serde_json::Value = serde_json::from_slice(raw).unwrap();
            let stream = raw["STREAM_ID"].as_str().unwrap_or_default();
            let log_type = raw["ACCESS_LOG_TYPE"].as_str().unwrap();
            let fact = facts[stream]
                .iter()
                .find(|fact| {
                    fact.log_type == log_type
                        && fact.cluster.as_deref() == raw["UPSTREAM_CLUSTER_RAW"].as_str()
                        && Some(u64::from(fact.code)) == raw["RESPONSE_CODE"].as_u64()
                })
                .unwrap();
            assert_fact(fact, &event, stream);
            assert_eq!(event.log_type, fact.log_type, "{stream}");
            assert_eq!(event.attempt, fact.attempts, "{stream}");
            // Microseconds of the start and nanoseconds of phases come from the finer of two operators.
            let fine = raw["START_TIME(%s.%9f)"].as_str().unwrap().replace('.', "");
            assert_eq!(event.start_ns.to_string(), fine, "{stream}");
            assert_eq!(event.start_precision, event::Precision::Microsecond);
            let micros = raw["COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)"].as_u64();
            if let Some(micros) = micros {
                assert_eq!(event.upstream_rx_first_ns, Some(micros * 1_000), "{stream}");
            }
            let correlation = raw["REQ(X-CORRELATION-ID)"].as_str();
            assert_eq!(event.correlation_id != 0, correlation.is_some(), "{stream}");
            if let Some(text) = correlation {
                assert!(event.attributes.iter().any(|(name, kept)| name == "correlation_id" && kept == text));
            }
            if event.details.starts_with("rbac_access_denied")
                || event.termination_details.starts_with("rbac")
            {
                assert_eq!(event.verdict, "deny", "{stream}");
                assert!(event.verdict_rule.starts_with("ns["), "{stream}: {}", event.verdict_rule);
            }
        }
        insta::assert_snapshot!(format!("{role}.ext"), found.table());
    }
}

#[test]
fn hops_are_told_where_the_line_allows_and_not_beyond() {
    let found = decode_lines(&capture("file/gw.json.log"));
    assert!(
        found.events().iter().all(|event| event.hop == Hop::Unknown),
        "no line of a gateway names its hop"
    );
    let found = decode_lines(&capture("file/a.json.log"));
    let events = found.events();
    let inbound = events.iter().find(|event| event.upstream_cluster.starts_with("inbound|")).unwrap();
    assert_eq!((inbound.hop, inbound.direction), (Hop::Sidecar, Direction::Inbound));
    assert!(inbound.notes.contains(Notes::HOP_INFERRED));
}

#[test]
fn forged_fields_change_nothing_that_envoy_wrote() {
    let head = r#"[2026-11-21T19:41:27.681Z] "GET /ok HTTP/1.1" 503 UF det - "-" 0 9 1 0 "#;
    let tail = concat!(
        r#""efc50915-2afe-4496-973f-dcc647ac57c7" "shop" "10.0.0.1:80" outbound|80||a.b 1.1.1.1:1 2.2.2.2:2 "#,
        r#"3.3.3.3:0 - default"#
    );
    let forged = concat!(
        r#"x" "11111111-1111-4111-8111-111111111111" "evil" "6.6.6.6:6" outbound|6||evil 6.6.6.6:1 6.6.6.6:2 "#,
        r#"6.6.6.6:3 - evil"#
    );
    for (xff, agent) in [
        ("203.0.113.7", forged.to_owned()),
        ("203.0.113.7", r#"x" "y"#.to_owned()),
        (r#"1.1.1.1" "fake-agent"#, "real".to_owned()),
        ("203.0.113.7", format!("{forged}\" \"")),
        ("203.0.113.7", "\" \"".repeat(2_000)),
    ] {
        let line = format!("{head}\"{xff}\" \"{agent}\" {tail}\n");
        let found = decode_lines(line.as_bytes());
        assert!(found.rejects.is_empty(), "{line}: {:?}", found.rejects);
        let events = found.events();
        let event = &events[0];
        assert_eq!((event.status, event.response_flags.as_ref()), (503, "UF"), "{line}");
        assert_eq!(event.request_id >> 96, 0xefc5_0915, "{line}");
        assert_eq!(
            (event.host.as_ref(), event.upstream_cluster.as_ref()),
            ("shop", "outbound|80||a.b"),
            "{line}"
        );
        assert_eq!(event.route, "default", "{line}");
        assert!(event.notes.contains(Notes::AMBIGUOUS_FIELDS), "{line}");
    }
}

#[test]
fn lines_that_are_no_access_log_are_explained() {
    let lines = concat!(
        "2026-11-21T19:41:27.681123Z\tinfo\txdsproxy\tconnected\n",
        "[2026-11-21T19:41:27.681Z] \"GET /ok HTTP/1.1\" 200\n",
        "{\"level\":\"info\",\"time\":\"2026-11-21T19:41:27.681123Z\",\"scope\":\"xds\",\"msg\":\"connected\"}\n",
        "{\"method\":\"GET\",\"path\":\"/cut\n",
        "{\"method\":\"GET\",path}\n",
        "\n",
    );
    let found = decode_lines(lines.as_bytes());
    let reasons: Vec<_> = found.rejects.iter().map(|reject| (reject.reason, reject.offset)).collect();
    assert_eq!(
        reasons,
        [
            (RejectReason::UnknownFormat, 0),
            (RejectReason::FormatMismatch, 52),
            (RejectReason::NoKnownField, 102),
            (RejectReason::Truncated, 188),
            (RejectReason::BadJson, 217),
        ]
    );
}

#[test]
fn wrapping_changes_nothing() {
    let plain = capture("file/a.json.log");
    let plain_found = decode_lines(&plain);
    let lines: Vec<&str> = std::str::from_utf8(&plain).unwrap().lines().collect();
    let cri: String = lines
        .iter()
        .map(|line| {
            let (head, tail) = line.split_at(line.len() / 2);
            let stamp = "2026-11-21T19:41:27.681123456Z stdout";
            format!("{stamp} P {head}\n{stamp} F {tail}\n")
        })
        .collect();
    let docker: String = lines
        .iter()
        .map(|line| {
            let log = serde_json::to_string(&format!("{line}\n")).unwrap();
            format!("{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"2026-11-21T19:41:27.681123456Z\"}}\n")
        })
        .collect();
    let array = format!("[{}]", lines.join(","));
    for wrapped in [cri, docker, array] {
        let found = decode_lines(wrapped.as_bytes());
        assert_eq!(found.table(), plain_found.table());
    }
}

#[test]
fn a_configured_format_string_is_read_by_its_operators() {
    let format = concat!(
        "%START_TIME(%s.%6f)%|%REQ(X-CORRELATION-ID)%|%REQ(TRACEPARENT)%|%RESPONSE_CODE%|%RESPONSE_FLAGS%|",
        "\"%REQ(USER-AGENT)%\"|%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%|%REQ(X-TENANT):20%|%CEL(xds.node.id)%|%BYTES_SENT% 100%%\n"
    );
    let mut rules = crate::support::rules();
    rules.envoy = rules.envoy.with_user(format).unwrap();
    let line = concat!(
        "1795290064.284011|0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f|",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|503|URX,UF|\"an \"agent\" | here\"|1763|acme|",
        "sidecar~10.0.0.1~app-1.shop~shop.svc.cluster.local|9 100%\n"
    );
    let (origin, mut found) = (decode::Origin::default(), crate::support::Found::default());
    decode::envoy::decode_lines(line.as_bytes(), &crate::support::delivery(&origin), &rules, &mut found);
    assert!(found.rejects.is_empty(), "{:?}", found.rejects);
    let events = found.events();
    let event = &events[0];
    assert_eq!((event.start_ns, event.last_byte_ns), (1_795_290_064_284_011_000, Some(1_763_000)));
    assert_eq!(event.correlation_id, 0x0192_f0c4_8a4e_7cc3_98c4_dc0c_0c07_398f);
    assert_eq!((event.trace_id >> 96, event.parent_span_id), (0x0af7_6519, 0xb7ad_6b71_6920_3331));
    assert_eq!((event.status, event.response_flags.as_ref()), (503, "UF,URX"));
    assert_eq!(event.user_agent, "an \"agent\" | here");
    assert_eq!((event.hop, event.pod.as_ref(), event.namespace.as_ref()), (Hop::Sidecar, "app-1", "shop"));
    assert_eq!(event.response_bytes, Some(9));
    assert_eq!(event.attributes, [("http.request.header.x-tenant".into(), "acme".into())]);
}

#[test]
fn older_istio_and_plain_envoy_lines_are_read() {
    let lines = concat!(
        r#"[2020-11-21T19:41:27.681Z] "GET /ok HTTP/2" 200 - "-" "-" 0 9 1 0 "203.0.113.7" "probe/1" "#,
        r#""efc50915-2afe-4496-973f-dcc647ac57c7" "shop" "10.0.0.1:80" outbound|80||a.b 1.1.1.1:1 2.2.2.2:2 3.3.3.3:0 - default"#,
        "\n",
        r#"[2020-11-21T19:41:27.681Z] "GET /ok HTTP/2" 503 UF 0 9 1 - "203.0.113.7" "probe/1" "#,
        r#""efc50915-2afe-4496-973f-dcc647ac57c7" "shop" "-""#,
        "\n",
    );
    let found = decode_lines(lines.as_bytes());
    let events = found.events();
    assert_eq!(events.len(), 2, "{:?}", found.rejects);
    assert_eq!((events[0].upstream_cluster.as_ref(), events[0].status), ("outbound|80||a.b", 200));
    assert_eq!((events[1].response_flags.as_ref(), events[1].host.as_ref()), ("UF", "shop"));
}

#[test]
fn empty_values_are_absent_where_the_mesh_omits_them() {
    let line = concat!(
        r#"[2026-11-21T19:41:27.681Z] "  " 0    "" 5 5 3  "" "" "" "" "10.0.0.1:9100" outbound|9100||a.b 1.1.1.1:1 "#,
        "2.2.2.2:2 3.3.3.3:3  \n"
    );
    let found = decode_lines(line.as_bytes());
    let events = found.events();
    assert_eq!(events.len(), 1, "{:?}", found.rejects);
    assert_eq!((events[0].status, events[0].request_bytes, events[0].method.as_ref()), (0, Some(5), ""));
}
