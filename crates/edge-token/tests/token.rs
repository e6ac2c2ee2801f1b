//! Minting and checking: what is minted passes, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::*;
use edge_token::{
    Bound, Claims, ClaimsError, Fault, Jwks, JwksError, KeyError, MAX_TOKEN_BYTES, MemoryReplayCache, Minter,
    Scalar, SigningKey, VerifyError, htu,
};
use p256::pkcs8::EncodePrivateKey;
use proptest::prelude::*;
use serde_json::{Value, json};

fn check(token: &str) -> Result<Claims, VerifyError> {
    verifier().verify(&jwks(), token, bound(), NOW)
}

/// A token of this header and payload, signed rightly by the ES256 key whatever they say.
fn signed(header: &str, payload: &str) -> String {
    use p256::ecdsa::signature::Signer;
    let jwk: Value = serde_json::from_str(ES256_JWK).unwrap();
    let key = URL_SAFE_NO_PAD.decode(jwk["d"].as_str().unwrap()).unwrap();
    let key = p256::ecdsa::SigningKey::from_slice(&key).unwrap();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature: p256::ecdsa::Signature = key.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

const HEADER: &str = r#"{"alg":"ES256","kid":"e1","typ":"edge+jwt"}"#;

fn payload() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "iat": NOW, "exp": NOW + 60, "jti": "j", "htm": "GET",
        "htu": PATH})
}

fn payload_with(name: &str, value: Value) -> String {
    let mut payload = payload();
    payload[name] = value;
    payload.to_string()
}

#[test]
fn what_is_minted_passes_and_says_what_it_was_told() {
    for minter in minters() {
        let token = minter.mint(&claims()).unwrap();
        assert_eq!(check(&token), Ok(claims()));
        assert_eq!(minter.mint(&claims()).unwrap(), token, "signatures are deterministic");
    }
    assert!(check(&signed(HEADER, &payload().to_string())).is_ok(), "the helper makes good tokens");
}

#[test]
fn no_character_of_a_token_can_be_changed() {
    for minter in minters() {
        let token = minter.mint(&claims()).unwrap();
        for at in 0..token.len() {
            for other in [b'A', b'_', b'='] {
                let mut forged = token.clone().into_bytes();
                if forged[at] == other {
                    continue;
                }
                forged[at] = other;
                let forged = String::from_utf8(forged).unwrap();
                assert!(check(&forged).is_err(), "{at}: {forged}");
            }
            assert!(check(&token[..at]).is_err(), "cut at {at}");
        }
        for forged in [format!("{token}A"), format!("{token}="), format!(" {token}"), format!("{token}.")] {
            assert!(check(&forged).is_err(), "{forged}");
        }
    }
}

#[test]
fn headers_that_ask_for_anything_else_are_refused_although_the_signature_is_good() {
    use VerifyError::{Alg, Form, Header, UnknownKey};
    let rows = [
        (r#"{"alg":"none","kid":"e1","typ":"edge+jwt"}"#, Alg),
        (r#"{"alg":"None","kid":"e1","typ":"edge+jwt"}"#, Alg),
        (r#"{"alg":"HS256","kid":"e1","typ":"edge+jwt"}"#, Alg),
        (r#"{"alg":"EdDSA","kid":"e1","typ":"edge+jwt"}"#, Alg),
        (r#"{"alg":"ES256","kid":"d1","typ":"edge+jwt"}"#, Alg),
        (r#"{"alg":"ES256","kid":"e2","typ":"edge+jwt"}"#, UnknownKey),
        (r#"{"alg":"ES256","kid":"../../e1","typ":"edge+jwt"}"#, Header),
        (r#"{"kid":"e1","typ":"edge+jwt"}"#, Header),
        (r#"{"alg":"ES256","typ":"edge+jwt"}"#, Header),
        (r#"{"alg":"ES256","kid":"e1"}"#, Header),
        (r#"{"alg":"ES256","kid":"e1","typ":"JWT"}"#, Header),
        (r#"{"alg":"ES256","kid":"e1","typ":"at+jwt"}"#, Header),
        (r#"{"alg":"ES256","kid":"e1","typ":"edge+jwt","crit":["b64"],"b64":false}"#, Header),
        (r#"{"alg":"ES256","kid":"e1","typ":"edge+jwt","jku":"https://evil.example/jwks"}"#, Header),
        (r#"{"alg":"ES256","kid":"e1","typ":"edge+jwt","jwk":{"kty":"EC"}}"#, Header),
        (r#"{"alg":"ES256","kid":"e1","typ":"edge+jwt","x5c":[]}"#, Header),
        (r#"{"alg":"none","alg":"ES256","kid":"e1","typ":"edge+jwt"}"#, Form),
        (r#"["ES256","e1","edge+jwt"]"#, Form),
    ];
    for (header, expected) in rows {
        assert_eq!(check(&signed(header, &payload().to_string())), Err(expected), "{header}");
    }
}

#[test]
fn payloads_that_the_edge_would_not_write_are_refused_although_the_signature_is_good() {
    use VerifyError::{Audience, Expired, Form, Issuer, Method, NotYet, Path};
    let rows = [
        ("iss", json!("https://edge.example.com/"), Issuer),
        ("iss", json!("https://EDGE.example.com"), Issuer),
        ("aud", json!("billing"), Audience),
        ("aud", json!(["orders"]), Form),
        ("sub", json!(""), Form),
        ("sub", json!("a\nb"), Form),
        ("sub", Value::Null, Form),
        ("iat", json!(NOW + 31), NotYet),
        ("iat", json!(NOW as f64), Form),
        ("iat", json!("1795000000"), Form),
        ("exp", json!(NOW + 61), Form),
        ("exp", json!(NOW), Form),
        ("exp", json!(u64::MAX), Form),
        ("nbf", json!(0), Form),
        ("htm", json!("POST"), Method),
        ("htm", json!("get"), Method),
        ("htu", json!("/orders/7"), Path),
        ("htu", json!("/orders/7?expand=items&"), Path),
        ("groups", json!(["a"]), Form),
        ("share", json!(0.5), Form),
        ("cid", Value::Null, Form),
    ];
    for (name, value, expected) in rows {
        let mut payload = payload();
        payload[name] = value;
        if name == "iat" && expected == NotYet {
            payload["exp"] = json!(NOW + 90);
        }
        assert_eq!(check(&signed(HEADER, &payload.to_string())), Err(expected), "{payload}");
    }
    let old = json!({"iat": NOW - 90, "exp": NOW - 30});
    let mut expired = payload();
    expired["iat"] = old["iat"].clone();
    expired["exp"] = old["exp"].clone();
    assert_eq!(check(&signed(HEADER, &expired.to_string())), Err(Expired));
    let twice = payload_with("sub", json!("a")).replacen('{', r#"{"sub":"root","#, 1);
    assert_eq!(check(&signed(HEADER, &twice)), Err(Form), "a member that stands twice");
    for missing in ["iss", "aud", "sub", "iat", "exp", "jti", "htm", "htu"] {
        let mut payload = payload();
        payload.as_object_mut().unwrap().remove(missing);
        assert_eq!(check(&signed(HEADER, &payload.to_string())), Err(Form), "without {missing}");
    }
}

#[test]
fn a_token_lives_from_its_minting_to_its_end_give_or_take_the_skew() {
    let token = minters()[0].mint(&claims()).unwrap();
    let at = |skew_s: u64, now: u64| {
        verifier().with_skew_s(skew_s).verify(&jwks(), &token, bound(), now).map(|_| ())
    };
    assert_eq!(at(0, NOW), Ok(()));
    assert_eq!(at(0, NOW - 1), Err(VerifyError::NotYet));
    assert_eq!(at(0, NOW + 59), Ok(()));
    assert_eq!(at(0, NOW + 60), Err(VerifyError::Expired));
    assert_eq!(at(10, NOW - 10), Ok(()));
    assert_eq!(at(10, NOW + 69), Ok(()));
    assert_eq!(at(10, NOW + 70), Err(VerifyError::Expired));
    assert_eq!(at(u64::MAX, NOW + 119), Ok(()), "no more skew than 60 seconds can be asked for");
    assert_eq!(at(u64::MAX, NOW + 120), Err(VerifyError::Expired));
    assert_eq!(at(u64::MAX, u64::MAX), Err(VerifyError::Expired));
    assert_eq!(at(0, 0), Err(VerifyError::NotYet));
}

#[test]
fn a_token_is_for_one_method_and_one_path() {
    let token = minters()[1].mint(&claims()).unwrap();
    let with = |method, path_and_query| {
        verifier().verify(&jwks(), &token, Bound { method, path_and_query }, NOW).map(|_| ())
    };
    assert_eq!(with("GET", PATH), Ok(()));
    assert_eq!(with("DELETE", PATH), Err(VerifyError::Method));
    for path in
        ["/orders/8?expand=items", "/orders/7", "//orders/7?expand=items", "/orders/7?expand=items#", ""]
    {
        assert_eq!(with("GET", path), Err(VerifyError::Path), "{path}");
    }
}

#[test]
fn a_long_path_is_bound_by_its_hash() {
    let path = format!("/search?q={}", "a".repeat(4000));
    let mut long = claims();
    long.htu = htu(&path).unwrap();
    assert!(long.htu.len() < 64);
    let token = minters()[0].mint(&long).unwrap();
    let with = |path: &str| {
        let bound = Bound { method: "GET", path_and_query: path };
        verifier().verify(&jwks(), &token, bound, NOW).map(|_| ())
    };
    assert_eq!(with(&path), Ok(()));
    assert_eq!(with(&format!("{path}b")), Err(VerifyError::Path));
    assert_eq!(with(&long.htu), Err(VerifyError::Path), "the hash itself is no path");
    assert_eq!(htu(&"/".repeat(8193)), None);
}

#[test]
fn a_token_is_used_once_where_replays_are_remembered() {
    let cache = MemoryReplayCache::new(8);
    let token = minters()[0].mint(&claims()).unwrap();
    let once = || verifier().verify_once(&jwks(), &token, bound(), NOW, &cache).map(|_| ());
    assert_eq!(once(), Ok(()));
    assert_eq!(once(), Err(VerifyError::Replayed));
    let full = MemoryReplayCache::new(0);
    let refused = verifier().verify_once(&jwks(), &token, bound(), NOW, &full);
    assert_eq!(refused, Err(VerifyError::ReplayUnknown), "a cache that cannot tell lets nothing in");
    assert_eq!(VerifyError::ReplayUnknown.fault(), Fault::Origin);
}

#[test]
fn two_keys_serve_while_one_replaces_the_other() {
    let [old, new] = keys();
    let token = Minter::new(old.clone()).mint(&claims()).unwrap();
    let during = Jwks::of(&[&new, &old]).unwrap();
    let after = Jwks::of(&[&new]).unwrap();
    assert!(verifier().verify(&during, &token, bound(), NOW).is_ok());
    assert_eq!(verifier().verify(&after, &token, bound(), NOW), Err(VerifyError::UnknownKey));
    assert_eq!(Jwks::of(&[&old, &old]), Err(JwksError::Twice("e1".to_owned())));
}

#[test]
fn a_published_set_reads_back_and_tells_no_secret() {
    let text = jwks().to_json();
    assert_eq!(Jwks::parse(text.as_bytes()), Ok(jwks()));
    assert!(!text.contains("\"d\""), "{text}");
    assert!(!format!("{:?}", keys()).contains("jpsQ"));
}

#[test]
fn keys_that_cannot_check_an_edge_token_are_passed_over() {
    let mut set: Value = serde_json::from_str(&jwks().to_json()).unwrap();
    let good = set["keys"][0].clone();
    let changed = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let useless = [
        changed("use", json!("enc")),
        changed("alg", json!("ES384")),
        changed("crv", json!("P-384")),
        changed("kty", json!("RSA")),
        changed("kid", json!("a b")),
        changed("x", json!("AAAA")),
        changed("key_ops", json!(["sign"])),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "weak", "x": URL_SAFE_NO_PAD.encode([0; 32])}),
        json!({"kty": "oct", "k": "AAAA", "kid": "e1", "alg": "HS256"}),
        json!(7),
    ];
    set["keys"] = useless.to_vec().into();
    assert_eq!(Jwks::parse(set.to_string().as_bytes()), Err(JwksError::NoKey));
    set["keys"].as_array_mut().unwrap().push(good);
    let read = Jwks::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!(read.ids().map(|(kid, _)| kid).collect::<Vec<_>>(), ["e1"]);
    for text in ["", "[]", "{}", r#"{"keys":7}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(Jwks::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_key_is_read_from_pem_der_and_jwk() {
    let jwk: Value = serde_json::from_str(ES256_JWK).unwrap();
    let secret = URL_SAFE_NO_PAD.decode(jwk["d"].as_str().unwrap()).unwrap();
    let key = p256::SecretKey::from_slice(&secret).unwrap();
    let der = key.to_pkcs8_der().unwrap();
    let pem = key.to_pkcs8_pem(Default::default()).unwrap();
    let token = minters()[0].mint(&claims()).unwrap();
    for form in [der.as_bytes(), pem.as_bytes(), format!("\n{}\n", pem.as_str()).as_bytes()] {
        let read = SigningKey::read(form, Some("e1")).unwrap();
        assert_eq!(Minter::new(read).mint(&claims()).unwrap(), token);
    }
    // RFC 8410, section 10.3: an Ed25519 key as PKCS#8.
    let base64 = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    let read = SigningKey::read(pem.as_bytes(), None).unwrap();
    let der = SigningKey::read(&STANDARD.decode(base64).unwrap(), None).unwrap();
    assert_eq!(read.kid(), der.kid());
    assert_eq!(Jwks::of(&[&read]), Jwks::of(&[&der]));
    // RFC 8037, appendix A.3: the thumbprint of its key.
    let thumbprint = SigningKey::read(EDDSA_JWK.as_bytes(), None).unwrap();
    assert_eq!(thumbprint.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn text_that_is_no_key_is_refused_with_what_to_do() {
    let read = |text: &str| SigningKey::read(text.as_bytes(), None).unwrap_err();
    assert_eq!(read("secret"), KeyError::Form);
    assert_eq!(read(""), KeyError::Form);
    assert_eq!(read("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"), KeyError::Pem);
    assert_eq!(read(&ES256_JWK.replace("P-256", "P-384")), KeyError::Jwk);
    assert_eq!(read(&ES256_JWK.replace("f83O", "f83P")), KeyError::Jwk);
    assert_eq!(read(&EDDSA_JWK.replace("11qY", "21qY")), KeyError::Jwk);
    assert_eq!(read(r#"{"kty":"oct","k":"AAAA"}"#), KeyError::Jwk);
    assert_eq!(SigningKey::read(EDDSA_JWK.as_bytes(), Some("a\"b")).unwrap_err(), KeyError::Kid);
}

#[test]
fn claims_beyond_the_limits_are_not_minted() {
    let mint = |claims: Claims| minters()[0].mint(&claims).map(|_| ());
    assert_eq!(mint(claims().with_subject("", "i")), Err(ClaimsError::Text("sub")));
    assert_eq!(mint(claims().with_subject("a\r\nx: y", "i")), Err(ClaimsError::Text("sub")));
    assert_eq!(mint(claims().with_subject("a", &"i".repeat(1025))), Err(ClaimsError::Text("cid")));
    let with = |name: &str, text: &str| mint(claims().with_claim(name, Scalar::Text(text.to_owned())));
    assert_eq!(with("exp", "1"), Err(ClaimsError::Reserved("exp".to_owned())));
    assert_eq!(with("a", "b\0"), Err(ClaimsError::Selected("a".to_owned())));
    assert_eq!(with("a", &"b".repeat(257)), Err(ClaimsError::Selected("a".to_owned())));
    assert_eq!(with("a", ""), Ok(()));
    let mut many = claims();
    for n in 0..17 {
        many = many.with_claim(&format!("c{n}"), Scalar::Integer(n));
    }
    assert!(matches!(mint(many), Err(ClaimsError::TooMany(_))));
    let mut large = claims().with_subject(&"s".repeat(1024), &"i".repeat(1024));
    for n in 0..13 {
        large = large.with_claim(&format!("c{n}"), Scalar::Text("x".repeat(256)));
    }
    assert!(matches!(mint(large), Err(ClaimsError::TokenBytes(_))));
    let request = |path, lifetime_s| {
        Claims::for_request(ISSUER, AUDIENCE, "j", ("GET", path), (NOW, lifetime_s)).map(|_| ())
    };
    assert_eq!(request("/", 61), Err(ClaimsError::Lifetime));
    assert_eq!(request("/", 0), Err(ClaimsError::Lifetime));
    for path in ["", "orders", "/a b", "/é", "/a#b", "https://evil.example/"] {
        assert_eq!(request(path, 60), Err(ClaimsError::Path), "{path}");
    }
}

#[test]
fn a_token_longer_than_any_is_refused_before_it_is_read() {
    assert_eq!(check(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(VerifyError::TooLong));
    assert_eq!(check(""), Err(VerifyError::Missing));
    assert_eq!(check("a.b"), Err(VerifyError::Form));
    assert_eq!(check(".."), Err(VerifyError::Form));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_passes_and_none_panics(token in ".{0,400}") {
        prop_assert!(check(&token).is_err());
    }

    #[test]
    fn no_three_parts_pass(header in "[A-Za-z0-9_-]{0,80}", payload in "[A-Za-z0-9_-]{0,80}", end in "[A-Za-z0-9_-]{86}") {
        let token = format!("{header}.{payload}.{end}");
        prop_assert!(check(&token).is_err());
    }

    #[test]
    fn no_signed_payload_passes_but_a_good_one(payload in "[{\"a-z0-9:,}\\[\\]]{0,60}") {
        prop_assert!(check(&signed(HEADER, &payload)).is_err());
    }

    #[test]
    fn whatever_may_be_said_arrives(
        sub in "[^\\p{Cc}]{1,80}",
        claims in proptest::collection::btree_map("c[^\\p{Cc}]{0,20}", "[^\\p{Cc}]{0,60}", 0..8),
        path in "/[!-\"$-~]{0,1500}",
        method in "[A-Z]{1,10}",
        lifetime_s in 1_u64..=60,
        which in 0_usize..2,
    ) {
        let mut minted =
            Claims::for_request(ISSUER, AUDIENCE, "j", (&method, &path), (NOW, lifetime_s)).unwrap()
                .with_subject(&sub, "https://login.example.com/");
        for (name, text) in claims {
            minted = minted.with_claim(&name, Scalar::Text(text));
        }
        prop_assume!(!minted.selected.contains_key("cid"));
        let token = minters()[which].mint(&minted).unwrap();
        let bound = Bound { method: &method, path_and_query: &path };
        prop_assert_eq!(verifier().verify(&jwks(), &token, bound, NOW), Ok(minted));
    }

    #[test]
    fn keys_and_sets_of_any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SigningKey::read(&bytes, None).is_err());
        prop_assert!(Jwks::parse(&bytes).is_err());
    }
}
