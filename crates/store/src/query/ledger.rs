//! The completeness ledger, and what the tables hold beside it: two countings, for a person who asks what is missing.

use std::collections::BTreeMap;

use clickhouse::Row;
use event::Notes;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::exports::Decision;

/// Most events of a window whose keys are held against each other: a hundred bytes of memory each, of the gigabyte that
/// a query may take.
pub const MOST_KEYS: u64 = 2_000_000;

/// Notes of a record whose own time does not say when it was.
const GUESSES: Notes = Notes(Notes::TIME_ZONE_ASSUMED.0 | Notes::TIME_MISSING.0);

/// Which part of the ledger.
#[derive(Debug, Clone)]
pub struct LedgerFilter {
    /// From this minute on, unix seconds.
    pub since_s: u32,
    /// Up to and without this minute, unix seconds.
    pub until_s: u32,
    /// Only this input.
    pub source: Option<String>,
    /// Minutes that are summed up, in seconds.
    pub step_s: u32,
    /// Most rows of an answer.
    pub limit: u32,
}

/// Sums of one source over one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerRow {
    /// Begin of the step, unix seconds.
    pub at_s: u32,
    /// The configured input.
    pub source: String,
    /// What was counted, by the words of `event::Counter` and those of shipping.
    pub counts: BTreeMap<String, u64>,
    /// Events that the tables hold, redelivered ones as often as they came.
    pub stored_events: u64,
    /// Rejects that the tables hold, what the store refused left out.
    pub stored_rejects: u64,
    /// Rejects that were events, which the store refused.
    pub store_refused: u64,
    /// Receipt of the last record, unix nanoseconds; 0 for none.
    pub last_received_ns: i64,
}

/// What comparing the events of a window with each other tells of one source and step.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct KeyedRow {
    /// Begin of the step, unix seconds.
    pub at_s: u32,
    /// The configured input.
    pub source: String,
    /// Deliveries of events that had come before within the window, in the step of the first.
    pub duplicated: u64,
    /// Events whose request was exported.
    pub exported: u64,
    /// Events without correlation, request or edge request id.
    pub without_id: u64,
    /// Events that begin more than a minute after they were received.
    pub clock_ahead: u64,
    /// Events whose time, or its zone, is missing.
    pub time_guessed: u64,
}

#[derive(Row, Deserialize)]
struct Counted {
    at_s: u32,
    source: String,
    counts: Vec<(String, u64)>,
}

#[derive(Row, Deserialize)]
struct Stored {
    at_s: u32,
    source: String,
    events: u64,
    rejects: u64,
    refused: u64,
    last_ns: i64,
}

impl Store {
    /// The ledger of a tenant with what the tables hold, oldest first, by source.
    pub async fn ledger(&self, tenant: &str, filter: &LedgerFilter) -> Result<Vec<LedgerRow>, StoreError> {
        let counted = "SELECT at_s, toString(source) AS source, groupArray((toString(counter), amount)) AS counts FROM \
             (SELECT toUInt32(intDiv(toUnixTimestamp(minute), {step:UInt32}) * {step:UInt32}) AS at_s, source, counter, \
              sum(total) AS amount FROM ledger WHERE tenant = {tenant:String} \
              AND minute >= toDateTime({since:UInt32}, 'UTC') AND minute < toDateTime({until:UInt32}, 'UTC') \
              AND ({source:String} = '' OR source = {source:String}) GROUP BY at_s, source, counter) \
             GROUP BY at_s, source ORDER BY at_s, source LIMIT {limit:UInt32}";
        let stored = "SELECT at_s, toString(source) AS source, sum(e) AS events, sum(r) AS rejects, sum(f) AS refused, \
             max(last) AS last_ns FROM \
             (SELECT toUInt32(intDiv(toUnixTimestamp(received_ns), {step:UInt32}) * {step:UInt32}) AS at_s, source, \
              count() AS e, toUInt64(0) AS r, toUInt64(0) AS f, toUnixTimestamp64Nano(max(received_ns)) AS last \
              FROM events WHERE tenant = {tenant:String} \
              AND bucket >= toDateTime({since:UInt32} - 600, 'UTC') AND bucket < toDateTime({until:UInt32}, 'UTC') \
              AND received_ns >= toDateTime({since:UInt32}, 'UTC') AND received_ns < toDateTime({until:UInt32}, 'UTC') \
              AND ({source:String} = '' OR source = {source:String}) GROUP BY at_s, source \
              UNION ALL \
              SELECT toUInt32(intDiv(toUnixTimestamp(received_ns), {step:UInt32}) * {step:UInt32}) AS at_s, source, \
              toUInt64(0), countIf(reason != 'store_refused'), countIf(reason = 'store_refused'), \
              toUnixTimestamp64Nano(max(received_ns)) FROM rejects WHERE tenant = {tenant:String} \
              AND received_ns >= toDateTime({since:UInt32}, 'UTC') AND received_ns < toDateTime({until:UInt32}, 'UTC') \
              AND ({source:String} = '' OR source = {source:String}) GROUP BY at_s, source) \
             GROUP BY at_s, source ORDER BY at_s, source LIMIT {limit:UInt32}";
        let what = "read the ledger";
        // The ledger first: rows come before their entry, so what is being shipped shows as rows without one.
        let counted: Vec<Counted> =
            self.asked(counted, tenant, filter).fetch_all().await.map_err(failed(what))?;
        let stored: Vec<Stored> =
            self.asked(stored, tenant, filter).fetch_all().await.map_err(failed(what))?;
        let mut rows: BTreeMap<(u32, String), LedgerRow> = BTreeMap::new();
        for row in counted {
            let counts = row.counts.into_iter().collect();
            let (at_s, source) = (row.at_s, row.source);
            rows.insert((at_s, source.clone()), LedgerRow { at_s, source, counts, ..LedgerRow::default() });
        }
        for row in stored {
            let of = rows.entry((row.at_s, row.source.clone())).or_default();
            (of.at_s, of.source, of.last_received_ns) = (row.at_s, row.source, row.last_ns);
            (of.stored_events, of.stored_rejects, of.store_refused) = (row.events, row.rejects, row.refused);
        }
        Ok(rows.into_values().collect())
    }

    /// What comparing the events of the window with each other tells. Costs memory for each: ask [`Self::ledger`] first,
    /// and this only for up to [`MOST_KEYS`] events. Periodic records of requests that go on are left out.
    pub async fn ledger_keys(
        &self,
        tenant: &str,
        filter: &LedgerFilter,
    ) -> Result<Vec<KeyedRow>, StoreError> {
        let sql = "WITH toFixedString(unhex(repeat('00', 16)), 16) AS none \
             SELECT first_s AS at_s, toString(source) AS source, toUInt64(sum(deliveries) - count()) AS duplicated, \
             countIf(event_key GLOBAL IN (SELECT arrayJoin(event_keys) FROM exports WHERE tenant = {tenant:String} \
              AND decision = {exported:String} AND decided_at >= toDateTime({since:UInt32}, 'UTC'))) AS exported, \
             countIf(anonymous) AS without_id, countIf(ahead) AS clock_ahead, countIf(guessed) AS time_guessed FROM \
             (SELECT source, event_key, count() AS deliveries, any(correlation_id = none AND request_id = none \
              AND edge_request_id = none) AS anonymous, any(start_ns > received_ns + toIntervalMinute(1)) AS ahead, \
              any(bitAnd(notes, {guesses:UInt32}) != 0) AS guessed, \
              toUInt32(intDiv(toUnixTimestamp(min(received_ns)), {step:UInt32}) * {step:UInt32}) AS first_s \
              FROM events WHERE tenant = {tenant:String} \
              AND bucket >= toDateTime({since:UInt32} - 600, 'UTC') AND bucket < toDateTime({until:UInt32}, 'UTC') \
              AND received_ns >= toDateTime({since:UInt32}, 'UTC') AND received_ns < toDateTime({until:UInt32}, 'UTC') \
              AND ({source:String} = '' OR source = {source:String}) AND NOT intermediate \
              GROUP BY source, event_key) \
             GROUP BY at_s, source ORDER BY at_s, source LIMIT {limit:UInt32}";
        self.asked(sql, tenant, filter)
            .param("exported", Decision::Exported.name())
            .param("guesses", GUESSES.0)
            .fetch_all()
            .await
            .map_err(failed("compare the events of a window"))
    }

    /// Since when segments are shipped with their entries, unix seconds; 0 where all were.
    pub async fn ledger_begins(&self) -> Result<u32, StoreError> {
        let sql = "WITH (SELECT min(applied_at) FROM migrations WHERE startsWith(name, '0004_ledger/')) AS begun \
                   SELECT toUInt32(if(assumeNotNull((SELECT count() FROM shipped WHERE shipped_at < begun)) = 0, 0, \
                   toUnixTimestamp(assumeNotNull(begun))))";
        self.read(sql).fetch_one().await.map_err(failed("read where the ledger begins"))
    }

    fn asked(&self, sql: &str, tenant: &str, filter: &LedgerFilter) -> clickhouse::query::Query {
        self.read(sql)
            .param("tenant", tenant)
            .param("since", filter.since_s)
            .param("until", filter.until_s)
            .param("source", filter.source.as_deref().unwrap_or_default())
            .param("step", filter.step_s)
            .param("limit", filter.limit)
    }
}
