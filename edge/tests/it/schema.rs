//! The published JSON Schema of the configuration item is the one of the parser, and the example is taken by both.

use crate::common::*;
use serde_json::{Value, json};

#[test]
fn the_published_schema_is_the_parsers() {
    let schema = schemars::schema_for!(edge::Config);
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/edge-config.schema.json");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(published == text, "schemas/edge-config.schema.json is out of date; UPDATE_SCHEMAS=1 writes it");
}

#[test]
fn errors_name_their_place() {
    let cases = [
        (
            r#"{"version":1,"policy_version":"p","routes":[{"name":"a","action":{"forward":{"backend":"o"}},"typo":1}]}"#,
            "routes[0].typo",
        ),
        (r#"{"version":2,"policy_version":"p","routes":[]}"#, "version"),
        (r#"{"version":1,"policy_version":"p","routes":[]}"#, "routes"),
        (
            r#"{"version":1,"policy_version":"p","routes":[{"name":"a","action":{"forward":{"backend":"o"}}}]}"#,
            "routes[0].auth",
        ),
        (
            r#"{"version":1,"policy_version":"p","routes":[{"name":"a","match":{"path_prefix":"/a//b"},"auth":"public","action":{"deny":{}}}]}"#,
            "routes[0].match.path_prefix",
        ),
        (
            r#"{"version":1,"policy_version":"p","issuers":[{"name":"o","preset":"okta","iss":"https://x.okta.com","audiences":["a"],"jwks":{"backend":"b"}}],"routes":[]}"#,
            "issuers[0].iss",
        ),
        (
            r#"{"version":1,"policy_version":"p","issuers":[{"name":"o","iss":"https://x.example","algorithms":["HS256"],"jwks":{"backend":"b"}}],"routes":[]}"#,
            "issuers[0].algorithms[0]",
        ),
        (
            r#"{"version":1,"policy_version":"p","issuers":[{"name":"o","iss":"https://x.example","audiences":["a"],"jwks":{"backend":"b"}}],"routes":[]}"#,
            "issuers[0].jwks.path",
        ),
    ];
    for (text, at) in cases {
        let error = edge::Config::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{error}");
    }
    let long = format!("{}{}", cases[1].0, " ".repeat(8000));
    assert_eq!(edge::Config::parse(&long).unwrap_err().at, "the item");
}

#[test]
fn presets_know_where_keys_are() {
    let path = |preset: &str, iss: &str| {
        let item = serde_json::json!({"version": 1, "policy_version": "p",
            "issuers": [{"name": "i", "preset": preset, "iss": iss, "audiences": ["a"], "client_ids": ["a"], "jwks": {"backend": "b"}}],
            "routes": [{"name": "r", "action": {"forward": {"backend": "o"}}}]});
        let config = edge::Config::parse(&item.to_string()).unwrap();
        let issuer = &config.issuers[0];
        (issuer.jwks_host().to_owned(), issuer.jwks_path().unwrap())
    };
    let is = |host: &str, path: &str| (host.to_owned(), path.to_owned());
    assert_eq!(
        path("okta", "https://x.okta.com/oauth2/default"),
        is("x.okta.com", "/oauth2/default/v1/keys")
    );
    assert_eq!(path("auth0", "https://x.eu.auth0.com/"), is("x.eu.auth0.com", "/.well-known/jwks.json"));
    let tenant = "https://login.microsoftonline.com/0000/v2.0";
    assert_eq!(path("entra", tenant), is("login.microsoftonline.com", "/0000/discovery/v2.0/keys"));
    let pool = "https://cognito-idp.eu-central-1.amazonaws.com/pool";
    assert_eq!(
        path("cognito", pool),
        is("cognito-idp.eu-central-1.amazonaws.com", "/pool/.well-known/jwks.json")
    );
    assert_eq!(path("google", "https://accounts.google.com"), is("www.googleapis.com", "/oauth2/v3/certs"));
}

#[test]
fn settings_that_are_weak_or_of_no_use_are_refused() {
    let cases = [
        ("issuers[0].audiences", "/issuers/0/audiences", json!(["api", ""])),
        ("issuers[2].client_ids", "/issuers/2/client_ids", json!([""])),
        ("issuers[0].jwks.path", "/issuers/0/jwks/path", json!("//evil.example/jwks")),
        // Rules that never match, or not what their author means.
        ("routes[3].match", "/routes/3/match", json!({"methods": ["delete"]})),
        ("routes[3].match", "/routes/3/match", json!({"path_prefix": "/internal/"})),
        ("routes[3].match", "/routes/3/match", json!({"hosts": ["-"]})),
        // A separator that also stands in escapes makes one member look like two.
        ("stamp.claims[1].separator", "/stamp/claims/1/separator", json!("2")),
        // Each of these mints no token, so that every request would be answered 503.
        ("edge_token.claims", "/edge_token/claims", json!(["sub"])),
        ("edge_token.claims", "/edge_token/claims", (0..17).map(|i| format!("c{i}")).collect()),
        ("edge_token.keys", "/edge_token/keys/0/kid", json!("a/b")),
        // Origins do not agree on what a + in a path is.
        ("routes[3].match", "/routes/3/match", json!({"path_prefix": "/a+b"})),
        ("routes[3].match", "/routes/3/match", json!({"path": "/a%2Bb"})),
        ("routes[3].match", "/routes/3/match", json!({"path": "/a%3Ab"})),
        ("issuers[0].jwks.host", "/issuers/0/jwks/host", json!("evil/..")),
        ("issuers[0].max_stale_s", "/issuers/0/max_stale_s", json!(604_801)),
        ("login.token_endpoint.path", "/login/token_endpoint/path", json!("//token")),
        ("login.token_endpoint.host", "/login/token_endpoint/host", json!("a b")),
        (
            "login.authorization_endpoint",
            "/login/authorization_endpoint",
            json!("https://id.example.com/a#b"),
        ),
        ("login.session_secret_previous", "/login/session_secret_previous", json!("session")),
        ("stamp.sampled_percent", "/stamp/sampled_percent", json!(101)),
    ];
    let taken = |(at, place, value): &(&str, &str, Value)| {
        let (parent, name) = place.rsplit_once('/').unwrap();
        !changed(|item| item.pointer_mut(parent).unwrap()[name] = value.clone())
            .is_err_and(|error| error.at.starts_with(at))
    };
    none("taken", cases.into_iter().filter(taken));
}
