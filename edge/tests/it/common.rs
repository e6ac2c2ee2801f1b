//! An issuer with keys of every kind, a configuration that uses all of it, and requests to put to them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge::testing::TestHost;
use edge::{Config, Decided, Decision, FetchResponse, Forward, IncomingRequest, Respond, decide};
use p256::ecdsa::signature::Signer;
use rsa::signature::SignatureEncoding;
use serde_json::{Value, json};

pub(crate) const ISS: &str = "https://id.example.com/";
pub(crate) const POOL: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_pool";

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The key of RFC 7515, appendix A.2.
pub(crate) const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_D: &str = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";
const RSA_P: &str = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
const RSA_Q: &str = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";

pub(crate) fn rsa_key() -> rsa::RsaPrivateKey {
    let n = |text: &str| rsa::BoxedUint::from_be_slice_vartime(&unb64(text));
    let e = rsa::BoxedUint::from_be_slice_vartime(&[1, 0, 1]);
    rsa::RsaPrivateKey::from_components(n(RSA_N), e, n(RSA_D), vec![n(RSA_P), n(RSA_Q)]).unwrap()
}

/// Signs under a private key that is made of `seed`.
pub(crate) fn sign(alg: &str, seed: u8, message: &[u8]) -> Vec<u8> {
    use sha2::{Sha256, Sha384, Sha512};
    let pkcs1 = |bytes: Box<[u8]>| bytes.to_vec();
    match alg {
        "RS256" => pkcs1(rsa::pkcs1v15::SigningKey::<Sha256>::new(rsa_key()).sign(message).to_bytes()),
        "RS384" => pkcs1(rsa::pkcs1v15::SigningKey::<Sha384>::new(rsa_key()).sign(message).to_bytes()),
        "RS512" => pkcs1(rsa::pkcs1v15::SigningKey::<Sha512>::new(rsa_key()).sign(message).to_bytes()),
        "ES256" => {
            let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
            let signature: p256::ecdsa::Signature = key.sign(message);
            signature.to_bytes().to_vec()
        }
        "ES384" => {
            let key = p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap();
            let signature: p384::ecdsa::Signature = key.sign(message);
            signature.to_bytes().to_vec()
        }
        "EdDSA" => ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).sign(message).to_bytes().to_vec(),
        other => panic!("no key for {other}"),
    }
}

/// The public half, as a provider publishes it.
pub(crate) fn jwk(alg: &str, seed: u8, kid: &str) -> Value {
    match alg {
        "RS256" | "RS384" | "RS512" | "PS256" => {
            json!({"kty": "RSA", "kid": kid, "use": "sig", "n": RSA_N, "e": "AQAB"})
        }
        "ES256" => {
            let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
            let point = key.verifying_key().to_sec1_point(false);
            json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                   "x": b64(point.x().unwrap()), "y": b64(point.y().unwrap())})
        }
        "ES384" => {
            let key = p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap();
            let point = key.verifying_key().to_sec1_point(false);
            json!({"kty": "EC", "crv": "P-384", "kid": kid, "x": b64(point.x().unwrap()), "y": b64(point.y().unwrap())})
        }
        "EdDSA" => {
            let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
            json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(key.verifying_key().as_bytes())})
        }
        other => panic!("no key for {other}"),
    }
}

pub(crate) fn jwks(keys: &[Value]) -> FetchResponse {
    FetchResponse {
        status: 200,
        max_age_s: Some(600),
        body: json!({ "keys": keys }).to_string().into_bytes(),
    }
}

pub(crate) fn all_keys() -> FetchResponse {
    jwks(&[jwk("RS256", 0, "rsa"), jwk("ES256", 1, "ec"), jwk("ES384", 1, "ec384"), jwk("EdDSA", 1, "ed")])
}

pub(crate) fn config_json() -> Value {
    json!({
        "version": 1,
        "policy_version": "p1",
        "subject_secret": "subject",
        "redirect_hosts": ["www.example.com"],
        "issuers": [
            {"name": "idp", "iss": ISS, "jwks": {"backend": "idp", "path": "/jwks"}, "audiences": ["api"],
             "algorithms": ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]},
            {"name": "rsa-only", "iss": "https://rsa.example.com", "jwks": {"backend": "idp", "path": "/jwks"},
             "audiences": ["api"]},
            {"name": "pool", "preset": "cognito", "iss": POOL, "jwks": {"backend": "idp"}, "client_ids": ["app"]},
        ],
        "routes": [
            {"name": "health", "match": {"path": "/health"}, "auth": "public", "action": {"forward": {"backend": "origin"}}},
            {"name": "old", "match": {"path_prefix": "/old"}, "auth": "public", "action": {"redirect": {"to": "/new"}}},
            {"name": "away", "match": {"path": "/away"}, "auth": "public", "action": {"redirect": {"to": "https://www.example.com/x", "status": 308}}},
            {"name": "internal", "match": {"path_prefix": "/internal"}, "auth": "public", "action": {"deny": {}}},
            {"name": "closed", "match": {"path_prefix": "/closed"}, "auth": "public", "action": {"maintenance": {}}},
            {"name": "admin", "match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"], "claims": {"role": ["boss"]}},
             "action": {"forward": {"backend": "origin"}}},
            {"name": "app", "match": {"path_prefix": "/app"}, "login": true, "action": {"forward": {"backend": "origin"}}},
            {"name": "maybe", "match": {"path_prefix": "/maybe"}, "auth": "optional", "action": {"forward": {"backend": "origin"}}},
            {"name": "api", "match": {"path_prefix": "/api"}, "action": {"forward": {
                "backend": "origin", "by_claim": {"claim": "tenant", "backends": {"blue": "blue-origin"}},
                "rewrite": {"strip_prefix": "/api", "add_prefix": "/v2"}}}},
            {"name": "rest", "action": {"forward": {"backend": "origin"}}},
        ],
        "stamp": {
            "strip": ["X-Tenant"], "strip_prefixes": ["x-acme-"],
            "claims": [
                {"claim": "sub", "header": "x-auth-sub"},
                {"claim": "groups", "header": "x-auth-groups", "max_bytes": 64},
                {"claim": "name", "header": "x-auth-name", "encode": "base64url"},
            ],
        },
        "edge_token": {"issuer": "https://edge.example.com", "audience": "mesh",
                       "keys": [{"kid": "e1", "secret": "edge1"}, {"kid": "e2", "secret": "edge2"}], "claims": ["tenant"]},
        "login": {"issuer": "idp", "client_id": "web", "authorization_endpoint": "https://id.example.com/authorize",
                  "token_endpoint": {"backend": "idp-token", "path": "/token"},
                  "redirect_uri": "https://www.example.com/callback", "session_secret": "session"},
    })
}

pub(crate) fn config() -> Config {
    Config::parse(&config_json().to_string()).unwrap()
}

pub(crate) fn host() -> TestHost {
    let mut host = TestHost::default();
    host.backends.insert("idp".into(), all_keys());
    for (name, seed) in [("edge1", 7_u8), ("edge2", 8)] {
        let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let jwk = json!({"kty": "EC", "crv": "P-256", "d": b64([seed; 32]), "x": b64(point.x().unwrap()), "y": b64(point.y().unwrap())});
        host.secrets.insert(name.into(), jwk.to_string().into_bytes());
    }
    host.secrets.insert("session".into(), b"0123456789abcdef0123456789abcdef".to_vec());
    host.secrets.insert("subject".into(), b"a key for names, 32 bytes long..".to_vec());
    host
}

pub(crate) fn claims(host: &TestHost) -> Value {
    let now = host.now_ms / 1000;
    json!({"iss": ISS, "aud": "api", "sub": "user-1", "iat": now, "exp": now + 600, "scope": "read"})
}

/// A token whose signature holds.
pub(crate) fn token(alg: &str, kid: &str, claims: &Value) -> String {
    signed(json!({"alg": alg, "kid": kid, "typ": "JWT"}), alg, 1, claims)
}

pub(crate) fn signed(header: Value, alg: &str, seed: u8, claims: &Value) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    format!("{message}.{}", b64(sign(alg, seed, message.as_bytes())))
}

pub(crate) fn request(method: &str, target: &str) -> IncomingRequest {
    IncomingRequest {
        method: method.into(),
        scheme: "https".into(),
        authority: "www.example.com".into(),
        target: target.into(),
        protocol: "HTTP/2".into(),
        ..IncomingRequest::default()
    }
}

pub(crate) fn with(mut request: IncomingRequest, name: &str, value: impl AsRef<[u8]>) -> IncomingRequest {
    request.headers.push((name.into(), value.as_ref().to_vec()));
    request
}

pub(crate) fn bearer(target: &str, token: &str) -> IncomingRequest {
    with(request("GET", target), "Authorization", format!("Bearer {token}"))
}

/// The decision on a bearer token at `/x`, on a fresh host.
pub(crate) fn judge(token: &str) -> Decided {
    decide(&config(), &mut host(), &bearer("/x", token))
}

pub(crate) fn forwarded(decided: &Decided) -> &Forward {
    match &decided.decision {
        Decision::Forward(forward) => forward,
        Decision::Respond(respond) => panic!("answered {} for {:?}", respond.status, decided.log.verdict),
    }
}

pub(crate) fn answered(decided: &Decided) -> &Respond {
    match &decided.decision {
        Decision::Respond(respond) => respond,
        Decision::Forward(_) => panic!("let in: {:?}", decided.log.verdict),
    }
}

/// Refused with this status and reason, with the correlation id on the answer and no more told than needed.
pub(crate) fn assert_refused(decided: &Decided, status: u16, reason: &str) {
    let respond = answered(decided);
    assert_eq!((respond.status, decided.log.verdict.reason.as_str()), (status, reason));
    assert_eq!(response_header(respond, "x-correlation-id"), Some(decided.log.correlation_id.as_str()));
    assert!(!String::from_utf8_lossy(&respond.body).contains(reason) || reason.len() < 7);
}

pub(crate) fn response_header<'a>(respond: &'a Respond, name: &str) -> Option<&'a str> {
    respond.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

pub(crate) fn sent_header<'a>(forward: &'a Forward, name: &str) -> Vec<&'a str> {
    let found = forward.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| std::str::from_utf8(value).unwrap()).collect()
}

pub(crate) const DAY_MS: u64 = 86_400_000;

/// 200 for what is sent on, else the answer's status.
pub(crate) fn status(decided: &Decided) -> u16 {
    match &decided.decision {
        Decision::Forward(_) => 200,
        Decision::Respond(respond) => respond.status,
    }
}

/// The status for a token at `/x`.
pub(crate) fn ask(host: &mut TestHost, token: &str) -> u16 {
    status(&decide(&config(), host, &bearer("/x", token)))
}

/// The same with a token that is made now.
pub(crate) fn ask_anew(host: &mut TestHost) -> u16 {
    let token = token("ES256", "ec", &claims(host));
    ask(host, &token)
}

/// The item with a change.
pub(crate) fn changed(change: impl FnOnce(&mut Value)) -> Result<Config, edge::ConfigError> {
    let mut item = config_json();
    change(&mut item);
    Config::parse(&item.to_string())
}

/// A token of another Ed25519 key.
pub(crate) fn new_key(kid: &str, seed: u8, host: &TestHost) -> String {
    signed(json!({"alg": "EdDSA", "kid": kid}), "EdDSA", seed, &claims(host))
}

/// Tells all offenders at once.
pub(crate) fn none<T: std::fmt::Debug>(what: &str, found: impl Iterator<Item = T>) {
    let found: Vec<T> = found.collect();
    assert!(found.is_empty(), "{what}: {found:?}");
}

/// A token that the configuration takes.
pub(crate) fn good() -> String {
    token("ES256", "ec", &claims(&host()))
}
