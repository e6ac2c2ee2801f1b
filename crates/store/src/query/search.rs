//! Events by what they are, newest receipt first.

use event::{Direction, Hop};

use super::events::{Columns, EventRow, MAX_EVENTS, rows};
use crate::client::Store;
use crate::error::StoreError;
use crate::locator::{BUCKET_S, bucket_s};

/// Which end of the order of receipt comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SearchOrder {
    /// What came last first: a search.
    #[default]
    Newest,
    /// What came first first: a tail that goes on where it was.
    Oldest,
}

/// Where a page ended: the order is receipt, start, event key, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// `received_ns` of the last event.
    pub received_ns: i64,
    /// `start_ns` of the last event.
    pub start_ns: i64,
    /// `event_key` of the last event.
    pub event_key: u64,
}

impl Cursor {
    /// The cursor after `event`.
    pub fn after(event: &EventRow) -> Self {
        Self { received_ns: event.received_ns, start_ns: event.start_ns, event_key: event.event_key }
    }
}

/// What to look for; absent means any.
#[derive(Debug, Clone, Default)]
pub struct SearchFilter {
    /// Least receipt, unix nanoseconds, to the bucket: nothing older is read, however few are found.
    pub received_from_ns: Option<i64>,
    /// Least start, unix nanoseconds, inclusive.
    pub from_ns: Option<i64>,
    /// Greatest start, unix nanoseconds, exclusive.
    pub to_ns: Option<i64>,
    /// Status.
    pub status: Option<u16>,
    /// First digit of the status; 0 for none sent.
    pub status_class: Option<u8>,
    /// Where the request was seen.
    pub hop: Option<Hop>,
    /// Which way the hop stood.
    pub direction: Option<Direction>,
    /// Service or workload.
    pub service: Option<String>,
    /// Authority that was asked for.
    pub host: Option<String>,
    /// How the path begins.
    pub path_prefix: Option<String>,
    /// Fastly POP.
    pub pop: Option<String>,
    /// Client country, lower case.
    pub country: Option<String>,
    /// Client address, IPv6 or v4-mapped.
    pub client_address: Option<u128>,
    /// Pseudonym of who asked.
    pub subject: Option<String>,
    /// Verdict.
    pub verdict: Option<String>,
    /// Why a policy point decided as it did.
    pub verdict_reason: Option<String>,
    /// One of Envoy's response flags.
    pub response_flag: Option<String>,
    /// Least duration, nanoseconds.
    pub least_duration_ns: Option<u64>,
    /// Most events to return, at most [`MAX_EVENTS`]; 0 for 100.
    pub limit: usize,
    /// Which end comes first.
    pub order: SearchOrder,
    /// Where the page before ended, in the same order.
    pub before: Option<Cursor>,
}

/// A condition of a search: its SQL, and its parameter's name and value.
struct Condition(&'static str, &'static str, String);

impl SearchFilter {
    fn conditions(&self) -> Vec<Condition> {
        let mut found = Vec::new();
        let mut add = |sql, name, value: Option<String>| {
            if let Some(value) = value {
                found.push(Condition(sql, name, value));
            }
        };
        add(
            "start_ns >= fromUnixTimestamp64Nano({from:Int64}, 'UTC')",
            "from",
            self.from_ns.map(|at| at.to_string()),
        );
        add(
            "start_ns < fromUnixTimestamp64Nano({to:Int64}, 'UTC')",
            "to",
            self.to_ns.map(|at| at.to_string()),
        );
        add("status = {status:UInt16}", "status", self.status.map(|status| status.to_string()));
        add("intDiv(status, 100) = {class:UInt8}", "class", self.status_class.map(|class| class.to_string()));
        add("hop = {hop:String}", "hop", self.hop.map(|hop| hop.name().into()));
        add("direction = {direction:String}", "direction", self.direction.map(|it| it.name().into()));
        add("(service = {service:String} OR workload = {service:String})", "service", self.service.clone());
        add("host = {host:String}", "host", self.host.clone());
        add("startsWith(path, {path:String})", "path", self.path_prefix.clone());
        add("pop = {pop:String}", "pop", self.pop.clone());
        add("country = {country:String}", "country", self.country.clone());
        add(
            "client_address = toIPv6({client:String})",
            "client",
            self.client_address.map(|bits| std::net::Ipv6Addr::from(bits).to_string()),
        );
        add("subject = {subject:String}", "subject", self.subject.clone());
        add("verdict = {verdict:String}", "verdict", self.verdict.clone());
        add("verdict_reason = {reason:String}", "reason", self.verdict_reason.clone());
        add(
            "has(splitByChar(',', toString(response_flags)), {flag:String})",
            "flag",
            self.response_flag.clone(),
        );
        add("duration_ns >= {least:UInt64}", "least", self.least_duration_ns.map(|least| least.to_string()));
        found
    }

    fn limit(&self) -> usize {
        if self.limit == 0 { 100 } else { self.limit.min(MAX_EVENTS) }
    }
}

/// How far clocks may run ahead of ours for `from` to leave out older receipts, in seconds.
pub(super) const CLOCK_AHEAD_S: u32 = 86_400;

/// The windows of receipt to read, as first and last bucket, from where the order begins (or `place_s`, where the page
/// before ended) to its other end; each six times as wide as the one before.
pub(super) fn windows(
    order: SearchOrder,
    place_s: Option<u32>,
    oldest_s: u32,
    newest_s: u32,
) -> Vec<(u32, u32)> {
    let (mut first_s, mut last_s) = match order {
        SearchOrder::Newest => (oldest_s, place_s.map_or(newest_s, |place| place.min(newest_s))),
        SearchOrder::Oldest => (place_s.map_or(oldest_s, |place| place.max(oldest_s)), newest_s),
    };
    let mut windows = Vec::new();
    let mut reach_s = 0;
    while first_s <= last_s {
        let window = match order {
            SearchOrder::Newest => (last_s.saturating_sub(reach_s).max(first_s), last_s),
            SearchOrder::Oldest => (first_s, first_s.saturating_add(reach_s).min(last_s)),
        };
        windows.push(window);
        match (order, window.0.checked_sub(BUCKET_S), window.1.checked_add(BUCKET_S)) {
            (SearchOrder::Newest, Some(next), _) => last_s = next,
            (SearchOrder::Oldest, _, Some(next)) => first_s = next,
            _ => break,
        }
        reach_s = (reach_s + BUCKET_S).saturating_mul(6) - BUCKET_S;
    }
    windows
}

impl Store {
    /// Events that fit `filter`, in the order of receipt that it asks for, each once.
    ///
    /// Reads windows of receipt that grow from ten minutes to the whole retention, and stops when the page is full: a
    /// page of recent events, or of a tail, reads recent data only.
    pub async fn search(&self, tenant: &str, filter: &SearchFilter) -> Result<Vec<EventRow>, StoreError> {
        let Some((oldest_s, newest_s)) = self.received_range(tenant).await? else { return Ok(Vec::new()) };
        let oldest_s = filter
            .from_ns
            .map_or(oldest_s, |from| bucket_s(from).saturating_sub(CLOCK_AHEAD_S).max(oldest_s));
        let oldest_s = filter.received_from_ns.map_or(oldest_s, |from| bucket_s(from).max(oldest_s));
        let mut found: Vec<EventRow> = Vec::new();
        let place_s = filter.before.map(|cursor| bucket_s(cursor.received_ns));
        for (first_s, last_s) in windows(filter.order, place_s, oldest_s, newest_s) {
            let rest = filter.limit() - found.len();
            found.extend(self.search_window(tenant, filter, first_s, last_s, rest).await?);
            if found.len() >= filter.limit() {
                break;
            }
        }
        Ok(found)
    }

    async fn search_window(
        &self,
        tenant: &str,
        filter: &SearchFilter,
        first_s: u32,
        last_s: u32,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let conditions = filter.conditions();
        let mut sql = format!(
            "SELECT {} FROM events WHERE tenant = {{tenant:String}} \
             AND bucket BETWEEN toDateTime({{first:UInt32}}, 'UTC') AND toDateTime({{last:UInt32}}, 'UTC')",
            Columns::Waterfall.sql()
        );
        for Condition(condition, ..) in &conditions {
            sql.push_str(" AND ");
            sql.push_str(condition);
        }
        let (beyond, direction) = match filter.order {
            SearchOrder::Newest => ("<", "DESC"),
            SearchOrder::Oldest => (">", "ASC"),
        };
        if filter.before.is_some() {
            sql.push_str(&format!(
                " AND (received_ns, start_ns, event_key) {beyond} (fromUnixTimestamp64Nano({{received:Int64}}, 'UTC'), \
                 fromUnixTimestamp64Nano({{start:Int64}}, 'UTC'), {{key:UInt64}})"
            ));
        }
        sql.push_str(&format!(
            " ORDER BY received_ns {direction}, start_ns {direction}, event_key {direction} \
             LIMIT 1 BY event_key LIMIT {{limit:UInt32}}"
        ));
        let mut query = self
            .read(&sql)
            .param("tenant", tenant)
            .param("first", first_s)
            .param("last", last_s)
            .param("limit", limit as u32);
        for Condition(_, name, value) in conditions {
            query = query.param(name, value);
        }
        if let Some(cursor) = filter.before {
            query = query
                .param("received", cursor.received_ns)
                .param("start", cursor.start_ns)
                .param("key", cursor.event_key);
        }
        rows(query, Columns::Waterfall, "search events").await
    }

    /// First and last bucket of receipt of a tenant, in unix seconds; `None` without events. Reads the sparse index only.
    pub async fn received_range(&self, tenant: &str) -> Result<Option<(u32, u32)>, StoreError> {
        let (first, last): (u32, u32) = self
            .read("SELECT min(bucket), max(bucket) FROM events WHERE tenant = {tenant:String}")
            .param("tenant", tenant)
            .fetch_one()
            .await
            .map_err(crate::client::failed("find the range of receipt"))?;
        Ok((last > 0).then_some((first, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_meet_without_gap_or_overlap_in_both_orders() {
        for (order, place) in
            [(SearchOrder::Newest, None), (SearchOrder::Oldest, None), (SearchOrder::Oldest, Some(6_000))]
        {
            let mut windows = windows(order, place, 1_200, 60_000);
            assert_eq!(windows[0].0, windows[0].1, "the first window is one bucket");
            windows.sort_unstable();
            assert_eq!((windows[0].0, windows[windows.len() - 1].1), (place.unwrap_or(1_200), 60_000));
            assert!(windows.windows(2).all(|pair| pair[0].1 + BUCKET_S == pair[1].0), "{windows:?}");
        }
        assert!(windows(SearchOrder::Newest, Some(600), 1_200, 60_000).is_empty());
    }
}
