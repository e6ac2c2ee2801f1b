//! The service as it is deployed, in Viceroy: real wasm, real HTTP, an origin and a provider on loopback.
//!
//! The native tests hold the decision to its rules case by case. These show that the platform changes nothing of it: what
//! a client sends in bytes is what is decided on, what is decided is what an origin sees, and every request leaves one
//! line. `scripts/setup-tests` builds the wasm and brings Viceroy.

mod attacks;
mod client;
mod login;
mod origin;
mod storms;
mod world;

use std::sync::Arc;

use chain::{Key, now_s};
use edge_token::{Bound, Jwks, Verifier};
use serde_json::{Value, json};

use self::client::Answer;
use self::world::{EDGE_AUDIENCE, EDGE_ISSUER, ISSUER, WORLD, World, claims};

/// Asserts status and the line's verdict.
fn expect(world: &World, answer: &Answer, status: u16, outcome: &str, reason: &str) -> Value {
    let line = world.line(answer);
    assert_eq!(answer.status, status, "{line}");
    assert_eq!(line["verdict"]["outcome"], outcome, "{line}");
    if !reason.is_empty() {
        assert_eq!(line["verdict"]["reason"], reason, "{line}");
    }
    assert_eq!(line["verdict"]["policy_version"], "tests-1", "{line}");
    line
}

/// A refused request never reaches the origin.
fn refused(world: &World, answer: &Answer, status: u16, reason: &str) {
    expect(world, answer, status, if status >= 500 { "error" } else { "deny" }, reason);
    assert!(world.origin.seen(answer.header("x-correlation-id")).is_empty(), "{reason} reached the origin");
}

#[test]
fn a_valid_token_passes_with_every_kind_of_key() {
    for key in [&*WORLD.key, &WORLD.eddsa, &WORLD.rs256] {
        let answer = WORLD.get_with("/api/orders?limit=5", &key.token(&claims(json!({}))));
        let line = expect(&WORLD, &answer, 200, "allow", "");
        assert_eq!((&line["issuer"], &line["kid"]), (&json!(ISSUER), &json!(key.kid)), "{line}");
        assert_eq!((&line["route"], &line["backend"]), (&json!("api"), &json!("origin")), "{line}");
        assert_eq!(line["path"], "/api/orders", "{line}");
        assert_eq!(line["subject"].as_str().unwrap().len(), 32, "{line}");
        for timing in
            ["verify_us", "upstream_start_us", "upstream_first_byte_us", "first_byte_us", "duration_us"]
        {
            assert!(line["timings"][timing].is_u64(), "{timing} in {line}");
        }
        assert!(answer.body.contains("hello ada"), "{answer:?}");
    }
}

#[test]
fn the_origin_sees_ids_identity_and_a_token_that_is_bound_to_the_request() {
    let token = WORLD.key.token(&claims(json!({ "groups": ["a b", "c"] })));
    let answer = WORLD.get_with("/api/orders?limit=5", &token);
    let line = WORLD.line(&answer);
    let id = answer.header("x-correlation-id");
    let seen = WORLD.origin.seen(id);
    assert_eq!(seen.len(), 1);
    let seen = &seen[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/api/orders?limit=5"));
    assert_eq!(seen.values("traceparent"), [line["traceparent"].as_str().unwrap()]);
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-user"), ["ada"]);
    assert_eq!(seen.values("x-groups"), ["a%20b,c"]);
    assert!(seen.values("authorization").is_empty());

    let published = WORLD.get("/.well-known/edge-jwks.json", &[]);
    expect(&WORLD, &published, 200, "allow", "public");
    let json = &published.body[published.body.find('{').unwrap()..=published.body.rfind('}').unwrap()];
    let jwks = Jwks::parse(json.as_bytes()).unwrap();
    assert_eq!(jwks.ids().count(), 2, "two keys during a rotation: {json}");
    assert!(!json.contains(r#""d""#), "no private half is published");

    let verifier = Verifier::new(EDGE_ISSUER, EDGE_AUDIENCE);
    let minted = seen.values("x-edge-token");
    assert_eq!(minted.len(), 1);
    let bound = |method, path_and_query| Bound { method, path_and_query };
    let vouched = verifier.verify(&jwks, minted[0], bound("GET", &seen.target), now_s()).unwrap();
    assert!(format!("{vouched:?}").contains(id), "jti is the correlation id: {vouched:?}");
    for other in [bound("POST", "/api/orders?limit=5"), bound("GET", "/api/orders"), bound("GET", "/admin")] {
        assert!(verifier.verify(&jwks, minted[0], other, now_s()).is_err());
    }
    assert!(verifier.verify(&jwks, minted[0], bound("GET", &seen.target), now_s() + 121).is_err());
}

#[test]
fn ids_are_minted_and_returned_on_every_answer() {
    let cases = [
        ("/public/page", 200, "allow", ""),
        ("/closed", 403, "deny", "denied_by_route"),
        ("/away", 503, "deny", "maintenance"),
        ("/old", 302, "redirect", "redirected_by_route"),
        ("/nowhere", 404, "deny", "no_route"),
        ("/api/orders", 401, "deny", "no_credential"),
        ("/dead", 502, "allow", ""),
    ];
    for (target, status, outcome, reason) in cases {
        let answer = WORLD.get(target, &[("x-correlation-id", "chosen-by-the-client")]);
        let line = expect(&WORLD, &answer, status, outcome, reason);
        let id = answer.header("x-correlation-id");
        assert_eq!((id.len(), &id[14..15]), (36, "7"), "{target}: a UUID of version 7, not {id}");
        assert_eq!(line["traceparent"].as_str().unwrap().len(), 55, "{line}");
    }
}

#[test]
fn bodies_and_methods_pass() {
    let answer = client::send(
        WORLD.edge(),
        b"POST /public/form HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
    );
    let line = expect(&WORLD, &answer, 200, "allow", "");
    assert_eq!(line["method"], "POST");
    let seen = WORLD.origin.seen(answer.header("x-correlation-id"));
    assert_eq!(seen[0].values("content-length"), ["5"]);

    let head = WORLD.request("HEAD", "/closed", &[]);
    expect(&WORLD, &head, 403, "deny", "denied_by_route");
    assert_eq!(head.body, "");
}

#[test]
fn scopes_are_asked_for_where_the_route_does() {
    let reader = WORLD.get_with("/admin/users", &WORLD.key.token(&claims(json!({}))));
    refused(&WORLD, &reader, 403, "missing_scope");
    let admin = WORLD.get_with("/admin/users", &WORLD.key.token(&claims(json!({ "scope": "read admin" }))));
    expect(&WORLD, &admin, 200, "allow", "");
}

#[test]
fn expired_early_and_forged_tokens_are_refused() {
    let now = now_s();
    let bad = |changes: Value| WORLD.key.token(&claims(changes));
    let cases = [
        (bad(json!({ "exp": now - 61, "iat": now - 400 })), "expired"),
        (bad(json!({ "nbf": now + 90 })), "not_yet_valid"),
        (bad(json!({ "iat": now + 90 })), "not_yet_valid"),
        (bad(json!({ "exp": null })), "bad_claims"),
        (Key::es256("idp-1").token(&claims(json!({}))), "bad_signature"),
    ];
    for (token, reason) in cases {
        refused(&WORLD, &WORLD.get_with("/api/orders", &token), 401, reason);
    }
    // Clocks may differ by a minute.
    for changes in [json!({ "exp": now - 30, "iat": now - 300 }), json!({ "nbf": now + 30 })] {
        expect(&WORLD, &WORLD.get_with("/api/orders", &bad(changes)), 200, "allow", "");
    }
}

#[test]
fn a_rotation_of_the_providers_keys_refuses_nobody() {
    let world = World::start();
    let old = world.key.token(&claims(json!({})));
    expect(&world, &world.get_with("/api/orders", &old), 200, "allow", "");
    assert_eq!(world.provider.asked(), 1, "the key set is cached");

    let next = Arc::new(Key::es256("idp-next"));
    world.provider.rotate(Arc::clone(&next), &[&world.key]);
    for _ in 0..5 {
        let new = next.token(&claims(json!({})));
        expect(&world, &world.get_with("/api/orders", &new), 200, "allow", "");
        expect(&world, &world.get_with("/api/orders", &old), 200, "allow", "");
    }
    assert_eq!(world.provider.asked(), 2, "one refresh brought the new key");
}

#[test]
fn a_provider_that_is_out_refuses_nobody_whose_key_is_known() {
    let world = World::start();
    world.provider.set_out(true);
    let token = || world.key.token(&claims(json!({})));
    // Nothing was ever fetched: nobody gets in, and nobody waits for long.
    refused(&world, &world.get_with("/api/orders", &token()), 503, "no_keys");
    world.provider.set_out(false);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while world.get_with("/api/orders", &token()).status != 200 {
        assert!(std::time::Instant::now() < deadline, "the edge never asked again");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    world.provider.set_out(true);
    for _ in 0..5 {
        expect(&world, &world.get_with("/api/orders", &token()), 200, "allow", "");
    }
    // A key that cannot be looked up is no reason to let anyone in.
    let stranger = Key::es256("unheard-of").token(&claims(json!({})));
    let answer = world.get_with("/api/orders", &stranger);
    assert!([401, 503].contains(&answer.status), "{answer:?}");
    assert!(world.origin.seen(answer.header("x-correlation-id")).is_empty());
}
