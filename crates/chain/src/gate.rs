//! How the gateway knows that a request passed the edge: what Istio makes of `deploy/istio/request-authentication.yaml` and
//! `authorization-policy.yaml`. The keys come from the edge itself; in a cluster istiod fetches them for the proxies.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::edge::{AUDIENCE, ISSUER, KEYS_PATH, TOKEN_HEADER};
use crate::parts::{cluster, filter};

/// The policy by which the gateway refuses what did not pass the edge.
pub(crate) const TOKEN_POLICY: &str = "ns[istio-system]-policy[require-edge-token]-rule[0]";
const KEYS_CLUSTER: &str = "edge-keys";

/// The way to the edge's key set.
pub(crate) fn edge_keys(edge: SocketAddr) -> Value {
    cluster(KEYS_CLUSTER, Some(edge))
}

/// Checks a token that is there. On its own it lets requests without one pass; [`require_edge_token`] does not.
pub(crate) fn edge_token(edge: SocketAddr) -> Value {
    let claim = |claim: &str, header: &str| json!({ "claim_name": claim, "header_name": header });
    let provider = json!({
        "issuer": ISSUER, "audiences": [AUDIENCE], "from_headers": [{ "name": TOKEN_HEADER }],
        "forward": true, "payload_in_metadata": "payload",
        // The second is this chain's own: the token's id must be the correlation id.
        "claim_to_headers": [claim("sub", "x-auth-sub"), claim("jti", "x-edge-jti")],
        // The listener opens when the keys are there.
        "remote_jwks": { "http_uri": { "uri": format!("http://{edge}{KEYS_PATH}"), "cluster": KEYS_CLUSTER,
            "timeout": "5s" }, "cache_duration": "300s", "async_fetch": {} },
    });
    let rule = json!({ "match": { "prefix": "/" }, "requires": {
        "requires_any": { "requirements": [{ "provider_name": "edge" }, { "allow_missing": {} }] } } });
    let config = json!({ "providers": { "edge": provider }, "rules": [rule] });
    filter("envoy.filters.http.jwt_authn", "http.jwt_authn.v3.JwtAuthentication", config)
}

/// Refuses what has no token of the edge, or one for somebody else.
pub(crate) fn require_edge_token() -> Value {
    let is_ours = || says("iss", ISSUER);
    let without = json!({ "permissions": [{ "any": true }], "principals": [{ "not_id": is_ours() }] });
    let not_for_us = json!({ "not_id": says("aud", AUDIENCE) });
    let for_others = json!({ "permissions": [{ "any": true }],
        "principals": [{ "and_ids": { "ids": [is_ours(), not_for_us] } }] });
    let config = json!({ "rules": { "action": "DENY", "policies": { TOKEN_POLICY: without,
        TOKEN_POLICY.replace("rule[0]", "rule[1]"): for_others } } });
    filter("envoy.filters.http.rbac", "http.rbac.v3.RBAC", config)
}

/// Whether the token that `jwt_authn` accepted says this.
fn says(claim: &str, value: &str) -> Value {
    json!({ "sourced_metadata": { "metadata_matcher": {
        "filter": "envoy.filters.http.jwt_authn", "path": [{ "key": "payload" }, { "key": claim }],
        "value": { "string_match": { "exact": value } } } } })
}
