//! What a forwarded request carries: nothing that the client could forge, and what the edge says instead.

use std::net::IpAddr;

use correlation::Traceparent;
use edge_token::{Claims, Jwks, Minter, Scalar, SigningKey};
use serde_json::Value;

use crate::config::{ClaimHeader, Config, EdgeKey, EdgeToken, Encode};
use crate::encoding::base64url;
use crate::hop::Hop;
use crate::host::Host;
use crate::path::is_header_name;
use crate::request::IncomingRequest;
use crate::verify::Identity;

/// Headers that origins and meshes are known to trust, or that change what a request is. Compared as [`canonical`].
const STRIPPED: [&str; 49] = [
    "baggage",
    "b3",
    "cdn-loop-trust",
    "cf-connecting-ip",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "connection",
    "content-length",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "request-id",
    "te",
    "trailer",
    "trailers",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "x-api-user",
    "x-auth",
    "x-client-cert",
    "x-client-ip",
    "x-client-trace-id",
    "x-cluster-client-ip",
    "x-correlation-id",
    "x-credential-identifier",
    "x-email",
    "x-forwarded",
    "x-groups",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
    "x-remote-user",
    "x-request-id",
    "x-roles",
    "x-user",
    "x-userinfo",
    "x-username",
];

/// Beginnings of such headers.
const STRIPPED_PREFIXES: [&str; 29] = [
    "cf-access-",
    "fastly-",
    "impersonate-",
    "oidc-",
    "remote-",
    "ssl-client-",
    "x-amzn-oidc-",
    "x-amzn-mtls-",
    "x-auth-",
    "x-authenticated-",
    "x-b3-",
    "x-consumer-",
    "x-datadog-",
    "x-edge-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-istio-",
    "x-jwt-",
    "x-ms-client-principal",
    "x-original-",
    "x-pomerium-",
    "x-rewrite-",
    "x-ssl-",
    "x-user-",
    "x-vouch-",
    "x-webauth-",
    "x-authentik-",
];

/// Names in `Connection` headers; browsers and proxies send one to three.
pub(crate) const MAX_CONNECTION_NAMES: usize = 64;

/// Whether a header has a meaning of its own, so that no claim may be written into it. What we strip because others
/// trust it may be set.
pub(crate) fn is_own(name: &str) -> bool {
    let own = [
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "set-cookie",
        "te",
        "trailer",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "location",
        "www-authenticate",
    ];
    own.contains(&name) || name.starts_with("fastly-")
}

/// The form in which names are compared: CGI, WSGI and PHP cannot tell `-` from `_`, and some of them no mark from another.
fn canonical(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.trim().chars().map(plain).collect()
}

/// What a request's `Connection` headers name. [`MAX_CONNECTION_NAMES`] of them are looked at and no more may be there.
pub(crate) fn connection_names(request: &IncomingRequest) -> impl Iterator<Item = String> {
    let values = request.values("connection");
    values.flat_map(|value| {
        value.split(|byte| *byte == b',').map(|name| canonical(&String::from_utf8_lossy(name)))
    })
}

/// The client's headers without any that could be trusted by mistake. `authorization` goes on only where `keep_auth`;
/// the edge's own cookies never do.
pub(crate) fn strip(config: &Config, request: &IncomingRequest, keep_auth: bool) -> Vec<(String, Vec<u8>)> {
    let stamp = &config.stamp;
    // Few, so that looking through them costs less than a set of them would.
    let mut names: Vec<String> = stamp.strip.iter().map(|name| canonical(name)).collect();
    names.push(canonical(&stamp.correlation_header));
    names.extend(stamp.claims.iter().map(|claim| canonical(&claim.header)));
    names.extend(config.edge_token.iter().map(|token| canonical(&token.header)));
    // Whatever `Connection` names is for this hop only; some proxies would drop ours for it.
    names.extend(connection_names(request).take(MAX_CONNECTION_NAMES));
    let prefixes: Vec<String> = stamp.strip_prefixes.iter().map(|prefix| canonical(prefix)).collect();
    let mut kept = Vec::with_capacity(request.headers.len() + 8);
    for (name, value) in &request.headers {
        let own = canonical(name);
        let stripped = !is_header_name(name.as_bytes())
            || value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
            || STRIPPED.contains(&own.as_str())
            || names.contains(&own)
            || STRIPPED_PREFIXES.iter().any(|prefix| own.starts_with(prefix))
            || prefixes.iter().any(|prefix| own.starts_with(prefix.as_str()))
            || (own == "authorization" && !(keep_auth && name.eq_ignore_ascii_case("authorization")));
        if stripped {
            continue;
        }
        if own == "cookie" {
            let rest = crate::session::without_own_cookies(value);
            if !rest.is_empty() {
                kept.push(("cookie".into(), rest));
            }
            continue;
        }
        kept.push((name.to_ascii_lowercase(), value.clone()));
    }
    kept
}

/// The ids of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    /// Minted, or of a trusted upstream.
    pub(crate) correlation_id: String,
    /// What is forwarded; its span is the edge's own.
    pub(crate) traceparent: String,
    /// The parent of the edge's span, when the trace is continued.
    pub(crate) parent_span_id: String,
    /// `tracestate` to forward, only with a continued trace.
    pub(crate) tracestate: Option<String>,
    /// The client's own trace, when it was not continued.
    pub(crate) link: Option<String>,
}

impl Ids {
    /// This request's `traceparent` in the trace of an earlier request of the same login, which our own signature names:
    /// a root of its own there. A trace that the request itself brought and that is continued stays.
    pub(crate) fn in_trace_of(&self, earlier: &str) -> String {
        match (Traceparent::parse(&self.traceparent), Traceparent::parse(earlier)) {
            (Ok(own), Ok(earlier)) if self.parent_span_id.is_empty() => {
                format!("00-{:032x}-{:016x}-{:02x}", earlier.trace_id, own.parent_id, own.flags & 1)
            }
            _ => self.traceparent.clone(),
        }
    }
}

/// Mints the ids; what the client said of them counts only where the configuration says so.
pub(crate) fn mint_ids(
    config: &Config,
    host: &mut impl Host,
    request: &IncomingRequest,
    hop: Option<&Hop>,
) -> Ids {
    let mut random = [0_u8; 42];
    host.random(&mut random);
    let number = |range: std::ops::Range<usize>| {
        random.get(range).unwrap_or_default().iter().fold(0_u128, |all, byte| all << 8 | u128::from(*byte))
    };
    let stamp = &config.stamp;
    let trusted = hop.is_some() || host.client_ip().is_some_and(|ip| stamp.trusted_upstreams.contains(&ip));
    let given = match hop {
        Some(hop) => Some(hop.correlation_id()),
        None => request.only_value(&stamp.correlation_header).filter(|_| trusted),
    };
    let given = given.filter(|text| correlation::parse_uuid_or_hex(text).is_some_and(|(id, _)| id != 0));
    let minted = || correlation::uuid_text(correlation::uuid_v7(host.now_unix_ms(), number(0..16)));
    let correlation_id = given.map_or_else(minted, str::to_ascii_lowercase);
    let inbound = match hop {
        Some(hop) => Some(hop.trace),
        None => request.only_value("traceparent").and_then(|text| Traceparent::parse(text).ok()),
    };
    let span = number(16..24).max(1);
    let fresh = number(24..40).max(1);
    let sampled = number(40..42) % 100 < u128::from(stamp.sampled_percent);
    match inbound {
        Some(parent) if trusted || stamp.continue_trace => Ids {
            correlation_id,
            traceparent: format!("00-{:032x}-{span:016x}-{:02x}", parent.trace_id, parent.flags & 1),
            parent_span_id: format!("{:016x}", parent.parent_id),
            tracestate: request.only_value("tracestate").filter(|text| text.len() <= 512).map(str::to_owned),
            link: None,
        },
        inbound => Ids {
            correlation_id,
            traceparent: format!("00-{fresh:032x}-{span:016x}-{:02x}", u8::from(sampled)),
            link: inbound.map(|parent| {
                format!("00-{:032x}-{:016x}-{:02x}", parent.trace_id, parent.parent_id, parent.flags)
            }),
            ..Ids::default()
        },
    }
}

/// Sets a header exactly once.
pub(crate) fn set(headers: &mut Vec<(String, Vec<u8>)>, name: &str, value: impl Into<Vec<u8>>) {
    let plain = canonical(name);
    headers.retain(|(own, _)| canonical(own) != plain);
    headers.push((name.to_owned(), value.into()));
}

/// The client's address and the ids.
pub(crate) fn set_ids(
    headers: &mut Vec<(String, Vec<u8>)>,
    config: &Config,
    ids: &Ids,
    client_ip: Option<IpAddr>,
    (scheme, host): (&str, &str),
) {
    if let Some(ip) = client_ip {
        set(headers, "x-forwarded-for", ip.to_string());
    }
    set(headers, "x-forwarded-proto", scheme);
    set(headers, "x-forwarded-host", host);
    set(headers, &config.stamp.correlation_header, ids.correlation_id.as_str());
    set(headers, "traceparent", ids.traceparent.as_str());
    if let Some(state) = &ids.tracestate {
        set(headers, "tracestate", state.as_str());
    }
}

/// The claims as headers.
pub(crate) fn set_claims(headers: &mut Vec<(String, Vec<u8>)>, config: &Config, identity: &Identity) {
    for claim in &config.stamp.claims {
        if let Some(value) = identity.claims.get(&claim.claim).and_then(|value| header_value(claim, value)) {
            set(headers, &claim.header, value);
        }
    }
}

/// A claim's value as a header's; never cut short, for half a name is another name.
fn header_value(claim: &ClaimHeader, value: &Value) -> Option<String> {
    let one = |value: &Value| match value {
        Value::String(text) if text.chars().any(char::is_control) => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let texts = match value {
        Value::Array(values) => values.iter().map(one).collect::<Option<Vec<_>>>()?,
        value => vec![one(value)?],
    };
    let separator = claim.separator;
    let text = match claim.encode {
        Encode::Percent => {
            let encoded: Vec<String> = texts.iter().map(|text| percent(text, separator)).collect();
            encoded.join(&separator.to_string())
        }
        // Nothing is escaped in here, so a member that holds the separator would read as two.
        Encode::Base64url if value.is_array() && texts.iter().any(|text| text.contains(separator)) => {
            return None;
        }
        Encode::Base64url => base64url(texts.join(&separator.to_string())),
    };
    (!text.is_empty() && text.len() <= claim.max_bytes).then_some(text)
}

fn percent(text: &str, separator: char) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && char::from(byte) != separator {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

pub(crate) fn signing_key(key: &EdgeKey, host: &mut impl Host) -> Option<SigningKey> {
    SigningKey::read(&host.secret(&key.secret)?, Some(&key.kid)).ok()
}

/// The edge token of a forwarded request; `None` when it cannot be made, and then nothing may be forwarded.
pub(crate) fn edge_token(
    config: &Config,
    token: &EdgeToken,
    host: &mut impl Host,
    (method, target, correlation_id): (&str, &str, &str),
    identity: Option<&Identity>,
) -> Option<String> {
    let key = signing_key(token.keys.first()?, host)?;
    let now_s = host.now_unix_ms() / 1000;
    let times = (now_s, token.lifetime_s);
    let claims =
        Claims::for_request(&token.issuer, &token.audience, correlation_id, (method, target), times).ok()?;
    Minter::new(key).mint(&with_identity(config, token, claims, identity)?).ok()
}

/// Adds who was let in, and the claims that are carried over.
pub(crate) fn with_identity(
    config: &Config,
    token: &EdgeToken,
    mut claims: Claims,
    identity: Option<&Identity>,
) -> Option<Claims> {
    if let Some(identity) = identity {
        let issuer = config.issuers.iter().find(|issuer| issuer.name == identity.issuer)?;
        claims = claims.with_subject(identity.subject(), &issuer.iss);
        for name in &token.claims {
            let value = match identity.claims.get(name) {
                Some(Value::String(text))
                    if !text.is_empty() && !text.chars().any(char::is_control) && text.len() <= 256 =>
                {
                    Scalar::Text(text.clone())
                }
                Some(Value::Bool(yes)) => Scalar::Bool(*yes),
                Some(Value::Number(number)) => match number.as_i64() {
                    Some(number) => Scalar::Integer(number),
                    None => continue,
                },
                _ => continue,
            };
            claims = claims.with_claim(name, value);
        }
    }
    Some(claims)
}

/// The public keys of the edge token. One whose secret is missing does not unpublish the other.
pub(crate) fn public_keys(token: &EdgeToken, host: &mut impl Host) -> Option<Jwks> {
    let keys: Vec<SigningKey> = token.keys.iter().filter_map(|key| signing_key(key, host)).collect();
    Jwks::of(&keys.iter().collect::<Vec<_>>()).ok()
}
