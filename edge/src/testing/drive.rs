//! Any bytes as a request, for the fuzzer: nobody gets in whose token was not signed here.

use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;

use super::TestHost;
use crate::encoding::base64url;
use crate::{Config, Decision, FetchResponse, IncomingRequest, decide};

/// Everything that a configuration can have, with one route that is open.
const ITEM: &str = r#"{"version":1,"policy_version":"p","subject_secret":"s","issuers":[
{"name":"i","iss":"https://i.example","jwks":{"backend":"i","path":"/k"},"audiences":["a"],"algorithms":["EdDSA","ES256","RS256"]},
{"name":"c","preset":"cognito","iss":"https://c.example/p","jwks":{"backend":"i"},"client_ids":["a"],"algorithms":["EdDSA"]}],
"routes":[{"name":"open","match":{"path":"/open"},"auth":"public","action":{"forward":{"backend":"o"}}},
{"name":"gone","match":{"path_prefix":"/gone"},"auth":"public","action":{"redirect":{"to":"/open"}}},
{"name":"page","match":{"path_prefix":"/page"},"login":true,"action":{"forward":{"backend":"o","rewrite":{"strip_prefix":"/page","add_prefix":"/v"}}}},
{"name":"rest","require":{"claims":{"r":["x"]},"scopes":["s"]},"action":{"forward":{"backend":"o","by_claim":{"claim":"t","backends":{"b":"b"}}}}}],
"stamp":{"continue_trace":true,"claims":[{"claim":"g","header":"x-auth-g"},{"claim":"n","header":"x-auth-n","encode":"base64url"}]},
"login":{"issuer":"i","client_id":"w","authorization_endpoint":"https://i.example/a","token_endpoint":{"backend":"t","path":"/t"},
"redirect_uri":"https://w.example/cb","session_secret":"s"}}"#;

/// The first byte: bit 0 has the next two lines signed as a token's header and claims. Then a line each: method, target,
/// authority, and headers as `name: value`.
#[allow(clippy::panic, clippy::expect_used, reason = "a fuzz target tells by panicking")]
pub fn drive(bytes: &[u8]) {
    let config = Config::parse(ITEM).expect("the item is good");
    let mut host = TestHost::default();
    let key = SigningKey::from_bytes(&[9; 32]);
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": base64url(key.verifying_key().as_bytes())});
    let body = json!({ "keys": [jwk] }).to_string().into_bytes();
    host.backends.insert("i".into(), FetchResponse { status: 200, max_age_s: None, body });
    host.secrets.insert("s".into(), vec![3; 32]);
    let Some((flags, rest)) = bytes.split_first() else { return };
    let mut lines = rest.split(|byte| *byte == b'\n');
    let signs = flags & 1 == 1;
    let mut headers = Vec::new();
    if signs {
        let header = lines.next().unwrap_or_default();
        let message = format!("{}.{}", base64url(header), base64url(lines.next().unwrap_or_default()));
        let signature = base64url(key.sign(message.as_bytes()).to_bytes());
        headers.push(("authorization".into(), format!("Bearer {message}.{signature}").into_bytes()));
    }
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, target, authority) = (text(), text(), text());
    headers.extend(lines.map(|line| {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        (String::from_utf8_lossy(name).into_owned(), value.get(1..).unwrap_or_default().trim_ascii().to_vec())
    }));
    let request = IncomingRequest {
        method,
        target,
        authority,
        headers,
        scheme: "https".into(),
        ..IncomingRequest::default()
    };
    let decided = decide(&config, &mut host, &request);
    if let Decision::Forward(forward) = &decided.decision {
        assert!(signs || decided.log.route == "open", "let in unsigned: {request:?}");
        assert!(crate::path::normalise(forward.target.split('?').next().unwrap_or_default()).is_ok());
        let ids = forward.headers.iter().filter(|(name, _)| name == "x-correlation-id").count();
        assert_eq!(ids, 1, "one correlation id is sent on");
        let clean = |(name, value): &(String, Vec<u8>)| {
            crate::path::is_header_name(name.as_bytes())
                && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        };
        assert!(forward.headers.iter().all(clean), "every header can be sent");
    }
    assert!(!decided.log.verdict.reason.is_empty() && !decided.log.line().contains('\n'));
}
