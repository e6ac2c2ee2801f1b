//! What the types alone cannot say of a configuration item. Every error names its place.

use std::collections::HashSet;
use std::fmt::{Arguments, Display};

use edge_token::{Claims, Scalar, is_kid};

use super::{Action, Auth, Config, ConfigError, Issuer, JwksSource, Login, Preset, Route, TokenKind};
use crate::hop::{CLAIMS as HOP_CLAIMS, is_shielded};
use crate::path::{host_of, is_header_name, is_host_name, is_local, normalise};

/// Places are written out only for a mistake: every request reads the item.
fn wrong<T>(at: impl Display, what: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError { at: at.to_string(), what: what.into() })
}

fn unique<'a>(at: impl Display + Copy, names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for (i, name) in names.enumerate() {
        if name.is_empty() || name.len() > 100 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong(
                format_args!("{at}[{i}].name"),
                "must be 1 to 100 visible ASCII characters without blanks",
            );
        }
        if !seen.insert(name) {
            return wrong(
                format_args!("{at}[{i}].name"),
                format!("{name:?} is there twice; names must differ"),
            );
        }
    }
    Ok(())
}

fn path(at: impl Display, path: &str) -> Result<(), ConfigError> {
    match normalise(path) {
        Ok(_) if path.contains('+') || path.contains("%2B") => {
            wrong(at, "has a +, which some origins read as a blank; end the path before it")
        }
        Ok(normal) if normal == path => Ok(()),
        Ok(normal) => wrong(at, format!("is compared with normalised paths; write {normal:?}")),
        Err(_) => {
            wrong(at, "must be a path beginning with /, without //, dot segments, ; or encoded slashes")
        }
    }
}

fn within(at: impl Display, value: u64, range: std::ops::RangeInclusive<u64>) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    wrong(at, format!("is {value} and must be {} to {}", range.start(), range.end()))
}

fn https(at: impl Display, url: &str) -> Result<(), ConfigError> {
    if Issuer::split_https(url).is_some() && !url.contains('#') {
        return Ok(());
    }
    wrong(at, "must be an https:// URL without a fragment")
}

/// What may stand in a token: an empty name would be held by a token that says nothing.
fn names(at: impl Display + Copy, names: &[String]) -> Result<(), ConfigError> {
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > 1024 || name.chars().any(char::is_control) {
            return wrong(format_args!("{at}[{i}]"), "must be 1 to 1024 bytes without control characters");
        }
    }
    Ok(())
}

/// Where the edge itself asks: a host, and a path with or without a query, sent as it is.
fn source(at: impl Display + Copy, source: &JwksSource, path: Option<&str>) -> Result<(), ConfigError> {
    if source.backend.is_empty() {
        return wrong(format_args!("{at}.backend"), "must name a static backend");
    }
    if source.host.as_ref().is_some_and(|host| host_of(host).is_none()) {
        return wrong(format_args!("{at}.host"), "must be a host name, with or without a port");
    }
    match path {
        Some(path) if is_local(path) && !path.contains('#') => Ok(()),
        _ => wrong(format_args!("{at}.path"), "must be given, beginning with one /, without # and blanks"),
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.version != 1 {
            return wrong("version", format!("is {} and this service reads version 1", self.version));
        }
        if self.policy_version.is_empty() || self.policy_version.len() > 100 {
            return wrong("policy_version", "must be 1 to 100 bytes, e.g. a date or a commit");
        }
        if self.log_endpoint.is_empty() {
            return wrong("log_endpoint", "must name a log endpoint");
        }
        unique("issuers", self.issuers.iter().map(|issuer| issuer.name.as_str()))?;
        unique("routes", self.routes.iter().map(|route| route.name.as_str()))?;
        for (i, issuer) in self.issuers.iter().enumerate() {
            issuer.check(format_args!("issuers[{i}]"))?;
            if self.issuers[..i].iter().any(|other| other.iss == issuer.iss) {
                return wrong(
                    format_args!("issuers[{i}].iss"),
                    "is there twice; one block takes several audiences",
                );
            }
        }
        if self.routes.is_empty() {
            return wrong("routes", "is empty, so that every request would be answered 404");
        }
        for (i, route) in self.routes.iter().enumerate() {
            route.check(format_args!("routes[{i}]"), self)?;
        }
        self.check_stamp()?;
        self.check_edge_token()?;
        self.login.iter().try_for_each(|login| login.check(self))
    }

    fn check_stamp(&self) -> Result<(), ConfigError> {
        let stamp = &self.stamp;
        let mut names = vec![&stamp.correlation_header];
        names.extend(stamp.claims.iter().map(|claim| &claim.header));
        names.extend(self.edge_token.iter().map(|token| &token.header));
        let place = |i: usize| match i {
            0 => "stamp.correlation_header".to_owned(),
            i if i <= stamp.claims.len() => format!("stamp.claims[{}].header", i - 1),
            _ => "edge_token.header".to_owned(),
        };
        for (i, name) in names.iter().enumerate() {
            if !is_header_name(name.as_bytes())
                || name.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'_')
            {
                let what = format!("{name:?} must be a header name in lower case, with - and not _");
                return wrong(place(i), what);
            }
            if crate::stamp::is_own(name) {
                let what = format!("{name:?} has a meaning of its own; choose another header");
                return wrong(place(i), what);
            }
            if names[..i].contains(name) {
                return wrong(place(i), format!("{name:?} is set from two places"));
            }
        }
        for (i, claim) in stamp.claims.iter().enumerate() {
            within(format_args!("stamp.claims[{i}].max_bytes"), claim.max_bytes as u64, 1..=4096)?;
            // Letters and digits stand in escapes, so that one member would read as two.
            if !claim.separator.is_ascii_punctuation() || claim.separator == '%' {
                return wrong(
                    format_args!("stamp.claims[{i}].separator"),
                    "must be one ASCII punctuation mark, not %",
                );
            }
        }
        within("stamp.sampled_percent", stamp.sampled_percent.into(), 0..=100)?;
        for (i, prefix) in stamp.strip_prefixes.iter().enumerate() {
            if prefix.len() < 3 {
                return wrong(format_args!("stamp.strip_prefixes[{i}]"), "must have 3 characters or more");
            }
        }
        Ok(())
    }

    fn check_edge_token(&self) -> Result<(), ConfigError> {
        let Some(token) = &self.edge_token else { return Ok(()) };
        https("edge_token.issuer", &token.issuer)?;
        if token.audience.is_empty() {
            return wrong("edge_token.audience", "must not be empty");
        }
        within("edge_token.lifetime_s", token.lifetime_s, 1..=edge_token::MAX_LIFETIME_S)?;
        if token.keys.is_empty() || token.keys.len() > 2 {
            return wrong("edge_token.keys", "must have one key, or two during a rotation");
        }
        for (i, key) in token.keys.iter().enumerate() {
            if !is_kid(&key.kid) {
                return wrong(
                    format_args!("edge_token.keys[{i}].kid"),
                    "may have letters, digits and . - _ ~ only",
                );
            }
        }
        unique("edge_token.keys", token.keys.iter().map(|key| key.kid.as_str()))?;
        // Minted once here: what can be minted for no request would have every request answered 503.
        let times = (0, token.lifetime_s);
        let minted = Claims::for_request(&token.issuer, &token.audience, "0", ("GET", "/"), times);
        let claims =
            minted.map_err(|error| ConfigError { at: "edge_token".into(), what: error.to_string() })?;
        let selected = |claims: Claims, name: &String| claims.with_claim(name, Scalar::Bool(true));
        let mut claims = token.claims.iter().fold(claims, selected);
        if is_shielded(self) {
            if let Some(name) = token.claims.iter().find(|name| HOP_CLAIMS.contains(&name.as_str())) {
                return wrong("edge_token.claims", format!("{name:?} is what POPs tell each other"));
            }
            claims = HOP_CLAIMS.map(str::to_owned).iter().fold(claims, selected);
        }
        claims
            .check()
            .map_err(|error| ConfigError { at: "edge_token.claims".into(), what: error.to_string() })
    }
}

impl Issuer {
    fn check(&self, at: Arguments<'_>) -> Result<(), ConfigError> {
        https(format_args!("{at}.iss"), &self.iss)?;
        if self.preset == Preset::Okta && !self.iss.contains("/oauth2/") {
            let what = "is Okta's org server, whose access tokens only Okta may check; use a custom authorization \
                        server, such as https://example.okta.com/oauth2/default";
            return wrong(format_args!("{at}.iss"), what);
        }
        if self.preset == Preset::Entra && !self.iss.ends_with("/v2.0") {
            return wrong(
                format_args!("{at}.iss"),
                "must be https://login.microsoftonline.com/<tenant>/v2.0",
            );
        }
        source(format_args!("{at}.jwks"), &self.jwks, self.jwks_path().as_deref())?;
        names(format_args!("{at}.audiences"), &self.audiences)?;
        names(format_args!("{at}.client_ids"), &self.client_ids)?;
        names(format_args!("{at}.types"), &self.types)?;
        let by_client = self.preset == Preset::Cognito;
        if by_client && self.client_ids.is_empty() {
            return wrong(
                format_args!("{at}.client_ids"),
                "must list the app clients: Cognito's access tokens have no aud",
            );
        }
        if !by_client && self.audiences.is_empty() {
            return wrong(format_args!("{at}.audiences"), "must list at least one audience");
        }
        if self.token_kind() == TokenKind::Access && self.preset == Preset::Google {
            return wrong(format_args!("{at}.token"), "must be id: Google's access tokens are opaque");
        }
        within(format_args!("{at}.skew_s"), self.skew_s, 0..=60)?;
        within(format_args!("{at}.max_stale_s"), self.max_stale_s, 3600..=7 * 86_400)?;
        within(format_args!("{at}.max_lifetime_s"), self.max_lifetime_s, 1..=31 * 86_400)
    }
}

impl Route {
    fn check(&self, at: Arguments<'_>, config: &Config) -> Result<(), ConfigError> {
        let matches = &self.matches;
        if matches.path.is_some() && matches.path_prefix.is_some() {
            return wrong(format_args!("{at}.match"), "has both path and path_prefix; keep one");
        }
        for (name, text) in [("path", &matches.path), ("path_prefix", &matches.path_prefix)] {
            text.iter().try_for_each(|text| path(format_args!("{at}.match.{name}"), text))?;
        }
        if matches.path_prefix.as_ref().is_some_and(|prefix| prefix.len() > 1 && prefix.ends_with('/')) {
            return wrong(
                format_args!("{at}.match.path_prefix"),
                "ends with /, so that it does not match the path itself; leave the / out",
            );
        }
        for (i, method) in matches.methods.iter().enumerate() {
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
                let what = "must be a method in upper case: methods are compared exactly";
                return wrong(format_args!("{at}.match.methods[{i}]"), what);
            }
        }
        for (i, host) in matches.hosts.iter().enumerate() {
            if !is_host_name(host.strip_prefix("*.").unwrap_or(host)) {
                return wrong(
                    format_args!("{at}.match.hosts[{i}]"),
                    "must be a host name in lower case without a port",
                );
            }
        }
        for (i, name) in self.issuers.iter().enumerate() {
            if !config.issuers.iter().any(|issuer| issuer.name == *name) {
                return wrong(
                    format_args!("{at}.issuers[{i}]"),
                    format!("there is no issuer named {name:?}"),
                );
            }
        }
        if self.auth != Auth::Required && !self.require.is_empty() {
            return wrong(format_args!("{at}.require"), "asks what only auth \"required\" can hold to");
        }
        if self.auth == Auth::Required
            && config.issuers.is_empty()
            && matches!(self.action, Action::Forward(_))
        {
            return wrong(
                format_args!("{at}.auth"),
                "is required, but there are no issuers, so nobody could ever pass",
            );
        }
        if self.login && (config.login.is_none() || self.auth != Auth::Required) {
            return wrong(format_args!("{at}.login"), "needs a login block and auth \"required\"");
        }
        self.check_action(at, config)
    }

    fn check_action(&self, at: Arguments<'_>, config: &Config) -> Result<(), ConfigError> {
        match &self.action {
            Action::Forward(forward) => {
                if forward.backend.is_empty() {
                    return wrong(format_args!("{at}.action.forward.backend"), "must name a static backend");
                }
                if let Some(shield) = &forward.shield
                    && (!is_host_name(shield) || config.edge_token.is_none())
                {
                    let what = "must be a shield's code, such as frankfurt-de, and needs an edge_token";
                    return wrong(format_args!("{at}.action.forward.shield"), what);
                }
                if forward.by_claim.is_some() && self.auth == Auth::Public {
                    return wrong(
                        format_args!("{at}.action.forward.by_claim"),
                        "needs a credential, and the route is public",
                    );
                }
                if let Some(rewrite) = &forward.rewrite {
                    for (name, text) in
                        [("strip_prefix", &rewrite.strip_prefix), ("add_prefix", &rewrite.add_prefix)]
                    {
                        text.iter().try_for_each(|text| {
                            path(format_args!("{at}.action.forward.rewrite.{name}"), text)
                        })?;
                    }
                }
                Ok(())
            }
            Action::Redirect { to, status } => {
                if ![301, 302, 303, 307, 308].contains(status) {
                    return wrong(
                        format_args!("{at}.action.redirect.status"),
                        "must be 301, 302, 303, 307 or 308",
                    );
                }
                let listed = Issuer::split_https(to)
                    .is_some_and(|(host, _)| config.redirect_hosts.iter().any(|h| h == host));
                if listed || is_local(to) {
                    return Ok(());
                }
                wrong(
                    format_args!("{at}.action.redirect.to"),
                    "must be a path, or https:// with a host of redirect_hosts",
                )
            }
            Action::Deny { status } => {
                within(format_args!("{at}.action.deny.status"), u64::from(*status), 400..=499)
            }
            Action::Maintenance { .. } => Ok(()),
        }
    }
}

impl Login {
    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        if !config.issuers.iter().any(|issuer| issuer.name == self.issuer) {
            return wrong("login.issuer", format!("there is no issuer named {:?}", self.issuer));
        }
        https("login.authorization_endpoint", &self.authorization_endpoint)?;
        self.end_session_endpoint.iter().try_for_each(|url| https("login.end_session_endpoint", url))?;
        https("login.redirect_uri", &self.redirect_uri)?;
        path("login.redirect_uri", self.callback_path())?;
        path("login.logout_path", &self.logout_path)?;
        if self.callback_path() == "/" || self.callback_path() == self.logout_path {
            return wrong("login.redirect_uri", "must have a path of its own, such as /callback");
        }
        source("login.token_endpoint", &self.token_endpoint, self.token_endpoint.path.as_deref())?;
        if self.client_id.is_empty() {
            return wrong("login.client_id", "must not be empty");
        }
        if self.session_secret_previous.as_ref() == Some(&self.session_secret) {
            return wrong("login.session_secret_previous", "is the same secret; name the one before it");
        }
        within("login.session_s", self.session_s, 60..=86_400)
    }

    /// The path of the callback.
    pub fn callback_path(&self) -> &str {
        Issuer::split_https(&self.redirect_uri)
            .map_or("/", |(_, path)| if path.is_empty() { "/" } else { path })
    }
}
