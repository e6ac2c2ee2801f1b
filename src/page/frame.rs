//! What every page has around it, and the pages that say why there is nothing else.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use super::Page;
use super::text::{Logged, counted};
use crate::access::Caller;
use crate::api::Problem;
use crate::render::duration_text;

/// A page but for its content.
pub(super) struct Frame<'p> {
    pub(super) page: &'p Page,
    pub(super) caller: Option<&'p Caller>,
    /// Stands in the browser's tab.
    pub(super) title: &'p str,
    /// What the search box holds.
    pub(super) asked: &'p str,
    /// Whether the search box is where one begins to type.
    pub(super) is_start: bool,
    /// Loads itself once more, at once.
    pub(super) once_more: bool,
}

impl<'p> Frame<'p> {
    pub(super) fn new(page: &'p Page, caller: Option<&'p Caller>) -> Self {
        Self { page, caller, title: "", asked: "", is_start: false, once_more: false }
    }

    /// The whole page as an answer.
    pub(super) fn answer(&self, status: StatusCode, content: &Markup) -> Response {
        let html = self.whole(content).into_string();
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        (status, [(header::CONTENT_TYPE, kind)], html).into_response()
    }

    fn whole(&self, content: &Markup) -> Markup {
        let assets = &self.page.assets;
        html! {
            (DOCTYPE)
            html lang="en" dir="ltr" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if self.once_more { meta http-equiv="refresh" content="0"; }
                    title {
                        @if !self.title.is_empty() { (crate::render::safe(self.title)) " · " }
                        "Throughline"
                    }
                    link rel="stylesheet" href={ "/page/" (assets.style) };
                    link rel="icon" type="image/svg+xml" href={ "/page/" (assets.icon) };
                    script src={ "/page/" (assets.script) } defer {}
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    (self.header())
                    main #content tabindex="-1" {
                        (self.waiting())
                        (content)
                    }
                    (self.footer())
                }
            }
        }
    }

    fn header(&self) -> Markup {
        html! {
            header.top {
                a.brand href="/" {
                    span.mark aria-hidden="true" { i.edge {} i.gateway {} i.mesh {} }
                    "Throughline"
                }
                @if self.caller.is_some() { (self.search()) }
                @if let Some(caller) = self.caller.filter(|_| !self.page.api.is_open()) {
                    form.out action="/logout" method="post" {
                        span.dim { (caller.name) " · " (caller.tenant) }
                        button.quiet { "Sign out" }
                    }
                }
            }
        }
    }

    fn search(&self) -> Markup {
        html! {
            form.search action="/" method="get" role="search" {
                label.unseen for="q" { "Any id of a request" }
                input #q name="q" type="search" value=(self.asked) autofocus[self.is_start] autocomplete="off"
                    autocapitalize="none" spellcheck="false" maxlength="300"
                    placeholder="Any id: correlation, request, edge request or trace id";
                button { "Trace" }
            }
        }
    }

    /// What no answer can show yet, where that is more than usual.
    fn waiting(&self) -> Markup {
        let waiting = self.caller.and_then(|_| self.page.api.not_yet_visible());
        html! {
            @if let Some((records, age)) = waiting {
                p.notice role="status" {
                    (counted(usize::try_from(records).unwrap_or(usize::MAX), "record"))
                    " received and not yet to be seen; the oldest waits for "
                    (duration_text(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))) "."
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        html! {
            footer.bottom {
                span { "Throughline " (env!("CARGO_PKG_VERSION")) }
                span.keys {
                    kbd { "/" } " search " kbd { "j" } kbd { "k" } " rows " kbd { "Enter" } " open " kbd { "Esc" }
                    " close"
                }
                span.dim { "Times are UTC, by each hop's own clock." }
            }
        }
    }
}

/// A page that says what is wrong.
pub(super) fn problem(page: &Page, caller: Option<&Caller>, asked: &str, problem: &Problem) -> Response {
    let status = problem.status();
    let reason = status.canonical_reason().unwrap_or("Error");
    let body = html! {
        section.panel.problem {
            h1 { (reason) }
            p { (Logged(problem.detail())) }
            p { a href="/" { "Recent errors and denials" } }
        }
    };
    let mut answer = Frame { title: reason, asked, ..Frame::new(page, caller) }.answer(status, &body);
    if let Some(after) = problem.retry_after() {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    answer
}
