//! From one POP to another of the same service (shielding). The first one decides and vouches for it in a token to itself; the
//! second one asks nothing again, goes by the same rules to the backend, and says in the log that it is a shield.
//!
//! The proof is the token alone: our issuer, one of our keys, an audience that no origin has, at most a minute, this method
//! and target, these headers. What Fastly or a client says about POPs (`Fastly-FF`) is never looked at.

use correlation::Traceparent;
use edge_token::{Bound, Claims, Jwks, Minter, Scalar, Verifier};
use serde_json::{Map, Value};

use crate::config::{Action, Config, EdgeToken, Forwarding, Route};
use crate::encoding::sha256_hex;
use crate::host::Host;
use crate::request::IncomingRequest;
use crate::stamp::{self, Ids};
use crate::verify::Identity;

/// What the token says beside its own claims and those of the configuration.
pub(crate) const CLAIMS: [&str; 7] =
    ["hop_backend", "hop_client", "hop_headers", "hop_kid", "hop_route", "hop_scheme", "hop_trace"];

/// What the first POP found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    claims: Claims,
    /// The trace that the first POP sent on.
    pub(crate) trace: Traceparent,
}

/// What one POP tells the other of a request.
pub(crate) struct Told<'a> {
    pub(crate) route: &'a Route,
    pub(crate) backend: &'a str,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) client_ip: Option<std::net::IpAddr>,
    pub(crate) scheme: &'a str,
    pub(crate) ids: &'a Ids,
}

/// Whether any route of a configuration is shielded; otherwise no token is ever looked for.
pub(crate) fn is_shielded(config: &Config) -> bool {
    let shielded =
        |route: &Route| matches!(&route.action, Action::Forward(forward) if forward.shield.is_some());
    config.routes.iter().any(shielded)
}

fn audience(token: &EdgeToken) -> String {
    format!("{}#shield", token.issuer)
}

/// Headers that go from POP to POP as the first one set them.
fn carried(config: &Config) -> impl Iterator<Item = &str> {
    let claims = config.stamp.claims.iter().map(|claim| claim.header.as_str());
    ["authorization", "tracestate"].into_iter().chain(claims)
}

/// Binds the carried headers. The list of names is the configuration's, so that two POPs with different ones disagree.
fn digest(config: &Config, headers: &[(String, Vec<u8>)]) -> String {
    let hash_of = |name: &str| {
        let own = headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        sha256_hex(&own.map(|(_, value)| value.as_slice()).collect::<Vec<_>>())
    };
    let hashes: Vec<String> = carried(config).flat_map(|name| [name.to_owned(), hash_of(name)]).collect();
    sha256_hex(&hashes.iter().map(String::as_bytes).collect::<Vec<_>>())
}

/// The proof of another POP in a request; `None` is an ordinary request, whatever it says of itself.
pub(crate) fn find(config: &Config, host: &mut impl Host, request: &IncomingRequest) -> Option<Hop> {
    let token = config.edge_token.as_ref().filter(|_| is_shielded(config))?;
    let text = request.only_value(&token.header)?;
    let keys: Jwks = stamp::public_keys(token, host)?;
    let bound = Bound { method: &request.method, path_and_query: &request.target };
    let verifier = Verifier::new(&token.issuer, audience(token));
    let claims = verifier.verify(&keys, text, bound, host.now_unix_ms() / 1000).ok()?;
    let hop = Hop { trace: Traceparent::parse(text_of(&claims, "hop_trace")?).ok()?, claims };
    (hop.text("hop_headers") == Some(&digest(config, &request.headers))).then_some(hop)
}

fn text_of<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    match claims.selected.get(name) {
        Some(Scalar::Text(text)) => Some(text),
        _ => None,
    }
}

impl Hop {
    fn text(&self, name: &str) -> Option<&str> {
        text_of(&self.claims, name)
    }

    /// The request's id.
    pub(crate) fn correlation_id(&self) -> &str {
        &self.claims.jti
    }

    /// The client's address and scheme, as the first POP saw them.
    pub(crate) fn client(&self) -> (Option<std::net::IpAddr>, Option<&str>) {
        (self.text("hop_client").and_then(|ip| ip.parse().ok()), self.text("hop_scheme"))
    }

    /// Whether the first POP decided by this rule: POPs may have different versions of the rules for some seconds.
    pub(crate) fn is_by(&self, route: &Route) -> bool {
        self.text("hop_route") == Some(&route.name)
    }

    /// Who the first POP let in; `None` for nobody by name.
    pub(crate) fn identity(&self, config: &Config) -> Option<Identity> {
        let cid = self.claims.cid.as_ref()?;
        let issuer = config.issuers.iter().find(|issuer| issuer.iss == *cid)?;
        let selected = self.claims.selected.iter().filter(|(name, _)| !CLAIMS.contains(&name.as_str()));
        let mut claims: Map<String, Value> =
            selected.map(|(name, value)| (name.clone(), value.into())).collect();
        claims.insert("sub".into(), self.claims.sub.as_str().into());
        let kid = self.text("hop_kid").unwrap_or_default().to_owned();
        Some(Identity { issuer: issuer.name.clone(), kid, claims, exp: self.claims.exp })
    }

    /// The backend that the first POP chose, among those of the rule.
    pub(crate) fn backend<'a>(&self, forward: &'a Forwarding) -> Option<&'a str> {
        let by_claim = forward.by_claim.iter().flat_map(|by| by.backends.values());
        let mut all = std::iter::once(&forward.backend).chain(by_claim);
        all.find(|name| self.text("hop_backend") == Some(name)).map(String::as_str)
    }

    /// Sets the claims' headers as the first POP set them in the request that this is the proof of.
    pub(crate) fn set_headers(
        &self,
        headers: &mut Vec<(String, Vec<u8>)>,
        config: &Config,
        request: &IncomingRequest,
    ) {
        for claim in &config.stamp.claims {
            if let Some(value) = request.only_value(&claim.header) {
                stamp::set(headers, &claim.header, value);
            }
        }
    }
}

/// The token of a request to another POP; `None` when it cannot be minted, and then the request takes no detour.
pub(crate) fn vouch(
    config: &Config,
    host: &mut impl Host,
    request: (&str, &str),
    headers: &[(String, Vec<u8>)],
    told: &Told<'_>,
) -> Option<String> {
    let token = config.edge_token.as_ref()?;
    let key = stamp::signing_key(token.keys.first()?, host)?;
    let times = (host.now_unix_ms() / 1000, token.lifetime_s);
    let claims =
        Claims::for_request(&token.issuer, &audience(token), &told.ids.correlation_id, request, times)
            .ok()?;
    let mut claims = stamp::with_identity(config, token, claims, told.identity)?;
    let kid = told.identity.map(|identity| identity.kid.as_str()).unwrap_or_default();
    let client = told.client_ip.map(|ip| ip.to_string()).unwrap_or_default();
    let digest = digest(config, headers);
    let texts = [told.backend, &client, &digest, kid, &told.route.name, told.scheme, &told.ids.traceparent];
    for (name, text) in CLAIMS.into_iter().zip(texts) {
        claims = claims.with_claim(name, Scalar::Text(text.to_owned()));
    }
    Minter::new(key).mint(&claims).ok()
}
