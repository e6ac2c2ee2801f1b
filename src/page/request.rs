//! `/r/{id}`: every request that an id leads to, and the same as JSON. The address is the permalink.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use correlation::Id;
use maud::{Markup, html};

use super::frame::{self, Frame};
use super::home::kept;
use super::text::{Logged, counted, cut, encoded, minute, path_of, status, time};
use super::waterfall::waterfall;
use super::{Page, facts};
use crate::access::{Caller, Role};
use crate::api::answer::{RequestAnswer, TraceAnswer};
use crate::api::{Problem, lookups, traces};
use crate::render::duration_text;

/// Requests that are shown whole; of the others a line each.
const WHOLE: usize = 5;

type Asked = Result<Path<String>, PathRejection>;

/// The page of an id.
pub(super) async fn request(
    State(page): State<Page>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Response {
    let asked = match readable(asked) {
        Ok(asked) => asked,
        Err(problem) => return frame::problem(&page, Some(&caller), "", &problem),
    };
    match answer(&page, &caller, &asked).await {
        Ok((records, found)) => {
            let title = format!("{} {}", found.request.status, target(&found.request));
            let frame = Frame { title: &title, asked: &asked, ..Frame::new(&page, Some(&caller)) };
            let content = whole(&page, &found, records);
            (lookups::of_rows(records), frame.answer(StatusCode::OK, &content)).into_response()
        }
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => {
            let content = nothing(&page, &caller, &asked).await;
            let frame = Frame { title: "Not found", asked: &asked, ..Frame::new(&page, Some(&caller)) };
            frame.answer(StatusCode::NOT_FOUND, &content)
        }
        Err(problem) => frame::problem(&page, Some(&caller), &asked, &problem),
    }
}

/// The same as the query API answers it, for whoever is signed in here.
pub(super) async fn json(
    State(page): State<Page>,
    Extension(caller): Extension<Caller>,
    asked: Asked,
) -> Result<Response, Problem> {
    let (records, found) = answer(&page, &caller, &readable(asked)?).await?;
    let disposition = HeaderValue::from_static("inline; filename=\"request.json\"");
    let headers = [(header::CONTENT_DISPOSITION, disposition)];
    Ok((lookups::of_rows(records), headers, Json(found)).into_response())
}

async fn answer(page: &Page, caller: &Caller, asked: &str) -> Result<(usize, TraceAnswer), Problem> {
    caller.may(Role::Search)?;
    traces::answer(&page.api, caller, asked).await
}

fn readable(asked: Asked) -> Result<String, Problem> {
    asked.map(|Path(asked)| asked.trim().to_owned()).map_err(|error| Problem::bad_request(&error.body_text()))
}

/// `GET shop.example.com/cart`.
fn target(request: &RequestAnswer) -> String {
    format!("{} {}{}", request.method, request.host, request.path).trim().to_owned()
}

fn whole(page: &Page, found: &TraceAnswer, records: usize) -> Markup {
    let requests: Vec<&RequestAnswer> = found.requests().collect();
    html! {
        @if requests.len() > 1 {
            nav.several aria-label="Requests of this id" {
                strong { (counted(requests.len(), "request")) } " share an id with what was asked, and are not merged: "
                @for (at, request) in requests.iter().enumerate().take(WHOLE) {
                    a href={ "#request-" (at + 1) } {
                        (status(u64::from(request.status))) " " (cut(&target(request), 40))
                    } " "
                }
                @if requests.len() > WHOLE { a href="#further" { "and " (requests.len() - WHOLE) " more" } }
            }
        }
        @if let Some(bound) = &found.truncated { p.notice { "Cut short: " (bound) "." } }
        @for (at, request) in requests.iter().enumerate().take(WHOLE) { (one(page, &found.asked, at, request)) }
        @if requests.len() > WHOLE { (further(&requests[WHOLE..])) }
        p.dim.sources {
            (counted(records, "record")) " · "
            a href={ "/r/" (encoded(&found.asked)) "/json" } { "JSON of this answer" }
            @if page.api.is_open() { " · " a href={ "/tempo/api/traces/" (found.request.trace_id) } { "as Tempo answers it" } }
        }
    }
}

/// One request: its sentence, its hops, and what is known of it besides.
fn one(page: &Page, asked: &str, at: usize, request: &RequestAnswer) -> Markup {
    let id = format!("request-{}", at + 1);
    let own = request.correlation_id.as_deref().unwrap_or(&request.trace_id);
    let permalink = path_of(own).filter(|_| own != asked);
    html! {
        section.request #(id) aria-labelledby={ (id) "-title" } {
            div.panel.sentence {
                @if request.only_related {
                    p.notice { "Related: it shares only another id with the request that was asked for." }
                }
                h1 #{ (id) "-title" } { (Logged(&request.summary)) }
                ul.meta {
                    li { (status(u64::from(request.status))) }
                    li.target { (cut(&target(request), 160)) }
                    li { span.dim { "started " } (time(&request.start)) }
                    @if let Some(took) = request.duration_ns { li { span.dim { "took " } (duration_text(took)) } }
                    li { (counted(request.spans.len(), "hop")) }
                    li {
                        @if request.complete { span.good { "complete" } }
                        @else { span.warn { (counted(request.gaps.len(), "hop")) " missing" } }
                    }
                    @if let Some(permalink) = permalink { li { a href=(permalink) { "permalink" } } }
                    @if page.api.is_open() && at > 0 {
                        li { a href={ "/tempo/api/traces/" (request.trace_id) } { "Tempo" } }
                    }
                }
            }
            (waterfall(request, at))
            (facts::facts(request))
        }
    }
}

/// The requests beyond those that are shown whole.
fn further(requests: &[&RequestAnswer]) -> Markup {
    html! {
        section.panel #further {
            h2 { "Further requests " span.dim { (counted(requests.len(), "request")) } }
            ul.further {
                @for request in requests {
                    @let own = request.correlation_id.as_deref().unwrap_or(&request.trace_id);
                    li {
                        (status(u64::from(request.status))) " "
                        @match path_of(own) {
                            Some(path) => { a.row href=(path) { (time(&request.start)) } },
                            None => { (time(&request.start)) },
                        }
                        " " (cut(&target(request), 120))
                    }
                }
            }
        }
    }
}

/// What was looked for, in what, and what to do now.
async fn nothing(page: &Page, caller: &Caller, asked: &str) -> Markup {
    // Without the range the page says less, and is still an answer.
    let kept = kept(page, caller).await.ok().flatten();
    let is_random = Id::parse(correlation::IdKind::Correlation, asked).is_some_and(|id| !id.weak);
    html! {
        section.panel.problem {
            h1 { "No record carries this id" }
            p { code { (cut(asked, 260)) } }
            ul {
                li { "It was looked for as correlation id, request id, edge request id and trace id, in all records of tenant "
                    code { (caller.tenant) } "." }
                @match kept {
                    Some((oldest, newest)) => {
                        li { "Records are kept from " (minute(&oldest)) " of receipt on; the newest came in the ten minutes from " (minute(&newest)) " on. What came before is deleted by retention, or never came." }
                    },
                    None => { li { "Nothing is stored for this tenant yet." } },
                }
                @match page.api.not_yet_visible() {
                    Some((records, _)) => {
                        li { (records) " records are received and not yet to be seen: try again in a moment." }
                    },
                    None => {
                        li { "What was received more than a few seconds ago is in the answer; a sender may still hold its own." }
                    },
                }
                @if !is_random {
                    li { "It is short for an id: was it copied whole? Ids are found by their full text only." }
                }
            }
            h2 { "How to go on" }
            ul {
                li { "Try another id of the same request: what the client saw in " code { "x-correlation-id" } ", Envoy's "
                    code { "x-request-id" } ", the trace id of " code { "traceparent" } "." }
                li { "Look through " a href="/" { "recent errors and denials" } ", or by host and path: "
                    code { "throughline search --host HOST --path-prefix /PATH" } "." }
                li { "Ask whether its senders deliver at all: " code { "throughline doctor" } "." }
            }
        }
    }
}
