//! The edge of the chain: its configuration item, its secrets and its backends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::json;

use crate::keys::{Key, secret};
use crate::mesh::SHOP_HOST;
use crate::pki::Certificate;
use crate::viceroy::Stores;

/// Who issues the edge's tokens, and for whom; as in `deploy/istio`.
pub(crate) const ISSUER: &str = "https://edge.example.com";
pub(crate) const AUDIENCE: &str = "mesh";
/// By its client certificate.
pub(crate) const IDENTITY: &str = "spiffe://edge.example.com/edge";
/// Carries the edge token.
pub(crate) const TOKEN_HEADER: &str = "x-edge-token";
/// Where the edge publishes its keys.
pub(crate) const KEYS_PATH: &str = "/.well-known/edge-jwks.json";
/// The OpenID Connect provider.
pub(crate) const LOGIN_HOST: &str = "login.example.com";
pub(crate) const LOGIN_ISSUER: &str = "https://login.example.com";
/// Our name at the provider.
pub(crate) const CLIENT: &str = "shop-web";
/// The audience of access tokens.
pub(crate) const API: &str = "shop-api";
/// The header that carries the correlation id.
pub(crate) const CORRELATION_HEADER: &str = "x-correlation-id";

/// What the service finds at the platform. The gateway is asked over TLS, with the edge's own certificate.
pub(crate) fn stores(provider: SocketAddr, gateway: SocketAddr, own: &Certificate) -> Option<Stores> {
    let forward = json!({ "forward": { "backend": "gateway" } });
    let config = json!({
        "version": 1, "policy_version": "chain-1", "plain_http": true, "subject_secret": "subject",
        "issuers": [{ "name": "login", "iss": LOGIN_ISSUER, "jwks": { "backend": "login", "path": "/jwks" },
            "audiences": [API], "algorithms": ["ES256"] }],
        "routes": [
            { "name": "public", "match": { "path_prefix": "/public" }, "auth": "public", "action": forward },
            { "name": "admin", "match": { "path_prefix": "/admin" }, "require": { "scopes": ["admin"] },
              "action": forward },
            { "name": "shop", "match": { "path_prefix": "/shop" }, "login": true, "action": forward },
        ],
        "stamp": { "claims": [{ "claim": "sub", "header": "x-user" }] },
        "edge_token": { "issuer": ISSUER, "audience": AUDIENCE, "keys": [
            { "kid": "edge-2", "secret": "edge-2" }, { "kid": "edge-1", "secret": "edge-1" }] },
        "login": { "issuer": "login", "client_id": CLIENT,
            "authorization_endpoint": format!("{LOGIN_ISSUER}/authorize"),
            "token_endpoint": { "backend": "login", "path": "/token" },
            "redirect_uri": format!("https://{SHOP_HOST}/callback"), "session_secret": "session" },
    });
    let secrets = [
        ("subject", secret()),
        ("session", secret()),
        ("edge-1", Key::es256("edge-1").private_jwk()?),
        ("edge-2", Key::es256("edge-2").private_jwk()?),
    ];
    let to_gateway = json!({
        "url": format!("https://{gateway}"), "cert_host": SHOP_HOST,
        "ca_certificate": { "file": own.authority },
        "client_certificate": { "certificate_file": own.certificate, "key_file": own.key },
    });
    let to_login = json!({ "url": format!("http://{provider}") });
    Some(Stores {
        config,
        secrets: secrets.map(|(name, value)| (name.to_owned(), value)).into(),
        backends: BTreeMap::from([("gateway".to_owned(), to_gateway), ("login".to_owned(), to_login)]),
    })
}
