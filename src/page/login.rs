//! Getting in and out: the form that takes a reader's token, and the gate before every page that shows records.

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::frame::{self, Frame};
use super::session::{cookie, is_own_form, set_cookie};
use super::{Page, header_text};
use crate::access::Caller;
use crate::api::Problem;

/// A token and where to go next.
const FORM_BYTES: usize = 8 << 10;
/// Nobody types while a form is sent.
const FORM_WITHIN: Duration = Duration::from_secs(10);

impl Page {
    /// Who asks: by session, by bearer token, or anybody where the service is open.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if !self.api.is_open()
            && let Some(caller) = self.sessions.caller(headers, &self.api, Instant::now())
        {
            return Ok(caller);
        }
        self.api.caller(headers)
    }
}

/// Lets through whoever may ask, and says who it is to what comes after. Others see the form.
pub(super) async fn admitted(State(page): State<Page>, mut request: Request, next: Next) -> Response {
    match page.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            let wanted = request.uri().path_and_query().map_or("/", |it| it.as_str());
            let from_elsewhere = header_text(request.headers(), "sec-fetch-site") == Some("cross-site")
                && cookie(request.headers()).is_none();
            form(&page, StatusCode::UNAUTHORIZED, wanted, None, from_elsewhere)
        }
        Err(problem) => frame::problem(&page, None, "", &problem),
    }
}

/// The form by itself.
pub(super) async fn ask(State(page): State<Page>) -> Response {
    if page.api.is_open() {
        return to("/", None);
    }
    form(&page, StatusCode::OK, "/", None, false)
}

/// Takes a token, and gives a session for it.
pub(super) async fn sign_in(State(page): State<Page>, headers: HeaderMap, uri: Uri, body: Body) -> Response {
    if page.api.is_open() {
        return to("/", None);
    }
    if !is_own_form(&headers, &uri) {
        return refused(&page);
    }
    let Ok(Ok(body)) = tokio::time::timeout(FORM_WITHIN, to_bytes(body, FORM_BYTES)).await else {
        let problem = Problem::bad_request("the form did not come whole, or is too large; try again");
        return frame::problem(&page, None, "", &problem);
    };
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body);
        fields.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let next = own_path(&field("next"));
    let Some((caller, token)) = page.api.presenter(field("token").as_bytes()) else {
        let wrong = "That is not the token of a configured reader. It may have been rotated.";
        return form(&page, StatusCode::UNAUTHORIZED, &next, Some(wrong), false);
    };
    let Some(number) = page.sessions.begin(&caller.name, token, Instant::now()) else {
        return frame::problem(
            &page,
            None,
            "",
            &Problem::unavailable("no session can be made now; try again"),
        );
    };
    tracing::info!(reader = &*caller.name, token = token.short(), "signed in to the page");
    let over_tls =
        page.is_tls || header_text(&headers, "origin").is_some_and(|it| it.starts_with("https://"));
    to(&next, Some(set_cookie(&number, over_tls)))
}

/// Ends the session.
pub(super) async fn sign_out(State(page): State<Page>, headers: HeaderMap, uri: Uri) -> Response {
    if !is_own_form(&headers, &uri) {
        return refused(&page);
    }
    page.sessions.end(&headers);
    to("/", Some(set_cookie("", page.is_tls)))
}

fn refused(page: &Page) -> Response {
    let text = "this form was not sent from this page; open the page and send it from there";
    frame::problem(page, None, "", &Problem::forbidden(text))
}

/// One of our own pages to go to after signing in; anything else is the first page.
fn own_path(next: &str) -> String {
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_ours = next.starts_with("/r/") || next.starts_with("/?");
    if is_plain && is_ours { next.to_owned() } else { "/".to_owned() }
}

/// Another page, perhaps with a cookie.
pub(super) fn to(path: &str, cookie: Option<String>) -> Response {
    let Ok(location) = HeaderValue::from_str(path) else { return StatusCode::BAD_REQUEST.into_response() };
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// The form. Whoever follows a link from another site brings no cookie of ours, signed in or not: loaded once more, by
/// this page itself, it does.
fn form(page: &Page, status: StatusCode, next: &str, wrong: Option<&str>, once_more: bool) -> Response {
    let body: Markup = html! {
        section.panel.signin {
            h1 { "Sign in" }
            p { "This service answers readers that are configured for it. Paste the token of yours." }
            @if let Some(wrong) = wrong { p.alert role="alert" { (wrong) } }
            form action="/login" method="post" {
                input type="hidden" name="next" value=(own_path(next));
                label for="token" { "Reader's token" }
                input #token name="token" type="password" autocomplete="current-password" required autofocus;
                button { "Sign in" }
            }
            p.dim {
                "The token is exchanged for a session of at most 12 hours, and is not kept in the browser. Programs "
                "send it as " code { "Authorization: Bearer" } "."
            }
        }
    };
    let frame = Frame { title: "Sign in", once_more, ..Frame::new(page, None) };
    frame.answer(status, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_lands_on_our_own_pages_only() {
        for next in ["/r/a%20b", "/r/x/json", "/?q=x"] {
            assert_eq!(own_path(next), next);
        }
        for next in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "/r/\r\nx: y",
            "/r/\\\\e",
            "/logout",
        ] {
            assert_eq!(own_path(next), "/", "{next:?}");
        }
    }
}
