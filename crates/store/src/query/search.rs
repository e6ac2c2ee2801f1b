//! Events by what they are, newest receipt first.

use event::{Direction, Hop};

use super::events::{Columns, EventRow, MAX_EVENTS, rows};
use crate::client::Store;
use crate::error::StoreError;
use crate::locator::{BUCKET_S, bucket_s};

/// Most events of one answer of [`Store::tail`].
pub const TAIL_LIMIT: usize = 1_000;

/// Where a page ended: order is receipt, start, event key, all descending.
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
    /// Least start, unix nanoseconds, inclusive.
    pub from_ns: Option<i64>,
    /// Greatest start, unix nanoseconds, exclusive.
    pub to_ns: Option<i64>,
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
    /// Where the page before ended.
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
const CLOCK_AHEAD_S: u32 = 86_400;

impl Store {
    /// Events that fit `filter`, newest receipt first, each once.
    ///
    /// Looks back in windows of receipt that grow from ten minutes to the whole retention, and stops when the page is
    /// full: a page of recent events reads recent data only, whatever the retention.
    pub async fn search(&self, tenant: &str, filter: &SearchFilter) -> Result<Vec<EventRow>, StoreError> {
        let Some((oldest_s, newest_s)) = self.received_range(tenant).await? else { return Ok(Vec::new()) };
        let oldest_s = filter
            .from_ns
            .map_or(oldest_s, |from| bucket_s(from).saturating_sub(CLOCK_AHEAD_S).max(oldest_s));
        let mut end_s = filter.before.map_or(newest_s, |cursor| bucket_s(cursor.received_ns).min(newest_s));
        let mut width_s = BUCKET_S;
        let mut found: Vec<EventRow> = Vec::new();
        while end_s >= oldest_s && found.len() < filter.limit() {
            let start_s = end_s.saturating_sub(width_s - BUCKET_S).max(oldest_s);
            let rest = filter.limit() - found.len();
            found.extend(self.search_window(tenant, filter, start_s, end_s, rest).await?);
            let Some(next) = start_s.checked_sub(BUCKET_S) else { break };
            end_s = next;
            width_s = width_s.saturating_mul(6);
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
        if filter.before.is_some() {
            sql.push_str(
                " AND (received_ns, start_ns, event_key) < (fromUnixTimestamp64Nano({received:Int64}, 'UTC'), \
                 fromUnixTimestamp64Nano({start:Int64}, 'UTC'), {key:UInt64})",
            );
        }
        sql.push_str(
            " ORDER BY received_ns DESC, start_ns DESC, event_key DESC LIMIT 1 BY event_key LIMIT {limit:UInt32}",
        );
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

    /// The events received after `after_ns`, oldest first, at most [`TAIL_LIMIT`].
    pub async fn tail(&self, tenant: &str, after_ns: i64) -> Result<Vec<EventRow>, StoreError> {
        let sql = format!(
            "SELECT {} FROM events WHERE tenant = {{tenant:String}} AND bucket >= toDateTime({{first:UInt32}}, 'UTC') \
             AND received_ns > fromUnixTimestamp64Nano({{after:Int64}}, 'UTC') \
             ORDER BY received_ns, start_ns, event_key LIMIT 1 BY event_key LIMIT {TAIL_LIMIT}",
            Columns::Waterfall.sql()
        );
        let query = self
            .read(&sql)
            .param("tenant", tenant)
            .param("first", bucket_s(after_ns))
            .param("after", after_ns);
        rows(query, Columns::Waterfall, "follow events").await
    }

    /// First and last bucket of receipt of a tenant; `None` without events. Reads the sparse index only.
    async fn received_range(&self, tenant: &str) -> Result<Option<(u32, u32)>, StoreError> {
        let (first, last): (u32, u32) = self
            .read("SELECT min(bucket), max(bucket) FROM events WHERE tenant = {tenant:String}")
            .param("tenant", tenant)
            .fetch_one()
            .await
            .map_err(crate::client::failed("find the range of receipt"))?;
        Ok((last > 0).then_some((first, last)))
    }
}
