//! Where records lie that fit a filter, newest receipt first.

use clickhouse::Row;
use serde::Deserialize;

use super::super::events::{Columns, EventRow, rows};
use super::super::search::{CLOCK_AHEAD_S, windows};
use super::derived::{STRONGEST_ID, TRACE_ID};
use super::filter::{Filter, Parameters};
use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::locator::{Locator, bucket_s};
use crate::query::SearchOrder;

/// Records of one request that are read at most to find its place: requests are some ten records.
const RECORDS_PER_PLACE: usize = 16;
/// Records of a made trace id that are read: one request has some ten.
const MADE_TRACE_RECORDS: usize = 512;

/// When records began, by their senders' clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// Least start, unix nanoseconds, inclusive.
    pub from_ns: Option<i64>,
    /// Greatest start, unix nanoseconds, exclusive.
    pub to_ns: Option<i64>,
}

impl Range {
    /// The range in SQL; its values go to `parameters`.
    pub(super) fn sql(self, parameters: &mut Parameters) -> String {
        let mut sql = "true".to_owned();
        let mut bound = |sign: &str, at: Option<i64>| {
            if let Some(at) = at {
                let name = format!("p{}", parameters.len());
                sql += &format!(" AND start_ns {sign} fromUnixTimestamp64Nano({{{name}:Int64}}, 'UTC')");
                parameters.push((name, at.to_string()));
            }
        };
        bound(">=", self.from_ns);
        bound("<", self.to_ns);
        sql
    }

    /// The oldest bucket of receipt that can hold records of this range.
    pub(super) fn oldest_bucket_s(self, oldest_s: u32) -> u32 {
        let from = self.from_ns.map(|from| bucket_s(from).saturating_sub(CLOCK_AHEAD_S));
        from.map_or(oldest_s, |from| from.max(oldest_s))
    }
}

/// A place with records that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub locator: Locator,
    /// The strongest id of its records, which is what the place is made of; 0 where they have none.
    pub id: u128,
}

#[derive(Row, Deserialize)]
struct Wire {
    bucket: u32,
    locator: u64,
    id: [u8; 16],
}

impl Store {
    /// Places of records that fit, each once, newest receipt first, at most `limit`.
    ///
    /// Reads windows of receipt that grow from ten minutes to the whole retention, and stops when there are enough.
    pub async fn places_of(
        &self,
        tenant: &str,
        filter: &Filter,
        range: Range,
        limit: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let Some((oldest_s, newest_s)) = self.received_range(tenant).await? else { return Ok(Vec::new()) };
        let mut found: Vec<Place> = Vec::new();
        for (first_s, last_s) in windows(SearchOrder::Newest, None, range.oldest_bucket_s(oldest_s), newest_s)
        {
            let rest = limit - found.len();
            for Wire { bucket, locator, id } in
                self.places_in(tenant, filter, range, (first_s, last_s), rest).await?
            {
                let locator = Locator { bucket_s: bucket, key: locator };
                found.push(Place { locator, id: u128::from_be_bytes(id) });
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    async fn places_in(
        &self,
        tenant: &str,
        filter: &Filter,
        range: Range,
        window: (u32, u32),
        limit: usize,
    ) -> Result<Vec<Wire>, StoreError> {
        let mut parameters = Parameters::new();
        let (range, filter) = (range.sql(&mut parameters), filter.sql(&mut parameters));
        // The inner limit keeps a search without conditions from sorting a whole window.
        let sql = format!(
            "SELECT bucket, locator, any(id) AS id FROM (SELECT bucket, locator, received_ns, {STRONGEST_ID} AS id \
             FROM events WHERE tenant = {{tenant:String}} \
             AND bucket BETWEEN toDateTime({{first:UInt32}}, 'UTC') AND toDateTime({{last:UInt32}}, 'UTC') \
             AND {range} AND {filter} ORDER BY received_ns DESC LIMIT {{records:UInt64}}) \
             GROUP BY bucket, locator ORDER BY max(received_ns) DESC, locator LIMIT {{limit:UInt64}}"
        );
        let mut query = self
            .read(&sql)
            .param("tenant", tenant)
            .param("first", window.0)
            .param("last", window.1)
            .param("records", limit.saturating_mul(RECORDS_PER_PLACE) as u64)
            .param("limit", limit as u64);
        for (name, value) in parameters {
            query = query.param(&name, value);
        }
        query.fetch_all().await.map_err(failed("search spans"))
    }

    /// Records without a trace id of their own whose made one is `trace_id`: what `otel_traces` shows under it.
    pub async fn events_of_made_trace(
        &self,
        tenant: &str,
        trace_id: u128,
    ) -> Result<Vec<EventRow>, StoreError> {
        let sql = format!(
            "SELECT {} FROM events WHERE tenant = {{tenant:String}} AND empty(trace_id) \
             AND {TRACE_ID} = {{trace:String}} ORDER BY received_ns DESC LIMIT {MADE_TRACE_RECORDS}",
            Columns::All.sql()
        );
        let query = self.read(&sql).param("tenant", tenant).param("trace", format!("{trace_id:032x}"));
        rows(query, Columns::All, "look up a made trace id").await
    }
}
