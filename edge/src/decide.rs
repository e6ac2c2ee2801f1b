//! The decision on one request: read, route, credential, demands, stamp. Each step either goes on or refuses; there is no
//! way round one.

mod own;

use crate::config::{Action, Auth, Config, Forwarding, Route};
use crate::credential::{self, Credential};
use crate::decision::{Decided, Decision, Forward, Respond};
use crate::hop::{self, Hop, Told};
use crate::host::Host;
use crate::log::LogRecord;
use crate::login;
use crate::path::{host_of, is_query, normalise};
use crate::record::first_entries;
use crate::request::IncomingRequest;
use crate::session::{self, Secrets};
use crate::stamp::{self, Ids};
use crate::verify::{Identity, Refusal};
use crate::{route, verify};

/// Where the public keys of the edge token are served.
pub const EDGE_KEYS_PATH: &str = "/.well-known/edge-jwks.json";
/// Headers of one request, together; Fastly itself stops at 69 KB.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Path and query; Fastly's own limit, and what an edge token can bind.
const MAX_TARGET_BYTES: usize = 8192;
/// Headers of one request.
const MAX_HEADERS: usize = 200;

/// Decides on one request. Never panics; whatever fails is a refusal.
pub fn decide(config: &Config, host: &mut impl Host, request: &IncomingRequest) -> Decided {
    let start_us = host.now_unix_us();
    let hop = hop::find(config, host, request);
    let ids = stamp::mint_ids(config, host, request, hop.as_ref());
    let mut log = first_entries(config, host, request, &ids, start_us);
    if let Some(hop) = &hop {
        log.hop = "shield";
        log.client_ip = hop.client().0.map(|ip| ip.to_string()).unwrap_or_default();
    }
    let mut flow = Flow { config, host, request, hop, ids, log, query: request.raw_query(), start_us };
    let decision = flow.run();
    let mut log = flow.log;
    if let Decision::Respond(respond) = &decision {
        log.status = respond.status;
    }
    Decided { decision, log }
}

struct Flow<'a, H: Host> {
    config: &'a Config,
    host: &'a mut H,
    request: &'a IncomingRequest,
    /// Set at the second POP.
    hop: Option<Hop>,
    ids: Ids,
    log: LogRecord,
    query: Option<&'a str>,
    start_us: u64,
}

impl<H: Host> Flow<'_, H> {
    fn base_headers(&self) -> Vec<(String, String)> {
        vec![(self.config.stamp.correlation_header.clone(), self.ids.correlation_id.clone())]
    }

    fn verdict(&mut self, outcome: &str, rule: &str, reason: &str) {
        self.log.verdict.outcome = outcome.into();
        self.log.verdict.rule = rule.into();
        self.log.verdict.reason = reason.into();
    }

    /// A refusal. The client is told the status alone: which check it was is for the log.
    fn refuse(&mut self, status: u16, rule: &str, reason: &str) -> Decision {
        self.verdict(if status >= 500 { "error" } else { "deny" }, rule, reason);
        let title = match status {
            400 => "the request cannot be read without doubt",
            401 => "a valid credential is needed",
            403 => "not allowed",
            404 => "nothing here",
            405 => "this method is not served",
            503 => "not available for the moment",
            _ => "refused",
        };
        let mut respond = Respond::problem(status, title, &self.base_headers());
        match status {
            401 => {
                let value =
                    if reason == "no_credential" { "Bearer" } else { "Bearer error=\"invalid_token\"" };
                respond.headers.push(("www-authenticate".into(), value.into()));
            }
            503 => respond.headers.push(("retry-after".into(), "1".into())),
            _ => {}
        }
        Decision::Respond(self.for_method(respond))
    }

    /// `HEAD` has no body.
    fn for_method(&self, mut respond: Respond) -> Respond {
        if self.request.method == "HEAD" {
            respond.body.clear();
        }
        respond
    }

    fn run(&mut self) -> Decision {
        let (host, path) = match self.read() {
            Ok(read) => read,
            Err((status, reason)) => return self.refuse(status, "request", reason),
        };
        self.log.path.clone_from(&path);
        self.log.host.clone_from(&host);
        if self.hop.is_none()
            && self.request.scheme != "https"
            && !self.config.plain_http
            && !self.host.is_local()
        {
            return self.refuse_plain_http(&host, &path);
        }
        if let Some(decision) = self.own_paths(&path, &host) {
            return decision;
        }
        let config = self.config;
        let Some(route) = route::find(config, &host, &self.request.method, &path) else {
            return self.refuse(404, "request", "no_route");
        };
        self.log.route.clone_from(&route.name);
        match &route.action {
            Action::Deny { status } => return self.refuse(*status, &route.name, "denied_by_route"),
            Action::Maintenance { retry_after_s } => {
                self.verdict("deny", &route.name, "maintenance");
                let mut respond = Respond::problem(503, "closed for maintenance", &self.base_headers());
                respond.headers.push(("retry-after".into(), retry_after_s.to_string()));
                return Decision::Respond(self.for_method(respond));
            }
            Action::Forward(_) | Action::Redirect { .. } => {}
        }
        let before_us = self.host.now_unix_us();
        let identity = self.identify(route, &host);
        self.log.timings.verify_us = Some(self.host.now_unix_us().saturating_sub(before_us));
        let identity = match identity {
            Ok(identity) => identity,
            Err(refusal) => return self.turn_away(route, refusal),
        };
        match &route.action {
            Action::Redirect { to, status } => {
                self.verdict("redirect", &route.name, "redirected_by_route");
                let mut headers = self.base_headers();
                headers.push(("location".into(), to.clone()));
                headers.push(("cache-control".into(), "no-store".into()));
                Decision::Respond(Respond { status: *status, headers, body: Vec::new() })
            }
            Action::Forward(forward) => self.forward(route, forward, identity.as_ref(), (&host, &path)),
            Action::Deny { status } => self.refuse(*status, &route.name, "denied_by_route"),
            Action::Maintenance { .. } => self.refuse(503, &route.name, "maintenance"),
        }
    }

    /// Host in lower case and the normalised path, of a request that can be read in one way only.
    fn read(&self) -> Result<(String, String), (u16, &'static str)> {
        let request = self.request;
        let bytes: usize = request.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let named = stamp::connection_names(request).take(stamp::MAX_CONNECTION_NAMES + 1).count();
        if request.headers.len() > MAX_HEADERS
            || bytes > MAX_HEADER_BYTES
            || named > stamp::MAX_CONNECTION_NAMES
        {
            return Err((431, "headers_too_large"));
        }
        let method = request.method.as_bytes();
        if method.is_empty() || method.len() > 32 || !method.iter().all(u8::is_ascii_uppercase) {
            return Err((405, "method"));
        }
        // The last two are the platform's own: an origin behind another cache would take them as an order.
        if matches!(request.method.as_str(), "TRACE" | "CONNECT" | "TRACK" | "PURGE" | "FASTLYPURGE") {
            return Err((405, "method"));
        }
        let host = host_of(&request.authority).ok_or((400, "host"))?;
        let mut hosts = request.values("host");
        if hosts.next().is_some_and(|own| own != request.authority.as_bytes()) || hosts.next().is_some() {
            return Err((400, "host"));
        }
        let path = normalise(request.raw_path()).map_err(|bad| (400, bad.0))?;
        if !self.query.is_none_or(is_query) || request.target.len() > MAX_TARGET_BYTES {
            return Err((400, "query"));
        }
        Ok((host, path))
    }

    fn log_identity(&mut self, issuer: &str, kid: &str, subject: &str) {
        let iss = self.config.issuers.iter().find(|own| own.name == issuer).map(|own| own.iss.clone());
        self.log.issuer = iss.unwrap_or_default();
        self.log.kid = kid.to_owned();
        let secret = self.config.subject_secret.as_ref().and_then(|name| self.host.secret(name));
        let pseudonym = secret
            .filter(|secret| secret.len() >= 16)
            .and_then(|secret| login::pseudonym(&secret, &self.log.issuer, subject));
        self.log.subject = pseudonym.unwrap_or_default();
    }

    /// A token whose signature held says by whom, though it is refused; not for whom, which nobody vouched for.
    fn log_signer(&mut self, refused: verify::Refused) -> Refusal {
        if let Some((issuer, kid)) = refused.signer {
            let iss = self.config.issuers.iter().find(|own| own.name == issuer).map(|own| own.iss.clone());
            self.log.issuer = iss.unwrap_or_default();
            self.log.kid = kid;
        }
        refused.refusal
    }

    /// Who the request is from; `None` where nobody needs to say.
    fn identify(&mut self, route: &Route, host: &str) -> Result<Option<Identity>, Refusal> {
        if route.auth == Auth::Public {
            return Ok(None);
        }
        if let Some(hop) = self.hop.as_ref().filter(|hop| hop.is_by(route)) {
            let identity = hop.identity(self.config);
            if let Some(identity) = &identity {
                self.log_identity(&identity.issuer, &identity.kid, identity.subject());
            }
            let may_be_nobody = route.auth == Auth::Optional;
            return if identity.is_some() || may_be_nobody { Ok(identity) } else { Err(Refusal::Missing) };
        }
        let identity = match credential::find(self.config, self.host, self.request)? {
            Credential::None if route.auth == Auth::Optional => return Ok(None),
            Credential::None => return Err(Refusal::Missing),
            Credential::Bearer(token) => {
                let verified = verify::verify_bearer(self.config, self.host, &route.issuers, &token);
                verified.map_err(|refused| self.log_signer(refused))?
            }
            Credential::Session(session) => {
                if !route.issuers.is_empty() && !route.issuers.contains(&session.issuer) {
                    return Err(Refusal::UnknownIssuer);
                }
                session::check_origin(self.request, host)?;
                self.log.journey_id.clone_from(&session.journey);
                // The request that the browser repeats after the login, and what the page loads with it.
                if self.host.now_unix_ms() / 1000 < session.iat.saturating_add(60) {
                    self.join_journey(session.link.clone());
                }
                login::identity(&session)
            }
        };
        self.log_identity(&identity.issuer, &identity.kid, identity.subject());
        route::check_required(&route.require, &identity)?;
        Ok(Some(identity))
    }

    /// To the login, where a person can do something about it; else an answer.
    fn turn_away(&mut self, route: &Route, refusal: Refusal) -> Decision {
        let config = self.config;
        if route.login
            && login::leads_to_login(refusal)
            && login::is_navigation(self.request)
            && let Some(login) = &config.login
        {
            let Some(secrets) = Secrets::of(login, self.host) else {
                return self.refuse(503, "login", "no_session_secret");
            };
            return match login::begin(login, self.host, &secrets, &self.ids, &self.request.target) {
                Some(sent) => self.send(sent, &route.name, "login_needed"),
                None => self.refuse(503, "login", "state_too_large"),
            };
        }
        self.refuse(refusal.status(), &route.name, refusal.reason())
    }

    fn forward(
        &mut self,
        route: &Route,
        forward: &Forwarding,
        identity: Option<&Identity>,
        (host, path): (&str, &str),
    ) -> Decision {
        let config = self.config;
        let Some(path_on) = route::rewrite(forward, path) else {
            return self.refuse(400, &route.name, "rewritten_path");
        };
        let with_query = |path: &str| self.query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
        let mut target = with_query(&path_on);
        if target.len() > MAX_TARGET_BYTES {
            return self.refuse(414, &route.name, "rewritten_target");
        }
        let keep_auth = config.stamp.forward_authorization && route.auth != Auth::Public;
        let mut headers = stamp::strip(config, self.request, keep_auth);
        let has_cookie = headers.iter().any(|(name, _)| name == "cookie");
        let (client_ip, scheme) = match &self.hop {
            Some(hop) => (hop.client().0, hop.client().1.unwrap_or("https").to_owned()),
            None => (self.host.client_ip(), self.request.scheme.clone()),
        };
        stamp::set_ids(&mut headers, config, &self.ids, client_ip, (&scheme, host));
        match (identity, &self.hop) {
            (Some(_), Some(hop)) => hop.set_headers(&mut headers, config, self.request),
            (Some(identity), None) => stamp::set_claims(&mut headers, config, identity),
            (None, _) => {}
        }
        let chosen = self.hop.as_ref().and_then(|hop| hop.backend(forward));
        let backend = chosen.unwrap_or_else(|| route::backend(forward, identity)).to_owned();
        let elsewhere = forward.shield.clone();
        let elsewhere = elsewhere.filter(|shield| self.hop.is_none() && self.host.is_elsewhere(shield));
        let told = Told { route, backend: &backend, identity, client_ip, scheme: &scheme, ids: &self.ids };
        // The shield goes by the same rules, so it gets the host and path that these were chosen by.
        let detour = elsewhere.and_then(|shield| {
            let unchanged = with_query(path);
            let minted = hop::vouch(config, self.host, (&self.request.method, &unchanged), &headers, &told)?;
            Some((shield, unchanged, minted))
        });
        let mut shield = None;
        if let (Some((code, unchanged, minted)), Some(token)) = (detour, &config.edge_token) {
            stamp::set(&mut headers, &token.header, minted);
            (shield, target) = (Some(code), unchanged);
        } else if let Some(token) = &config.edge_token {
            let bound = (self.request.method.as_str(), target.as_str(), self.ids.correlation_id.as_str());
            let Some(minted) = stamp::edge_token(config, token, self.host, bound, identity) else {
                return self.refuse(503, &route.name, "no_edge_token");
            };
            stamp::set(&mut headers, &token.header, minted);
        }
        self.log.backend.clone_from(&backend);
        self.log.to_shield = shield.is_some();
        if shield.is_none() && path_on != path {
            self.log.upstream_path = path_on;
        }
        let reason = match (identity, route.auth) {
            (Some(_), _) => "verified",
            (None, Auth::Public) => "public",
            (None, _) => "anonymous",
        };
        self.verdict("allow", &route.name, reason);
        // A body is no part of a cache's key.
        let has_body = self.request.values("transfer-encoding").next().is_some()
            || self.request.values("content-length").any(|length| length != b"0");
        let is_cacheable = matches!(self.request.method.as_str(), "GET" | "HEAD") && !has_body;
        self.log.timings.upstream_start_us = Some(self.host.now_unix_us().saturating_sub(self.start_us));
        Decision::Forward(Forward {
            backend,
            method: self.request.method.clone(),
            target,
            host: forward.host.clone().filter(|_| shield.is_none()).unwrap_or_else(|| host.to_owned()),
            shield,
            headers,
            // Optional routes answer differently to those who say who they are.
            pass: identity.is_some() || route.auth != Auth::Public || has_cookie || !is_cacheable,
            response_headers: self.base_headers(),
            private: identity.is_some(),
        })
    }
}
