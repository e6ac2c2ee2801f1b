//! Which segments are in the store: what correlation consumes instead of a clock.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;

/// How far shipped segments were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// `shipped_at_us` of the last row read.
    pub shipped_at_us: i64,
    /// Its segment: rows of one microsecond are told apart by it.
    pub segment: [u8; 16],
}

/// One segment whose rows are all durable.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct ShippedRow {
    /// The segment's id.
    pub segment: [u8; 16],
    /// Who shipped it.
    pub instance: String,
    /// Receipt of its first record, unix nanoseconds.
    pub first_received_ns: i64,
    /// Receipt of its last record, unix nanoseconds.
    pub last_received_ns: i64,
    /// Events in it.
    pub events: u64,
    /// Rejects in it.
    pub rejects: u64,
    /// When it was shipped, by the store's clock, unix microseconds.
    pub shipped_at_us: i64,
}

impl Store {
    /// Segments shipped after `mark`, in order, at most `limit`.
    pub async fn shipped_after(&self, mark: Mark, limit: u32) -> Result<Vec<ShippedRow>, StoreError> {
        let sql = "SELECT segment, instance, toUnixTimestamp64Nano(first_received_ns) AS first_received_ns, \
                   toUnixTimestamp64Nano(last_received_ns) AS last_received_ns, events, rejects, \
                   toUnixTimestamp64Micro(shipped_at) AS shipped_at_us FROM shipped \
                   WHERE shipped_at >= fromUnixTimestamp64Micro({at:Int64}, 'UTC') \
                   AND (shipped_at, segment) > (fromUnixTimestamp64Micro({at:Int64}, 'UTC'), \
                   toFixedString(unhex({segment:String}), 16)) \
                   ORDER BY shipped_at, shipped.segment LIMIT {limit:UInt32}";
        self.read(sql)
            .param("at", mark.shipped_at_us)
            .param("segment", format!("{:032x}", u128::from_be_bytes(mark.segment)))
            .param("limit", limit)
            .fetch_all()
            .await
            .map_err(failed("read shipped segments"))
    }

    /// What the store's clock says, unix microseconds.
    pub async fn now_us(&self) -> Result<i64, StoreError> {
        let sql = "SELECT toUnixTimestamp64Micro(now64(6))";
        self.read(sql).fetch_one().await.map_err(failed("read the store's clock"))
    }

    /// When the last segment was shipped, and what the store's clock says now, both unix microseconds; 0 for never.
    pub async fn shipped_through(&self) -> Result<(i64, i64), StoreError> {
        let sql =
            "SELECT toUnixTimestamp64Micro(max(shipped_at)), toUnixTimestamp64Micro(now64(6)) FROM shipped";
        self.read(sql).fetch_one().await.map_err(failed("read how far segments were shipped"))
    }
}
