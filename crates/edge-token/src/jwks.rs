//! The public keys of the edge as it serves them: one, or two while a key is being replaced.

use serde_json::{Value, json};

use crate::encoding::Members;
use crate::key::{Alg, Public, SigningKey, is_kid};

/// Largest set that is read, in bytes. Two keys have about 400.
const MAX_JWKS_BYTES: usize = 64 * 1024;
/// Most keys in a set: the edge publishes one or two, and a set of hundreds would cost a lookup each.
const MAX_KEYS: usize = 16;

/// A set of public keys, each with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<(String, Public)>,
}

/// Why a set of keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not JSON of the form `{"keys": [...]}`, or too long.
    #[error("not a JWK set: a JSON object with an array named keys, of at most {MAX_JWKS_BYTES} bytes")]
    Form,
    /// Two keys under one id.
    #[error("two keys of the set have the id {0:?}")]
    Twice(String),
    /// No key of the set can check an edge token.
    #[error("the set has no key for signatures with ES256 or EdDSA that has a kid")]
    NoKey,
    /// More keys than any edge publishes.
    #[error("the set has {0} usable keys and at most {MAX_KEYS} are taken")]
    TooMany(usize),
}

impl Jwks {
    /// The public halves of the keys that are in use, the current one first.
    pub fn of(keys: &[&SigningKey]) -> Result<Self, JwksError> {
        Self::checked(keys.iter().map(|key| (key.kid().to_owned(), key.public())).collect())
    }

    /// Reads a set. Keys of other kinds and uses are passed over; one broken key does not cost the others.
    pub fn parse(json: &[u8]) -> Result<Self, JwksError> {
        if json.len() > MAX_JWKS_BYTES {
            return Err(JwksError::Form);
        }
        let mut members = Members::read(json).ok_or(JwksError::Form)?;
        let Some(Value::Array(keys)) = members.0.remove("keys") else {
            return Err(JwksError::Form);
        };
        Self::checked(keys.iter().filter_map(usable).collect())
    }

    fn checked(keys: Vec<(String, Public)>) -> Result<Self, JwksError> {
        if keys.is_empty() {
            return Err(JwksError::NoKey);
        }
        if keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany(keys.len()));
        }
        for (at, (kid, _)) in keys.iter().enumerate() {
            if keys[..at].iter().any(|(other, _)| other == kid) {
                return Err(JwksError::Twice(kid.clone()));
            }
        }
        Ok(Self { keys })
    }

    /// The document that the edge serves.
    pub fn to_json(&self) -> String {
        let keys: Vec<Value> = self.keys.iter().map(|(kid, key)| key.published(kid)).collect();
        json!({ "keys": keys }).to_string()
    }

    /// The ids and algorithms of the keys, in the order of the set.
    pub fn ids(&self) -> impl Iterator<Item = (&str, Alg)> {
        self.keys.iter().map(|(kid, key)| (kid.as_str(), key.alg()))
    }

    pub(crate) fn key(&self, kid: &str) -> Option<&Public> {
        self.keys.iter().find(|(known, _)| known == kid).map(|(_, key)| key)
    }
}

fn usable(jwk: &Value) -> Option<(String, Public)> {
    let key = Public::from_jwk(jwk)?;
    let kid = jwk.get("kid")?.as_str().filter(|kid| is_kid(kid))?;
    let agrees = |name: &str, value: &str| jwk.get(name).is_none_or(|found| found == value);
    let may_verify = jwk.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    });
    (agrees("use", "sig") && agrees("alg", key.alg().name()) && may_verify).then(|| (kid.to_owned(), key))
}
