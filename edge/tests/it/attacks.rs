//! Attacks of the threat list on tokens and keys, one test each, against the whole decision.

use crate::common::*;
use edge::decide;
use serde_json::{Value, json};

#[test]
fn attack_kid_injection_and_oversize() {
    let claims = claims(&host());
    let long = "k".repeat(129);
    for kid in ["", "a b", "k\n", "\u{0}", "é", long.as_str()] {
        let decided = judge(&signed(json!({"alg": "ES256", "kid": kid}), "ES256", 1, &claims));
        assert_refused(&decided, 401, "malformed");
    }
    assert_refused(&judge(&signed(json!({"alg": "ES256", "kid": 7}), "ES256", 1, &claims)), 401, "malformed");
    for kid in ["../../etc/passwd", "'OR'1'='1", "file:///dev/null"] {
        let mut host = host();
        let wanted = signed(json!({"alg": "ES256", "kid": kid}), "ES256", 1, &claims);
        assert_refused(&decide(&config(), &mut host, &bearer("/x", &wanted)), 401, "unknown_key");
        // It reaches neither a path nor a cache's key.
        assert!(host.sent.iter().all(|(_, request)| request.target == "/jwks"));
        let plain = |key: &String| key.bytes().all(|b| b.is_ascii_alphanumeric() || b":-.".contains(&b));
        assert!(host.cache.keys().all(|key| plain(key) && key.len() <= 200));
    }
}

#[test]
fn attack_kid_spray() {
    let (config, mut host) = (config(), host());
    let claims = claims(&host);
    for i in 0..500 {
        let made_up = signed(json!({"alg": "ES256", "kid": format!("made-up-{i}")}), "ES256", 66, &claims);
        let decided = decide(&config, &mut host, &bearer("/x", &made_up));
        assert!([401, 503].contains(&answered(&decided).status));
        host.now_ms += 10;
    }
    // Five seconds of it: one ordinary fetch, three forced at once, one more when the first place is free again.
    assert!(host.sent.len() <= 5, "{} requests", host.sent.len());
    forwarded(&decide(&config, &mut host, &bearer("/x", &good())));
    // One id, over and over: once in its half minute.
    host.now_ms += 60_000;
    let before = host.sent.len();
    for _ in 0..100 {
        let again = signed(json!({"alg": "ES256", "kid": "again"}), "ES256", 66, &claims);
        assert_refused(&decide(&config, &mut host, &bearer("/x", &again)), 401, "unknown_key");
        host.now_ms += 200;
    }
    assert_eq!(host.sent.len() - before, 1);
}

#[test]
fn attack_many_credentials() {
    let good = good();
    let two = with(bearer("/x", &good), "authorization", format!("Bearer {good}"));
    assert_refused(&decide(&config(), &mut host(), &two), 400, "many_credentials");
    let comma = with(request("GET", "/x"), "Authorization", format!("Bearer {good}, Bearer {good}"));
    assert_refused(&decide(&config(), &mut host(), &comma), 400, "many_credentials");
    let cookie = with(bearer("/x", &good), "cookie", "a=b; __Host-edge-session=x.y");
    assert_refused(&decide(&config(), &mut host(), &cookie), 400, "many_credentials");
    let cookies = with(request("GET", "/x"), "cookie", "__Host-edge-session=x.y; __Host-edge-session=z.w");
    assert_refused(&decide(&config(), &mut host(), &cookies), 400, "many_credentials");
    for query in ["access_token=x", "a=b&access%5Ftoken=x", "ACCESS_TOKEN=x"] {
        let decided = decide(&config(), &mut host(), &bearer(&format!("/x?{query}"), &good));
        assert_refused(&decided, 400, "many_credentials");
    }
    for value in ["Basic dXNlcjpwYXNz", "Bearer", good.as_str(), "Bearer a b"] {
        let decided = decide(&config(), &mut host(), &with(request("GET", "/x"), "Authorization", value));
        assert_eq!(answered(&decided).status, 401);
    }
}

#[test]
fn attack_oversized_token_and_headers() {
    let mut claims = claims(&host());
    claims["pad"] = json!("x".repeat(9000));
    assert_refused(&judge(&token("ES256", "ec", &claims)), 401, "token_too_large");
    let large = with(bearer("/x", &good()), "x-large", "x".repeat(70_000));
    assert_refused(&decide(&config(), &mut host(), &large), 431, "headers_too_large");
    let many = (0..300).fold(bearer("/x", &good()), |all, i| with(all, &format!("x-{i}"), "v"));
    assert_refused(&decide(&config(), &mut host(), &many), 431, "headers_too_large");
}

#[test]
fn attack_wrong_audience_or_issuer() {
    let base = claims(&host());
    let changed = |name: &str, value: Value| {
        let mut claims = base.clone();
        claims[name] = value;
        judge(&token("ES256", "ec", &claims))
    };
    for aud in [json!("other"), json!("API"), json!("api "), json!([]), json!(["other"]), json!("apiapi")] {
        assert_refused(&changed("aud", aud), 401, "wrong_audience");
    }
    forwarded(&changed("aud", json!(["other", "api"])));
    for aud in [json!(7), json!({"api": 1}), json!(["api", 7])] {
        assert_refused(&changed("aud", aud), 401, "bad_claims");
    }
    for iss in [
        json!("https://id.example.com"),
        json!("https://ID.example.com/"),
        json!("https://evil.example/"),
        json!(7),
        json!([ISS]),
    ] {
        assert_refused(&changed("iss", iss), 401, "unknown_issuer");
    }
    let mut missing = base.clone();
    missing.as_object_mut().unwrap().remove("aud");
    assert_refused(&judge(&token("ES256", "ec", &missing)), 401, "wrong_audience");
}

#[test]
fn attack_id_token_as_access_token() {
    let mut id_token = claims(&host());
    id_token["at_hash"] = json!("abc");
    assert_refused(&judge(&token("ES256", "ec", &id_token)), 401, "wrong_token_type");
    for typ in ["logout+jwt", "edge+jwt", "dpop+jwt", "secevent+jwt", "id+jwt"] {
        let header = json!({"alg": "ES256", "kid": "ec", "typ": typ});
        assert_refused(&judge(&signed(header, "ES256", 1, &claims(&host()))), 401, "wrong_token_type");
    }
    for typ in ["at+jwt", "application/at+jwt", "JWT", "AT+JWT"] {
        let header = json!({"alg": "ES256", "kid": "ec", "typ": typ});
        forwarded(&judge(&signed(header, "ES256", 1, &claims(&host()))));
    }
}

#[test]
fn attack_cognito_token_use_swap() {
    let now = host().now_ms / 1000;
    let access = json!({"iss": POOL, "client_id": "app", "token_use": "access", "sub": "u", "iat": now, "exp": now + 60});
    forwarded(&judge(&token("RS256", "rsa", &access)));
    let id = json!({"iss": POOL, "aud": "app", "token_use": "id", "sub": "u", "iat": now, "exp": now + 60});
    assert_refused(&judge(&token("RS256", "rsa", &id)), 401, "wrong_token_type");
    let mut swapped = access.clone();
    swapped["token_use"] = json!("id");
    assert_refused(&judge(&token("RS256", "rsa", &swapped)), 401, "wrong_token_type");
    let mut foreign = access;
    foreign["client_id"] = json!("other");
    assert_refused(&judge(&token("RS256", "rsa", &foreign)), 401, "wrong_audience");
}

#[test]
fn attack_expired_and_not_yet_valid() {
    let now = host().now_ms / 1000;
    let base = claims(&host());
    let times = |iat: Value, nbf: Value, exp: Value| {
        let mut claims = base.clone();
        for (name, value) in [("iat", iat), ("nbf", nbf), ("exp", exp)] {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name).map(|_| ()).unwrap_or_default(),
                value => claims[name] = value,
            }
        }
        judge(&token("ES256", "ec", &claims))
    };
    let none = Value::Null;
    assert_refused(&times(json!(now - 600), none.clone(), json!(now - 60)), 401, "expired");
    forwarded(&times(json!(now - 600), none.clone(), json!(now - 59)));
    assert_refused(&times(json!(now), json!(now + 61), json!(now + 600)), 401, "not_yet_valid");
    forwarded(&times(json!(now), json!(now + 60), json!(now + 600)));
    assert_refused(&times(json!(now + 61), none.clone(), json!(now + 600)), 401, "not_yet_valid");
    assert_refused(&times(json!(now), none.clone(), none.clone()), 401, "bad_claims");
    assert_refused(&times(json!(now), none.clone(), json!(now + 90_000)), 401, "lifetime_too_long");
    assert_refused(&times(none.clone(), none.clone(), json!(u64::MAX)), 401, "lifetime_too_long");
    for exp in [json!("never"), json!(-1), json!(1e300), json!(true), json!([now + 60])] {
        assert_refused(&times(json!(now), none.clone(), exp), 401, "bad_claims");
    }
}

#[test]
fn attack_key_set_outage_never_opens() {
    let config = config();
    for answer in [
        None,
        Some((500, "")),
        Some((200, "{}")),
        Some((200, r#"{"keys":[]}"#)),
        Some((200, "<html>")),
        Some((404, "")),
    ] {
        let mut host = host();
        host.backends.remove("idp");
        if let Some((status, body)) = answer {
            let response = edge::FetchResponse { status, max_age_s: None, body: body.into() };
            host.backends.insert("idp".into(), response);
        }
        assert_refused(&decide(&config, &mut host, &bearer("/x", &good())), 503, "no_keys");
    }
    // A set with nothing but a symmetric or a short key is none.
    let mut host = host();
    let weak = [
        json!({"kty": "oct", "kid": "ec", "k": "AAAA"}),
        json!({"kty": "RSA", "kid": "rsa", "n": b64([0xff; 128]), "e": "AQAB"}),
    ];
    host.backends.insert("idp".into(), jwks(&weak));
    assert_refused(&decide(&config, &mut host, &bearer("/x", &good())), 503, "no_keys");
}

#[test]
fn attack_doubled_names_in_a_token() {
    let now = host().now_ms / 1000;
    let payloads = [
        format!(r#"{{"iss":"{ISS}","aud":"api","sub":"a","sub":"b","exp":{}}}"#, now + 60),
        format!(r#"{{"iss":"{ISS}","aud":"api","sub":"a","x":{{"y":1,"y":2}},"exp":{}}}"#, now + 60),
    ];
    for payload in payloads {
        let message = format!("{}.{}", b64(r#"{"alg":"ES256","kid":"ec"}"#), b64(payload));
        assert_refused(
            &judge(&format!("{message}.{}", b64(sign("ES256", 1, message.as_bytes())))),
            401,
            "malformed",
        );
    }
}

#[test]
fn attack_replay_of_a_bearer_elsewhere() {
    let mut host = host();
    let decided = decide(&config(), &mut host, &bearer("/api/orders?id=7", &good()));
    let forward = forwarded(&decided);
    let minted = sent_header(forward, "x-edge-token")[0];
    // The client's own credential stays at the edge.
    assert!(sent_header(forward, "authorization").is_empty());
    let keys = decide(&config(), &mut host, &request("GET", edge::EDGE_KEYS_PATH));
    let keys = edge_token::Jwks::parse(&answered(&keys).body).unwrap();
    assert_eq!(keys.ids().count(), 2);
    let verifier = edge_token::Verifier::new("https://edge.example.com", "mesh");
    let now_s = host.now_ms / 1000;
    let bound = |method, path_and_query| edge_token::Bound { method, path_and_query };
    let claims = verifier.verify(&keys, minted, bound("GET", "/v2/orders?id=7"), now_s).unwrap();
    assert_eq!((claims.jti, claims.sub.as_str()), (decided.log.correlation_id.clone(), "user-1"));
    assert!(claims.exp - claims.iat <= 60);
    for (method, path) in [("POST", "/v2/orders?id=7"), ("GET", "/v2/orders?id=8"), ("GET", "/v2/admin")] {
        assert!(verifier.verify(&keys, minted, bound(method, path), now_s).is_err());
    }
    assert!(verifier.verify(&keys, minted, bound("GET", "/v2/orders?id=7"), now_s + 121).is_err());
}

#[test]
fn an_id_token_by_its_nonce_and_a_logout_token_by_its_events_are_no_access_tokens() {
    for (name, value) in [
        ("nonce", json!("n-0S6")),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
    ] {
        let mut other = claims(&host());
        other[name] = value;
        assert_refused(&judge(&token("ES256", "ec", &other)), 401, "wrong_token_type");
    }
}

#[test]
fn an_id_token_says_when_it_was_made() {
    let config = changed(|item| item["issuers"][0]["token"] = json!("id")).unwrap();
    let mut claims = claims(&host());
    claims.as_object_mut().unwrap().remove("iat");
    let decided = decide(&config, &mut host(), &bearer("/x", &token("ES256", "ec", &claims)));
    assert_eq!(status(&decided), 401, "OpenID Connect Core, 2: iat is required");
}

#[test]
fn an_access_token_of_entra_says_what_for() {
    let iss = "https://login.microsoftonline.com/0000/v2.0";
    let config = changed(|item| {
        item["issuers"][0]["preset"] = json!("entra");
        item["issuers"][0]["iss"] = json!(iss);
    })
    .unwrap();
    // One app registration for page and API: the id token is for the same audience.
    let mut claims = claims(&host());
    claims["iss"] = json!(iss);
    let decided = decide(&config, &mut host(), &bearer("/x", &token("ES256", "ec", &claims)));
    assert_refused(&decided, 401, "wrong_token_type");
    for (name, value) in [("scp", json!("read")), ("roles", json!(["reader"]))] {
        let mut access = claims.clone();
        access[name] = value;
        forwarded(&decide(&config, &mut host(), &bearer("/x", &token("ES256", "ec", &access))));
    }
}
