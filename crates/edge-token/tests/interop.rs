//! Another library reads what is minted here and mints what is read here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::*;
use edge_token::TYP;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use p256::pkcs8::EncodePrivateKey;
use serde_json::{Value, json};

const ALGS: [(Algorithm, &str); 2] = [(Algorithm::ES256, "e1"), (Algorithm::EdDSA, "d1")];

#[test]
fn jsonwebtoken_takes_what_the_edge_mints() {
    let set: JwkSet = serde_json::from_str(&jwks().to_json()).unwrap();
    for ((alg, kid), minter) in ALGS.into_iter().zip(minters()) {
        let token = minter.mint(&claims()).unwrap();
        let mut validation = Validation::new(alg);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        // The tests have their own time; lifetimes are tested elsewhere.
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(set.find(kid).unwrap()).unwrap();
        let read = decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(read.header.typ.as_deref(), Some(TYP));
        assert_eq!(read.claims["htu"], PATH);
        assert_eq!(read.claims["seats"], -3);
        let mut forged = token.into_bytes();
        let last = forged.len() - 20;
        forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
        assert!(decode::<Value>(forged, &key, &validation).is_err());
    }
}

#[test]
fn the_verifier_takes_what_jsonwebtoken_signs() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let secret = |jwk: &str| -> [u8; 32] {
        let jwk: Value = serde_json::from_str(jwk).unwrap();
        URL_SAFE_NO_PAD.decode(jwk["d"].as_str().unwrap()).unwrap().try_into().unwrap()
    };
    let es256 = p256::SecretKey::from_slice(&secret(ES256_JWK)).unwrap().to_pkcs8_der().unwrap();
    let eddsa = ed25519_dalek::SigningKey::from_bytes(&secret(EDDSA_JWK)).to_pkcs8_der().unwrap();
    let keys = [EncodingKey::from_ec_der(es256.as_bytes()), EncodingKey::from_ed_der(eddsa.as_bytes())];
    let payload = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "iat": NOW, "exp": NOW + 60, "jti": "j",
        "htm": "GET", "htu": PATH, "tier": "gold"});
    for ((alg, kid), key) in ALGS.into_iter().zip(keys) {
        let mut header = Header::new(alg);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(kid.to_owned());
        let token = encode(&header, &payload, &key).unwrap();
        assert_eq!(verifier().verify(&jwks(), &token, bound(), NOW).unwrap().sub, "a");
        header.typ = Some("JWT".to_owned());
        let token = encode(&header, &payload, &key).unwrap();
        assert!(verifier().verify(&jwks(), &token, bound(), NOW).is_err());
    }
}
