//! The login journey of a browser: to the provider, back to the callback, on to where it wanted to go; and out again.
//!
//! Nothing is kept between the steps but what the browser carries: a cookie with the PKCE verifier, and the state,
//! signed and bound to that cookie, with the journey id, the trace and the path to return to. The nonce is made of the
//! verifier, so an id token of another login does not fit.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Config, Login};
use crate::encoding::{base64url, form, from_form, keyed, sha256, strict_object};
use crate::host::{FetchRequest, Host, MAX_FETCH_BYTES};
use crate::path::is_local;
use crate::request::IncomingRequest;
use crate::session::{LOGIN_COOKIE, SESSION_COOKIE, Secrets, Session, cookies, set_cookie};
use crate::stamp::Ids;
use crate::verify::{Identity, Refusal, verify_id_token};

/// How long a person may take at the provider.
const LOGIN_S: u64 = 600;
/// Longest code that is passed on.
const MAX_CODE_BYTES: usize = 2048;

/// What travels through the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    journey: String,
    /// Of the request that began the journey.
    traceparent: String,
    /// Path and query.
    back: String,
    /// Hash of the verifier in the cookie.
    bound: String,
    exp: u64,
}

/// A browser sent somewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) to: String,
    pub(crate) cookies: Vec<String>,
    pub(crate) journey: String,
    pub(crate) link: Option<String>,
    pub(crate) identity: Option<(String, String, String)>,
}

/// Why a callback leads nowhere: status and one word for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost(pub(crate) u16, pub(crate) &'static str);

fn hash(purpose: &str, verifier: &str) -> String {
    base64url(sha256(&[purpose.as_bytes(), verifier.as_bytes()]))
}

/// PKCE's challenge is the plain hash of the verifier (RFC 7636).
fn challenge(verifier: &str) -> String {
    use sha2::Digest;
    base64url(sha2::Sha256::digest(verifier.as_bytes()))
}

/// Sends a browser to the provider. `target` is where it wanted to go.
pub(crate) fn begin(
    login: &Login,
    host: &mut impl Host,
    secrets: &Secrets,
    ids: &Ids,
    target: &str,
) -> Option<Sent> {
    let mut random = [0_u8; 48];
    host.random(&mut random);
    let (verifier, journey) = random.split_at(32);
    let (verifier, journey) = (base64url(verifier), crate::encoding::hex(journey));
    let back = if is_local(target) { target } else { "/" };
    let state = State {
        journey: journey.clone(),
        traceparent: ids.traceparent.clone(),
        back: back.to_owned(),
        bound: hash("bound", &verifier),
        exp: (host.now_unix_ms() / 1000).saturating_add(LOGIN_S),
    };
    let state = secrets.sign("state", &state)?;
    let endpoint = &login.authorization_endpoint;
    let join = if endpoint.contains('?') { '&' } else { '?' };
    let to = format!(
        "{endpoint}{join}response_type=code&client_id={}&redirect_uri={}&scope={}&state={}&nonce={}&code_challenge={}\
         &code_challenge_method=S256",
        form(&login.client_id),
        form(&login.redirect_uri),
        form(&login.scopes.join(" ")),
        form(&state),
        hash("nonce", &verifier),
        challenge(&verifier),
    );
    let cookie = set_cookie(&cookie_name(&journey), &verifier, LOGIN_S);
    Some(Sent { to, cookies: vec![cookie], journey, ..Sent::default() })
}

fn cookie_name(journey: &str) -> String {
    format!("{LOGIN_COOKIE}{}", journey.get(..8).unwrap_or_default())
}

/// One value of a query; two of one name are none.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(own, _)| *own == name);
    let (_, value) = found.next()?;
    if found.next().is_some() { None } else { from_form(value) }
}

/// Takes the provider's answer, exchanges the code and begins the session.
pub(crate) fn callback(
    config: &Config,
    login: &Login,
    host: &mut impl Host,
    (secrets, ids): (&Secrets, &Ids),
    request: &IncomingRequest,
) -> Result<Sent, Lost> {
    let query = request.raw_query().unwrap_or_default();
    let now_s = host.now_unix_ms() / 1000;
    let state: State = parameter(query, "state")
        .and_then(|text| secrets.open("state", &text))
        .filter(|state: &State| now_s < state.exp && is_local(&state.back))
        .ok_or(Lost(400, "bad_state"))?;
    let name = cookie_name(&state.journey);
    let verifier = match cookies(request, &name)[..] {
        [verifier] if hash("bound", verifier) == state.bound => verifier.to_owned(),
        _ => return Err(Lost(400, "state_of_another_browser")),
    };
    let code = match parameter(query, "code").filter(|code| !code.is_empty() && code.len() <= MAX_CODE_BYTES)
    {
        Some(code) => code,
        None if parameter(query, "error").is_some() => return Err(Lost(403, "provider_refused")),
        None => return Err(Lost(400, "no_code")),
    };
    let issuer =
        config.issuers.iter().find(|issuer| issuer.name == login.issuer).ok_or(Lost(500, "no_issuer"))?;
    let token = exchange(login, issuer.jwks_host(), host, &code, &verifier)?;
    let identity = verify_id_token(issuer, host, &login.client_id, &hash("nonce", &verifier), &token)
        .map_err(|refused| {
            let refusal = refused.refusal;
            Lost(if refusal.status() == 503 { 503 } else { 403 }, refusal.reason())
        })?;
    let session = Session {
        issuer: identity.issuer.clone(),
        kid: identity.kid.clone(),
        claims: used_claims(config, &identity),
        iat: now_s,
        exp: now_s.saturating_add(login.session_s),
        journey: state.journey.clone(),
        link: ids.in_trace_of(&state.traceparent),
    };
    let session = secrets.sign("session", &session).ok_or(Lost(500, "session_too_large"))?;
    Ok(Sent {
        to: state.back,
        cookies: vec![set_cookie(SESSION_COOKIE, &session, login.session_s), set_cookie(&name, "", 0)],
        journey: state.journey,
        link: Some(state.traceparent),
        identity: Some((identity.issuer.clone(), identity.kid.clone(), identity.subject().to_owned())),
    })
}

fn exchange(
    login: &Login,
    default_host: &str,
    host: &mut impl Host,
    code: &str,
    verifier: &str,
) -> Result<String, Lost> {
    let mut body = format!(
        "grant_type=authorization_code&code={}&redirect_uri={}&client_id={}&code_verifier={verifier}",
        form(code),
        form(&login.redirect_uri),
        form(&login.client_id),
    );
    if let Some(name) = &login.client_secret {
        let password = host
            .secret(name)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(Lost(500, "no_secret"))?;
        body.push_str(&format!("&client_secret={}", form(password.trim())));
    }
    let request = FetchRequest {
        method: "POST",
        host: login.token_endpoint.host.clone().unwrap_or_else(|| default_host.to_owned()),
        target: login.token_endpoint.path.clone().unwrap_or_default(),
        headers: vec![
            ("content-type".into(), "application/x-www-form-urlencoded".into()),
            ("accept".into(), "application/json".into()),
        ],
        body: body.into_bytes(),
    };
    let response =
        host.fetch(&login.token_endpoint.backend, &request).map_err(|_| Lost(503, "provider_out"))?;
    if response.status >= 500 {
        return Err(Lost(503, "provider_out"));
    }
    if response.status != 200 || response.body.len() > MAX_FETCH_BYTES {
        return Err(Lost(403, "code_refused"));
    }
    let answer = strict_object(&response.body).ok_or(Lost(503, "provider_out"))?;
    answer.get("id_token").and_then(Value::as_str).map(str::to_owned).ok_or(Lost(403, "no_id_token"))
}

/// Only what the configuration looks at: a cookie has little room.
fn used_claims(config: &Config, identity: &Identity) -> Map<String, Value> {
    let mut names = vec!["sub", "scope", "scp"];
    names.extend(config.stamp.claims.iter().map(|claim| claim.claim.as_str()));
    names.extend(config.edge_token.iter().flat_map(|token| token.claims.iter().map(String::as_str)));
    for route in &config.routes {
        names.extend(route.require.claims.keys().map(String::as_str));
        if let crate::config::Action::Forward(forward) = &route.action {
            names.extend(forward.by_claim.iter().map(|by| by.claim.as_str()));
        }
    }
    let used = identity.claims.iter().filter(|(name, _)| names.contains(&name.as_str()));
    used.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Ends the session here and, where it is configured, at the provider.
pub(crate) fn end(login: &Login) -> Sent {
    let to = match &login.end_session_endpoint {
        Some(url) => {
            let join = if url.contains('?') { '&' } else { '?' };
            format!("{url}{join}client_id={}", form(&login.client_id))
        }
        None => "/".into(),
    };
    Sent { to, cookies: vec![set_cookie(SESSION_COOKIE, "", 0)], ..Sent::default() }
}

/// The identity of a session.
pub(crate) fn identity(session: &Session) -> Identity {
    Identity {
        issuer: session.issuer.clone(),
        kid: session.kid.clone(),
        claims: session.claims.clone(),
        exp: session.exp,
    }
}

/// Keyed hash of a subject for the log, 32 hex digits.
pub(crate) fn pseudonym(secret: &[u8], issuer: &str, subject: &str) -> Option<String> {
    let mac = keyed(secret, "subject", format!("{issuer}\n{subject}").as_bytes())?;
    mac.get(..16).map(crate::encoding::hex)
}

/// Whether the browser can be sent to log in: a page that a person asked for, not a script's call.
pub(crate) fn is_navigation(request: &IncomingRequest) -> bool {
    let accepts = || request.values("accept").any(|value| value.windows(9).any(|part| part == b"text/html"));
    let mode = request.only_value("sec-fetch-mode");
    matches!(request.method.as_str(), "GET" | "HEAD")
        && mode.is_none_or(|mode| mode == "navigate")
        && accepts()
}

/// A refusal by which a browser's way leads to login and not to an error.
pub(crate) fn leads_to_login(refusal: Refusal) -> bool {
    refusal == Refusal::Missing
}
