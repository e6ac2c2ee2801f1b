//! The provider's discovery document and key set, and the issuer's block that follows from them.

use ::edge::verify::{Alg, Key, KeySet};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::{Answer, Arguments, trial};

/// What the edge can check, as providers name it; of a key that says nothing, the first that fits is taken.
const ALGS: [&str; 7] = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"];

/// What was found at a provider.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The issuer's block, as far as one could be made; to be used only where there are no problems.
    pub(super) block: Option<Value>,
    /// The key set as it was served.
    pub(super) keys: Vec<u8>,
    /// What the edge could not do with this provider, as sentences.
    pub(super) problems: Vec<String>,
    /// What is good to know.
    pub(super) notes: Vec<String>,
}

impl Found {
    fn problem<T>(&mut self, what: impl Into<String>) -> Option<T> {
        self.problems.push(what.into());
        None
    }
}

/// Discovers and checks. An error is a provider that could not be asked; what it says wrongly is a problem in the answer.
pub(super) fn look_at(
    arguments: &Arguments,
    fetch: impl FnMut(&str) -> anyhow::Result<Answer>,
) -> anyhow::Result<Found> {
    let mut found = Found::default();
    look(arguments, &mut found, fetch)?;
    Ok(found)
}

/// `None` where going on makes no sense; the problem then stands in `found`.
fn look(
    arguments: &Arguments,
    found: &mut Found,
    mut fetch: impl FnMut(&str) -> anyhow::Result<Answer>,
) -> anyhow::Result<Option<()>> {
    let issuer = arguments.issuer.as_str();
    let Some(parsed) = https(issuer).filter(|url| url.query().is_none()) else {
        let what = format!("an issuer is an https:// URL without user, query and fragment; {issuer} is none");
        return Ok(found.problem(what));
    };
    let discovery =
        format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer));
    let body = match fetch(&discovery)? {
        Answer::Document(body) => body,
        Answer::Unfit(what) => return Ok(found.problem(what)),
    };
    let Ok(document) = serde_json::from_slice::<Map<String, Value>>(&body) else {
        return Ok(found.problem(format!("{discovery} is not a JSON object")));
    };
    match document.get("issuer").and_then(Value::as_str) {
        Some(said) if said == issuer => found.notes.push(format!("{discovery} names the same issuer")),
        Some(said) => found.problems.push(other_issuer(&discovery, said, issuer)),
        None => found.problems.push(format!("{discovery} names no issuer")),
    }
    let offered: Option<Vec<&str>> = document
        .get("id_token_signing_alg_values_supported")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect());
    if let Some(offered) = offered.as_ref().filter(|offered| !offered.iter().any(|name| ALGS.contains(name)))
    {
        return Ok(found.problem(none_offered(offered)));
    }
    let Some(address) = document.get("jwks_uri").and_then(Value::as_str) else {
        return Ok(
            found.problem(format!("{discovery} names no jwks_uri, so there are no keys to check with"))
        );
    };
    let Some(jwks) = https(address) else {
        let what =
            format!("jwks_uri must be https:// without user and fragment; the provider says {address}");
        return Ok(found.problem(what));
    };
    found.keys = match fetch(jwks.as_str())? {
        Answer::Document(body) => body,
        Answer::Unfit(what) => return Ok(found.problem(what)),
    };
    let Some(set) = KeySet::parse(&found.keys) else {
        let what = format!(
            "{jwks} holds no key that the edge can use: for signatures, RSA of 2048 to 4096 bits, P-256, P-384, Ed25519"
        );
        return Ok(found.problem(what));
    };
    found.notes.push(format!("{jwks}: {} keys that the edge can use", set.keys.len()));
    if set.keys.iter().any(|key| key.kid.is_empty()) {
        found.problems.push("a key has no kid: the edge could not tell it from its successor".to_owned());
    }
    let algorithms = algorithms(&set, offered.as_deref());
    if algorithms.is_empty() {
        found.problems.push(format!(
            "it says that it signs with {}, and has no key for that which the edge could use",
            offered.unwrap_or_default().join(", ")
        ));
    } else {
        found.notes.push(format!("signs with {}", algorithms.join(", ")));
    }
    let block = block(arguments, &parsed, &jwks, &algorithms);
    check(arguments, &block, found);
    found.block = Some(block);
    Ok(Some(()))
}

/// An `https` URL without anything that has no place in an issuer or a key set's address.
fn https(url: &str) -> Option<Url> {
    let parsed = Url::parse(url).ok()?;
    let is_plain = url.starts_with("https://")
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.fragment().is_none();
    is_plain.then_some(parsed)
}

fn other_issuer(discovery: &str, said: &str, asked: &str) -> String {
    if said.trim_end_matches('/') == asked.trim_end_matches('/') {
        return format!(
            "{discovery} names the issuer {said}, which differs from {asked} by the last slash; \
             its tokens say {said}: give that"
        );
    }
    format!("{discovery} names another issuer, {said}; its tokens say that, and not {asked}")
}

fn none_offered(offered: &[&str]) -> String {
    let all = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
    let symmetric = !offered.is_empty() && offered.iter().all(|name| name.starts_with("HS"));
    let why = if symmetric {
        ": its tokens are checked with the password that signs them, so whoever checks could also forge; \
         the edge never does. Let the provider sign with RS256 or ES256"
    } else {
        ""
    };
    format!("it signs with {all} only, and the edge checks {}{why}", ALGS.join(", "))
}

/// What to list in the block: what a key is for and the provider says it uses; of what it leaves open, as little as fits.
fn algorithms(set: &KeySet, offered: Option<&[&str]>) -> Vec<String> {
    let fits = |key: &Key, name: &str| {
        Alg::parse(name).is_some_and(|alg| key.public.fits(alg) && key.alg.is_none_or(|own| own == alg))
    };
    let is_used = |name: &&str| {
        set.keys.iter().any(|key| match offered {
            Some(offered) => offered.contains(name) && fits(key, name),
            None => ALGS.iter().find(|first| fits(key, first)) == Some(name),
        })
    };
    ALGS.into_iter().filter(is_used).map(str::to_owned).collect()
}

/// The provider's preset by its host; `oidc` for any that is not known.
pub(super) fn preset(host: &str) -> &'static str {
    let is_under =
        |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    if is_under("okta.com") || is_under("oktapreview.com") || is_under("okta-emea.com") {
        "okta"
    } else if is_under("auth0.com") {
        "auth0"
    } else if host == "login.microsoftonline.com" {
        "entra"
    } else if host.starts_with("cognito-idp.") && is_under("amazonaws.com") {
        "cognito"
    } else if is_under("tokens.sts.global.api.aws") {
        "aws-iam"
    } else if host == "accounts.google.com" {
        "google"
    } else {
        "oidc"
    }
}

fn block(arguments: &Arguments, issuer: &Url, jwks: &Url, algorithms: &[String]) -> Value {
    // The Host header, so with a port that is not 443.
    let host = jwks.host_str().unwrap_or_default();
    let host = jwks.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let path =
        jwks.query().map_or_else(|| jwks.path().to_owned(), |query| format!("{}?{query}", jwks.path()));
    let mut block = json!({
        "name": arguments.name,
        "preset": preset(issuer.host_str().unwrap_or_default()),
        "iss": arguments.issuer,
        "jwks": {"backend": arguments.backend, "host": host, "path": path},
        "algorithms": algorithms,
    });
    for (field, values) in [("audiences", &arguments.audiences), ("client_ids", &arguments.client_ids)] {
        if !values.is_empty() {
            block[field] = json!(values);
        }
    }
    block
}

/// Whether the edge takes the block; what the command line lacks is said in its words.
fn check(arguments: &Arguments, block: &Value, found: &mut Found) {
    if block["preset"] == "cognito" {
        if arguments.client_ids.is_empty() {
            let what = "--client-id is missing: Cognito's access tokens have no aud, so list the app clients that may come";
            return found.problems.push(what.to_owned());
        }
    } else if arguments.audiences.is_empty() {
        let what = "--audience is missing: what `aud` says in the tokens that are for you";
        return found.problems.push(what.to_owned());
    }
    match trial::config(block) {
        Ok(_) => found.notes.push("the edge takes this block".to_owned()),
        Err(error) => found.problems.push(format!("the edge does not take this block: {error}")),
    }
}
