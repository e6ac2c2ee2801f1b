//! The page at `/`: what the query API answers, as HTML that reads without JavaScript.
//!
//! It assembles nothing of its own: a request is the API's own [`TraceAnswer`](crate::api::answer::TraceAnswer), masked
//! by the API for whoever may not see personal fields, and every lookup stands in the audit log.
//!
//! Everything in it may come from a log, that is from anybody. Three things hold it, each by itself: templates escape
//! whatever they are given; what moves or reorders text is shown by number ([`text`]); and the content security policy
//! lets nothing run, load or be sent but our own two files. No link is made from what a log holds but to `/r/ID`.

mod clocks;
mod facts;
mod frame;
mod home;
mod login;
mod record;
mod request;
mod session;
mod text;
mod waterfall;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use sha2::{Digest as _, Sha256};

use crate::api::{Api, lookups};
use session::Sessions;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");
/// A span tree in the colours of edge and mesh.
const ICON: &str = include_str!("icon.svg");

/// Nothing but our own style, script and icon; forms go to us; nobody frames us. `style` attributes and inline handlers
/// are not in it: bars are SVG geometry.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// `same-origin`, and not `no-referrer`: under the latter a browser calls the origin of our own forms `null`, so that
/// they could not be told from others'. To other sites both say nothing.
const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", POLICY),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// What every handler of the page needs; clones share it.
#[derive(Clone)]
struct Page {
    api: Api,
    sessions: Arc<Sessions>,
    assets: Arc<Assets>,
    /// Whether the port speaks TLS, so that cookies are for TLS only.
    is_tls: bool,
}

/// Where style, script and icon are: named by what they hold, so that a browser may keep them for ever.
struct Assets {
    style: String,
    script: String,
    icon: String,
}

impl Assets {
    fn new() -> Self {
        let named = |content: &str, name: &str| {
            let hash = Sha256::digest(content.as_bytes());
            let hex: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}-{name}")
        };
        Self {
            style: named(STYLE, "style.css"),
            script: named(SCRIPT, "page.js"),
            icon: named(ICON, "icon.svg"),
        }
    }
}

/// Every route of this room.
pub(crate) fn routes(api: Api, is_tls: bool) -> Router {
    let assets = Arc::new(Assets::new());
    let page = Page { api: api.clone(), sessions: Arc::default(), assets, is_tls };
    Router::new()
        .route("/", get(home::home))
        .route("/r/{id}", get(request::request))
        .route("/r/{id}/json", get(request::json))
        .route_layer(from_fn_with_state(api, lookups::noted))
        .route_layer(from_fn_with_state(page.clone(), login::admitted))
        .route("/login", get(login::ask).post(login::sign_in))
        .route("/logout", post(login::sign_out))
        .layer(map_response(never_kept))
        .route("/page/{asset}", get(asset))
        .layer(map_response(guarded))
        .with_state(page)
}

async fn asset(State(page): State<Page>, Path(name): Path<String>) -> Response {
    let assets = &page.assets;
    let known = [
        (&assets.style, STYLE, "text/css; charset=utf-8"),
        (&assets.script, SCRIPT, "text/javascript; charset=utf-8"),
        (&assets.icon, ICON, "image/svg+xml"),
    ];
    match known.into_iter().find(|(own, ..)| **own == name) {
        Some((_, content, kind)) => {
            let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
            let kind = HeaderValue::from_static(kind);
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)], content).into_response()
        }
        None => {
            (StatusCode::NOT_FOUND, "no such file of this version; load the page again\n").into_response()
        }
    }
}

/// What is shown of records stays in nobody's cache: not in a proxy's, and not behind a logout.
async fn never_kept(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn guarded(mut answer: Response) -> Response {
    for (name, value) in HEADERS {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

/// The value of a header that is text.
fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
