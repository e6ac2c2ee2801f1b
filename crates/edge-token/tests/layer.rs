//! The layer in front of an axum router: who passes, what the others are told, and keys that change under way.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::{Extension, Router};
use common::*;
use edge_token::tower::{EdgeIdentity, EdgeTokenLayer, Keys, SourceError};
use edge_token::{HEADER, Jwks, MemoryReplayCache, Minter, VerifyError};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

fn app(layer: EdgeTokenLayer) -> Router {
    let handler = |Extension(EdgeIdentity(claims)): Extension<EdgeIdentity>| async move { claims.sub };
    Router::new().fallback(handler).layer(layer)
}

fn layer(keys: Keys) -> EdgeTokenLayer {
    EdgeTokenLayer::new(verifier(), keys).with_clock(|| NOW)
}

fn request(method: &str, path: &str, tokens: &[&str]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for token in tokens {
        request = request.header(HEADER, *token);
    }
    request.body(Body::empty()).unwrap()
}

async fn send(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn token() -> String {
    minters()[0].mint(&claims()).unwrap()
}

#[tokio::test]
async fn a_good_token_passes_and_the_service_knows_who_it_is() {
    let response = send(&app(layer(Keys::fixed(jwks()))), request("GET", PATH, &[&token()])).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "auth0|42");
}

#[tokio::test]
async fn everyone_else_is_told_what_and_whose_fault() {
    let app = app(layer(Keys::fixed(jwks())));
    let token = token();
    let rows: [(&str, &str, &[&str], u16, VerifyError); 7] = [
        ("GET", PATH, &[], 401, VerifyError::Missing),
        ("GET", PATH, &[""], 401, VerifyError::Missing),
        ("GET", PATH, &["nonsense"], 401, VerifyError::Form),
        ("GET", PATH, &[&token, &token], 401, VerifyError::Several),
        ("GET", "/orders/8", &[&token], 403, VerifyError::Path),
        ("GET", "/orders/7/?expand=items", &[&token], 403, VerifyError::Path),
        ("DELETE", PATH, &[&token], 403, VerifyError::Method),
    ];
    for (method, path, tokens, status, error) in rows {
        let response = send(&app, request(method, path, tokens)).await;
        assert_eq!(response.status(), status, "{method} {path} {error:?}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
        assert_eq!(response.extensions().get(), Some(&error));
        let problem: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(problem["code"], error.code());
        assert_eq!(problem["fault"], "caller");
        assert_eq!(problem["status"], status);
    }
}

#[tokio::test]
async fn a_replayed_token_is_refused_where_replays_are_remembered() {
    let app = app(layer(Keys::fixed(jwks())).with_replay_cache(MemoryReplayCache::new(100)));
    assert_eq!(send(&app, request("GET", PATH, &[&token()])).await.status(), 200);
    assert_eq!(send(&app, request("GET", PATH, &[&token()])).await.status(), 403);
}

#[tokio::test]
async fn a_rewritten_path_can_be_told_by_the_proxy_that_rewrote_it() {
    let original = |parts: &http::request::Parts| {
        let header = parts.headers.get("x-envoy-original-path")?;
        header.to_str().ok().map(str::to_owned)
    };
    let app = app(layer(Keys::fixed(jwks())).with_path(original));
    let mut rewritten = request("GET", "/7?expand=items", &[&token()]);
    rewritten.headers_mut().insert("x-envoy-original-path", PATH.parse().unwrap());
    assert_eq!(send(&app, rewritten).await.status(), 200);
    assert_eq!(send(&app, request("GET", PATH, &[&token()])).await.status(), 403);
}

/// A layer with a source, a clock and a count of fetches, all under the test's control.
struct Edge {
    served: Arc<Mutex<Option<String>>>,
    fetches: Arc<AtomicUsize>,
    now_s: Arc<AtomicU64>,
    app: Router,
}

impl Edge {
    fn start() -> Self {
        let served = Arc::new(Mutex::new(None));
        let fetches = Arc::new(AtomicUsize::new(0));
        let now_s = Arc::new(AtomicU64::new(NOW));
        let (document, count, clock) = (Arc::clone(&served), Arc::clone(&fetches), Arc::clone(&now_s));
        let keys = Keys::fetched(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let document: Option<String> = document.lock().unwrap().clone();
            async move { document.map(String::into_bytes).ok_or_else(|| SourceError::from("down")) }
        });
        let layer = EdgeTokenLayer::new(verifier(), keys).with_clock(move || clock.load(Ordering::SeqCst));
        Self { served, fetches, now_s, app: app(layer) }
    }

    fn serve(&self, keys: Option<Jwks>) {
        *self.served.lock().unwrap() = keys.map(|keys| keys.to_json());
    }

    fn pass(&self, seconds: u64) {
        self.now_s.fetch_add(seconds, Ordering::SeqCst);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// The status of a request with a token minted now by this key.
    async fn status(&self, minter: &Minter) -> u16 {
        let mut claims = claims();
        claims.iat = self.now_s.load(Ordering::SeqCst);
        claims.exp = claims.iat + 60;
        let token = minter.mint(&claims).unwrap();
        send(&self.app, request("GET", PATH, &[&token])).await.status().as_u16()
    }
}

#[tokio::test]
async fn without_keys_nothing_passes_and_the_origin_takes_the_blame() {
    let edge = Edge::start();
    let [minter, _] = minters();
    assert_eq!(edge.status(&minter).await, 503);
    edge.serve(Some(jwks()));
    assert_eq!(edge.status(&minter).await, 503, "the source is not asked again at once");
    edge.pass(10);
    assert_eq!(edge.status(&minter).await, 200);
    assert_eq!(edge.fetches(), 2);
}

#[tokio::test]
async fn a_new_key_is_looked_up_once_and_made_up_ones_cause_no_storm() {
    let edge = Edge::start();
    let [old, new] = minters();
    edge.serve(Some(Jwks::of(&[old.key()]).unwrap()));
    assert_eq!(edge.status(&old).await, 200);
    edge.serve(Some(Jwks::of(&[new.key(), old.key()]).unwrap()));
    edge.pass(11);
    assert_eq!(edge.status(&new).await, 200);
    assert_eq!(edge.status(&old).await, 200);
    assert_eq!(edge.fetches(), 2);
    let forger = Minter::new(edge_token::SigningKey::read(ES256_JWK.as_bytes(), Some("e9")).unwrap());
    for _ in 0..50 {
        assert_eq!(edge.status(&forger).await, 401);
    }
    assert_eq!(edge.fetches(), 2, "within ten seconds of the last fetch there is no other");
    edge.pass(10);
    for _ in 0..50 {
        assert_eq!(edge.status(&forger).await, 401);
    }
    assert_eq!(edge.fetches(), 3);
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_and_an_outage_is_bridged_for_a_day() {
    let edge = Edge::start();
    let [old, new] = minters();
    edge.serve(Some(Jwks::of(&[old.key(), new.key()]).unwrap()));
    assert_eq!(edge.status(&old).await, 200);
    edge.serve(Some(Jwks::of(&[new.key()]).unwrap()));
    edge.pass(300);
    assert_eq!(edge.status(&old).await, 200, "the fetch runs beside the request that found it due");
    while edge.fetches() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert_eq!(edge.status(&old).await, 401);
    assert_eq!(edge.status(&new).await, 200);
    edge.serve(None);
    edge.pass(23 * 3600);
    assert_eq!(edge.status(&new).await, 200);
    edge.pass(2 * 3600);
    assert_eq!(edge.status(&new).await, 503);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_keep_a_new_key_out() {
    let edge = Edge::start();
    let [old, new] = minters();
    edge.serve(Some(Jwks::of(&[old.key()]).unwrap()));
    edge.pass(3600);
    assert_eq!(edge.status(&old).await, 200);
    edge.now_s.fetch_sub(3600, Ordering::SeqCst);
    edge.serve(Some(Jwks::of(&[new.key(), old.key()]).unwrap()));
    assert_eq!(edge.status(&new).await, 200);
    // And the fetches are as far apart as ever.
    let forger = Minter::new(edge_token::SigningKey::read(ES256_JWK.as_bytes(), Some("e9")).unwrap());
    let before = edge.fetches();
    for _ in 0..50 {
        assert_eq!(edge.status(&forger).await, 401);
    }
    assert_eq!(edge.fetches(), before);
}
