//! Any bytes as a request, for the fuzzer: nobody gets in whose token was not signed here, and whose claims do not say so.

use std::sync::OnceLock;

use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::TestHost;
use crate::encoding::{base64url, keyed};
use crate::{Config, Decision, FetchResponse, Forward, IncomingRequest, Respond, decide};

/// Everything that a configuration can have, with one route that is open.
const ITEM: &str = r#"{"version":1,"policy_version":"p","subject_secret":"s","issuers":[
{"name":"i","iss":"https://i.example","jwks":{"backend":"i","path":"/k"},"audiences":["a"],"algorithms":["EdDSA","ES256","RS256"]},
{"name":"c","preset":"cognito","iss":"https://c.example/p","jwks":{"backend":"i"},"client_ids":["a"],"algorithms":["EdDSA"]}],
"routes":[{"name":"open","match":{"path":"/open"},"auth":"public","action":{"forward":{"backend":"o"}}},
{"name":"gone","match":{"path_prefix":"/gone"},"auth":"public","action":{"redirect":{"to":"/open"}}},
{"name":"page","match":{"path_prefix":"/page"},"login":true,"action":{"forward":{"backend":"o","rewrite":{"strip_prefix":"/page","add_prefix":"/v"}}}},
{"name":"far","match":{"path_prefix":"/far"},"action":{"forward":{"backend":"o","shield":"frankfurt-de"}}},
{"name":"rest","require":{"claims":{"r":["x"]},"scopes":["s"]},"action":{"forward":{"backend":"o","by_claim":{"claim":"t","backends":{"b":"b"}}}}}],
"stamp":{"continue_trace":true,"claims":[{"claim":"g","header":"x-auth-g"},{"claim":"n","header":"x-auth-n","encode":"base64url"}]},
"edge_token":{"issuer":"https://e.example","audience":"mesh","keys":[{"kid":"e","secret":"e"}],"claims":["t"]},
"login":{"issuer":"i","client_id":"w","authorization_endpoint":"https://i.example/a","token_endpoint":{"backend":"t","path":"/t"},
"redirect_uri":"https://w.example/cb","session_secret":"s"}}"#;

/// Header and claims of the next two lines are signed by the provider's key.
const SIGNED: u8 = 1;
/// They are signed by another key under the same id.
const FORGED: u8 = 2;
/// The next line is a session that is signed under another secret.
const FORGED_SESSION: u8 = 4;
/// The request brings the token that the edge mints for origins, as every origin could replay it.
const REPLAYED: u8 = 8;

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    #[allow(clippy::expect_used, reason = "a constant")]
    CONFIG.get_or_init(|| Config::parse(ITEM).expect("the item is good"))
}

fn jwk(key: &SigningKey, kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(key.verifying_key().as_bytes())})
}

fn host() -> TestHost {
    let mut host = TestHost { shields: vec!["frankfurt-de".into()], ..TestHost::default() };
    let body = json!({ "keys": [jwk(&SigningKey::from_bytes(&[9; 32]), "k")] }).to_string().into_bytes();
    host.backends.insert("i".into(), FetchResponse { status: 200, max_age_s: None, body });
    host.secrets.insert("s".into(), vec![3; 32]);
    let edge = SigningKey::from_bytes(&[7; 32]);
    let mut secret = jwk(&edge, "e");
    secret["d"] = base64url([7; 32]).into();
    host.secrets.insert("e".into(), secret.to_string().into_bytes());
    host
}

/// The first byte says what is signed, by the bits above. Then a line each: what they take, method, target, authority, and
/// headers as `name: value`.
pub fn drive(bytes: &[u8]) {
    let Some((flags, rest)) = bytes.split_first() else { return };
    let mut lines = rest.split(|byte| *byte == b'\n');
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    let mut token = None;
    if flags & (SIGNED | FORGED) != 0 {
        let (header, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let key = SigningKey::from_bytes(&[if flags & SIGNED != 0 { 9 } else { 66 }; 32]);
        let signature = base64url(key.sign(message.as_bytes()).to_bytes());
        headers.push(("authorization".into(), format!("Bearer {message}.{signature}").into_bytes()));
        token = (flags & SIGNED != 0).then_some((header, claims));
    }
    if flags & FORGED_SESSION != 0 {
        let text = base64url(lines.next().unwrap_or_default());
        let mac = keyed(&[4; 32], "session\nw", text.as_bytes()).unwrap_or_default();
        headers
            .push(("cookie".into(), format!("__Host-edge-session={text}.{}", base64url(mac)).into_bytes()));
    }
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, target, authority) = (text(), text(), text());
    headers.extend(lines.map(|line| {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        (String::from_utf8_lossy(name).into_owned(), value.get(1..).unwrap_or_default().trim_ascii().to_vec())
    }));
    let request =
        IncomingRequest { method, target, authority, headers, scheme: "https".into(), ..Default::default() };
    judge(&request, token);
    if flags & REPLAYED != 0 {
        let open = IncomingRequest {
            target: "/open".into(),
            authority: "w.example".into(),
            method: request.method.clone(),
            scheme: "https".into(),
            ..Default::default()
        };
        let minted = match decide(config(), &mut host(), &open).decision {
            Decision::Forward(forward) => {
                forward.headers.into_iter().find(|(name, _)| name == "x-edge-token")
            }
            Decision::Respond(_) => None,
        };
        let mut replay = request;
        replay.headers.extend(minted);
        judge(&replay, token);
    }
}

/// Decides, and holds the decision to what `token`, the signed header and claims, may reach.
fn judge(request: &IncomingRequest, token: Option<(&[u8], &[u8])>) {
    let decided = decide(config(), &mut host(), request);
    let log = &decided.log;
    assert!(!log.verdict.reason.is_empty() && !log.line().contains('\n'));
    match &decided.decision {
        Decision::Forward(forward) => {
            if log.route != "open" {
                assert!(token.is_some(), "let in unsigned: {request:?}");
                let may_pass = token.is_some_and(|(header, claims)| may_pass(&log.route, header, claims));
                assert!(may_pass, "let in by other claims: {request:?}");
                // By this credential, and by nothing else in the request.
                let mut without = request.clone();
                without.headers.remove(0);
                let decided = decide(config(), &mut host(), &without);
                assert!(matches!(decided.decision, Decision::Respond(_)), "let in without: {request:?}");
            }
            check_forward(forward);
        }
        Decision::Respond(respond) => check_respond(respond, &log.correlation_id),
    }
}

/// What a token must say, read a second time in another way.
fn may_pass(route: &str, header: &[u8], claims: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let (header, claims) = (read(header), read(claims));
    let holds = |value: &Value, wanted: &str| {
        value == wanted || value.as_array().is_some_and(|all| all.iter().any(|one| one == wanted))
    };
    let is_of = match claims["iss"].as_str() {
        Some("https://i.example") => holds(&claims["aud"], "a"),
        Some("https://c.example/p") => holds(&claims["client_id"], "a") && claims["token_use"] == "access",
        _ => false,
    };
    let now_s = TestHost::default().now_ms as f64 / 1000.0;
    let lives = claims["exp"].as_f64().is_some_and(|exp| exp + 60.0 > now_s);
    let begun = claims.get("nbf").is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf <= now_s + 61.0));
    let is_somebody = claims["sub"].as_str().is_some_and(|sub| !sub.is_empty());
    let words =
        |name: &str| claims[name].as_str().is_some_and(|text| text.split(' ').any(|word| word == "s"));
    let has_scope =
        words("scope") || words("scp") || holds(&claims["scp"], "s") || holds(&claims["scope"], "s");
    header["alg"] == "EdDSA"
        && header.get("kid").is_none_or(|kid| kid == "k")
        && ["jwk", "jku", "x5c", "x5u", "crit"].iter().all(|name| header.get(*name).is_none())
        && is_of
        && lives
        && begun
        && is_somebody
        && (route != "rest" || (holds(&claims["r"], "x") && has_scope))
}

fn check_forward(forward: &Forward) {
    let path = forward.target.split('?').next().unwrap_or_default();
    assert_eq!(crate::path::normalise(path).as_deref(), Ok(path), "what is forwarded has one spelling");
    assert_eq!(crate::path::host_of(&forward.host).as_deref(), Some(forward.host.as_str()));
    let count = |wanted: &str| {
        // As the least careful origin compares names.
        let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
        forward.headers.iter().filter(|(name, _)| plain(name) == wanted).count()
    };
    for name in ["x-correlation-id", "traceparent", "x-edge-token", "x-forwarded-for"] {
        assert_eq!(count(name), 1, "{name} is sent on");
    }
    for name in ["x-auth-g", "x-auth-n", "x-forwarded-host"] {
        assert!(count(name) <= 1, "{name} is sent on");
    }
    for name in ["x-user", "x-auth-sub", "remote-user", "connection", "transfer-encoding", "content-length"] {
        assert_eq!(count(name), 0, "{name} is sent on");
    }
    let clean = |(name, value): &(String, Vec<u8>)| {
        crate::path::is_header_name(name.as_bytes())
            && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
    };
    assert!(forward.headers.iter().all(clean), "every header can be sent");
}

fn check_respond(respond: &Respond, correlation_id: &str) {
    let value =
        |wanted: &str| respond.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    assert_eq!(value("x-correlation-id").map(String::as_str), Some(correlation_id));
    if let Some(to) = value("location") {
        assert!(to == "/" || to == "/open" || to.starts_with("https://i.example/a?"), "redirected to {to}");
    }
    let clean = |(_, value): &(String, String)| value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    assert!(respond.headers.iter().all(clean), "every header can be sent");
}
