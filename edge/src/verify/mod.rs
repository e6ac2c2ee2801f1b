//! Who signed a token and whether it is good here and now.
//!
//! Nothing in a token chooses what checks it: the issuer block is found by the exact `iss`, the algorithm must be in
//! its list, the key comes from its key set and must fit the algorithm.

mod claims;
mod crypto;
mod entry;
mod jwks;
mod keys;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use crypto::{Alg, PublicKey};
pub use keys::{Key, KeySet};

use crate::config::{Config, Issuer, TokenKind};
use crate::encoding::{from_base64url, sha256_hex, strict_object};
use crate::host::Host;
use entry::Entry;
use jwks::Refreshed;

/// Longest token that is looked at. Browsers and gateways stop at 8 KiB for all headers.
pub const MAX_TOKEN_BYTES: usize = 8192;
/// Longest key id.
const MAX_KID_BYTES: usize = 128;
/// Longest time for which a verdict is remembered.
const VERDICT_S: u64 = 60;
/// Header members that would let a token bring its own key or its own reading.
const FORBIDDEN: [&str; 8] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"];

/// Why a credential is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No credential came.
    Missing,
    /// More than one credential, or one in a place where none may be.
    ManyCredentials,
    /// Longer than [`MAX_TOKEN_BYTES`].
    TooLarge,
    /// No token: parts, base64url, JSON, doubled names, or members that are forbidden.
    Malformed,
    /// An algorithm that the issuer's block does not list, `none` among them.
    BadAlgorithm,
    /// An issuer that is not listed, or not for this route.
    UnknownIssuer,
    /// A key that the issuer does not publish.
    UnknownKey,
    /// The signature does not hold.
    BadSignature,
    /// Another kind of token than asked for.
    WrongType,
    /// For somebody else.
    WrongAudience,
    /// Past its time.
    Expired,
    /// Before its time, or made in the future.
    NotYetValid,
    /// A longer life than the issuer may give.
    TooLong,
    /// A claim is missing or of the wrong kind.
    BadClaims,
    /// A claim that the route asks for is not there.
    MissingClaim,
    /// A scope that the route asks for is not there.
    MissingScope,
    /// A session's request that another host's page made.
    CrossSite,
    /// The issuer's keys cannot be had: nobody is let in.
    NoKeys,
    /// The key is unknown, and the provider was asked for another just now.
    KeysUnsettled,
}

impl Refusal {
    /// One word for the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "no_credential",
            Self::ManyCredentials => "many_credentials",
            Self::TooLarge => "token_too_large",
            Self::Malformed => "malformed",
            Self::BadAlgorithm => "bad_algorithm",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongType => "wrong_token_type",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::TooLong => "lifetime_too_long",
            Self::BadClaims => "bad_claims",
            Self::MissingClaim => "missing_claim",
            Self::MissingScope => "missing_scope",
            Self::CrossSite => "cross_site",
            Self::NoKeys => "no_keys",
            Self::KeysUnsettled => "keys_unsettled",
        }
    }

    /// Status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::ManyCredentials => 400,
            Self::MissingClaim | Self::MissingScope | Self::CrossSite => 403,
            Self::NoKeys | Self::KeysUnsettled => 503,
            _ => 401,
        }
    }
}

/// Who a request is from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the issuer's block.
    pub issuer: String,
    /// The key that signed; empty when it has no id.
    pub kid: String,
    /// All claims.
    pub claims: Map<String, Value>,
    /// When the credential ends, in seconds since 1970.
    pub exp: u64,
}

impl Identity {
    /// The subject.
    pub fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A token taken apart, nothing of it believed.
struct Parts<'a> {
    signed: &'a [u8],
    signature: &'a str,
    alg: Alg,
    kid: Option<String>,
    typ: Option<String>,
    claims: Map<String, Value>,
}

fn take_apart(token: &str) -> Result<Parts<'_>, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::TooLarge);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
    let object =
        |part: &str| from_base64url(part).and_then(|bytes| strict_object(&bytes)).ok_or(Refusal::Malformed);
    let header = object(header)?;
    let alg = header.get("alg").and_then(Value::as_str).and_then(Alg::parse).ok_or(Refusal::BadAlgorithm)?;
    if FORBIDDEN.iter().any(|name| header.contains_key(*name)) || signature.is_empty() {
        return Err(Refusal::Malformed);
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Malformed),
    };
    let kid = text("kid")?;
    if kid.as_ref().is_some_and(|kid| {
        kid.is_empty() || kid.len() > MAX_KID_BYTES || !kid.bytes().all(|byte| byte.is_ascii_graphic())
    }) {
        return Err(Refusal::Malformed);
    }
    Ok(Parts { signed: signed.as_bytes(), signature, alg, kid, typ: text("typ")?, claims: object(payload)? })
}

/// A refusal, and who had signed what is refused: known once the signature held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// Name of the issuer's block, and the key.
    pub(crate) signer: Option<(String, String)>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, signer: None }
    }
}

/// Checks a bearer token against the issuers whose names are in `allowed` (all when that is empty).
pub fn verify(
    config: &Config,
    host: &mut impl Host,
    allowed: &[String],
    token: &str,
) -> Result<Identity, Refusal> {
    verify_bearer(config, host, allowed, token).map_err(|refused| refused.refusal)
}

/// As [`verify`], and says whose signature held.
pub(crate) fn verify_bearer(
    config: &Config,
    host: &mut impl Host,
    allowed: &[String],
    token: &str,
) -> Result<Identity, Refused> {
    let parts = take_apart(token)?;
    let iss = parts.claims.get("iss").and_then(Value::as_str).ok_or(Refusal::UnknownIssuer)?;
    let issuer = config
        .issuers
        .iter()
        .find(|issuer| issuer.iss == iss && (allowed.is_empty() || allowed.contains(&issuer.name)))
        .ok_or(Refusal::UnknownIssuer)?;
    let keys = settled_keys(issuer, host, &parts)?;
    let name = verdict_key(config, &keys, token);
    let now_s = host.now_unix_ms() / 1000;
    if let Some(identity) = remembered(host, &name, issuer, now_s) {
        return Ok(identity);
    }
    let (kid, keys) = signer(issuer, host, keys, &parts)?;
    let identity = check(issuer, issuer.token_kind(), None, kid, parts, now_s)?;
    // Never past exp; within the skew after it a token is checked anew each time.
    let ttl_s = identity.exp.saturating_sub(now_s).min(VERDICT_S);
    if ttl_s > 0
        && let Ok(bytes) = serde_json::to_vec(&identity)
    {
        let until = now_s.saturating_add(ttl_s).to_le_bytes();
        let name = verdict_key(config, &keys, token);
        host.cache_put(&name, &[&until[..], &bytes].concat(), u32::try_from(ttl_s).unwrap_or(0));
    }
    Ok(identity)
}

/// Checks the id token of a login, which is for `audience` (our client id) and must carry the `nonce`.
pub(crate) fn verify_id_token(
    issuer: &Issuer,
    host: &mut impl Host,
    audience: &str,
    nonce: &str,
    token: &str,
) -> Result<Identity, Refused> {
    let parts = take_apart(token)?;
    let keys = settled_keys(issuer, host, &parts)?;
    let now_s = host.now_unix_ms() / 1000;
    let (kid, _) = signer(issuer, host, keys, &parts)?;
    let identity = check(issuer, TokenKind::Id, Some(audience), kid, parts, now_s)?;
    if identity.claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
        let signer = Some((identity.issuer, identity.kid));
        return Err(Refused { refusal: Refusal::BadClaims, signer });
    }
    Ok(identity)
}

/// Whether the issuer still publishes a key; an id that is not known here is asked for.
pub(crate) fn is_published(issuer: &Issuer, host: &mut impl Host, kid: &str) -> Result<bool, Refusal> {
    match keys_with(issuer, host, kid) {
        Ok(_) => Ok(true),
        Err(Refusal::UnknownKey) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

fn keys_with(issuer: &Issuer, host: &mut impl Host, kid: &str) -> Result<Entry, Refusal> {
    let keys = jwks::load(issuer, host).ok_or(Refusal::NoKeys)?;
    if keys.has(kid) {
        return Ok(keys);
    }
    match jwks::refresh(issuer, kid, &keys, host) {
        Refreshed::Changed(keys) => Ok(keys),
        Refreshed::Unknown => Err(Refusal::UnknownKey),
        Refreshed::NotYet => Err(Refusal::KeysUnsettled),
    }
}

/// The issuer's keys, with the token's key among them if it names one.
fn settled_keys(issuer: &Issuer, host: &mut impl Host, parts: &Parts<'_>) -> Result<Entry, Refusal> {
    if !issuer.algorithms().contains(&parts.alg) {
        return Err(Refusal::BadAlgorithm);
    }
    match &parts.kid {
        Some(kid) => keys_with(issuer, host, kid),
        None => jwks::load(issuer, host).ok_or(Refusal::NoKeys),
    }
}

/// The id of the key that signed, and the set it is in. A token that names none may be of a key that is newer than the
/// set at hand, so it has the provider asked as an unknown id has.
fn signer(
    issuer: &Issuer,
    host: &mut impl Host,
    keys: Entry,
    parts: &Parts<'_>,
) -> Result<(String, Entry), Refusal> {
    match (signed_under(&keys, parts), &parts.kid) {
        (Err(refusal), None) => match jwks::refresh(issuer, "", &keys, host) {
            Refreshed::Changed(newer) if newer.fingerprint() != keys.fingerprint() => {
                Ok((signed_under(&newer, parts)?, newer))
            }
            _ => Err(refusal),
        },
        (outcome, _) => Ok((outcome?, keys)),
    }
}

fn signed_under(keys: &Entry, parts: &Parts<'_>) -> Result<String, Refusal> {
    let set = keys.set().ok_or(Refusal::NoKeys)?;
    let key = set.find(parts.kid.as_deref(), parts.alg).ok_or(Refusal::UnknownKey)?;
    if !key.public.verifies(parts.alg, parts.signed, parts.signature) {
        return Err(Refusal::BadSignature);
    }
    Ok(key.kid.clone())
}

/// Type and claims of a token whose signature holds.
fn check(
    issuer: &Issuer,
    kind: TokenKind,
    audience: Option<&str>,
    kid: String,
    parts: Parts<'_>,
    now_s: u64,
) -> Result<Identity, Refused> {
    let checked = claims::check_type(issuer, kind, parts.typ.as_deref())
        .and_then(|()| claims::check(issuer, kind, audience, &parts.claims, now_s));
    match checked {
        Ok(exp) => Ok(Identity { issuer: issuer.name.clone(), kid, claims: parts.claims, exp }),
        Err(refusal) => Err(Refused { refusal, signer: Some((issuer.name.clone(), kid)) }),
    }
}

fn verdict_key(config: &Config, keys: &Entry, token: &str) -> String {
    let parts = [token, keys.fingerprint(), &config.policy_version, &config.fingerprint];
    format!("verdict:{}", sha256_hex(&parts.map(str::as_bytes)))
}

/// A verdict of before, while it holds by our own clock too. Only what was let in is remembered.
fn remembered(host: &mut impl Host, name: &str, issuer: &Issuer, now_s: u64) -> Option<Identity> {
    let bytes = host.cache_get(name)?;
    let (until, identity) = bytes.split_first_chunk::<8>()?;
    let until = u64::from_le_bytes(*until);
    // A clock that was set back by more than a verdict's life makes the entry worthless.
    if now_s >= until || until - now_s > VERDICT_S {
        return None;
    }
    serde_json::from_slice(identity).ok().filter(|identity: &Identity| identity.issuer == issuer.name)
}
