//! Where a request may carry its credential, and that it carries one only.

use crate::config::Config;
use crate::host::Host;
use crate::request::IncomingRequest;
use crate::session;
use crate::verify::Refusal;

/// How a request wants to be let in; nothing of it is checked yet but a session's signature.
pub(crate) enum Credential {
    /// Not at all.
    None,
    /// With a token.
    Bearer(String),
    /// With a session of ours.
    Session(session::Session),
}

/// The one credential of a request. A token in a query is refused wherever it stands: it is in logs already.
pub(crate) fn find(
    config: &Config,
    host: &mut impl Host,
    request: &IncomingRequest,
) -> Result<Credential, Refusal> {
    let names = ["access_token", "id_token", "bearer_token", "jwt"];
    let pairs = request
        .raw_query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default());
    for name in pairs {
        let name = crate::encoding::from_form(name).unwrap_or_default().to_ascii_lowercase();
        if names.contains(&name.as_str()) {
            return Err(Refusal::ManyCredentials);
        }
    }
    // An origin that reads `_` as `-` would see a second one.
    let mut values =
        request.headers.iter().filter(|(name, _)| name.trim().eq_ignore_ascii_case("authorization"));
    let bearer = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Refusal::ManyCredentials),
        (Some((_, value)), None) => {
            let text = std::str::from_utf8(value).map_err(|_| Refusal::Malformed)?;
            if text.contains(',') {
                return Err(Refusal::ManyCredentials);
            }
            let (scheme, token) = text.trim().split_once(' ').ok_or(Refusal::Malformed)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Refusal::Malformed);
            }
            Some(token.trim().to_owned())
        }
    };
    let now_s = host.now_unix_ms() / 1000;
    let carries = !session::cookies(request, session::SESSION_COOKIE).is_empty();
    let session = if carries && config.login.is_some() {
        let secret = session::secret(config, host);
        session::read(config, secret.as_deref(), request, now_s)?
    } else {
        None
    };
    match (bearer, session) {
        (Some(_), _) if carries && config.login.is_some() => Err(Refusal::ManyCredentials),
        (Some(token), _) => Ok(Credential::Bearer(token)),
        (None, Some(session)) => Ok(Credential::Session(session)),
        (None, None) => Ok(Credential::None),
    }
}
