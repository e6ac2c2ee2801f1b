//! The private key of the edge: read from PKCS#8 or a JWK, and what may be told of it.

use std::fmt;

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey as EdKey, VerifyingKey as EdPublic};
use p256::ecdsa::{Signature as EcSignature, SigningKey as EcKey, VerifyingKey as EcPublic};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::encoding::{Members, base64url, unbase64url_of};

/// A PKCS#8 key is about 250 bytes, a JWK about 300; whatever is longer is no key of these kinds.
const MAX_KEY_BYTES: usize = 8 * 1024;
/// Longest key id, in bytes; a thumbprint has 43.
pub(crate) const MAX_KID_BYTES: usize = 64;

/// How a token is signed. Bound to the key: a key never signs or checks another algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alg {
    /// ECDSA on P-256 with SHA-256, nonces by RFC 6979.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Alg {
    /// The name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Why text is no private key to sign with. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM, nor DER, nor a JWK.
    #[error("not a private key: give PKCS#8 (BEGIN PRIVATE KEY) or a JWK with d, for P-256 or Ed25519")]
    Form,
    /// A PEM of another kind.
    #[error(
        "this PEM is not PKCS#8 of a P-256 or Ed25519 key; openssl pkcs8 -topk8 -nocrypt converts an EC key"
    )]
    Pem,
    /// The key id cannot stand in a header.
    #[error("a key id is 1 to {MAX_KID_BYTES} letters, digits and .-_~")]
    Kid,
    /// The JWK is for another curve or use, or its public half is not that of its private half.
    #[error(
        "the JWK must have kty EC with crv P-256 or kty OKP with crv Ed25519, d, and a matching public half"
    )]
    Jwk,
}

/// A private key with its id.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    private: Private,
}

#[derive(Clone)]
enum Private {
    Es256(Box<EcKey>),
    EdDsa(Box<EdKey>),
}

/// The half that everyone may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Public {
    Es256(Box<EcPublic>),
    EdDsa(Box<EdPublic>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("alg", &self.alg()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key as it lies in a secret store: PKCS#8 as PEM or DER, or a JWK. Without a `kid` given or in the JWK, the
    /// key's id is its thumbprint (RFC 7638).
    pub fn read(secret: &[u8], kid: Option<&str>) -> Result<Self, KeyError> {
        if secret.len() > MAX_KEY_BYTES {
            return Err(KeyError::Form);
        }
        let text = std::str::from_utf8(secret).map(str::trim);
        let (private, own_kid) = match text {
            Ok(text) if text.starts_with('{') => read_jwk(text).ok_or(KeyError::Jwk)?,
            Ok(text) if text.starts_with("-----BEGIN") => (read_pem(text).ok_or(KeyError::Pem)?, None),
            _ => (read_der(secret).ok_or(KeyError::Form)?, None),
        };
        let kid = match kid.map(str::to_owned).or(own_kid) {
            Some(kid) => kid,
            None => private.public().thumbprint(),
        };
        if !is_kid(&kid) {
            return Err(KeyError::Kid);
        }
        Ok(Self { kid, private })
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// How this key signs.
    pub fn alg(&self) -> Alg {
        match self.private {
            Private::Es256(_) => Alg::Es256,
            Private::EdDsa(_) => Alg::EdDsa,
        }
    }

    pub(crate) fn public(&self) -> Public {
        self.private.public()
    }

    /// 64 bytes for either algorithm. `None` if the signature cannot be formed, which for ECDSA is a chance of 2^-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        match &self.private {
            Private::Es256(key) => {
                let signature: EcSignature = key.try_sign(message).ok()?;
                Some(signature.to_bytes().into())
            }
            Private::EdDsa(key) => Some(key.try_sign(message).ok()?.to_bytes()),
        }
    }
}

impl Private {
    fn public(&self) -> Public {
        match self {
            Self::Es256(key) => Public::Es256(Box::new(*key.verifying_key())),
            Self::EdDsa(key) => Public::EdDsa(Box::new(key.verifying_key())),
        }
    }
}

impl Public {
    pub(crate) fn alg(&self) -> Alg {
        match self {
            Self::Es256(_) => Alg::Es256,
            Self::EdDsa(_) => Alg::EdDsa,
        }
    }

    /// Whether the signature is this key's. Ed25519 strictly: no key or point of small order.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        use p256::ecdsa::signature::Verifier as _;
        match self {
            Self::Es256(key) => EcSignature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::EdDsa(key) => key.verify_strict(message, &signature.into()).is_ok(),
        }
    }

    /// The members that make the key what it is, by name.
    fn jwk(&self) -> Value {
        match self {
            Self::Es256(key) => {
                let point = key.to_sec1_point(false);
                let [x, y] = [point.x(), point.y()].map(|half| half.map(base64url).unwrap_or_default());
                json!({"crv": "P-256", "kty": "EC", "x": x, "y": y})
            }
            Self::EdDsa(key) => json!({"crv": "Ed25519", "kty": "OKP", "x": base64url(key.as_bytes())}),
        }
    }

    /// The key as it is published.
    pub(crate) fn published(&self, kid: &str) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = kid.into();
        jwk["alg"] = self.alg().name().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// RFC 7638: the hash of the members in the order of their names, which is the order in which they are written.
    fn thumbprint(&self) -> String {
        base64url(Sha256::digest(self.jwk().to_string()))
    }

    /// Reads the public half of a JWK. `None` for other kinds of key and for points that are on no curve.
    pub(crate) fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name)?.as_str();
        match (text("kty")?, text("crv")?) {
            ("EC", "P-256") => {
                let mut point = vec![4];
                point.extend(unbase64url_of::<32>(text("x")?)?);
                point.extend(unbase64url_of::<32>(text("y")?)?);
                Some(Self::Es256(Box::new(EcPublic::from_sec1_bytes(&point).ok()?)))
            }
            ("OKP", "Ed25519") => {
                let key = EdPublic::from_bytes(&unbase64url_of(text("x")?)?).ok()?;
                (!key.is_weak()).then(|| Self::EdDsa(Box::new(key)))
            }
            _ => None,
        }
    }
}

/// Whether this may be a key id. The unreserved characters of a URL, and few of them: it is looked up, logged and put into
/// JSON.
pub fn is_kid(text: &str) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~".contains(byte);
    (1..=MAX_KID_BYTES).contains(&text.len()) && text.as_bytes().iter().all(allowed)
}

fn read_pem(text: &str) -> Option<Private> {
    let ec = EcKey::from_pkcs8_pem(text).ok().map(|key| Private::Es256(Box::new(key)));
    ec.or_else(|| EdKey::from_pkcs8_pem(text).ok().map(|key| Private::EdDsa(Box::new(key))))
}

fn read_der(bytes: &[u8]) -> Option<Private> {
    let ec = EcKey::from_pkcs8_der(bytes).ok().map(|key| Private::Es256(Box::new(key)));
    ec.or_else(|| EdKey::from_pkcs8_der(bytes).ok().map(|key| Private::EdDsa(Box::new(key))))
}

fn read_jwk(text: &str) -> Option<(Private, Option<String>)> {
    let mut members = Members::read(text.as_bytes())?;
    let secret = unbase64url_of::<32>(&members.text("d")?)?;
    let kid = if members.0.contains_key("kid") { Some(members.text("kid")?) } else { None };
    let public = Value::Object(members.0.into_iter().collect());
    let private = match public.get("kty")?.as_str()? {
        "EC" => Private::Es256(Box::new(EcKey::from_slice(&secret).ok()?)),
        _ => Private::EdDsa(Box::new(EdKey::from_bytes(&secret))),
    };
    let derived = private.public();
    let named_alg = public.get("alg").is_none_or(|alg| alg == derived.alg().name());
    // As text: reading a point from it costs a request more than all else here.
    let is_same = derived.jwk().as_object()?.iter().all(|(name, value)| public.get(name) == Some(value));
    (named_alg && is_same).then_some((private, kid))
}
