//! A provider's key set as it is published (RFC 7517).

use serde_json::Value;

use super::crypto::{Alg, PublicKey};
use crate::encoding::{from_base64url, strict_object};

/// Keys of one set that are looked at; providers publish two or three.
const MAX_KEYS: usize = 32;

/// One usable key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id; empty when it has none.
    pub kid: String,
    /// The one algorithm it is meant for, when the set says it.
    pub alg: Option<Alg>,
    /// The key.
    pub public: PublicKey,
}

/// The usable keys of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    /// In the set's order.
    pub keys: Vec<Key>,
}

impl KeySet {
    /// Reads a set. A key that is of no use here (another kind, too short, for encryption, broken) costs no other.
    /// `None` when it is no key set, or holds no usable key.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut set = strict_object(bytes)?;
        let Some(Value::Array(keys)) = set.remove("keys") else { return None };
        let keys: Vec<Key> = keys.iter().take(MAX_KEYS).filter_map(usable).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// The key of an id that makes signatures of `alg`. A token without an id is taken when one key alone fits.
    pub fn find(&self, kid: Option<&str>, alg: Alg) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| {
            kid.is_none_or(|kid| key.kid == kid)
                && key.public.fits(alg)
                && key.alg.is_none_or(|own| own == alg)
        });
        let key = fitting.next()?;
        (kid.is_some() || fitting.next().is_none()).then_some(key)
    }
}

fn usable(jwk: &Value) -> Option<Key> {
    let text = |name: &str| jwk.get(name).map_or(Some(""), Value::as_str);
    let bytes = |name: &str| jwk.get(name)?.as_str().and_then(from_base64url);
    if !matches!(text("use")?, "" | "sig") {
        return None;
    }
    if let Some(ops) = jwk.get("key_ops")
        && !ops.as_array()?.iter().any(|op| op == "verify")
    {
        return None;
    }
    let alg = match text("alg")? {
        "" => None,
        name => Some(Alg::parse(name)?),
    };
    let point = |size: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
    };
    let public = match (text("kty")?, text("crv")?) {
        ("RSA", _) => rsa(bytes("n")?, bytes("e")?)?,
        ("EC", "P-256") => PublicKey::P256(point(32)?),
        ("EC", "P-384") => PublicKey::P384(point(48)?),
        ("OKP", "Ed25519") => PublicKey::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
        _ => return None,
    };
    if alg.is_some_and(|alg| !public.fits(alg)) {
        return None;
    }
    Some(Key { kid: text("kid")?.to_owned(), alg, public })
}

/// Shorter keys than 2048 bits are no longer safe; longer ones than 4096 cost more than a request may.
fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<PublicKey> {
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    let n = n.get(zeros..)?.to_vec();
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let exponent =
        e.iter().try_fold(0_u64, |all, byte| all.checked_mul(256).map(|all| all + u64::from(*byte)))?;
    let odd = n.last().is_some_and(|byte| byte % 2 == 1);
    let good =
        odd && (2048..=4096).contains(&bits) && exponent % 2 == 1 && (3..=0xffff_ffff).contains(&exponent);
    good.then_some(PublicKey::Rsa { n, e })
}
