//! Algorithms and keys: each key signs what it was published for, through the whole decision.

use crate::common::*;
use edge::decide;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use serde_json::json;

fn pss(salt_bytes: usize, alg: &str) -> String {
    let header = json!({"alg": alg, "kid": "rsa"}).to_string();
    let message = format!("{}.{}", b64(header), b64(claims(&host()).to_string()));
    let key = rsa::pss::SigningKey::<sha2::Sha256>::new_with_salt_len(rsa_key(), salt_bytes);
    let signature = key.try_sign_with_rng(&mut getrandom::SysRng, message.as_bytes()).unwrap();
    format!("{message}.{}", b64(signature.to_bytes()))
}

#[test]
fn a_good_token_of_every_algorithm_is_let_in() {
    for (alg, kid) in [
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("ES256", "ec"),
        ("ES384", "ec384"),
        ("EdDSA", "ed"),
    ] {
        let decided = judge(&token(alg, kid, &claims(&host())));
        forwarded(&decided);
        assert_eq!(decided.log.verdict.outcome, "allow", "{alg}");
        assert_eq!((decided.log.kid.as_str(), decided.log.issuer.as_str()), (kid, ISS));
    }
}

#[test]
fn attack_alg_none() {
    let claims = claims(&host());
    for alg in
        [json!("none"), json!("None"), json!("nOnE"), json!("NONE"), json!(""), json!(null), json!(["none"])]
    {
        let message =
            format!("{}.{}", b64(json!({"alg": alg, "kid": "ec"}).to_string()), b64(claims.to_string()));
        for signature in ["", "AAAA", &b64([0; 64])] {
            let decided = judge(&format!("{message}.{signature}"));
            assert_refused(&decided, 401, "bad_algorithm");
        }
    }
    let missing = format!("{}.{}.{}", b64(r#"{"kid":"ec"}"#), b64(claims.to_string()), b64([0; 64]));
    assert_refused(&judge(&missing), 401, "bad_algorithm");
    // Refused before any key is looked for.
    let mut host = host();
    decide(&config(), &mut host, &bearer("/x", &missing));
    assert!(host.sent.is_empty());
}

#[test]
fn attack_algorithm_confusion() {
    use hmac::{Hmac, KeyInit, Mac};
    let claims = claims(&host());
    for secret in [unb64(RSA_N), RSA_N.as_bytes().to_vec(), jwk("RS256", 0, "rsa").to_string().into_bytes()] {
        for alg in ["HS256", "HS384", "HS512"] {
            let message =
                format!("{}.{}", b64(json!({"alg": alg, "kid": "rsa"}).to_string()), b64(claims.to_string()));
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).unwrap();
            mac.update(message.as_bytes());
            assert_refused(
                &judge(&format!("{message}.{}", b64(mac.finalize().into_bytes()))),
                401,
                "bad_algorithm",
            );
        }
    }
    // A key of one kind under an algorithm of another.
    let cross = signed(json!({"alg": "ES256", "kid": "rsa"}), "ES256", 1, &claims);
    assert_refused(&judge(&cross), 401, "unknown_key");
    let cross = signed(json!({"alg": "EdDSA", "kid": "ec"}), "EdDSA", 1, &claims);
    assert_refused(&judge(&cross), 401, "unknown_key");
    // An algorithm that this issuer does not use, though the key set it shares has such a key.
    let mut other = claims;
    other["iss"] = json!("https://rsa.example.com");
    assert_refused(&judge(&token("ES256", "ec", &other)), 401, "bad_algorithm");
    forwarded(&judge(&token("RS256", "rsa", &other)));
}

#[test]
fn attack_key_in_header() {
    let claims = claims(&host());
    let own = jwk("ES256", 66, "ec");
    let headers = [
        json!({"alg": "ES256", "kid": "ec", "jwk": own}),
        json!({"alg": "ES256", "kid": "ec", "jku": "https://evil.example/jwks"}),
        json!({"alg": "ES256", "kid": "ec", "x5u": "https://evil.example/cert"}),
        json!({"alg": "ES256", "kid": "ec", "x5c": ["MIIB"]}),
        json!({"alg": "ES256", "kid": "ec", "crit": ["exp"]}),
    ];
    for header in headers {
        let mut host = host();
        let decided = decide(&config(), &mut host, &bearer("/x", &signed(header, "ES256", 66, &claims)));
        assert_refused(&decided, 401, "malformed");
        assert!(host.sent.is_empty(), "no address of a token is ever asked");
    }
    assert_refused(
        &judge(&signed(json!({"alg": "ES256", "kid": "ec"}), "ES256", 66, &claims)),
        401,
        "bad_signature",
    );
}

#[test]
fn ps256_through_the_whole_decision() {
    let decided = decide(&config(), &mut host(), &bearer("/api/x", &pss(32, "PS256")));
    let forward = forwarded(&decided);
    assert_eq!((decided.log.kid.as_str(), forward.target.as_str()), ("rsa", "/v2/x"));
    assert_eq!(sent_header(forward, "x-auth-sub"), ["user-1"]);
    assert_eq!(sent_header(forward, "x-edge-token").len(), 1);
    // The salt is as long as the hash (RFC 7518, 3.5), and one scheme's signature is not the other's.
    for salt_bytes in [0, 20, 31, 33] {
        assert_refused(&judge(&pss(salt_bytes, "PS256")), 401, "bad_signature");
    }
    for alg in ["RS256", "RS384", "RS512"] {
        assert_refused(&judge(&pss(32, alg)), 401, "bad_signature");
        let as_pss = signed(json!({"alg": "PS256", "kid": "rsa"}), alg, 0, &claims(&host()));
        assert_refused(&judge(&as_pss), 401, "bad_signature");
    }
    assert_refused(&judge(&pss(32, "PS384")), 401, "bad_algorithm");
    // An issuer that does not list it.
    let item = changed(|item| item["issuers"][0]["algorithms"] = json!(["RS256"])).unwrap();
    let decided = decide(&item, &mut host(), &bearer("/x", &pss(32, "PS256")));
    assert_refused(&decided, 401, "bad_algorithm");
}

#[test]
fn a_key_published_for_one_algorithm_signs_no_other() {
    let rsa = ["RS256", "RS384", "RS512", "PS256"];
    for own in rsa {
        for used in rsa {
            let mut host = host();
            let mut key = jwk("RS256", 0, "rsa");
            key["alg"] = json!(own);
            host.backends.insert("idp".into(), jwks(&[key]));
            let token = if used == "PS256" { pss(32, used) } else { token(used, "rsa", &claims(&host)) };
            let expected = if own == used { 200 } else { 401 };
            assert_eq!(ask(&mut host, &token), expected, "{own} key, {used} token");
        }
    }
    // A hash of another length under the same key.
    for (named, used) in [("RS256", "RS384"), ("RS384", "RS512"), ("RS512", "RS256")] {
        let cross = signed(json!({"alg": named, "kid": "rsa"}), used, 0, &claims(&host()));
        assert_refused(&judge(&cross), 401, "bad_signature");
    }
    let cross = signed(json!({"alg": "ES384", "kid": "ec"}), "ES256", 1, &claims(&host()));
    assert_refused(&judge(&cross), 401, "unknown_key");
}
