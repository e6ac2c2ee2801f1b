//! `GET /api/v1/coverage`: who sends lately with which ids, and how many requests of a sample are whole.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use store::query::{CoverageWindow, MOST_LOOKED_AT};
use trace::{Bounds, GapReason, Moment, Request};

use super::answer::{CoverageAnswer, GapCountAnswer, SampleAnswer, SenderIdsAnswer, expected, time_text};
use super::events::{since, wrong};
use super::lookups::{self, Answered};
use super::traces::gather;
use super::{Api, Problem};
use crate::accept::unix_ns;
use crate::access::{Caller, Role};

const SECOND_NS: i64 = 1_000_000_000;
/// The window where none is asked for.
const WINDOW_S: i64 = 3_600;
/// The longest: as far as a sender that fell silent is worth a word.
const MOST_WINDOW_S: i64 = 7 * 86_400;
/// Requests that are put together. Of a hundred, a share is right to some ten points, and costs a tenth of a second.
const SAMPLED: u32 = 100;
/// Beside the settle window: a segment waits a second to be sealed, and its inserts take another.
const SHIPPED_AFTER_S: i64 = 5;
/// A request of a mesh has some ten events; those that share a trace id with it come along.
const SAMPLE_BOUNDS: Bounds = Bounds { ids: 4_000, events: 10_000, events_per_id: 1_000, rounds: 6 };
/// Kinds of gaps that are named.
const GAPS_NAMED: usize = 10;

/// How far back.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CoverageQuery {
    /// Begin by receipt: a time span ago, such as `15m`, `1h` or `7d`, which is the longest; default `1h`.
    since: Option<String>,
}

/// Which ids the records of each sender carry, and how many requests are whole.
#[utoipa::path(
    get,
    path = "/api/v1/coverage",
    params(CoverageQuery),
    responses(
        (status = 200, description = "Senders, and a sample of settled requests", body = CoverageAnswer),
        (status = 400, description = "The parameter cannot be read", body = Problem),
        (status = 403, description = "The reader has not the role", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn coverage(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Result<Query<CoverageQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Answered<CoverageAnswer>, Problem> {
    let caller = api.reader(&headers, Role::Search)?;
    let Query(query) = query.map_err(|error| Problem::bad_request(&error.body_text()))?;
    let span_s = query
        .since
        .as_deref()
        .map(|text| since(text).map(|ns| ns / SECOND_NS))
        .transpose()?
        .unwrap_or(WINDOW_S);
    if !(1..=MOST_WINDOW_S).contains(&span_s) {
        return Err(wrong("since", &query.since.unwrap_or_default(), "a time span of at most 7d"));
    }
    let now_s = unix_ns() / SECOND_NS;
    let second = |at_s: i64| u32::try_from(at_s).unwrap_or_default();
    let window = CoverageWindow { since_s: second(now_s - span_s), until_s: second(now_s + 1) };
    let rows = api.store()?.coverage(&caller.tenant, window).await?;
    let looked_at: u64 = rows.iter().map(|row| row.events).sum();
    let senders: Vec<SenderIdsAnswer> = rows
        .into_iter()
        .map(|row| SenderIdsAnswer {
            source: row.source,
            format: row.format,
            hop: row.hop,
            sender: row.sender,
            last_received: time_text(row.last_received_ns),
            events: row.events,
            with_correlation_id: row.with_correlation_id,
            with_request_id: row.with_request_id,
            with_edge_request_id: row.with_edge_request_id,
            with_trace_id: row.with_trace_id,
            without_id: row.without_id,
        })
        .collect();
    // What may still grow is not judged.
    let settled_s = now_s - api.settle_ns / SECOND_NS - SHIPPED_AFTER_S;
    let settled = CoverageWindow { until_s: second(settled_s), ..window };
    let text = |at_s: u32| time_text(i64::from(at_s) * SECOND_NS);
    let answer = CoverageAnswer {
        since: text(window.since_s),
        until: text(window.until_s),
        truncated: looked_at >= MOST_LOOKED_AT,
        senders,
        requests: sample(&api, &caller, settled).await?,
    };
    Ok(lookups::rows(answer.senders.len(), answer))
}

async fn sample(api: &Api, caller: &Caller, window: CoverageWindow) -> Result<SampleAnswer, Problem> {
    if window.until_s <= window.since_s {
        return Ok(SampleAnswer::default());
    }
    let store = api.store()?;
    let ids = store.sample_ids(&caller.tenant, window, SAMPLED).await?;
    let gathered = gather(&store, &caller.tenant, ids.clone(), SAMPLE_BOUNDS).await?;
    let moment = Moment { now_ns: unix_ns(), settle_ns: api.settle_ns };
    let requests = trace::requests(gathered.events, moment);
    let mut sampled: Vec<&Request> = requests.iter().filter(|request| request.carries(&ids)).collect();
    // Whoever uses one id for many requests must not be the sample.
    sampled.truncate(2 * SAMPLED as usize);
    Ok(judged(&sampled, gathered.truncated.is_some()))
}

/// How whole they are.
fn judged(sampled: &[&Request], truncated: bool) -> SampleAnswer {
    let mut missing: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    for request in sampled {
        let mut of_this: Vec<(String, &'static str)> = request
            .gaps
            .iter()
            .filter(|gap| gap.reason != GapReason::SampledOut)
            .map(|gap| (expected(gap), gap.reason.name()))
            .collect();
        of_this.sort_unstable();
        of_this.dedup();
        for gap in of_this {
            *missing.entry(gap).or_default() += 1;
        }
    }
    let mut gaps: Vec<GapCountAnswer> = missing
        .into_iter()
        .map(|((expected, reason), requests)| GapCountAnswer {
            expected,
            reason: reason.to_owned(),
            requests,
        })
        .collect();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.requests));
    gaps.truncate(GAPS_NAMED);
    let count = |is: fn(&Request) -> bool| sampled.iter().filter(|request| is(request)).count() as u64;
    SampleAnswer {
        sampled: sampled.len() as u64,
        complete: count(Request::is_complete),
        joined: count(|request| request.spans.len() > 1),
        gaps,
        truncated,
    }
}
