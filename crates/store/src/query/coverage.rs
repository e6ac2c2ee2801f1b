//! Who sends lately, which ids their records carry, and a sample of requests to judge what is joined.
//!
//! Both read the newest rows first and stop at a bound, so that a question costs the same whatever the traffic: rows of
//! one bucket lie in the order of a hash of their strongest id, so the first of them are a fair sample of its requests.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;

/// Most events that are looked at for the ids of senders: a second of the engine, and every sender that matters.
pub const MOST_LOOKED_AT: u64 = 500_000;
/// Most senders in an answer, those with the most events first.
const MOST_SENDERS: u32 = 200;

/// Which part of the events: by receipt, unix seconds.
#[derive(Debug, Clone, Copy)]
pub struct CoverageWindow {
    /// From here on.
    pub since_s: u32,
    /// Up to and without this second.
    pub until_s: u32,
}

/// One sender in one format: how many events it brought, and with which ids.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct SenderRow {
    /// The configured input.
    pub source: String,
    /// The decoder that read its records.
    pub format: String,
    /// Where it stands.
    pub hop: String,
    /// Workload, service, Fastly service, pod or node: the first that its records name.
    pub sender: String,
    /// Last receipt, unix nanoseconds.
    pub last_received_ns: i64,
    /// Events, those of TCP connections left out: they carry no id by nature.
    pub events: u64,
    /// Those of them with a correlation id.
    pub with_correlation_id: u64,
    /// With Envoy's request id.
    pub with_request_id: u64,
    /// With Fastly's own request id.
    pub with_edge_request_id: u64,
    /// With a trace id, as a `traceparent` gives it.
    pub with_trace_id: u64,
    /// With none that joins: neither correlation, request nor edge request id.
    pub without_id: u64,
}

impl Store {
    /// The senders of the newest events of the window, and which ids these carry. Periodic records of requests that go
    /// on are left out.
    pub async fn coverage(&self, tenant: &str, window: CoverageWindow) -> Result<Vec<SenderRow>, StoreError> {
        let sql = "WITH toFixedString(unhex(repeat('00', 16)), 16) AS none \
             SELECT toString(source) AS source, toString(format) AS format, toString(hop) AS hop, sender, \
             toUnixTimestamp64Nano(max(received_ns)) AS last_received_ns, count() AS events, \
             countIf(correlation_id != none) AS with_correlation_id, countIf(request_id != none) AS with_request_id, \
             countIf(edge_request_id != none) AS with_edge_request_id, countIf(trace_id != none) AS with_trace_id, \
             countIf(correlation_id = none AND request_id = none AND edge_request_id = none) AS without_id FROM \
             (SELECT source, format, hop, received_ns, correlation_id, request_id, edge_request_id, trace_id, \
              multiIf(workload != '', toString(workload), service != '', toString(service), \
              service_id != '', toString(service_id), pod != '', toString(pod), toString(node)) AS sender \
              FROM events WHERE tenant = {tenant:String} \
              AND bucket >= toDateTime({since:UInt32} - 600, 'UTC') AND bucket < toDateTime({until:UInt32}, 'UTC') \
              AND received_ns >= toDateTime({since:UInt32}, 'UTC') AND received_ns < toDateTime({until:UInt32}, 'UTC') \
              AND NOT intermediate AND (method != '' OR status != 0 OR hop IN ('edge', 'shield')) \
              ORDER BY tenant DESC, bucket DESC, locator DESC LIMIT {most:UInt64}) \
             GROUP BY source, format, hop, sender ORDER BY events DESC, source, format, hop, sender LIMIT {senders:UInt32}";
        self.read(sql)
            .param("tenant", tenant)
            .param("since", window.since_s)
            .param("until", window.until_s)
            .param("most", MOST_LOOKED_AT)
            .param("senders", MOST_SENDERS)
            .fetch_all()
            .await
            .map_err(failed("read which ids senders carry"))
    }

    /// The strongest ids of at most `limit` requests of the window: of the newest bucket first, at random within it.
    pub async fn sample_ids(
        &self,
        tenant: &str,
        window: CoverageWindow,
        limit: u32,
    ) -> Result<Vec<u128>, StoreError> {
        #[derive(Row, Deserialize)]
        struct Sampled {
            id: [u8; 16],
        }
        let sql = "WITH toFixedString(unhex(repeat('00', 16)), 16) AS none \
             SELECT if(correlation_id != none, correlation_id, if(request_id != none, request_id, edge_request_id)) AS id \
             FROM events WHERE tenant = {tenant:String} \
             AND bucket >= toDateTime({since:UInt32} - 600, 'UTC') AND bucket < toDateTime({until:UInt32}, 'UTC') \
             AND received_ns >= toDateTime({since:UInt32}, 'UTC') AND received_ns < toDateTime({until:UInt32}, 'UTC') \
             AND NOT intermediate AND (correlation_id != none OR request_id != none OR edge_request_id != none) \
             ORDER BY tenant DESC, bucket DESC, locator DESC LIMIT 1 BY id LIMIT {limit:UInt32}";
        let rows: Vec<Sampled> = self
            .read(sql)
            .param("tenant", tenant)
            .param("since", window.since_s)
            .param("until", window.until_s)
            .param("limit", limit)
            .fetch_all()
            .await
            .map_err(failed("sample requests"))?;
        Ok(rows.into_iter().map(|row| u128::from_be_bytes(row.id)).collect())
    }
}
