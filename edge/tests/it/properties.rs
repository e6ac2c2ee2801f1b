//! Whatever comes in: one decision, no panic, and nobody is let in without a valid signature.

use crate::common::*;
use edge::{Config, Decision, IncomingRequest, decide};
use proptest::prelude::*;
use serde_json::{Value, json};

fn any_header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        Just("Authorization".to_owned()),
        Just("authorization".to_owned()),
        Just("cookie".to_owned()),
        Just("connection".to_owned()),
        Just("traceparent".to_owned()),
        Just("x_auth_sub".to_owned()),
        Just("host".to_owned()),
        "[a-zA-Z_-]{1,12}",
        ".{0,8}",
    ];
    let value = prop_oneof![
        "Bearer [A-Za-z0-9_.-]{0,80}".prop_map(String::into_bytes),
        "(__Host-edge-session=)?[A-Za-z0-9_.-]{0,60}(; [a-z]=[a-z])?".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..60),
    ];
    (name, value)
}

fn any_request() -> impl Strategy<Value = IncomingRequest> {
    let target = prop_oneof![
        "/(x|app|admin|callback|logout|maybe|api|internal)[/a-z0-9%.;?=&_+-]{0,40}",
        "/callback\\?(code=[a-z]{0,4}&)?state=[A-Za-z0-9_.-]{0,60}",
        ".{0,40}",
    ];
    let authority = prop_oneof![Just("www.example.com".to_owned()), "[a-z0-9.:\\[\\]@-]{0,20}", ".{0,10}"];
    let method = prop_oneof![Just("GET".to_owned()), Just("POST".to_owned()), ".{0,8}"];
    (method, authority, target, prop::collection::vec(any_header(), 0..6)).prop_map(
        |(method, authority, target, headers)| IncomingRequest {
            method,
            authority,
            target,
            headers,
            scheme: "https".into(),
            ..IncomingRequest::default()
        },
    )
}

/// Routes on which an anonymous request may pass.
fn is_open(route: &str) -> bool {
    ["health", "maybe", "edge_keys"].contains(&route)
}

/// What the fuzzer begins with; each is written so that it reaches another end of the decision.
#[test]
fn the_fuzz_corpus_holds() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/edge_decide");
    let mut seen = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        edge::testing::drive(&std::fs::read(entry.unwrap().path()).unwrap());
        seen += 1;
    }
    assert!(seen >= 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_panics_and_none_gets_in_unsigned(request in any_request()) {
        let decided = decide(&config(), &mut host(), &request);
        if matches!(decided.decision, Decision::Forward(_)) {
            prop_assert!(is_open(&decided.log.route), "{:?}", decided.log);
        }
        prop_assert!(!decided.log.verdict.outcome.is_empty() && !decided.log.verdict.reason.is_empty());
        let line = decided.log.line();
        prop_assert!(!line.contains('\n') && serde_json::from_str::<Value>(&line).is_ok());
    }

    #[test]
    fn a_token_changed_in_any_place_is_refused(at in 0_usize..1000, byte in any::<u8>(), alg in 0..3_usize) {
        let (alg, kid) = [("ES256", "ec"), ("ES384", "ec384"), ("EdDSA", "ed")][alg];
        let good = token(alg, kid, &claims(&host()));
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let value = [b"Bearer ", &bytes[..]].concat();
        let decided = decide(&config(), &mut host(), &with(request("GET", "/x"), "authorization", value));
        let same = bytes == good.as_bytes();
        prop_assert_eq!(matches!(decided.decision, Decision::Forward(_)), same);
    }

    #[test]
    fn a_token_of_any_json_under_a_foreign_key_is_refused(alg in "(ES256|EdDSA|RS256|none|HS256)", kid in "(ec|ed|rsa|[a-z]{0,3})", sub in ".{0,10}") {
        let mut claims = claims(&host());
        claims["sub"] = json!(sub);
        let message = format!("{}.{}", b64(json!({"alg": alg, "kid": kid}).to_string()), b64(claims.to_string()));
        for foreign in ["ES256", "EdDSA"] {
            let decided = judge(&format!("{message}.{}", b64(sign(foreign, 66, message.as_bytes()))));
            prop_assert!(matches!(decided.decision, Decision::Respond(_)));
        }
    }

    #[test]
    fn the_fuzz_target_holds_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        edge::testing::drive(&bytes);
    }

    #[test]
    fn no_configuration_item_panics(text in ".{0,200}", at in 0_usize..4000, byte in "[ -~]") {
        let _ = Config::parse(&text);
        let mut item = config_json().to_string();
        let at = at % item.len();
        if item.is_char_boundary(at) && item.is_char_boundary(at + 1) {
            item.replace_range(at..=at, &byte);
            let _ = Config::parse(&item);
        }
    }

    #[test]
    fn no_key_set_panics(body in prop::collection::vec(any::<u8>(), 0..300), field in "(n|e|x|y|kty|crv|kid|use|alg|key_ops)", value in "([A-Za-z0-9_-]{0,90}|[A-Za-z0-9_-]{342})") {
        let mut host = host();
        let mut keys = [jwk("RS256", 0, "rsa"), jwk("ES256", 1, "ec"), jwk("EdDSA", 1, "ed")];
        for key in &mut keys {
            key[&field] = json!(value);
        }
        for body in [body, json!({"keys": keys}).to_string().into_bytes()] {
            host.backends.insert("idp".into(), edge::FetchResponse { status: 200, max_age_s: None, body });
            for (alg, kid) in [("ES256", "ec"), ("EdDSA", "ed")] {
                let bearer = bearer("/x", &token(alg, kid, &claims(&host)));
                let _ = decide(&config(), &mut host, &bearer);
            }
            let rsa = format!("{}.{}.{}", b64(r#"{"alg":"RS256","kid":"rsa"}"#), b64(claims(&host).to_string()), b64([7; 256]));
            let decided = decide(&config(), &mut host, &bearer("/x", &rsa));
            prop_assert!(matches!(decided.decision, Decision::Respond(_)));
        }
    }
}
