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
    let login = config.login.as_ref();
    let login = login.filter(|_| !session::cookies(request, session::SESSION_COOKIE).is_empty());
    match (bearer, login) {
        (Some(_), Some(_)) => Err(Refusal::ManyCredentials),
        (Some(token), None) => Ok(Credential::Bearer(token)),
        (None, Some(login)) => {
            let session = session::read(config, login, host, request)?;
            Ok(session.map_or(Credential::None, Credential::Session))
        }
        (None, None) => Ok(Credential::None),
    }
}
