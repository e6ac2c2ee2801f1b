//! What each configured input has brought.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;

/// Days that [`Store::sources`] looks back: enough to see an input fall silent, few enough to count at once.
const LOOK_BACK_DAYS: u32 = 7;

/// One input of one tenant, over the last seven days.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct SourceRow {
    /// The configured input.
    pub source: String,
    /// First receipt, unix nanoseconds.
    pub first_received_ns: i64,
    /// Last receipt, unix nanoseconds.
    pub last_received_ns: i64,
    /// Events; a redelivered one counts twice.
    pub events: u64,
    /// Rejects by reason, most first.
    pub rejects: Vec<(String, u64)>,
}

impl Store {
    /// Every input of the tenant that brought anything lately, by name.
    pub async fn sources(&self, tenant: &str) -> Result<Vec<SourceRow>, StoreError> {
        let sql = "SELECT source, toUnixTimestamp64Nano(min(first)) AS first_received_ns, \
                   toUnixTimestamp64Nano(max(last)) AS last_received_ns, sum(events) AS events, \
                   arrayReverseSort(it -> it.2, groupArrayIf((toString(reason), rejects), rejects > 0)) AS rejects FROM \
                   (SELECT source, '' AS reason, min(received_ns) AS first, max(received_ns) AS last, \
                    count() AS events, toUInt64(0) AS rejects FROM events \
                    WHERE tenant = {tenant:String} AND bucket >= now('UTC') - toIntervalDay({days:UInt32}) GROUP BY source \
                    UNION ALL \
                    SELECT source, reason, min(received_ns), max(received_ns), toUInt64(0), count() FROM rejects \
                    WHERE tenant = {tenant:String} AND received_ns >= now64(9, 'UTC') - toIntervalDay({days:UInt32}) \
                    GROUP BY source, reason) \
                   GROUP BY source ORDER BY source LIMIT 1000";
        self.read(sql)
            .param("tenant", tenant)
            .param("days", LOOK_BACK_DAYS)
            .fetch_all()
            .await
            .map_err(failed("read sources"))
    }
}
