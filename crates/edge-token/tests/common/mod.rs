//! Keys and claims for the tests. The keys are the published examples of the RFCs, so nothing here is a secret.
#![allow(dead_code, reason = "each test binary uses its part")]

use edge_token::{Bound, Claims, Jwks, Minter, Scalar, SigningKey, Verifier};

/// RFC 7515, appendix A.3.
pub(crate) const ES256_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// RFC 8037, appendix A.1.
pub(crate) const EDDSA_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

pub(crate) const ISSUER: &str = "https://edge.example.com";
pub(crate) const AUDIENCE: &str = "orders";
pub(crate) const NOW: u64 = 1_795_000_000;
pub(crate) const PATH: &str = "/orders/7?expand=items";

pub(crate) fn keys() -> [SigningKey; 2] {
    [(ES256_JWK, "e1"), (EDDSA_JWK, "d1")]
        .map(|(jwk, kid)| SigningKey::read(jwk.as_bytes(), Some(kid)).unwrap())
}

pub(crate) fn jwks() -> Jwks {
    let [es256, eddsa] = keys();
    Jwks::of(&[&es256, &eddsa]).unwrap()
}

pub(crate) fn minters() -> [Minter; 2] {
    keys().map(Minter::new)
}

pub(crate) fn claims() -> Claims {
    Claims::for_request(ISSUER, AUDIENCE, "0192f0c4-8a4e-7cc3-98c4-dc0c0c07398f", ("GET", PATH), (NOW, 60))
        .unwrap()
        .with_subject("auth0|42", "https://login.example.com/")
        .with_claim("tier", Scalar::Text("gold".to_owned()))
        .with_claim("admin", Scalar::Bool(false))
        .with_claim("seats", Scalar::Integer(-3))
}

pub(crate) fn bound() -> Bound<'static> {
    Bound { method: "GET", path_and_query: PATH }
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new(ISSUER, AUDIENCE)
}
