//! What the store takes, and what was dropped to keep it within its budget.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTable {
    table: String,
}

/// Figures of the store's disk.
#[derive(Debug, Default)]
pub(crate) struct StoreRoom {
    bytes: Gauge,
    dropped_rows: Family<OfTable, Counter>,
}

impl StoreRoom {
    /// Bytes on disk of all tables.
    pub(crate) fn takes(&self, bytes: u64) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts rows of a partition that went for want of room.
    pub(crate) fn dropped(&self, table: &str, rows: u64) {
        self.dropped_rows.get_or_create(&OfTable { table: table.to_owned() }).inc_by(rows);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let taken = "What the tables take on the store's disk, by this instance's last look";
        registry.register_with_unit("store_used", taken, Unit::Bytes, self.bytes.clone());
        let dropped = "Rows dropped, the oldest first, to stay within retention.max_bytes";
        registry.register("store_dropped_rows", dropped, self.dropped_rows.clone());
    }
}
