//! What a browser keeps for us: signed cookies, and the state that travels through the provider.
//!
//! A signed text is `base64url(json) . base64url(HMAC-SHA256)`, each purpose under a key of its own, so that no text
//! of one purpose is taken for another's.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::config::Config;
use crate::encoding::{base64url, from_base64url, keyed};
use crate::host::Host;
use crate::request::IncomingRequest;
use crate::verify::Refusal;

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

/// Signs; `None` when the text would not fit into a cookie.
pub(crate) fn sign<T: Serialize>(secret: &[u8], purpose: &str, content: &T) -> Option<String> {
    let text = base64url(serde_json::to_vec(content).ok()?);
    let text = format!("{text}.{}", base64url(keyed(secret, purpose, text.as_bytes())?));
    (text.len() <= MAX_COOKIE_BYTES).then_some(text)
}

/// Reads what [`sign`] wrote under the same secret and purpose.
pub(crate) fn open<T: DeserializeOwned>(secret: &[u8], purpose: &str, text: &str) -> Option<T> {
    if text.len() > MAX_COOKIE_BYTES {
        return None;
    }
    let (content, mac) = text.split_once('.')?;
    let expected = keyed(secret, purpose, content.as_bytes())?;
    if !bool::from(from_base64url(mac)?.ct_eq(&expected)) {
        return None;
    }
    serde_json::from_slice(&from_base64url(content)?).ok()
}

/// Whether a secret is long enough to sign under.
fn is_strong(secret: &[u8]) -> bool {
    secret.len() >= 32
}

/// The secret of sessions, when it is there and strong.
pub(crate) fn secret(config: &Config, host: &mut impl Host) -> Option<Vec<u8>> {
    host.secret(&config.login.as_ref()?.session_secret).filter(|secret| is_strong(secret))
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
    secret: Option<&[u8]>,
    request: &IncomingRequest,
    now_s: u64,
) -> Result<Option<Session>, Refusal> {
    let found = cookies(request, SESSION_COOKIE);
    if found.len() > 1 {
        return Err(Refusal::ManyCredentials);
    }
    let (Some(text), Some(secret), Some(login)) = (found.first(), secret, &config.login) else {
        return Ok(None);
    };
    let session: Option<Session> = open(secret, "session", text);
    // Its end is never later than the configuration now allows, whatever it was when the session began.
    Ok(session.filter(|session| {
        now_s < session.exp
            && session.issuer == login.issuer
            && session.iat <= now_s.saturating_add(60)
            && now_s < session.iat.saturating_add(login.session_s)
    }))
}

/// A `Set-Cookie` value; an age of 0 deletes.
pub(crate) fn set_cookie(name: &str, value: &str, max_age_s: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Lax")
}
