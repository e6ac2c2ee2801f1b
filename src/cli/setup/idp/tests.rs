//! A provider as a table of documents: what passes, what is named, and a token tried.

use std::collections::HashMap;

use edge_token::{Claims, Minter, SigningKey};

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

fn look(issuer: &str, change: impl FnOnce(&mut Value)) -> anyhow::Result<Found> {
    let mut document = json!({"issuer": issuer, "jwks_uri": "https://keys.example.com/set?v=1",
        "id_token_signing_alg_values_supported": ["RS256", "EdDSA", "HS256"]});
    change(&mut document);
    let discovery = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let pages = HashMap::from([
        (discovery, document.to_string()),
        ("https://keys.example.com/set?v=1".to_owned(), public_keys()),
    ]);
    look_at(&arguments(issuer), |url| {
        pages.get(url).map(|page| page.clone().into_bytes()).with_context(|| format!("no {url}"))
    })
}

#[test]
fn a_good_provider_gets_a_block_that_the_edge_takes() {
    let found = look(ISSUER, |_| ()).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(
        found.block["algorithms"],
        json!(["EdDSA"]),
        "RS256 is offered, but no key is RSA; HS256 never"
    );
    assert_eq!(
        found.block["jwks"],
        json!({"backend": "idp", "host": "keys.example.com", "path": "/set?v=1"})
    );
    assert_eq!(found.block["preset"], "oidc");
}

#[test]
fn what_is_wrong_is_named() {
    let slash =
        look(ISSUER, |document| document["issuer"] = "https://login.example.com/tenant/".into()).unwrap();
    assert!(slash.problems[0].contains("to the last slash"), "{:?}", slash.problems);
    let algs = look(ISSUER, |document| document["id_token_signing_alg_values_supported"] = json!(["HS256"]))
        .unwrap();
    assert!(algs.problems.iter().any(|problem| problem.contains("algorithms")), "{:?}", algs.problems);
    let plain =
        look(ISSUER, |document| document["jwks_uri"] = "http://keys.example.com/set".into()).unwrap_err();
    assert!(plain.to_string().contains("https"), "{plain}");
    let away = look(ISSUER, |document| document["jwks_uri"] = "https://keys.example.com/other".into());
    assert!(away.is_err());
    for issuer in
        ["http://login.example.com", "login.example.com", "https://a@b.example", "https://a.example/?b"]
    {
        assert!(
            look_at(&arguments(issuer), |_| bail!("nothing may be fetched"))
                .unwrap_err()
                .to_string()
                .contains("issuer")
        );
    }
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
    let found = look(ISSUER, |_| ()).unwrap();
    let try_it = |token: &str| trial::verdict(&found.block, found.keys.clone(), token);
    let token = |audience: &str| {
        // An edge token is a JWT like any other, but for its type.
        let key = SigningKey::read(JWK.as_bytes(), None).unwrap();
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let claims = Claims::for_request(ISSUER, audience, "j", ("GET", "/"), (now_s, 60)).unwrap();
        Minter::new(key).mint(&claims).unwrap()
    };
    let mut block = found.block.clone();
    block["types"] = json!(["edge+jwt"]);
    let taken = trial::verdict(&block, found.keys.clone(), &token("shop"));
    assert!(taken.as_ref().is_ok_and(|sentence| sentence.contains("anonymous")), "{taken:?}");
    assert!(trial::verdict(&block, found.keys.clone(), &token("other")).is_err());
    assert!(try_it(&token("shop")).is_err(), "without the type being accepted");
    assert!(try_it("").unwrap_err().contains("standard input"));
    assert!(try_it("a.b.c").is_err());
}
