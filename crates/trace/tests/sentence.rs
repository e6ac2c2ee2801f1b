//! Sentences from what a real Envoy wrote: every scenario of the captured access log streams.
//!
//! The captures have no edge, and each request carries a correlation id, so each sentence says that the edge is
//! missing; the table leaves that clause out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says that something is wrong by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use decode::envoy::{AlsStream, Formats};
use decode::fastly::Presets;
use decode::redact::RedactionRules;
use decode::{Delivery, Origin, Redactor, Rules, Sink};
use event::{HopEvent, Reject};
use trace::{Moment, Request, requests, split, summary};

const NO_EDGE: &str = "; no record of the edge was seen.";

/// Scenario and sentence.
const TOLD: &[(&str, &str)] = &[
    ("scn-404app", "GET shop.example.com/notfound was answered 404 by app-a-v1"),
    (
        "scn-404nr",
        "GET shop.example.com/zzz/unknown was answered 404 by the gateway: no route matches (NR); \
         nothing reached the workload",
    ),
    (
        "scn-404vh",
        "GET other.example.org/ok was answered 404 by the gateway: no route matches (NR); nothing \
         reached the workload",
    ),
    ("scn-500app", "GET shop.example.com/err500 was answered 500 by app-a-v1"),
    (
        "scn-chain",
        "GET shop.example.com/chain was answered 200 in 8 ms by app-a-v1 behind the gateway; 7.3 ms \
         of it in app-a-v1 and its calls",
    ),
    (
        "scn-chain-deny",
        "GET shop.example.com/chain was answered 200 in 6.9 ms by app-a-v1 behind the gateway; 3 ms \
         of it in app-a-v1 and its calls; a call of app-a-v1 to app-b, GET /b/denied, was refused \
         with 403 at app-b-v1's sidecar by policy default/deny-x (rule 0)",
    ),
    (
        "scn-chain-uf",
        "GET shop.example.com/chain was answered 200 in 65 ms by app-a-v1 behind the gateway; 64 ms \
         of it in app-a-v1 and its calls; a call of app-a-v1 to down, GET /uf, was answered 503 by \
         app-a-v1's sidecar: it could not connect to down in 3 tries (connection refused; UF,URX)",
    ),
    (
        "scn-dc",
        "GET shop.example.com/slow was abandoned by its client after 400 ms, before any answer (the \
         gateway says so: DC)",
    ),
    (
        "scn-dc-mid",
        "GET shop.example.com/drip was abandoned by its client after 800 ms, 300 bytes into the 200 \
         answer (the gateway says so: DC)",
    ),
    (
        "scn-dc-up",
        "POST shop.example.com/upload was abandoned by its client after 300 ms, before any answer \
         (the gateway says so: DC)",
    ),
    (
        "scn-di",
        "GET shop.example.com/fault-delay was answered 200 in 259 ms by app-a-v1 behind the gateway; \
         2.5 ms of it in app-a-v1",
    ),
    (
        "scn-direct",
        "GET shop.example.com/direct was answered 418 by the gateway itself (direct response); \
         nothing reached the workload",
    ),
    (
        "scn-dt",
        "GET shop.example.com/dt was cut off by the gateway after 299 ms, the longest that it allows, \
         in the middle of its 200 answer",
    ),
    (
        "scn-fi",
        "GET shop.example.com/fault-abort was answered 555 by the fault injection of the gateway \
         (FI); nothing reached the workload",
    ),
    (
        "scn-flaky",
        "GET shop.example.com/flaky was answered 200 on the second try in 12 ms by app-a-v1 behind \
         the gateway; 0.5 ms of it in app-a-v1; the first failed with 503",
    ),
    ("scn-flaky3", "GET shop.example.com/flaky was answered 503 by app-a-v1, the last of 3 tries"),
    (
        "scn-grpc-deadline",
        "POST shop.example.com/demo.Echo/Stream was abandoned by its client after 410 ms, 16 bytes \
         into the 200 answer (the gateway says so: DR)",
    ),
    (
        "scn-grpc-ok",
        "POST shop.example.com/demo.Echo/Unary was answered 200 in 13 ms by app-a-v1 behind the \
         gateway; 5 ms of it in app-a-v1",
    ),
    (
        "scn-jwt-bad",
        "GET shop.example.com/jwt was refused with 401 at the gateway by its JWT check (Jwt header is \
         an invalid JSON); nothing reached the workload",
    ),
    (
        "scn-jwt-exp",
        "GET shop.example.com/jwt was refused with 401 at the gateway by its JWT check (Jwt is \
         expired); nothing reached the workload",
    ),
    (
        "scn-jwt-iss",
        "GET shop.example.com/jwt was refused with 401 at the gateway by its JWT check (Jwt issuer is \
         not configured); nothing reached the workload",
    ),
    (
        "scn-jwt-missing",
        "GET shop.example.com/jwt was refused with 401 at the gateway by its JWT check (Jwt is \
         missing); nothing reached the workload",
    ),
    (
        "scn-longpath",
        "GET \
         shop.example.com/ok/pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp… \
         was answered 200 in 2.7 ms by app-a-v1 behind the gateway; 0.9 ms of it in app-a-v1",
    ),
    (
        "scn-lrl-2",
        "GET shop.example.com/lrl/ok was refused with 429 at the gateway by its own rate limit (RL); \
         nothing reached the workload",
    ),
    (
        "scn-nc",
        "GET shop.example.com/nocluster was answered 503 by the gateway: its route names a cluster \
         that does not exist (NC); nothing reached the workload",
    ),
    (
        "scn-nohost",
        "GET /ok was answered 400 by the gateway, which could not read it (missing host header); \
         nothing reached the workload",
    ),
    (
        "scn-ok-plain",
        "GET shop.example.com/ok was answered 200 in 10 ms by app-a-v1 behind the gateway; 1.3 ms of \
         it in app-a-v1",
    ),
    (
        "scn-periodic-drip",
        "GET shop.example.com/drip was answered 200 in 2 s by app-a-v1 behind the gateway; 2 s of it \
         in app-a-v1",
    ),
    (
        "scn-rbac-a",
        "GET shop.example.com/a/denied was refused with 403 at app-a-v1's sidecar by policy \
         default/deny-x (rule 0); nothing reached the workload",
    ),
    (
        "scn-rbac-gw",
        "GET shop.example.com/deny/x was refused with 403 at the gateway by policy \
         istio-system/deny-admin (rule 0); nothing reached the workload",
    ),
    (
        "scn-redir",
        "GET shop.example.com/old was answered 301 in 0.2 ms by the gateway itself (direct response)",
    ),
    (
        "scn-rl",
        "GET shop.example.com/rl was refused with 429 at the gateway by the rate limit service (RL); \
         nothing reached the workload",
    ),
    (
        "scn-rlse",
        "GET shop.example.com/serr was answered 500 by the gateway, whose rate limit service failed \
         (RLSE); nothing reached the workload",
    ),
    (
        "scn-si",
        "GET shop.example.com/si was cut off by the gateway after 297 ms with 504 (SI): nothing moved \
         on it",
    ),
    (
        "scn-uaex",
        "GET shop.example.com/authz was refused with 403 at the gateway by its external authorizer; \
         nothing reached the workload",
    ),
    (
        "scn-uc",
        "GET shop.example.com/kill was answered 503 by app-a-v1's sidecar: app-a-v1 closed the \
         connection before it answered in 3 tries (UC)",
    ),
    (
        "scn-uc-half",
        "GET shop.example.com/halfkill was broken off in the middle of its 200 answer after 104 ms: \
         app-a-v1 broke the protocol (app-a-v1's sidecar) (UPE)",
    ),
    (
        "scn-uf",
        "GET shop.example.com/uf was answered 503 by the gateway: it could not connect to down in 3 \
         tries (connection refused; UF,URX)",
    ),
    (
        "scn-uf-tls",
        "GET shop.example.com/tlsfail was answered 503 by the gateway: it could not connect to badtls \
         in 3 tries (TLS: its certificate could not be verified; UF,URX)",
    ),
    (
        "scn-uh",
        "GET shop.example.com/uh was answered 503 by the gateway: no healthy instance of its upstream \
         (UH); nothing reached the workload",
    ),
    (
        "scn-uo",
        "GET shop.example.com/uo was answered 503 by the gateway: the circuit breaker of its upstream \
         is open (UO); nothing reached the workload",
    ),
    (
        "scn-upe",
        "GET shop.example.com/garbage was answered 502 by app-a-v1's sidecar: app-a-v1 broke the \
         protocol before it answered (UPE)",
    ),
    (
        "scn-ut",
        "GET shop.example.com/ut was given up by the gateway after 301 ms with 504 (UT) while app-a \
         had not answered",
    ),
    (
        "scn-ut-retry",
        "GET shop.example.com/tryut was given up by the gateway after 221 ms in 2 tries with 504 \
         (URX,UT) while app-a had not answered",
    ),
    (
        "scn-ws",
        "WebSocket GET shop.example.com/ws was open for 1.2 s to app-a-v1 behind the gateway (32 \
         bytes up, 31 down)",
    ),
    (
        "scn-ws-periodic",
        "WebSocket GET shop.example.com/ws was open for 1.2 s to app-a-v1 behind the gateway (32 \
         bytes up, 31 down)",
    ),
];

/// Scenarios in which nothing happens but a plain 200, in the words of the first of the table.
const PLAIN: &[&str] = &[
    "scn-badutf8",
    "scn-chain-noprop",
    "scn-expect",
    "scn-frag",
    "scn-grpc-notfound",
    "scn-grpc-stream",
    "scn-grpc-unimpl",
    "scn-jwt-good",
    "scn-lrl-1",
    "scn-multi-hdr",
    "scn-ok-head",
    "scn-ok-noname",
    "scn-ok-post",
    "scn-ok-reqid",
    "scn-ok-tls",
    "scn-ok-tp",
    "scn-options",
    "scn-path-space-quote",
    "scn-periodic-ok",
    "scn-rewrite",
    "scn-tabua",
    "scn-ua-empty",
    "scn-ua-none",
    "scn-ua-quote",
    "scn-utf8",
    "scn-xff-many",
];

#[derive(Default)]
struct Collected(Vec<HopEvent<'static>>);

impl Sink for Collected {
    fn event(&mut self, event: &HopEvent<'_>) {
        self.0.push(event.clone().into_owned());
    }

    fn reject(&mut self, reject: Reject<'_>) {
        panic!("{reject:?}");
    }
}

/// The requests of all captured streams.
fn captured() -> Vec<Request> {
    let rules = Rules {
        redactor: Redactor::new(&RedactionRules::default()),
        fastly: Presets::built_in().unwrap(),
        envoy: Formats::istio_defaults(),
    };
    let origin = Origin::default();
    let mut collected = Collected::default();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/envoy/als");
    for entry in std::fs::read_dir(data).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let mut stream = AlsStream::new("test");
        let mut rest = bytes.as_slice();
        for id in 0.. {
            let Some(message) = delimited(&mut rest) else { break };
            let received_ns = 1_795_290_100_000_000_000;
            let delivery = Delivery { tenant: "default", source: "als", received_ns, id, origin: &origin };
            stream.decode(message, &delivery, &rules, &mut collected);
        }
    }
    requests(collected.0, Moment::FINAL)
}

fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            let (message, tail) = rest.split_at(length);
            *rest = tail;
            return Some(message);
        }
    }
}

fn scenario(request: &Request) -> Option<String> {
    let attributes = &request.spans[0].event.attributes;
    attributes.iter().find(|(name, _)| name == "correlation_id").map(|(_, text)| text.to_string())
}

#[test]
fn every_scenario_is_told_as_it_was() {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for request in captured() {
        if let Some(scenario) = scenario(&request) {
            let sentence = summary(&request);
            let told = sentence.strip_suffix(NO_EDGE).unwrap_or_else(|| sentence.trim_end_matches('.'));
            found.insert(scenario, told.to_owned());
        }
    }
    let told = |scenario: &str| found.get(scenario).map_or("is not there", String::as_str);
    let is_plain = |sentence: &str| {
        let parts = [
            "shop.example.com/",
            " was answered 200 in ",
            " ms by app-a-v1 behind the gateway; ",
            " ms of it in app-a-v1",
        ];
        parts.iter().all(|part| sentence.contains(part)) && sentence.matches(';').count() == 1
    };
    let wrong: Vec<String> = TOLD
        .iter()
        .filter(|(scenario, expected)| told(scenario) != *expected)
        .map(|(scenario, _)| *scenario)
        .chain(PLAIN.iter().copied().filter(|scenario| !is_plain(told(scenario))))
        .map(|scenario| format!("{scenario}: {}", told(scenario)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        found.len(),
        TOLD.len() + PLAIN.len(),
        "scenarios without a sentence here: {:?}",
        found.keys()
    );
}

#[test]
fn shares_of_real_requests_add_up() {
    for request in captured() {
        let total: u64 = split(&request).iter().map(|part| part.duration_ns).sum();
        assert_eq!(Some(total), request.spans[0].event.duration_ns, "{}", summary(&request));
    }
}
