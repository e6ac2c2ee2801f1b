//! Which rule a request falls under, and where it goes.

use serde_json::Value;

use crate::config::{Config, Forwarding, Match, Require, Route};
use crate::path::is_below;
use crate::verify::{Identity, Refusal};

/// The first route that matches.
pub(crate) fn find<'a>(config: &'a Config, host: &str, method: &str, path: &str) -> Option<&'a Route> {
    config.routes.iter().find(|route| route.matches.holds(host, method, path))
}

impl Match {
    fn holds(&self, host: &str, method: &str, path: &str) -> bool {
        let host_holds = |own: &String| match own.strip_prefix("*.") {
            Some(parent) => {
                host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => own == host,
        };
        (self.hosts.is_empty() || self.hosts.iter().any(host_holds))
            && (self.methods.is_empty() || self.methods.iter().any(|own| own == method))
            && self.path.as_ref().is_none_or(|own| own == path)
            && self.path_prefix.as_ref().is_none_or(|own| is_below(path, own))
    }
}

/// Whether an identity says what the route asks for.
pub(crate) fn check_required(require: &Require, identity: &Identity) -> Result<(), Refusal> {
    for (name, accepted) in &require.claims {
        let held = |value: &Value| match value {
            Value::String(text) => accepted.iter().any(|own| own == text),
            Value::Bool(_) | Value::Number(_) => accepted.contains(&value.to_string()),
            _ => false,
        };
        let holds = match identity.claims.get(name) {
            Some(Value::Array(values)) => values.iter().any(held),
            Some(value) => held(value),
            None => false,
        };
        if !holds {
            return Err(Refusal::MissingClaim);
        }
    }
    let scopes = scopes(identity);
    if require.scopes.iter().all(|wanted| scopes.contains(&wanted.as_str())) {
        return Ok(());
    }
    Err(Refusal::MissingScope)
}

fn scopes(identity: &Identity) -> Vec<&str> {
    let mut all = Vec::new();
    for name in ["scope", "scp"] {
        match identity.claims.get(name) {
            Some(Value::String(text)) => all.extend(text.split(' ')),
            Some(Value::Array(values)) => all.extend(values.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    all
}

/// The backend of a request.
pub(crate) fn backend<'a>(forward: &'a Forwarding, identity: Option<&Identity>) -> &'a str {
    let by_claim = || {
        let by = forward.by_claim.as_ref()?;
        by.backends.get(identity?.claims.get(&by.claim)?.as_str()?)
    };
    by_claim().unwrap_or(&forward.backend)
}

/// The path to forward. Prefixes of the configuration are normalised, so the outcome is too; one that is not is refused.
pub(crate) fn rewrite(forward: &Forwarding, path: &str) -> Option<String> {
    let Some(rewrite) = &forward.rewrite else { return Some(path.to_owned()) };
    let mut path = path.to_owned();
    if let Some(prefix) = &rewrite.strip_prefix
        && is_below(&path, prefix)
    {
        let rest = path.strip_prefix(prefix.trim_end_matches('/')).unwrap_or(&path);
        path = if rest.is_empty() { "/".to_owned() } else { rest.to_owned() };
    }
    if let Some(prefix) = &rewrite.add_prefix {
        path = format!("{}{path}", prefix.trim_end_matches('/'));
    }
    crate::path::normalise(&path).ok().filter(|normal| *normal == path)
}
