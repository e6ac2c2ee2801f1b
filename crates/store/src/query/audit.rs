//! What the tables hold, row by row and summed up: for `throughline verify`, which knows what they must hold.
//!
//! Counts raw rows: other questions fold redelivered events by their keys, and would hide a doubled insert.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;

/// All events that have one path.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct AuditRow {
    /// The path.
    pub path: String,
    /// Rows, redeliveries included.
    pub rows: u64,
    /// Different event keys among them.
    pub keys: u64,
    /// Different contents among them, eight at most.
    pub contents: Vec<AuditContent>,
}

/// What was logged: host, user agent, status, bytes of the response, start in unix nanoseconds, and correlation and
/// request id in hex.
pub type AuditContent = (String, String, u16, u64, i64, String, String);

/// Sums over one host in one table.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct AuditHost {
    /// The host.
    pub host: String,
    /// Events, or the requests that a rollup counts.
    pub events: f64,
    /// Bytes of all responses.
    pub response_bytes: f64,
}

/// What ties the tables to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
pub struct AuditSums {
    /// Rows of `events`.
    pub events: u64,
    /// Rows of `rejects`.
    pub rejects: u64,
    /// Events whose correlation or request id leads nowhere in `ids`.
    pub events_without_ids: u64,
    /// Different correlation and request ids in `ids` that no event has.
    pub ids_without_events: u64,
    /// Rows of `shipped`.
    pub shipped: u64,
    /// Different segments among them.
    pub segments: u64,
    /// Events that they say were shipped.
    pub shipped_events: u64,
    /// Rejects that they say were shipped.
    pub shipped_rejects: u64,
    /// Events in `recent`.
    pub recent_events: u64,
    /// Records by which the ledger and the tables differ, source by source and minute by minute.
    pub ledger_apart: u64,
}

impl Store {
    /// Events by path, of the paths from `from` to before `to`, in order. The caller keeps the range small.
    pub async fn audit_paths(&self, tenant: &str, from: &str, to: &str) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT toString(path) AS path, count() AS rows, uniqExact(event_key) AS keys, \
                   groupUniqArray(8)((toString(host), toString(user_agent), status, ifNull(response_bytes, 0), \
                   toUnixTimestamp64Nano(start_ns), lower(hex(correlation_id)), lower(hex(request_id)))) AS contents \
                   FROM events WHERE tenant = {tenant:String} AND events.path >= {from:String} \
                   AND events.path < {to:String} GROUP BY path ORDER BY path";
        self.read(sql)
            .param("tenant", tenant)
            .param("from", from)
            .param("to", to)
            .fetch_all()
            .await
            .map_err(failed("audit events"))
    }

    /// Sums by host, of `events` and of `rollup_minute`.
    pub async fn audit_hosts(&self, tenant: &str) -> Result<(Vec<AuditHost>, Vec<AuditHost>), StoreError> {
        let events = "SELECT toString(host) AS host, toFloat64(count()) AS events, \
                      toFloat64(sum(ifNull(response_bytes, 0))) AS response_bytes FROM events \
                      WHERE tenant = {tenant:String} GROUP BY host ORDER BY host";
        let rollup = "SELECT toString(host) AS host, sum(requests) AS events, \
                      sum(rollup_minute.response_bytes) AS response_bytes FROM rollup_minute \
                      WHERE tenant = {tenant:String} GROUP BY host ORDER BY host";
        let ask = async |sql| {
            self.read(sql).param("tenant", tenant).fetch_all().await.map_err(failed("audit sums"))
        };
        Ok((ask(events).await?, ask(rollup).await?))
    }

    /// Sums over all tables and tenants.
    pub async fn audit_sums(&self) -> Result<AuditSums, StoreError> {
        let sql = "WITH toFixedString(unhex(repeat('00', 16)), 16) AS none SELECT \
                   assumeNotNull((SELECT count() FROM events)) AS events, \
                   assumeNotNull((SELECT count() FROM rejects)) AS rejects, \
                   assumeNotNull((SELECT count() FROM events WHERE (correlation_id != none \
                    AND correlation_id NOT IN (SELECT id FROM ids WHERE kind = 'correlation_id')) \
                    OR (request_id != none AND request_id NOT IN (SELECT id FROM ids WHERE kind = 'request_id')))) \
                   AS events_without_ids, \
                   assumeNotNull((SELECT uniqExact(id) FROM ids WHERE (kind = 'correlation_id' \
                    AND id NOT IN (SELECT correlation_id FROM events)) \
                    OR (kind = 'request_id' AND id NOT IN (SELECT request_id FROM events)))) AS ids_without_events, \
                   assumeNotNull((SELECT count() FROM shipped)) AS shipped, \
                   assumeNotNull((SELECT uniqExact(segment) FROM shipped)) AS segments, \
                   assumeNotNull((SELECT sum(shipped.events) FROM shipped)) AS shipped_events, \
                   assumeNotNull((SELECT sum(shipped.rejects) FROM shipped)) AS shipped_rejects, \
                   assumeNotNull((SELECT sum(recent.events) FROM recent)) AS recent_events, \
                   assumeNotNull((SELECT toUInt64(sum(abs(apart))) FROM (SELECT sum(n) AS apart FROM \
                    (SELECT tenant, source, minute, toInt64(total) AS n FROM ledger \
                     WHERE counter IN ('accepted', 'rejected') \
                     UNION ALL SELECT tenant, source, toStartOfMinute(received_ns), toInt64(-1) FROM events \
                     UNION ALL SELECT tenant, source, toStartOfMinute(received_ns), toInt64(-1) FROM rejects) \
                    GROUP BY tenant, source, minute))) AS ledger_apart";
        self.read(sql).fetch_one().await.map_err(failed("audit the tables"))
    }
}
