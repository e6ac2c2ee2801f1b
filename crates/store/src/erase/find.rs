//! Finding what an erasure concerns: reads only, so that a person may look before anything is deleted.

use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;

use super::{MAX_EVENTS, Scope, TEXTS};
use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::query::hex_list;

/// Longest a look through all of the retention may take.
const FIND_TIME_S: u32 = 600;
/// Ids of one question: a parameter travels in the address.
const IDS_AT_ONCE: usize = 2_000;
/// Trace ids that are told one by one.
const TRACE_IDS_MOST: u32 = 1_000;

/// One event that is to go.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct Touched {
    /// Its key; redeliveries share it.
    pub event_key: u64,
    /// When it was received, unix nanoseconds.
    pub received_ns: i64,
    /// Notes of normalization, as bits.
    pub notes: u32,
    correlation_id: [u8; 16],
    request_id: [u8; 16],
    edge_request_id: [u8; 16],
    trace_id: [u8; 16],
}

impl Touched {
    /// Correlation, request and edge request id; 0 for none.
    pub fn request_ids(&self) -> [u128; 3] {
        [self.correlation_id, self.request_id, self.edge_request_id].map(u128::from_be_bytes)
    }

    /// Trace id; 0 for none.
    pub fn trace_id(&self) -> u128 {
        u128::from_be_bytes(self.trace_id)
    }
}

/// Rows that an erasure concerns beside the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rejects in whose bytes or reason the value stands.
    pub rejects: u64,
}

/// What went out to a trace backend.
#[derive(Debug, Clone, PartialEq, Eq, Default, Row, Deserialize)]
pub struct Exported {
    /// Decisions about requests, exported or not.
    pub decisions: u64,
    /// Spans that the receiver took.
    pub spans: u64,
    /// Trace ids of exported requests, 32 hex digits, the first thousand.
    pub trace_ids: Vec<String>,
}

impl Store {
    /// Events that a scope finds by themselves; one more than [`MAX_EVENTS`] means that there are too many.
    pub async fn erasable_events(&self, scope: &Scope) -> Result<Vec<Touched>, StoreError> {
        let texts: Vec<String> =
            TEXTS.iter().map(|name| format!("match({name}, {{pattern:String}})")).collect();
        let own = format!(
            "(({{subject:String}} != '' AND subject = {{subject:String}}) \
             OR ({{client:String}} != '::' AND client_address = toIPv6({{client:String}})) \
             OR ({{pattern:String}} != '' AND ({} OR arrayExists(text -> match(text, {{pattern:String}}), \
             mapValues(attributes)))))",
            texts.join(" OR ")
        );
        let mut found = self.touched(scope, &own, &[]).await?;
        found.extend(self.erasable_by_ids(scope, &scope.ids, true).await?);
        Ok(found)
    }

    /// Events that carry any of `ids`, as a per-request id and, if asked for, as a trace id.
    pub async fn erasable_by_ids(
        &self,
        scope: &Scope,
        ids: &[u128],
        traces: bool,
    ) -> Result<Vec<Touched>, StoreError> {
        let mut columns = vec!["correlation_id", "request_id", "edge_request_id"];
        columns.extend(traces.then_some("trace_id"));
        let any: Vec<String> = columns
            .iter()
            .map(|column| {
                format!("{column} IN (SELECT toFixedString(unhex(arrayJoin({{ids:Array(String)}})), 16))")
            })
            .collect();
        let condition = format!("({})", any.join(" OR "));
        let mut found = Vec::new();
        for part in ids.chunks(IDS_AT_ONCE) {
            found.extend(self.touched(scope, &condition, part).await?);
        }
        Ok(found)
    }

    async fn touched(&self, scope: &Scope, own: &str, ids: &[u128]) -> Result<Vec<Touched>, StoreError> {
        let sql = format!(
            "SELECT event_key, toUnixTimestamp64Nano(events.received_ns) AS received_ns, notes, correlation_id, \
             request_id, edge_request_id, trace_id FROM events WHERE tenant = {{tenant:String}} \
             AND bucket >= toDateTime({{first:UInt32}}, 'UTC') AND bucket <= toDateTime({{last:UInt32}}, 'UTC') \
             AND events.received_ns >= fromUnixTimestamp64Nano({{from:Int64}}, 'UTC') \
             AND events.received_ns <= fromUnixTimestamp64Nano({{until:Int64}}, 'UTC') AND {own} LIMIT {}",
            MAX_EVENTS + 1
        );
        let mut query = scoped(self.client.query_raw(&sql), scope)
            .param("subject", &scope.subject)
            .param("client", std::net::Ipv6Addr::from(scope.client).to_string())
            .param("pattern", &scope.pattern);
        if !ids.is_empty() {
            query = query.param("ids", hex_list(ids));
        }
        query.fetch_all().await.map_err(failed("find the events of an erasure"))
    }

    /// Rows of other tables in which the value stands.
    pub async fn erasable_elsewhere(&self, scope: &Scope) -> Result<Counts, StoreError> {
        if scope.pattern.is_empty() {
            return Ok(Counts::default());
        }
        let sql = format!("SELECT count() FROM rejects WHERE {REJECTS}");
        let query = scoped(self.client.query_raw(&sql), scope).param("pattern", &scope.pattern);
        let rejects = query.fetch_one().await.map_err(failed("find the rejects of an erasure"))?;
        Ok(Counts { rejects })
    }

    /// What became of the requests of an erasure whose events are noted: see [`Store::note_erasing`].
    pub async fn exported_of(&self, tenant: &str, erasure: u128) -> Result<Exported, StoreError> {
        let sql = format!(
            "SELECT count() AS decisions, toUInt64(sumIf(spans, decision = 'exported')) AS spans, \
             groupUniqArrayIf({TRACE_IDS_MOST})(lower(hex(trace_id)), decision = 'exported') AS trace_ids \
             FROM exports WHERE {EXPORTS}"
        );
        self.read(&sql)
            .param("tenant", tenant)
            .param("erasure", format!("{erasure:032x}"))
            .fetch_one()
            .await
            .map_err(failed("find what was exported"))
    }
}

/// Which rejects: of the scope, and with the value in their bytes.
pub(super) const REJECTS: &str = "tenant = {tenant:String} \
    AND received_ns >= fromUnixTimestamp64Nano({from:Int64}, 'UTC') \
    AND received_ns <= fromUnixTimestamp64Nano({until:Int64}, 'UTC') \
    AND (match(bytes, {pattern:String}) OR match(detail, {pattern:String}))";

/// Which decisions: about events that are noted.
pub(super) const EXPORTS: &str = "tenant = {tenant:String} AND hasAny(event_keys, \
    (SELECT groupArray(event_key) FROM erasing WHERE erasure = unhex({erasure:String}) AND event_key != 0))";

/// Parameters that every statement of a scope has; one that a statement does not name does no harm.
pub(super) fn scoped(query: Query, scope: &Scope) -> Query {
    let bucket = |ns: i64| u32::try_from(ns / 1_000_000_000).unwrap_or(if ns < 0 { 0 } else { u32::MAX });
    query
        .with_setting("max_execution_time", FIND_TIME_S.to_string())
        .param("tenant", &scope.tenant)
        .param("from", scope.from_ns.max(0))
        .param("until", scope.until_ns)
        .param("first", bucket(scope.from_ns).saturating_sub(crate::locator::BUCKET_S))
        .param("last", bucket(scope.until_ns))
}
