//! Every answer that shows records is written into the audit log before it leaves (`access::audit`).

use axum::Extension;
use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::answer::time_text;
use super::{Api, Problem};
use crate::accept::unix_ns;
use crate::access::{Caller, Lookup, origin};
use crate::ingest::peer::Peer;

/// What a client may write into one line.
const MAX_ASKED: usize = 64;
const MAX_TEXT_BYTES: usize = 512;

/// How many rows an answer shows; handlers put it beside the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows(usize);

/// An answer with its number of rows.
pub(super) type Answered<T> = (Extension<Rows>, Json<T>);

/// An answer of so many rows.
pub(super) fn rows<T>(count: usize, answer: T) -> Answered<T> {
    (Extension(Rows(count)), Json(answer))
}

/// The same beside an answer of another form.
pub(crate) fn of_rows(count: usize) -> Extension<Rows> {
    Extension(Rows(count))
}

/// Answers, writes it down, and only then lets the answer go.
pub(crate) async fn noted(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Some(audit) = api.audit.clone() else { return next.run(request).await };
    // The page has found out already who asks.
    let caller = match request.extensions().get::<Caller>() {
        Some(caller) => caller.clone(),
        None => match api.caller(request.headers()) {
            Ok(caller) => caller,
            Err(_) => return next.run(request).await,
        },
    };
    let lookup = begun(&api, &caller, &request);
    let answer = next.run(request).await;
    let lookup = Lookup {
        at: time_text(unix_ns()),
        rows: answer.extensions().get::<Rows>().map_or(0, |rows| rows.0 as u64),
        status: answer.status().as_u16(),
        ..lookup
    };
    match audit.note(&lookup).await {
        Ok(()) => answer,
        Err(_) => Problem::unavailable(
            "the lookup cannot be written into the audit log, so it is not answered; the service's log says why",
        )
        .into_response(),
    }
}

/// What is known before the answer.
fn begun<'c>(api: &Api, caller: &'c Caller, request: &Request) -> Lookup<'c> {
    let from = origin(Peer::of(request.extensions()).address, request.headers(), api.proxies.as_deref());
    let route = request.extensions().get::<MatchedPath>().map_or("?", MatchedPath::as_str);
    let path = request.uri().path().split('/').map(|part| shown(api, part)).collect::<Vec<_>>().join("/");
    let query = request.uri().query().unwrap_or_default();
    let parameters = url_parameters(query).map(|(name, value)| (shown(api, &name), shown(api, &value)));
    Lookup {
        at: String::new(),
        reader: &caller.name,
        roles: caller.roles.names().collect(),
        tenant: &caller.tenant,
        from: from.to_string(),
        endpoint: format!("{} {route}", request.method()),
        asked: std::iter::once(("path".to_owned(), path)).chain(parameters).take(MAX_ASKED).collect(),
        rows: 0,
        status: 0,
    }
}

fn url_parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// A text as the log shows it: cut, and no token, wherever somebody may have put it by mistake.
fn shown(api: &Api, text: &str) -> String {
    if api.keyrings.iter().any(|keyring| keyring.is_token(text)) {
        return "[token]".to_owned();
    }
    text.chars().take(MAX_TEXT_BYTES).collect()
}
