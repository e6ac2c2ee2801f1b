//! What a token says, and the limits within which it may say it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::MAX_LIFETIME_S;
use crate::encoding::{Members, base64url};

/// The subject of a request that a public route let in without a credential. Such a token has no [`Claims::cid`].
pub const ANONYMOUS: &str = "anonymous";

/// Names with a meaning of their own, which no selected claim may take.
const RESERVED: [&str; 10] = ["iss", "aud", "sub", "iat", "exp", "nbf", "jti", "cid", "htm", "htu"];
/// Longest issuer, audience, subject or path in full, in bytes. What OpenID Connect allows for a subject is 255.
const MAX_TEXT_BYTES: usize = 1024;
/// Longest correlation id: a UUID is 36.
const MAX_JTI_BYTES: usize = 64;
/// Longest method: the longest registered one (`UPDATEREDIRECTREF`) is 17.
const MAX_METHOD_BYTES: usize = 32;
/// Selected claims in one token; each becomes a header at the gateway.
const MAX_CLAIMS: usize = 16;
/// Longest name or text of a selected claim.
const MAX_CLAIM_BYTES: usize = 256;
/// Longest path and query that is bound, in bytes: Fastly allows 8192.
const MAX_PATH_BYTES: usize = 8192;

/// What the edge says of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who says it: the edge service, such as `https://edge.example.com`.
    pub iss: String,
    /// To whom: the origin or mesh.
    pub aud: String,
    /// Who was let in, as the original issuer names them; [`ANONYMOUS`] on a public route.
    pub sub: String,
    /// When it was minted, in seconds since 1970.
    pub iat: u64,
    /// When it ends; at most [`MAX_LIFETIME_S`] after [`Claims::iat`].
    pub exp: u64,
    /// The correlation id of the request.
    pub jti: String,
    /// Whose credential the edge checked; `None` on a public route.
    pub cid: Option<String>,
    /// The method that is forwarded.
    pub htm: String,
    /// The path and query that are forwarded, in the form that [`htu`] gives them.
    pub htu: String,
    /// Claims of the original credential that the configuration selects. Scalars only: Istio drops anything else on the
    /// way from claim to header.
    pub selected: BTreeMap<String, Scalar>,
}

/// The value of a selected claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// Text without control characters.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Bool(bool),
}

impl From<&Scalar> for Value {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => text.as_str().into(),
            Scalar::Integer(number) => (*number).into(),
            Scalar::Bool(yes) => (*yes).into(),
        }
    }
}

/// Why claims cannot stand in a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// A claim is empty, too long or has characters that no header could carry.
    #[error("{0} is empty, too long, or has control characters")]
    Text(&'static str),
    /// The lifetime is not between one second and the longest.
    #[error("exp must be 1 to {MAX_LIFETIME_S} seconds after iat")]
    Lifetime,
    /// The path is none that could have been forwarded.
    #[error("the path must begin with / and have only visible ASCII characters and no #")]
    Path,
    /// A selected claim takes a name that has a meaning of its own.
    #[error("the claim {0:?} has a meaning of its own in an edge token; select it under another name")]
    Reserved(String),
    /// A selected claim's name or value is too long, or has control characters.
    #[error("the claim {0:?} is empty, too long, or has control characters")]
    Selected(String),
    /// More selected claims than are allowed.
    #[error("{0} claims are selected and at most {MAX_CLAIMS} may be")]
    TooMany(usize),
    /// The token would be longer than any verifier takes.
    #[error("the token would have {0} bytes and at most {max} are allowed; select fewer claims", max = crate::MAX_TOKEN_BYTES)]
    TokenBytes(usize),
    /// The signature could not be formed.
    #[error("the token could not be signed; mint it again")]
    Unsigned,
}

/// The form in which a path and query stand in a token: as they are, or, above 1024 bytes, `sha-256=` and their hash.
/// A path begins with `/`, so the two cannot be confused. `None` for what is no path, or over 8192 bytes.
pub fn htu(path_and_query: &str) -> Option<String> {
    let bytes = path_and_query.as_bytes();
    let visible = bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    if bytes.first() != Some(&b'/') || bytes.len() > MAX_PATH_BYTES || !visible {
        return None;
    }
    if bytes.len() <= MAX_TEXT_BYTES {
        return Some(path_and_query.to_owned());
    }
    Some(format!("sha-256={}", base64url(Sha256::digest(bytes))))
}

impl Claims {
    /// Claims for a request, valid from `iat` for `lifetime_s` seconds. The path and query are those forwarded to the
    /// origin, not those the client sent.
    pub fn for_request(
        issuer: &str,
        audience: &str,
        correlation_id: &str,
        (method, path_and_query): (&str, &str),
        (iat, lifetime_s): (u64, u64),
    ) -> Result<Self, ClaimsError> {
        let claims = Self {
            iss: issuer.to_owned(),
            aud: audience.to_owned(),
            sub: ANONYMOUS.to_owned(),
            iat,
            exp: iat.saturating_add(lifetime_s),
            jti: correlation_id.to_owned(),
            cid: None,
            htm: method.to_owned(),
            htu: htu(path_and_query).ok_or(ClaimsError::Path)?,
            selected: BTreeMap::new(),
        };
        claims.check()?;
        Ok(claims)
    }

    /// Adds who was let in, and whose credential said so.
    #[must_use]
    pub fn with_subject(mut self, subject: &str, original_issuer: &str) -> Self {
        self.sub = subject.to_owned();
        self.cid = Some(original_issuer.to_owned());
        self
    }

    /// Adds a selected claim, in place of one of the same name.
    #[must_use]
    pub fn with_claim(mut self, name: &str, value: Scalar) -> Self {
        self.selected.insert(name.to_owned(), value);
        self
    }

    /// Whether the claims keep their limits. Minting and verifying both ask, so neither depends on the other's care.
    pub fn check(&self) -> Result<(), ClaimsError> {
        let texts = [
            ("iss", Some(&self.iss), MAX_TEXT_BYTES),
            ("aud", Some(&self.aud), MAX_TEXT_BYTES),
            ("sub", Some(&self.sub), MAX_TEXT_BYTES),
            ("cid", self.cid.as_ref(), MAX_TEXT_BYTES),
            ("jti", Some(&self.jti), MAX_JTI_BYTES),
            ("htm", Some(&self.htm), MAX_METHOD_BYTES),
            ("htu", Some(&self.htu), MAX_TEXT_BYTES),
        ];
        for (name, text, limit) in texts {
            if text.is_some_and(|text| !is_plain(text, limit)) {
                return Err(ClaimsError::Text(name));
            }
        }
        if !(1..=MAX_LIFETIME_S).contains(&self.exp.saturating_sub(self.iat)) {
            return Err(ClaimsError::Lifetime);
        }
        if self.selected.len() > MAX_CLAIMS {
            return Err(ClaimsError::TooMany(self.selected.len()));
        }
        for (name, value) in &self.selected {
            if RESERVED.contains(&name.as_str()) {
                return Err(ClaimsError::Reserved(name.clone()));
            }
            let carried = match value {
                Scalar::Text(text) => text.is_empty() || is_plain(text, MAX_CLAIM_BYTES),
                Scalar::Integer(_) | Scalar::Bool(_) => true,
            };
            if !carried || !is_plain(name, MAX_CLAIM_BYTES) {
                return Err(ClaimsError::Selected(name.clone()));
            }
        }
        Ok(())
    }

    /// The payload, members in the order of their names: the same claims are the same bytes.
    pub(crate) fn to_json(&self) -> Value {
        let mut members: Map<String, Value> =
            self.selected.iter().map(|(name, value)| (name.clone(), value.into())).collect();
        let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
        add("iss", self.iss.as_str().into());
        add("aud", self.aud.as_str().into());
        add("sub", self.sub.as_str().into());
        add("iat", self.iat.into());
        add("exp", self.exp.into());
        add("jti", self.jti.as_str().into());
        add("htm", self.htm.as_str().into());
        add("htu", self.htu.as_str().into());
        if let Some(cid) = &self.cid {
            add("cid", cid.as_str().into());
        }
        Value::Object(members)
    }

    /// Reads a payload. `None` for anything that [`Claims::to_json`] would not have written.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let mut members = Members::read(json)?;
        let cid = if members.0.contains_key("cid") { Some(members.text("cid")?) } else { None };
        let claims = Self {
            iss: members.text("iss")?,
            aud: members.text("aud")?,
            sub: members.text("sub")?,
            iat: members.seconds("iat")?,
            exp: members.seconds("exp")?,
            jti: members.text("jti")?,
            cid,
            htm: members.text("htm")?,
            htu: members.text("htu")?,
            selected: members
                .0
                .into_iter()
                .map(|(name, value)| Some((name, scalar(value)?)))
                .collect::<Option<_>>()?,
        };
        claims.check().is_ok().then_some(claims)
    }
}

fn scalar(value: Value) -> Option<Scalar> {
    match value {
        Value::String(text) => Some(Scalar::Text(text)),
        Value::Bool(yes) => Some(Scalar::Bool(yes)),
        Value::Number(number) => number.as_i64().map(Scalar::Integer),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_plain(text: &str, limit_bytes: usize) -> bool {
    (1..=limit_bytes).contains(&text.len()) && !text.chars().any(char::is_control)
}
