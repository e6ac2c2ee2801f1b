//! `GET /api/v1/events`: hop events by what they say; a search newest first, or a tail oldest first.

use std::net::IpAddr;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use event::{Direction, Hop, HopEvent};
use serde::Deserialize;
use store::query::{Cursor, SearchFilter, SearchOrder};
use trace::{Moment, Request};

use super::answer::{EventAnswer, EventsAnswer};
use super::lookups::{self, Answered};
use super::{Api, Problem};
use crate::accept::unix_ns;
use crate::access::{Caller, Role};

/// A tail stays this far behind: segments are shipped side by side, so an older one may become visible after a newer
/// one, and a cursor that had passed it would miss it. Sealing takes a second, an insert under load another.
const TAIL_SETTLES_NS: i64 = 3_000_000_000;

/// Events that were received within the same ten seconds came together: senders wait for that long to fill a delivery.
const RECEIVED_TOGETHER_NS: i64 = 10_000_000_000;

/// What events must say. Everything given must hold.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// A status (`503`) or a class (`5xx`).
    status: Option<String>,
    /// `edge`, `shield`, `gateway`, `sidecar` and the other hops.
    hop: Option<String>,
    /// `inbound` or `outbound`.
    direction: Option<String>,
    /// Service or workload.
    service: Option<String>,
    /// Authority that the client asked for.
    host: Option<String>,
    /// How the path begins.
    path_prefix: Option<String>,
    /// Fastly POP.
    pop: Option<String>,
    /// Client's country, as the sender writes it.
    country: Option<String>,
    /// Client's address.
    client: Option<String>,
    /// Pseudonym of who asked.
    subject: Option<String>,
    /// Why a policy point decided as it did.
    verdict_reason: Option<String>,
    /// An Envoy response flag, such as `UH`.
    flag: Option<String>,
    /// Only events that took at least so long.
    min_duration_ms: Option<f64>,
    /// Only events that started at or after, RFC 3339.
    from: Option<String>,
    /// Only events that started before, RFC 3339.
    to: Option<String>,
    /// Only events that started (`order=oldest`: were received) within the last `90s`, `15m`, `6h`, `7d`.
    since: Option<String>,
    /// At most so many; default 100.
    #[serde(default)]
    limit: usize,
    /// `next` of the page before.
    after: Option<String>,
    /// `newest` (default) or `oldest` first, by receipt; `oldest` stays three seconds behind.
    order: Option<String>,
}

/// Hop events by what they say.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    params(EventsQuery),
    responses(
        (status = 200, description = "Events, and where the next page begins", body = EventsAnswer),
        (status = 400, description = "A filter cannot be read", body = Problem),
        (status = 403, description = "The reader has not the role", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn events(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Answered<EventsAnswer>, Problem> {
    let caller = api.reader(&headers, Role::Search)?;
    let Query(query) = query.map_err(|error| Problem::bad_request(&error.body_text()))?;
    if !caller.sees_personal() {
        // An answer to these would tell what masking hides.
        let asked = [("client", query.client.is_some()), ("subject", query.subject.is_some())];
        if let Some((name, _)) = asked.iter().find(|(_, given)| *given) {
            return Err(caller.lacks_personal(name));
        }
    }
    let now_ns = unix_ns();
    let filter = filter(query, now_ns, api.answer_rows)?;
    let mut rows = shown(&api, &caller, &filter).await?;
    if filter.order == SearchOrder::Oldest {
        rows.retain(|row| row.received_ns <= now_ns - TAIL_SETTLES_NS);
    }
    let next = rows.last().map(|last| cursor_text(Cursor::after(last)));
    // A search ends with a page that is not full; a tail goes on from wherever it was.
    let next = match filter.order {
        SearchOrder::Newest => next.filter(|_| rows.len() >= filter.limit),
        SearchOrder::Oldest => next.or_else(|| filter.before.map(cursor_text)),
    };
    let events: Vec<_> = rows.iter().map(EventAnswer::from).collect();
    Ok(lookups::rows(events.len(), EventsAnswer { events, next }))
}

/// Events that fit, with what the caller may see of them.
async fn shown(api: &Api, caller: &Caller, filter: &SearchFilter) -> Result<Vec<HopEvent<'static>>, Problem> {
    let mut rows = api.store()?.search(&caller.tenant, filter).await?;
    if !caller.sees_personal() {
        rows.iter_mut().for_each(HopEvent::mask_personal);
    }
    Ok(rows)
}

/// The newest events that fit, put together as far as they are of one request, newest receipt first: what the page
/// begins with. These are not whole requests, only what fits of them.
pub(crate) async fn newest(
    api: &Api,
    caller: &Caller,
    filter: &SearchFilter,
) -> Result<Vec<Request>, Problem> {
    let rows = shown(api, caller, filter).await?;
    let mut requests = trace::requests(rows, Moment::FINAL);
    // What came together, an import above all, goes by when it began.
    let newest = |request: &Request| {
        let events = || request.spans.iter().flat_map(trace::Span::records);
        let received = events().map(|event| event.received_ns / RECEIVED_TOGETHER_NS).max();
        (received, events().map(|event| event.start_ns).min(), request.trace_id)
    };
    requests.sort_by_key(|request| std::cmp::Reverse(newest(request)));
    Ok(requests)
}

fn filter(query: EventsQuery, now_ns: i64, most: usize) -> Result<SearchFilter, Problem> {
    let (status, status_class) = query.status.as_deref().map(status).transpose()?.unwrap_or_default();
    let order = match query.order.as_deref() {
        None | Some("newest") => SearchOrder::Newest,
        Some("oldest") => SearchOrder::Oldest,
        Some(other) => return Err(wrong("order", other, "`newest` or `oldest`")),
    };
    let since_ns = query.since.as_deref().map(since).transpose()?.map(|ago| now_ns.saturating_sub(ago));
    // A tail begins by receipt: a late or imported event is new to whoever follows, whatever its own clock says.
    let (since_ns, begin) = match order {
        SearchOrder::Newest => (since_ns, None),
        SearchOrder::Oldest => {
            (None, since_ns.map(|received_ns| Cursor { received_ns, start_ns: i64::MIN, event_key: 0 }))
        }
    };
    let limit = if query.limit == 0 { 100 } else { query.limit.min(most) };
    Ok(SearchFilter {
        from_ns: query.from.as_deref().map(|text| time("from", text)).transpose()?.or(since_ns),
        to_ns: query.to.as_deref().map(|text| time("to", text)).transpose()?,
        status,
        status_class,
        hop: query.hop.as_deref().map(|text| word("hop", text, Hop::from_name)).transpose()?,
        direction: query
            .direction
            .as_deref()
            .map(|text| word("direction", text, Direction::from_name))
            .transpose()?,
        service: query.service,
        host: query.host,
        path_prefix: query.path_prefix,
        pop: query.pop.map(|pop| pop.to_uppercase()),
        country: query.country.map(|country| country.to_lowercase()),
        client_address: query.client.as_deref().map(address).transpose()?,
        subject: query.subject,
        verdict_reason: query.verdict_reason,
        response_flag: query.flag,
        least_duration_ns: query.min_duration_ms.map(|ms| (ms.max(0.0) * 1e6) as u64),
        order,
        before: query.after.as_deref().map(cursor).transpose()?.or(begin),
        limit,
        ..SearchFilter::default()
    })
}

pub(super) fn wrong(name: &str, text: &str, expected: &str) -> Problem {
    Problem::bad_request(&format!("`{name}` = {text:?} is not {expected}"))
}

fn word<T>(name: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
    parse(text).ok_or_else(|| wrong(name, text, "one of its words; see /api/v1/openapi.json"))
}

/// `503` or `5xx`.
fn status(text: &str) -> Result<(Option<u16>, Option<u8>), Problem> {
    let unreadable = || wrong("status", text, "a status such as 503 or a class such as 5xx");
    match text.strip_suffix("xx") {
        Some(class) => class.parse().map(|class| (None, Some(class))).map_err(|_| unreadable()),
        None => text.parse().map(|status| (Some(status), None)).map_err(|_| unreadable()),
    }
}

pub(super) fn time(name: &str, text: &str) -> Result<i64, Problem> {
    let unreadable = || wrong(name, text, "a time such as 2026-11-21T20:00:00Z");
    let at: jiff::Timestamp = text.parse().map_err(|_| unreadable())?;
    i64::try_from(at.as_nanosecond()).map_err(|_| unreadable())
}

/// `15m` as nanoseconds.
pub(super) fn since(text: &str) -> Result<i64, Problem> {
    let unreadable = || wrong("since", text, "a time span such as 15m, 6h or 7d");
    let unit_s = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(unreadable()),
    };
    let number: i64 = text[..text.len() - 1].parse().map_err(|_| unreadable())?;
    number.checked_mul(unit_s * 1_000_000_000).filter(|ns| *ns >= 0).ok_or_else(unreadable)
}

fn address(text: &str) -> Result<u128, Problem> {
    let ip: IpAddr = text.parse().map_err(|_| wrong("client", text, "an IP address"))?;
    Ok(match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    })
}

/// A cursor is opaque to clients; hex keeps it free of anything that a URL would escape.
fn cursor_text(cursor: Cursor) -> String {
    format!("{:016x}{:016x}{:016x}", cursor.received_ns, cursor.start_ns, cursor.event_key)
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    let part = |at: usize| u64::from_str_radix(text.get(at..at + 16)?, 16).ok();
    match (text.len(), part(0), part(16), part(32)) {
        (48, Some(received), Some(start), Some(event_key)) => {
            Ok(Cursor { received_ns: received as i64, start_ns: start as i64, event_key })
        }
        _ => Err(wrong("after", text, "a cursor: pass `next` of the page before unchanged")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let original = Cursor { received_ns: -1, start_ns: i64::MAX, event_key: u64::MAX };
        assert_eq!(cursor(&cursor_text(original)).unwrap(), original);
        assert!(cursor("xyz").is_err());
        assert!(cursor(&"é".repeat(24)).is_err());
    }

    #[test]
    fn statuses_times_and_addresses_are_read() {
        assert_eq!(status("5xx").unwrap(), (None, Some(5)));
        assert_eq!(status("503").unwrap(), (Some(503), None));
        assert!(status("abc").is_err());
        assert_eq!(since("15m").unwrap(), 900_000_000_000);
        assert!(since("15").is_err() && since("-1m").is_err() && since("9999999999d").is_err());
        assert_eq!(address("1.2.3.4").unwrap(), 0xffff_0102_0304);
    }
}
