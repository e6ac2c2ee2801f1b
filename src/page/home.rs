//! `/`: the search box, and what went wrong or was refused of late.

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use correlation::IdKind;
use maud::{Markup, html};
use serde::Deserialize;
use store::query::SearchFilter;
use trace::Request;

use super::frame::{self, Frame};
use super::text::{Logged, counted, cut, minute, path_of, status, time};
use super::{Page, login};
use crate::accept::unix_ns;
use crate::access::{Caller, Role};
use crate::api::answer::{EventAnswer, SpanAnswer, time_text};
use crate::api::{Problem, events, lookups};
use crate::render::{duration_text, hop_text, verdict_text};

/// How far back "recent" goes, by receipt: whoever opens the page costs no search over all retention.
const RECENT_NS: i64 = 24 * 3600 * 1_000_000_000;
/// Records that are read for a list; a failed request has some four.
const RECORDS: usize = 120;
/// Requests of a list.
const ROWS: usize = 25;

#[derive(Debug, Deserialize)]
pub(super) struct HomeQuery {
    /// What was typed into the search box.
    q: Option<String>,
}

type Asked = Result<Query<HomeQuery>, axum::extract::rejection::QueryRejection>;

/// The first page; with `q`, the way to what it leads to.
pub(super) async fn home(
    State(page): State<Page>,
    Extension(caller): Extension<Caller>,
    query: Asked,
) -> Response {
    let asked = match query {
        Ok(Query(HomeQuery { q })) => q.unwrap_or_default(),
        Err(error) => {
            return frame::problem(&page, Some(&caller), "", &Problem::bad_request(&error.body_text()));
        }
    };
    if let Some(path) = path_of(asked.trim()) {
        return login::to(&path, None);
    }
    match recent(&page, &caller).await {
        Ok((rows, content)) => {
            let frame = Frame { is_start: true, ..Frame::new(&page, Some(&caller)) };
            (lookups::of_rows(rows), frame.answer(StatusCode::OK, &content)).into_response()
        }
        Err(problem) => frame::problem(&page, Some(&caller), "", &problem),
    }
}

async fn recent(page: &Page, caller: &Caller) -> Result<(usize, Markup), Problem> {
    caller.may(Role::Search)?;
    let filter = SearchFilter {
        received_from_ns: Some(unix_ns() - RECENT_NS),
        limit: RECORDS,
        ..SearchFilter::default()
    };
    let failing = SearchFilter { status_class: Some(5), ..filter.clone() };
    let denied = SearchFilter { verdict: Some("deny".to_owned()), ..filter };
    let failing = events::newest(&page.api, caller, &failing).await?;
    let denied = events::newest(&page.api, caller, &denied).await?;
    let kept = kept(page, caller).await?;
    let shown =
        |requests: &[Request]| requests.iter().take(ROWS).map(|request| request.spans.len()).sum::<usize>();
    let content = html! {
        h1.unseen { "Recent errors and denials" }
        (list("errors", "Recent errors", "answered with 5xx at some hop", &failing))
        (list("denials", "Recent denials", "refused by a policy", &denied))
        p.dim {
            @match kept {
                Some((oldest, newest)) => {
                    "Both of the last 24 hours of receipt, a line a request. Records are kept from " (minute(&oldest))
                    " on; the newest came in the ten minutes from " (minute(&newest)) " on."
                },
                None => {
                    "Nothing is stored yet. Point a sender here, or import log files: "
                    code { "throughline import access.log" }
                },
            }
        }
    };
    Ok((shown(&failing) + shown(&denied), content))
}

/// From when to when records of the caller's tenant are kept, to ten minutes of receipt.
pub(super) async fn kept(page: &Page, caller: &Caller) -> Result<Option<(String, String)>, Problem> {
    let range = page.api.store()?.received_range(&caller.tenant).await?;
    let at = |seconds: u32| time_text(i64::from(seconds) * 1_000_000_000);
    Ok(range.map(|(oldest, newest)| (at(oldest), at(newest))))
}

fn list(id: &str, title: &str, what: &str, requests: &[Request]) -> Markup {
    html! {
        section.panel.list aria-labelledby=(id) {
            h2 #(id) { (title) " " span.dim { (what) } }
            @if requests.is_empty() {
                p.empty { "None in the last 24 hours." }
            } @else {
                table role="table" {
                    thead role="rowgroup" {
                        tr role="row" {
                            @for (name, class) in [("Time", ""), ("Status", ""), ("Where", ""), ("Request", ""),
                                ("Why", ""), ("Took", "number"), ("Seen at", "number")] {
                                th.(class) role="columnheader" scope="col" { (name) }
                            }
                        }
                    }
                    tbody role="rowgroup" {
                        @for request in requests.iter().take(ROWS) { (row(request)) }
                    }
                }
                @if requests.len() > ROWS {
                    p.dim.more { "And more; " code { "throughline search --status 5xx" } " goes on." }
                }
            }
        }
    }
}

/// One request by the first of its records that fit: what its other records say is for its own page.
fn row(request: &Request) -> Markup {
    let spans: Vec<SpanAnswer> =
        request.spans.iter().map(|span| SpanAnswer::new(span, &request.spans)).collect();
    let Some(first) = spans.first() else { return html! {} };
    let target = format!("{}{}", first.http.host, first.http.path);
    let target = format!("{} {target}", first.http.method);
    let (event, link) = (&first.event, best_id(&first.event).and_then(path_of));
    html! {
        tr role="row" {
            td.when role="cell" {
                @match link {
                    Some(link) => { a.row href=(link) { (time(event.text("start_ns"))) } },
                    None => { span title="it carries no id that leads to it" { (time(event.text("start_ns"))) } },
                }
            }
            td role="cell" { (status(u64::from(first.http.status))) }
            td.where role="cell" {
                span.hop.(family(&first.hop)) { (hop_text(&first.hop, &first.direction)) }
                " " span.dim { (cut(&first.place, 32)) }
            }
            td.what role="cell" { (cut(target.trim(), 96)) }
            td.why role="cell" { (why(&spans)) }
            td.number role="cell" { (first.duration_ns.map(duration_text).unwrap_or_default()) }
            td.number role="cell" { span.dim { (counted(spans.len(), "hop")) } }
        }
    }
}

/// Flags and verdicts, each said once.
fn why(spans: &[SpanAnswer]) -> Markup {
    let mut flags: Vec<&str> = spans.iter().flat_map(|span| span.flags.split(',')).collect();
    flags.retain(|flag| !flag.is_empty());
    let mut verdicts: Vec<String> = spans
        .iter()
        .filter_map(|span| span.verdict.as_ref())
        .map(|it| verdict_text(&it.outcome, &it.reason, &it.rule))
        .collect();
    let details =
        spans.iter().map(|span| span.details.as_str()).find(|it| !it.is_empty() && *it != "via_upstream");
    flags.sort_unstable();
    flags.dedup();
    verdicts.dedup();
    html! {
        @for flag in &flags { span.flag { (Logged(flag)) } " " }
        @for verdict in verdicts.iter().take(2) { span.verdict { (cut(verdict, 64)) } " " }
        @if verdicts.is_empty() && let Some(details) = details { span.dim { (cut(details, 40)) } }
    }
}

/// The id of an event that leads furthest.
fn best_id(event: &EventAnswer) -> Option<&str> {
    IdKind::ALL.iter().map(|kind| event.text(kind.name())).find(|id| !id.is_empty())
}

/// Which part of the chain a hop is of: what its colour goes by.
pub(super) fn family(hop: &str) -> &'static str {
    match hop {
        "edge" | "shield" => "edge",
        "gateway" => "gateway",
        "sidecar" | "waypoint" | "ztunnel" | "egress" => "mesh",
        "service" | "origin" => "service",
        _ => "other",
    }
}
