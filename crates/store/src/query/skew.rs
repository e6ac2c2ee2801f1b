//! Clock skew between servers: learnt by correlation, read for display.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::client::{Store, failed};
use crate::error::StoreError;

/// Within which bounds one server's clock was ahead of another's for an hour.
#[derive(Debug, Clone, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct SkewRow {
    /// Whose.
    pub tenant: String,
    /// Start of the hour, unix seconds.
    pub hour_s: u32,
    /// The clock compared with.
    pub from_server: String,
    /// The clock that is ahead by the interval.
    pub to_server: String,
    /// At least so many nanoseconds (negative: behind).
    pub low_ns: i64,
    /// At most so many.
    pub high_ns: i64,
    /// Links that agree on it.
    pub links: u64,
    /// Of one hour's rows the highest counts.
    pub version: u64,
}

/// Most rows of an answer.
const MOST_ROWS: u32 = 10_000;

impl Store {
    /// Writes what was learnt. A row that is there with a higher version stays.
    pub async fn note_skews(&self, rows: &[SkewRow]) -> Result<(), StoreError> {
        let what = "write clock skew";
        let column = |text: fn(&SkewRow) -> &str| rows.iter().map(text).collect::<Vec<_>>();
        self.client
            .query_raw(
                "INSERT INTO skew (tenant, hour, from_server, to_server, low_ns, high_ns, links, version) \
                 SELECT row.1, toDateTime(row.2, 'UTC'), row.3, row.4, row.5, row.6, row.7, row.8 FROM \
                 (SELECT arrayJoin(arrayZip({tenants:Array(String)}, {hours:Array(UInt32)}, {from:Array(String)}, \
                 {to:Array(String)}, {low:Array(Int64)}, {high:Array(Int64)}, {links:Array(UInt64)}, \
                 {versions:Array(UInt64)})) AS row)",
            )
            .param("tenants", column(|row| &row.tenant))
            .param("hours", rows.iter().map(|row| row.hour_s).collect::<Vec<_>>())
            .param("from", column(|row| &row.from_server))
            .param("to", column(|row| &row.to_server))
            .param("low", rows.iter().map(|row| row.low_ns).collect::<Vec<_>>())
            .param("high", rows.iter().map(|row| row.high_ns).collect::<Vec<_>>())
            .param("links", rows.iter().map(|row| row.links).collect::<Vec<_>>())
            .param("versions", rows.iter().map(|row| row.version).collect::<Vec<_>>())
            .execute()
            .await
            .map_err(failed(what))
    }

    /// What is known of the clocks of `servers` in the hours that hold `from_ns` to `to_ns` (unix nanoseconds, by the
    /// time of receipt).
    pub async fn skews(
        &self,
        tenant: &str,
        servers: &[&str],
        from_ns: i64,
        to_ns: i64,
    ) -> Result<Vec<SkewRow>, StoreError> {
        if servers.is_empty() {
            return Ok(Vec::new());
        }
        let second = |ns: i64| (ns / 1_000_000_000).clamp(0, i64::from(u32::MAX)) as u32;
        let sql = "SELECT tenant, toUInt32(hour) AS hour_s, from_server, to_server, \
                   argMax(s.low_ns, s.version) AS low_ns, argMax(s.high_ns, s.version) AS high_ns, \
                   argMax(s.links, s.version) AS links, max(s.version) AS version FROM skew AS s \
                   WHERE tenant = {tenant:String} \
                   AND hour BETWEEN toStartOfHour(toDateTime({from:UInt32}, 'UTC')) AND toDateTime({to:UInt32}, 'UTC') \
                   AND from_server IN {servers:Array(String)} AND to_server IN {servers:Array(String)} \
                   GROUP BY tenant, hour, from_server, to_server ORDER BY hour, from_server, to_server LIMIT {limit:UInt32}";
        self.read(sql)
            .param("tenant", tenant)
            .param("from", second(from_ns))
            .param("to", second(to_ns))
            .param("servers", servers)
            .param("limit", MOST_ROWS)
            .fetch_all()
            .await
            .map_err(failed("read clock skew"))
    }
}
