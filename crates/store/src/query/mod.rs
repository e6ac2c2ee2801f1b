//! Every question asked of the store. Each is bounded in time, memory and rows.

mod audit;
mod coverage;
mod events;
mod ids;
mod ledger;
mod recent;
mod rejects;
mod search;
mod shipped;
mod skew;
mod sources;
mod stats;
pub mod tempo;

pub use audit::{AuditContent, AuditHost, AuditRow, AuditSums};
pub use coverage::{CoverageWindow, MOST_LOOKED_AT, SenderRow};
pub use events::{Columns, EventRow, MAX_EVENTS};
pub use ids::{IdRow, MAX_ROWS_PER_ID};
pub use ledger::{KeyedRow, LedgerFilter, LedgerRow, MOST_KEYS};
pub use recent::RecentChunk;
pub use rejects::RejectFilter;
pub use search::{Cursor, SearchFilter, SearchOrder};
pub use shipped::{Mark, ShippedRow};
pub use skew::SkewRow;
pub use sources::SourceRow;
pub use stats::TableStats;

/// Ids as a parameter: the engine turns the text into bytes.
pub(crate) fn hex_list(ids: &[u128]) -> Vec<String> {
    ids.iter().map(|id| format!("{id:032x}")).collect()
}
