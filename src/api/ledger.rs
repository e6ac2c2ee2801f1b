//! `GET /api/v1/ledger`: the completeness ledger, held against what the tables hold.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use store::query::{KeyedRow, LedgerFilter, MOST_KEYS};

use super::answer::{ConfiguredSource, InstanceAnswer, Judged, LedgerAnswer, LedgerLine, time_text};
use super::events::{since, time, wrong};
use super::lookups::{self, Answered};
use super::{Api, Problem};
use crate::accept::unix_ns;
use crate::access::Role;

const SECOND_NS: i64 = 1_000_000_000;
/// The window where none is asked for.
const WINDOW_S: i64 = 3_600;
/// The finest step: entries are kept by the minute.
const MINUTE_S: i64 = 60;
/// Longest window, as long as sums are kept by default.
const MOST_DAYS: i64 = 400;
/// A record is in the store this long after its receipt, if the spool has nothing older: a segment waits a second to be
/// sealed, and its inserts take another.
const SHIPPED_AFTER_S: i64 = 10;

/// Which part of the ledger.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LedgerQuery {
    /// Begin by receipt: a time span ago, such as `90m` or `7d`, or RFC 3339; default `1h`. Rounded down to a step.
    since: Option<String>,
    /// End by receipt, RFC 3339; default now.
    until: Option<String>,
    /// Only of this input.
    source: Option<String>,
    /// Time that one line sums up, whole minutes such as `1m`, `1h`, `1d`; default `1m`.
    step: Option<String>,
}

/// What came in, what became of it, and what does not add up.
#[utoipa::path(
    get,
    path = "/api/v1/ledger",
    params(LedgerQuery),
    responses(
        (status = 200, description = "The ledger of the window, by source and step", body = LedgerAnswer),
        (status = 400, description = "A parameter cannot be read, or the window has too many steps", body = Problem),
        (status = 403, description = "The reader has not the role", body = Problem),
        (status = 503, description = "The store cannot answer now", body = Problem),
    )
)]
pub(super) async fn ledger(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Result<Query<LedgerQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Answered<LedgerAnswer>, Problem> {
    let tenant = api.reader(&headers, Role::Search)?.tenant;
    let Query(query) = query.map_err(|error| Problem::bad_request(&error.body_text()))?;
    let now_s = unix_ns() / SECOND_NS;
    let filter = filter(query, now_s, api.answer_rows)?;
    let stats = api.readiness.spool();
    let oldest = stats.oldest_age.unwrap_or_default();
    let store = api.store()?;
    let begins_s = i64::from(store.ledger_begins().await?);
    let mut rows = store.ledger(&tenant, &filter).await?;
    let truncated = rows.len() >= filter.limit as usize;
    rows.truncate(filter.limit as usize);

    let settled_s = now_s - SHIPPED_AFTER_S - oldest.as_secs() as i64;
    let judged = |at_s: u32| {
        let (begin, end) = (i64::from(at_s), i64::from(at_s) + i64::from(filter.step_s));
        if begin < begins_s || begin < now_s - api.rows_kept_s {
            Judged::Not
        } else if end > settled_s {
            Judged::Losses
        } else {
            Judged::Whole
        }
    };
    let mut lines: Vec<LedgerLine> = rows.iter().map(|row| LedgerLine::new(row, judged(row.at_s))).collect();
    let compared = !truncated && rows.iter().map(|row| row.stored_events).sum::<u64>() <= MOST_KEYS;
    if compared {
        let keyed = store.ledger_keys(&tenant, &filter).await?;
        let keyed: BTreeMap<(u32, &str), &KeyedRow> =
            keyed.iter().map(|row| ((row.at_s, row.source.as_str()), row)).collect();
        for (row, line) in rows.iter().zip(&mut lines) {
            line.compared(keyed.get(&(row.at_s, row.source.as_str())).copied());
        }
    }
    let text = |at_s: i64| time_text(at_s.saturating_mul(SECOND_NS));
    let count = lines.len();
    let answer = LedgerAnswer {
        since: text(filter.since_s.into()),
        until: text(filter.until_s.into()),
        step_s: filter.step_s,
        balanced: lines.iter().all(|line| line.missing.unwrap_or(0) == 0),
        compared,
        truncated,
        begins: (begins_s > 0).then(|| text(begins_s)),
        settled: text(settled_s),
        sums: LedgerLine::sums(&lines),
        lines,
        sources: api.sources.iter().filter(|(of, _)| **of == *tenant).map(|(_, one)| one.clone()).collect(),
        instance: InstanceAnswer {
            spool_used_bytes: stats.used_bytes,
            spool_most_bytes: stats.max_bytes,
            segments_waiting: stats.sealed_waiting as u64,
            oldest_waiting_s: oldest.as_secs_f64(),
            set_aside: stats.set_aside,
        },
    };
    Ok(lookups::rows(count, answer))
}

/// How long rows are surely kept, seconds: what is past it may be gone, and is not missed.
pub(super) fn rows_kept_s(retention: &store::Retention) -> i64 {
    let days = retention.events_days.min(retention.errors_days).min(retention.rejects_days);
    // Partitions of a day are dropped at once, and may be on the day itself.
    i64::from(days.saturating_sub(1)) * 86_400
}

/// The configured inputs, with their tenants.
pub(super) fn configured(settings: &crate::config::Settings) -> Vec<(String, ConfiguredSource)> {
    let named = |source: &crate::config::Source| {
        let kind = source.kind.name().to_owned();
        (source.tenant.clone(), ConfiguredSource { source: source.name.clone(), kind })
    };
    settings.sources.iter().map(named).collect()
}

fn filter(query: LedgerQuery, now_s: i64, most: usize) -> Result<LedgerFilter, Problem> {
    let step_s = query.step.as_deref().map(since_s).transpose()?.unwrap_or(MINUTE_S);
    if step_s < MINUTE_S || step_s % MINUTE_S != 0 {
        let text = query.step.unwrap_or_default();
        return Err(wrong("step", &text, "a number of whole minutes such as 1m, 15m, 1h or 1d"));
    }
    let until_s = match query.until.as_deref() {
        None => now_s + 1,
        Some(text) => time("until", text)? / SECOND_NS,
    };
    let since_s = match query.since.as_deref() {
        None => until_s - WINDOW_S,
        // A time span ends with its unit, a time with its zone.
        Some(text) if text.contains('T') => time("since", text)? / SECOND_NS,
        Some(text) => now_s - since_s(text)?,
    };
    let since_s = since_s - since_s.rem_euclid(step_s);
    let steps = (until_s - since_s).div_euclid(step_s);
    if until_s <= since_s || until_s - since_s > MOST_DAYS * 86_400 || steps > most as i64 {
        return Err(Problem::bad_request(&format!(
            "the window from `since` to `until` must end after it begins, be at most {MOST_DAYS} days and have at most \
             {most} steps (`limits.answer_rows`): ask for a shorter one, or for a longer `step`"
        )));
    }
    let fits = |name: &str, at_s: i64| {
        u32::try_from(at_s).map_err(|_| wrong(name, &at_s.to_string(), "a time after 1970 and before 2106"))
    };
    Ok(LedgerFilter {
        since_s: fits("since", since_s)?,
        until_s: fits("until", until_s)?,
        source: query.source.filter(|source| !source.is_empty()),
        step_s: fits("step", step_s)?,
        limit: u32::try_from(most).unwrap_or(u32::MAX),
    })
}

fn since_s(text: &str) -> Result<i64, Problem> {
    since(text).map(|ns| ns / SECOND_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_795_290_064;

    fn asked(since: Option<&str>, until: Option<&str>, step: Option<&str>) -> Result<LedgerFilter, u16> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let query = LedgerQuery { since: owned(since), until: owned(until), source: None, step: owned(step) };
        filter(query, NOW_S, 10_000).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn windows_begin_with_a_step_and_are_bounded() {
        let hour = asked(None, None, None).unwrap();
        assert_eq!((hour.since_s % 60, hour.step_s), (0, 60));
        assert!(i64::from(hour.since_s) <= NOW_S - 3_540 && i64::from(hour.until_s) == NOW_S + 1);
        let days = asked(Some("7d"), None, Some("1h")).unwrap();
        assert_eq!(days.since_s % 3_600, 0);
        let fixed = asked(Some("2026-11-21T20:00:30Z"), Some("2026-11-21T20:10:00Z"), None).unwrap();
        assert_eq!(fixed.until_s - fixed.since_s, 600);
        for (since, until, step) in [
            (Some("30d"), None, None),
            (Some("9000d"), None, Some("7d")),
            (None, None, Some("30s")),
            (None, None, Some("90s")),
            (None, None, Some("0m")),
            (Some("soon"), None, None),
            (Some("1h"), Some("1999-01-01T00:00:00Z"), None),
        ] {
            assert_eq!(asked(since, until, step).map(|_| ()), Err(400), "{since:?} {until:?} {step:?}");
        }
    }
}
