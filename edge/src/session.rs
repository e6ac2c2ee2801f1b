//! What a browser keeps for us: signed cookies, and the state that travels through the provider.
//!
//! A signed text is `base64url(json) . base64url(HMAC-SHA256)`, each purpose and each client under a key of its own, so
//! that no text of one purpose is taken for another's, nor one service's for another's that has the same secret. It is
//! signed and not encrypted: whoever holds the browser can read the claims in it.
//!
//! Nothing is kept at the edge, so a session cannot be taken back alone. It ends by its time (`session_s`), when the issuer
//! no longer publishes the key that signed the id token, and, all at once, by a new `session_secret` without the old one as
//! `session_secret_previous`. Logout makes the browser forget it; a copy that was stolen before lives on until then, and
//! so does the session of a user whom the provider removed. It may outlive the id token, as sessions do.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::config::{Config, Login};
use crate::encoding::{base64url, from_base64url, keyed};
use crate::host::Host;
use crate::path::host_of;
use crate::request::IncomingRequest;
use crate::verify::{Refusal, is_published};

/// The session's cookie. `__Host-` keeps other hosts and paths from setting it.
pub(crate) const SESSION_COOKIE: &str = "__Host-edge-session";
/// Begins the name of the cookie of one login; eight digits of its journey id follow.
pub(crate) const LOGIN_COOKIE: &str = "__Host-edge-login-";
/// Browsers keep 4096 bytes with name and attributes.
const MAX_COOKIE_BYTES: usize = 3800;

/// A browser's session.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub(crate) struct Session {
    /// Name of the issuer's block.
    pub(crate) issuer: String,
    /// The key that signed the id token.
    pub(crate) kid: String,
    /// The claims that the configuration uses.
    pub(crate) claims: Map<String, Value>,
    /// Seconds since 1970.
    pub(crate) iat: u64,
    /// Seconds since 1970.
    pub(crate) exp: u64,
    /// The login that began it.
    pub(crate) journey: String,
    /// Trace of the callback.
    pub(crate) link: String,
}

/// What a service signs under. A secret that is missing or has less than 32 bytes counts as none.
pub(crate) struct Secrets {
    /// The first signs.
    accepted: Vec<Vec<u8>>,
    client_id: String,
}

impl Secrets {
    /// The secrets of a login block; `None` when there is none to sign under.
    pub(crate) fn of(login: &Login, host: &mut impl Host) -> Option<Self> {
        let mut strong = |name: &String| host.secret(name).filter(|secret| secret.len() >= 32);
        let mut accepted = vec![strong(&login.session_secret)?];
        accepted.extend(login.session_secret_previous.as_ref().and_then(strong));
        Some(Self { accepted, client_id: login.client_id.clone() })
    }

    fn purpose(&self, purpose: &str) -> String {
        format!("{purpose}\n{}", self.client_id)
    }

    /// Signs; `None` when the text would not fit into a cookie.
    pub(crate) fn sign<T: Serialize>(&self, purpose: &str, content: &T) -> Option<String> {
        let text = base64url(serde_json::to_vec(content).ok()?);
        let mac = keyed(self.accepted.first()?, &self.purpose(purpose), text.as_bytes())?;
        let text = format!("{text}.{}", base64url(mac));
        (text.len() <= MAX_COOKIE_BYTES).then_some(text)
    }

    /// Reads what [`Secrets::sign`] wrote under one of the secrets, for the same purpose and client.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        if text.len() > MAX_COOKIE_BYTES {
            return None;
        }
        let (content, mac) = text.split_once('.')?;
        let mac = from_base64url(mac)?;
        let purpose = self.purpose(purpose);
        let holds = |secret: &Vec<u8>| {
            keyed(secret, &purpose, content.as_bytes()).is_some_and(|own| mac.ct_eq(&own).into())
        };
        if !self.accepted.iter().any(holds) {
            return None;
        }
        serde_json::from_slice(&from_base64url(content)?).ok()
    }
}

/// The values of a cookie, over all `Cookie` headers.
pub(crate) fn cookies<'a>(request: &'a IncomingRequest, name: &str) -> Vec<&'a str> {
    let texts = request.values("cookie").filter_map(|value| std::str::from_utf8(value).ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(own, _)| *own == name).map(|(_, value)| value).collect()
}

/// A `Cookie` header's value without the edge's own cookies.
pub(crate) fn without_own_cookies(value: &[u8]) -> Vec<u8> {
    let kept: Vec<&[u8]> = value
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !pair.starts_with(b"__Host-edge-"))
        .collect();
    kept.join(&b"; "[..])
}

/// The session of a request that has one. A cookie that is broken or past its time is as none: the browser logs in
/// again. Two of them are refused.
pub(crate) fn read(
    config: &Config,
    login: &Login,
    host: &mut impl Host,
    request: &IncomingRequest,
) -> Result<Option<Session>, Refusal> {
    let found = cookies(request, SESSION_COOKIE);
    if found.len() > 1 {
        return Err(Refusal::ManyCredentials);
    }
    let (Some(text), Some(secrets)) = (found.first(), Secrets::of(login, host)) else {
        return Ok(None);
    };
    let now_s = host.now_unix_ms() / 1000;
    let session: Option<Session> = secrets.open("session", text);
    // Its end is never later than the configuration now allows, whatever it was when the session began.
    let holds = |session: &Session| {
        now_s < session.exp
            && session.issuer == login.issuer
            && session.iat <= now_s.saturating_add(60)
            && now_s < session.iat.saturating_add(login.session_s)
    };
    let Some(session) = session.filter(holds) else { return Ok(None) };
    let issuer = config.issuers.iter().find(|issuer| issuer.name == session.issuer);
    let issuer = issuer.ok_or(Refusal::UnknownIssuer)?;
    // A key without an id cannot be told from its successor.
    let lives = session.kid.is_empty() || is_published(issuer, host, &session.kid)?;
    Ok(lives.then_some(session))
}

/// Whether a request that changes something may be made by a session. `SameSite=Lax` keeps other sites from it, but not
/// other hosts of the same site; browsers say where a request comes from.
pub(crate) fn check_origin(request: &IncomingRequest, host: &str) -> Result<(), Refusal> {
    if matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        return Ok(());
    }
    let site_is_own = request
        .values("sec-fetch-site")
        .all(|site| matches!(site.to_ascii_lowercase().as_slice(), b"same-origin" | b"none"));
    let origin_is_own = request.values("origin").all(|origin| {
        let origin = std::str::from_utf8(origin).ok();
        let parts = origin.and_then(|origin| origin.split_once("://"));
        parts.is_some_and(|(scheme, own)| scheme == request.scheme && host_of(own).as_deref() == Some(host))
    });
    if site_is_own && origin_is_own { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// A `Set-Cookie` value; an age of 0 deletes.
pub(crate) fn set_cookie(name: &str, value: &str, max_age_s: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Lax")
}
