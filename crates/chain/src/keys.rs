//! Keys made for one run, and tokens signed with them, right and wrong.
#![allow(
    clippy::expect_used,
    reason = "what is made here fits what it is made for; elsewhere is no one to tell"
)]

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use getrandom::SysRng;
use p256::ecdsa::signature::Signer;
use rsa::rand_core::UnwrapErr;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Base64 for URLs, without padding.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970 by this machine's clock.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

enum Private {
    Es256(p256::ecdsa::SigningKey),
    EdDsa(ed25519_dalek::SigningKey),
    Rs256(Box<RsaPrivateKey>),
}

/// A private key with the id under which its public half is published.
pub struct Key {
    /// The key id.
    pub kid: String,
    private: Private,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.alg(), self.kid)
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A new secret of 43 characters.
pub(crate) fn secret() -> String {
    base64url(random::<32>())
}

impl Key {
    /// A new P-256 key.
    pub fn es256(kid: &str) -> Self {
        // All but 2^-32 of these numbers are keys of the curve.
        let private = Private::Es256(p256::ecdsa::SigningKey::from_slice(&random::<32>()).expect("a key"));
        Self { kid: kid.into(), private }
    }

    /// A new Ed25519 key.
    pub fn eddsa(kid: &str) -> Self {
        let private = Private::EdDsa(ed25519_dalek::SigningKey::from_bytes(&random::<32>()));
        Self { kid: kid.into(), private }
    }

    /// A new RSA key of 2048 bits, for PKCS #1 v1.5 with SHA-256.
    pub fn rs256(kid: &str) -> Self {
        let key = RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048).expect("2048 bits are enough for RSA");
        Self { kid: kid.into(), private: Private::Rs256(Box::new(key)) }
    }

    /// The algorithm it signs with, as JOSE names it.
    pub fn alg(&self) -> &'static str {
        match self.private {
            Private::Es256(_) => "ES256",
            Private::EdDsa(_) => "EdDSA",
            Private::Rs256(_) => "RS256",
        }
    }

    /// As the provider publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.private {
            Private::Es256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(point.x().expect("a point in full")),
                    "y": base64url(point.y().expect("a point in full")) })
            }
            Private::EdDsa(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(key.verifying_key().as_bytes()) })
            }
            Private::Rs256(key) => json!({ "kty": "RSA", "n": base64url(trimmed(&key.n().to_be_bytes())),
                "e": base64url(trimmed(&key.e().to_be_bytes())) }),
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.alg().into();
        jwk
    }

    /// As it lies in the edge's secret store; none for RSA, with which the edge does not sign.
    pub fn private_jwk(&self) -> Option<String> {
        let mut jwk = self.jwk();
        jwk["d"] = match &self.private {
            Private::Es256(key) => base64url(key.to_bytes()).into(),
            Private::EdDsa(key) => base64url(key.to_bytes()).into(),
            Private::Rs256(_) => return None,
        };
        Some(jwk.to_string())
    }

    /// The modulus of an RSA key, big-endian: what a forger would take for an HMAC key.
    pub fn modulus(&self) -> Option<Vec<u8>> {
        match &self.private {
            Private::Rs256(key) => Some(trimmed(&key.n().to_be_bytes()).to_vec()),
            Private::Es256(_) | Private::EdDsa(_) => None,
        }
    }

    /// The signature as JOSE wants it, of a key's own algorithm.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.private {
            Private::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Private::EdDsa(key) => Signer::sign(key, message).to_bytes().to_vec(),
            Private::Rs256(key) => key
                .sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message))
                .expect("a digest fits 2048 bits"),
        }
    }

    /// A token of these claims under the header that belongs to this key.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.alg(), "kid": self.kid, "typ": "JWT" }), claims)
    }

    /// A token under a header of one's own, signed all the same.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signature = base64url(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}
