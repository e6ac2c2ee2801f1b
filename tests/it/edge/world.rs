//! A running edge with its peers: Viceroy with the service's wasm, an origin that remembers, a provider.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, LazyLock};

use chain::{Key, Provider, Stores, Viceroy, now_s};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::client::{self, Answer};
use super::origin::Origin;
use crate::app::eventually;
use crate::edge_chain::programs;

pub(super) const ISSUER: &str = "https://idp.test";
pub(super) const AUDIENCE: &str = "orders";
pub(super) const CLIENT: &str = "web";
pub(super) const EDGE_ISSUER: &str = "https://edge.test";
pub(super) const EDGE_AUDIENCE: &str = "mesh";

/// For all tests that do not change the provider.
pub(super) static WORLD: LazyLock<World> = LazyLock::new(World::start);

pub(super) struct World {
    pub(super) origin: Arc<Origin>,
    pub(super) provider: Arc<Provider>,
    /// The provider's key, ES256.
    pub(super) key: Arc<Key>,
    pub(super) eddsa: Key,
    pub(super) rs256: Key,
    pub(super) viceroy: Viceroy,
    _directory: tempfile::TempDir,
    _runtime: Runtime,
}

impl World {
    pub(super) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let key = Arc::new(Key::es256("idp-1"));
        let (eddsa, rs256) = (Key::eddsa("idp-2"), Key::rs256("idp-3"));
        let origin = Arc::new(Origin::default());
        let provider = Arc::new(Provider::new(ISSUER, CLIENT, "ada", Arc::clone(&key), &[&eddsa, &rs256]));
        let origin_at = serve(&runtime, Arc::clone(&origin).router());
        let provider_at = serve(&runtime, Arc::clone(&provider).router());
        let directory = tempfile::tempdir().unwrap();
        let stores = stores(origin_at, provider_at);
        let programs = programs();
        let viceroy = Viceroy::start(&programs.viceroy, &programs.wasm, &stores, directory.path()).unwrap();
        Self { origin, provider, key, eddsa, rs256, viceroy, _directory: directory, _runtime: runtime }
    }

    pub(super) fn edge(&self) -> SocketAddr {
        self.viceroy.address
    }

    pub(super) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        client::request(self.edge(), method, target, headers)
    }

    pub(super) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", target, headers)
    }

    /// `GET` with a bearer token.
    pub(super) fn get_with(&self, target: &str, token: &str) -> Answer {
        self.get(target, &[("authorization", &format!("Bearer {token}"))])
    }

    /// The one line that the request of this answer left. A later request's line is waited for, so that a second line
    /// would have come by then.
    pub(super) fn line(&self, answer: &Answer) -> Value {
        let id = answer.header("x-correlation-id").to_owned();
        self.wait_for(&id);
        let fence = self.get("/closed", &[]);
        self.wait_for(fence.header("x-correlation-id"));
        let lines = self.lines_with(&id);
        assert_eq!(lines.len(), 1, "one line for {id}: {lines:#?}");
        let line: Value = serde_json::from_str(&lines[0]).expect("the line is JSON");
        assert_eq!(line["status"], answer.status, "{line}");
        line
    }

    fn lines_with(&self, id: &str) -> Vec<String> {
        let field = format!(r#""correlation_id":"{id}""#);
        self.viceroy.lines_from(0).into_iter().filter(|line| line.contains(&field)).collect()
    }

    fn wait_for(&self, id: &str) {
        eventually(&format!("the edge logs {id}"), || (!self.lines_with(id).is_empty()).then_some(()));
    }
}

/// Serves on loopback; ends with the runtime.
fn serve(runtime: &Runtime, router: axum::Router) -> SocketAddr {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("bind a peer");
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, router).await });
    address
}

/// Claims that the configuration accepts, with members replaced; a null removes one.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now_s(),
        "exp": now_s() + 300, "scope": "read" });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// What the edge of these tests finds at the platform.
fn stores(origin: SocketAddr, provider: SocketAddr) -> Stores {
    // Bound and let go: nobody listens there.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let edge_key = |kid: &str| Key::es256(kid).private_jwk().unwrap();
    let secrets = [
        ("subject", "the subject's secret of the tests, long enough".to_owned()),
        ("session", "the session's secret of the tests, long enough".to_owned()),
        ("edge-1", edge_key("edge-1")),
        ("edge-2", edge_key("edge-2")),
    ];
    let backends = [("origin", origin), ("idp", provider), ("dead", dead)];
    Stores {
        config: config(),
        secrets: secrets.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        backends: backends
            .into_iter()
            .map(|(name, address)| (name.to_owned(), json!({ "url": format!("http://{address}") })))
            .collect(),
    }
}

/// The configuration item of these tests.
fn config() -> Value {
    let forward = json!({ "forward": { "backend": "origin" } });
    json!({
        "version": 1, "policy_version": "tests-1", "plain_http": true, "subject_secret": "subject",
        "issuers": [
            { "name": "idp", "iss": ISSUER, "jwks": { "backend": "idp", "path": "/jwks" }, "audiences": [AUDIENCE],
              "algorithms": ["ES256", "EdDSA", "RS256"] },
            { "name": "pool", "preset": "cognito", "iss": "https://pool.test",
              "jwks": { "backend": "idp", "path": "/jwks" }, "client_ids": ["app"], "algorithms": ["ES256"] }
        ],
        "routes": [
            { "name": "public", "match": { "path_prefix": "/public" }, "auth": "public", "action": forward },
            { "name": "closed", "match": { "path_prefix": "/closed" }, "auth": "public", "action": { "deny": {} } },
            { "name": "away", "match": { "path_prefix": "/away" }, "auth": "public", "action": { "maintenance": {} } },
            { "name": "old", "match": { "path": "/old" }, "auth": "public", "action": { "redirect": { "to": "/new" } } },
            { "name": "dead", "match": { "path_prefix": "/dead" }, "auth": "public",
              "action": { "forward": { "backend": "dead" } } },
            { "name": "admin", "match": { "path_prefix": "/admin" }, "require": { "scopes": ["admin"] }, "action": forward },
            { "name": "page", "match": { "path_prefix": "/page" }, "login": true, "action": forward },
            { "name": "api", "match": { "path_prefix": "/api" }, "action": forward }
        ],
        "stamp": { "claims": [{ "claim": "sub", "header": "x-user" }, { "claim": "groups", "header": "x-groups" }] },
        "edge_token": { "issuer": EDGE_ISSUER, "audience": EDGE_AUDIENCE,
            "keys": [{ "kid": "edge-2", "secret": "edge-2" }, { "kid": "edge-1", "secret": "edge-1" }] },
        "login": { "issuer": "idp", "client_id": CLIENT, "authorization_endpoint": "https://idp.test/authorize",
            "token_endpoint": { "backend": "idp", "path": "/token" }, "redirect_uri": "https://shop.test/callback",
            "session_secret": "session" }
    })
}
