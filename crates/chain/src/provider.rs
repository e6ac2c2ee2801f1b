//! An OpenID Connect provider: key set, discovery, login, and the code flow's second half. Its keys rotate and it goes out
//! of service when told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::keys::{Key, base64url, now_s};

/// How long its tokens live, in seconds.
const LIFE_S: u64 = 300;
/// What a provider may say of its key set: far longer than any test runs, so that a refresh is the edge's own decision.
const CACHE_CONTROL: (&str, &str) = ("cache-control", "max-age=3600");

/// A code that the provider gave, with what the login bound to it.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The login's nonce, which the id token repeats.
    pub nonce: String,
    /// The S256 challenge of PKCE.
    pub challenge: String,
}

/// A provider for one client and one person, who is always logged in.
#[derive(Debug)]
pub struct Provider {
    issuer: String,
    client: String,
    subject: String,
    published: Mutex<Vec<Value>>,
    signer: Mutex<Arc<Key>>,
    codes: Mutex<HashMap<String, Granted>>,
    is_out: AtomicBool,
    asked: AtomicUsize,
}

impl Provider {
    /// Publishes the public halves of `signer` and `others`, and signs with `signer`.
    pub fn new(issuer: &str, client: &str, subject: &str, signer: Arc<Key>, others: &[&Key]) -> Self {
        Self {
            issuer: issuer.to_owned(),
            client: client.to_owned(),
            subject: subject.to_owned(),
            published: Mutex::new(jwks_of(&signer, others)),
            signer: Mutex::new(signer),
            codes: Mutex::default(),
            is_out: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        }
    }

    /// Publishes another set and signs with another key.
    pub fn rotate(&self, signer: Arc<Key>, others: &[&Key]) {
        *held(&self.published) = jwks_of(&signer, others);
        *held(&self.signer) = signer;
    }

    /// The id of the key that signs now.
    pub fn kid(&self) -> String {
        held(&self.signer).kid.clone()
    }

    /// Answers 503 to everything, or no longer.
    pub fn set_out(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::SeqCst);
    }

    /// How often the key set was asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// What the provider does when a person has logged in.
    pub fn grant(&self, code: &str, granted: Granted) {
        held(&self.codes).insert(code.to_owned(), granted);
    }

    /// A token for this audience, with members of its claims replaced; a null removes one.
    pub fn token(&self, audience: &str, changes: &Value) -> String {
        let now_s = now_s();
        let mut claims = json!({ "iss": self.issuer, "aud": audience, "sub": self.subject, "iat": now_s,
            "exp": now_s + LIFE_S, "scope": "read" });
        replace(&mut claims, changes);
        let signer = Arc::clone(&held(&self.signer));
        signer.token(&claims)
    }

    /// Its pages.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/jwks", get(jwks))
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(self)
    }
}

/// Replaces members of an object; a null removes one.
pub(crate) fn replace(claims: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            if let Some(members) = claims.as_object_mut() {
                members.remove(name);
            }
        } else {
            claims[name] = value.clone();
        }
    }
}

fn jwks_of(signer: &Key, others: &[&Key]) -> Vec<Value> {
    std::iter::once(signer).chain(others.iter().copied()).map(Key::jwk).collect()
}

/// A test that failed while it held one of these has said so already.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Response {
    provider.asked.fetch_add(1, Ordering::SeqCst);
    if provider.is_out.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let keys = held(&provider.published).clone();
    ([CACHE_CONTROL], json!({ "keys": keys }).to_string()).into_response()
}

async fn discovery(State(provider): State<Arc<Provider>>) -> String {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    json!({ "issuer": provider.issuer, "jwks_uri": at("/jwks"), "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"), "code_challenge_methods_supported": ["S256"] })
    .to_string()
}

/// The person agrees at once and is sent back with a code.
async fn authorize(
    State(provider): State<Arc<Provider>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let text = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    if provider.is_out.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if text("response_type") != "code"
        || text("client_id") != provider.client
        || text("redirect_uri").is_empty()
    {
        return (StatusCode::BAD_REQUEST, "not a request of this provider's client").into_response();
    }
    let code = base64url(Sha256::digest(text("state")));
    let granted = Granted { nonce: text("nonce").to_owned(), challenge: text("code_challenge").to_owned() };
    provider.grant(&code, granted);
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", text("state"))
        .finish();
    Redirect::to(&format!("{}?{query}", text("redirect_uri"))).into_response()
}

/// A code is good once, and only with the verifier that belongs to its challenge.
async fn token(State(provider): State<Arc<Provider>>, body: String) -> Response {
    if provider.is_out.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let fields: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let granted = fields.get("code").and_then(|code| held(&provider.codes).remove(code));
    let is_bound = |granted: &Granted| {
        let verifier = fields.get("code_verifier").map(String::as_str).unwrap_or_default();
        base64url(Sha256::digest(verifier)) == granted.challenge
    };
    let Some(granted) = granted.filter(is_bound) else {
        return (StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#).into_response();
    };
    let id_token = provider.token(&provider.client, &json!({ "nonce": granted.nonce }));
    json!({ "id_token": id_token, "access_token": "opaque", "token_type": "Bearer" })
        .to_string()
        .into_response()
}
