//! A provider as a table of documents: what passes, what is named, and a token tried.

use std::collections::HashMap;

use edge_token::{Claims, Minter, SigningKey};
use serde_json::{Value, json};

use super::look::{Found, look_at, preset};
use super::*;

/// RFC 8037, appendix A.1: published, so no secret.
const JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"k1","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const ISSUER: &str = "https://login.example.com/tenant";

fn arguments(issuer: &str) -> Arguments {
    Arguments {
        issuer: issuer.to_owned(),
        name: "main".to_owned(),
        backend: "idp".to_owned(),
        audiences: vec!["shop".to_owned()],
        client_ids: Vec::new(),
        token: false,
        ca_file: None,
    }
}

fn public_keys() -> String {
    let mut key: Value = serde_json::from_str(JWK).unwrap();
    key.as_object_mut().unwrap().remove("d");
    json!({"keys": [key]}).to_string()
}

fn look(issuer: &str, change: impl FnOnce(&mut Value)) -> Found {
    look_with(&arguments(issuer), &public_keys(), change)
}

fn look_with(arguments: &Arguments, keys: &str, change: impl FnOnce(&mut Value)) -> Found {
    let issuer = &arguments.issuer;
    let mut document = json!({"issuer": issuer, "jwks_uri": "https://keys.example.com/set?v=1",
        "id_token_signing_alg_values_supported": ["RS256", "EdDSA", "HS256"]});
    change(&mut document);
    let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let pages = HashMap::from([
        (discovery, document.to_string()),
        ("https://keys.example.com/set?v=1".to_owned(), keys.to_owned()),
    ]);
    let found = look_at(arguments, |url| {
        Ok(match pages.get(url) {
            Some(page) => Answer::Document(page.clone().into_bytes()),
            None => Answer::Unfit(format!("no {url}")),
        })
    });
    found.unwrap()
}

/// The one problem.
fn problem(found: &Found) -> &str {
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    &found.problems[0]
}

#[test]
fn a_good_provider_gets_a_block_that_the_edge_takes() {
    let found = look(ISSUER, |_| ());
    assert_eq!(found.problems, Vec::<String>::new());
    let block = found.block.unwrap();
    assert_eq!(block["algorithms"], json!(["EdDSA"]), "RS256 is offered, but no key is RSA; HS256 never");
    assert_eq!(block["jwks"], json!({"backend": "idp", "host": "keys.example.com", "path": "/set?v=1"}));
    assert_eq!(block["preset"], "oidc");
}

#[test]
fn what_is_wrong_is_named() {
    let slash = look(ISSUER, |document| document["issuer"] = format!("{ISSUER}/").into());
    assert!(
        problem(&slash)
            .ends_with("by the last slash; its tokens say https://login.example.com/tenant/: give that")
    );
    let other = look(ISSUER, |document| document["issuer"] = "https://other.example.com".into());
    assert!(problem(&other).contains("names another issuer, https://other.example.com"));
    let nobody = look(ISSUER, |document| document["issuer"] = Value::Null);
    assert!(problem(&nobody).ends_with("names no issuer"));
    let algs = look(ISSUER, |document| {
        document["id_token_signing_alg_values_supported"] = json!(["HS256", "HS512"]);
    });
    assert!(problem(&algs).starts_with("it signs with HS256, HS512 only"), "{:?}", algs.problems);
    assert!(problem(&algs).contains("could also forge"), "{:?}", algs.problems);
    let rsa = look(ISSUER, |document| document["id_token_signing_alg_values_supported"] = json!(["RS256"]));
    assert!(
        rsa.problems[0].starts_with("it says that it signs with RS256, and has no key"),
        "{:?}",
        rsa.problems
    );
    let plain = look(ISSUER, |document| document["jwks_uri"] = "http://keys.example.com/set".into());
    assert!(problem(&plain).contains("jwks_uri must be https://"), "{:?}", plain.problems);
    let none = look(ISSUER, |document| document["jwks_uri"] = Value::Null);
    assert!(problem(&none).contains("names no jwks_uri"));
    let away = look(ISSUER, |document| document["jwks_uri"] = "https://keys.example.com/other".into());
    assert_eq!(problem(&away), "no https://keys.example.com/other");
    for issuer in [
        "http://login.example.com",
        "login.example.com",
        "https://a@b.example",
        "https://a.example/?b",
        "HTTPS://a.example",
    ] {
        let found = look_at(&arguments(issuer), |_| anyhow::bail!("nothing may be fetched")).unwrap();
        assert!(problem(&found).starts_with("an issuer is an https:// URL"));
    }
}

#[test]
fn what_the_command_line_lacks_is_said_in_its_words() {
    let mut bare = arguments(ISSUER);
    bare.audiences.clear();
    assert!(problem(&look_with(&bare, &public_keys(), |_| ())).starts_with("--audience is missing"));
    let pool = arguments("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A");
    assert!(problem(&look_with(&pool, &public_keys(), |_| ())).starts_with("--client-id is missing"));
}

#[test]
fn a_key_that_leaves_its_algorithm_open_gets_the_least() {
    let rsa = chain::Key::rs256("r");
    let mut key = rsa.jwk();
    key.as_object_mut().unwrap().remove("alg");
    let keys = json!({"keys": [key]}).to_string();
    let silent = look_with(&arguments(ISSUER), &keys, |document| {
        document.as_object_mut().unwrap().remove("id_token_signing_alg_values_supported");
    });
    assert_eq!(silent.block.unwrap()["algorithms"], json!(["RS256"]));
    let told = look_with(&arguments(ISSUER), &keys, |document| {
        document["id_token_signing_alg_values_supported"] = json!(["PS256", "RS512"]);
    });
    assert_eq!(told.block.unwrap()["algorithms"], json!(["RS512", "PS256"]));
}

#[test]
fn a_port_stays_in_the_host_header() {
    let mut arguments = arguments("https://login.example.com:8443");
    arguments.audiences = vec!["a".to_owned()];
    let found = look_at(&arguments, |url| {
        Ok(Answer::Document(match url {
            "https://login.example.com:8443/.well-known/openid-configuration" => {
                json!({"issuer": arguments.issuer, "jwks_uri": "https://login.example.com:8443/k"})
                    .to_string()
                    .into()
            }
            _ => public_keys().into(),
        }))
    });
    assert_eq!(found.unwrap().block.unwrap()["jwks"]["host"], "login.example.com:8443");
}

#[test]
fn presets_follow_the_host_and_not_a_part_of_it() {
    assert_eq!(preset("shop.okta.com"), "okta");
    assert_eq!(preset("shop.eu.auth0.com"), "auth0");
    assert_eq!(preset("cognito-idp.eu-west-1.amazonaws.com"), "cognito");
    assert_eq!(preset("login.microsoftonline.com"), "entra");
    assert_eq!(preset("evilokta.com"), "oidc");
    assert_eq!(preset("okta.com.evil.example"), "oidc");
}

#[test]
fn a_token_is_tried_with_the_edges_own_verifier() {
    let found = look(ISSUER, |_| ());
    let token = |audience: &str| {
        // An edge token is a JWT like any other, but for its type.
        let key = SigningKey::read(JWK.as_bytes(), None).unwrap();
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let claims = Claims::for_request(ISSUER, audience, "j", ("GET", "/"), (now_s, 60)).unwrap();
        Minter::new(key).mint(&claims).unwrap()
    };
    let plain = found.block.unwrap();
    let mut block = plain.clone();
    block["types"] = json!(["edge+jwt"]);
    let try_it = |block: &Value, token: &str| trial::verdict(Some(block), found.keys.clone(), token);
    let taken = try_it(&block, &token("shop"));
    assert!(taken.as_ref().is_ok_and(|sentence| sentence.contains("anonymous")), "{taken:?}");
    let refused = |block: &Value, token: &str| try_it(block, token).unwrap_err();
    let other = refused(&block, &token("other"));
    assert!(
        other.starts_with("the edge refuses this token: wrong_audience; it says alg \"EdDSA\""),
        "{other}"
    );
    assert!(
        other.contains("aud \"other\"") && other.contains("exp 20") && !other.contains("anonymous"),
        "{other}"
    );
    assert!(refused(&plain, &token("shop")).contains("wrong_token_type"));
    assert!(refused(&plain, " \n").contains("standard input"));
    assert_eq!(refused(&plain, "a.b.c"), "the edge refuses this token: malformed");
    assert!(trial::verdict(None, Vec::new(), &token("x")).unwrap_err().contains("not tried"));
}
