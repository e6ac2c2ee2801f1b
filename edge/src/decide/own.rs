//! What the edge answers itself: its keys, the ends of a login, and what came without TLS.

use super::{EDGE_KEYS_PATH, Flow};
use crate::decision::{Decision, Respond};
use crate::host::Host;
use crate::login::{self, Lost, Sent};
use crate::path::host_of;
use crate::session::Secrets;
use crate::stamp;

impl<H: Host> Flow<'_, H> {
    /// Without TLS; what came with the request has been read on the way already, and must not come so again.
    pub(super) fn refuse_plain_http(&mut self, host: &str, path: &str) -> Decision {
        if !matches!(self.request.method.as_str(), "GET" | "HEAD") {
            return self.refuse(403, "request", "plain_http");
        }
        self.verdict("redirect", "request", "plain_http");
        let query = self.query.map(|query| format!("?{query}")).unwrap_or_default();
        let mut headers = self.base_headers();
        headers.push(("location".into(), format!("https://{host}{path}{query}")));
        headers.push(("cache-control".into(), "no-store".into()));
        Decision::Respond(Respond { status: 308, headers, body: Vec::new() })
    }

    /// What the edge answers itself: its keys, the callback, the logout.
    pub(super) fn own_paths(&mut self, path: &str, host: &str) -> Option<Decision> {
        let config = self.config;
        if let Some(token) = config.edge_token.as_ref().filter(|_| path == EDGE_KEYS_PATH) {
            if !matches!(self.request.method.as_str(), "GET" | "HEAD") {
                return Some(self.refuse(405, "edge_keys", "method"));
            }
            let Some(keys) = stamp::public_keys(token, self.host) else {
                return Some(self.refuse(503, "edge_keys", "no_signing_key"));
            };
            self.verdict("allow", "edge_keys", "public");
            let mut headers = self.base_headers();
            headers.push(("content-type".into(), "application/jwk-set+json".into()));
            headers.push(("cache-control".into(), "public, max-age=300".into()));
            let respond = Respond { status: 200, headers, body: keys.to_json().into_bytes() };
            return Some(Decision::Respond(self.for_method(respond)));
        }
        let login = config.login.as_ref()?;
        let (our_host, _) = crate::config::Issuer::split_https(&login.redirect_uri)?;
        if host_of(our_host).as_deref() != Some(host) || self.request.method != "GET" {
            return None;
        }
        if path == login.logout_path {
            return Some(self.send(login::end(login), "logout", "logged_out"));
        }
        if path != login.callback_path() {
            return None;
        }
        let Some(secrets) = Secrets::of(login, self.host) else {
            return Some(self.refuse(503, "login", "no_session_secret"));
        };
        Some(match login::callback(config, login, self.host, (&secrets, &self.ids), self.request) {
            Ok(sent) => self.send(sent, "login", "logged_in"),
            Err(Lost(status, reason)) => self.refuse(status, "login", reason),
        })
    }

    pub(super) fn send(&mut self, sent: Sent, rule: &str, reason: &str) -> Decision {
        self.verdict("redirect", rule, reason);
        self.log.journey_id = sent.journey;
        if let Some(link) = sent.link {
            self.join_journey(link);
        }
        if let Some((issuer, kid, subject)) = sent.identity {
            self.log_identity(&issuer, &kid, &subject);
        }
        let mut headers = self.base_headers();
        headers.push(("location".into(), sent.to));
        headers.push(("cache-control".into(), "no-store".into()));
        headers.push(("referrer-policy".into(), "no-referrer".into()));
        headers.extend(sent.cookies.into_iter().map(|cookie| ("set-cookie".into(), cookie)));
        Decision::Respond(Respond { status: 302, headers, body: Vec::new() })
    }

    /// The requests of one login are one trace, so that whoever has the id of one finds the others.
    pub(super) fn join_journey(&mut self, earlier: String) {
        self.ids.traceparent = self.ids.in_trace_of(&earlier);
        self.log.traceparent.clone_from(&self.ids.traceparent);
        self.log.links.push(earlier);
    }
}
