//! The strict check of a token: one key, one algorithm, one issuer, one audience, one method, one path, one minute.

use crate::claims::{Claims, htu};
use crate::encoding::{Members, unbase64url, unbase64url_of};
use crate::jwks::Jwks;
use crate::key::is_kid;
use crate::replay::{ReplayCache, Sighting};
use crate::{MAX_LIFETIME_S, MAX_SKEW_S, MAX_TOKEN_BYTES, TYP};

/// Clocks of servers that run NTP differ by less; Envoy forgives 60 seconds.
const DEFAULT_SKEW_S: u64 = 30;

/// The request that a token came with, as the origin received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The method.
    pub method: &'a str,
    /// The path and the query, exactly as received: `/orders?limit=5`.
    pub path_and_query: &'a str,
}

/// Who has to do something about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever sent the request: it came around the edge, or late, or with another request's token.
    Caller,
    /// Whoever configures the edge: it mints what this origin does not take.
    Edge,
    /// Whoever runs this origin: its keys or its clock.
    Origin,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The request has no token.
    #[error("the request carries no edge token, so it did not come through the edge")]
    Missing,
    /// The request has several tokens.
    #[error("the request carries more than one edge token")]
    Several,
    /// The token is longer than any that the edge mints.
    #[error("the edge token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of base64url, or JSON that the edge would not write.
    #[error("the edge token is not of the form that the edge mints")]
    Form,
    /// The header asks for something else than the edge's tokens do: another type, members that bring a key along.
    #[error("the edge token's header must have exactly alg, kid and typ {TYP}")]
    Header,
    /// No key of this id is known.
    #[error("the edge token names a key that is not in the edge's key set")]
    UnknownKey,
    /// The algorithm is not the key's.
    #[error("the edge token's algorithm is not the one of its key")]
    Alg,
    /// The signature is not that of the key.
    #[error("the edge token's signature is wrong")]
    Signature,
    /// Another issuer.
    #[error("the edge token is of another issuer than this origin takes")]
    Issuer,
    /// Another audience.
    #[error("the edge token is for another audience")]
    Audience,
    /// It has ended.
    #[error("the edge token has expired; it is good for one request within {MAX_LIFETIME_S} seconds")]
    Expired,
    /// It begins in the future.
    #[error("the edge token was minted in the future: compare this host's clock")]
    NotYet,
    /// It was minted for another method.
    #[error("the edge token was minted for another method")]
    Method,
    /// It was minted for another path or query.
    #[error("the edge token was minted for another path or query")]
    Path,
    /// It was used before.
    #[error("the edge token was used before")]
    Replayed,
    /// Whether it was used before cannot be told.
    #[error("whether the edge token was used before cannot be told")]
    ReplayUnknown,
    /// The origin has no keys to check with.
    #[error("this origin has no keys of the edge to check with")]
    NoKeys,
}

impl VerifyError {
    /// Who has to do something about it. Where several could, the one who is most often to blame.
    pub fn fault(self) -> Fault {
        match self {
            Self::Issuer | Self::Audience => Fault::Edge,
            Self::NotYet | Self::NoKeys | Self::ReplayUnknown => Fault::Origin,
            _ => Fault::Caller,
        }
    }

    /// One word for logs and counters.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Several => "several",
            Self::TooLong => "too_long",
            Self::Form => "form",
            Self::Header => "header",
            Self::UnknownKey => "unknown_key",
            Self::Alg => "alg",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Method => "method",
            Self::Path => "path",
            Self::Replayed => "replayed",
            Self::ReplayUnknown => "replay_unknown",
            Self::NoKeys => "no_keys",
        }
    }
}

/// Checks tokens of one issuer for one audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    issuer: String,
    audience: String,
    skew_s: u64,
}

impl Verifier {
    /// Takes tokens of exactly this issuer for exactly this audience, and forgives clocks 30 seconds.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), skew_s: DEFAULT_SKEW_S }
    }

    /// Forgives this much difference between the clocks; more than [`MAX_SKEW_S`] is taken as [`MAX_SKEW_S`].
    #[must_use]
    pub fn with_skew_s(mut self, skew_s: u64) -> Self {
        self.skew_s = skew_s.min(MAX_SKEW_S);
        self
    }

    /// Checks a token that came with a request, at a time in seconds since 1970.
    pub fn verify(
        &self,
        keys: &Jwks,
        token: &str,
        bound: Bound<'_>,
        now_unix_s: u64,
    ) -> Result<Claims, VerifyError> {
        let claims = signed(keys, token)?;
        let (issued, ends) = (claims.iat, claims.exp.saturating_add(self.skew_s));
        let refused = if claims.iss != self.issuer {
            Some(VerifyError::Issuer)
        } else if claims.aud != self.audience {
            Some(VerifyError::Audience)
        } else if issued > now_unix_s.saturating_add(self.skew_s) {
            Some(VerifyError::NotYet)
        } else if ends <= now_unix_s {
            Some(VerifyError::Expired)
        } else if claims.htm != bound.method {
            Some(VerifyError::Method)
        } else if htu(bound.path_and_query).as_deref() != Some(claims.htu.as_str()) {
            Some(VerifyError::Path)
        } else {
            None
        };
        refused.map_or(Ok(claims), Err)
    }

    /// The same, and refuses the token's second use.
    pub fn verify_once(
        &self,
        keys: &Jwks,
        token: &str,
        bound: Bound<'_>,
        now_unix_s: u64,
        replays: &dyn ReplayCache,
    ) -> Result<Claims, VerifyError> {
        let claims = self.verify(keys, token, bound, now_unix_s)?;
        match replays.sighting(&claims.jti, claims.exp.saturating_add(self.skew_s), now_unix_s) {
            Sighting::First => Ok(claims),
            Sighting::Again => Err(VerifyError::Replayed),
            Sighting::Unknown => Err(VerifyError::ReplayUnknown),
        }
    }
}

/// The claims of a token whose signature is good. Nothing of the payload is looked at before that.
fn signed(keys: &Jwks, token: &str) -> Result<Claims, VerifyError> {
    if token.is_empty() {
        return Err(VerifyError::Missing);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(VerifyError::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(VerifyError::Form)?;
    let (header, payload) = message.split_once('.').ok_or(VerifyError::Form)?;
    let header = unbase64url(header).ok_or(VerifyError::Form)?;
    let mut header = Members::read(&header).ok_or(VerifyError::Form)?;
    let (alg, kid, typ) = (header.text("alg"), header.text("kid"), header.text("typ"));
    let (Some(alg), Some(kid), true) = (alg, kid, header.0.is_empty() && typ.as_deref() == Some(TYP)) else {
        return Err(VerifyError::Header);
    };
    if !is_kid(&kid) {
        return Err(VerifyError::Header);
    }
    let key = keys.key(&kid).ok_or(VerifyError::UnknownKey)?;
    if key.alg().name() != alg {
        return Err(VerifyError::Alg);
    }
    let signature = unbase64url_of(signature).ok_or(VerifyError::Form)?;
    if !key.verifies(message.as_bytes(), &signature) {
        return Err(VerifyError::Signature);
    }
    let payload = unbase64url(payload).ok_or(VerifyError::Form)?;
    Claims::from_json(&payload).ok_or(VerifyError::Form)
}
