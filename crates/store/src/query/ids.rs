//! Ids to places and to other ids, without a time range.

use clickhouse::Row;
use correlation::IdKind;
use serde::Deserialize;

use super::hex_list;
use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::locator::Locator;

/// Most rows of one id in an answer. One more than an id may have events before a trace counts it as weak, so that
/// whoever gets this many knows it.
pub const MAX_ROWS_PER_ID: usize = 1001;

/// One set of ids that an event carried, as found by one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdRow {
    /// The id.
    pub id: u128,
    /// What it was there.
    pub kind: IdKind,
    /// Where its events lie.
    pub locator: Locator,
    /// Every id of the event in the order of [`IdKind::ALL`], this one included; 0 for none.
    pub ids: [u128; 4],
}

#[derive(Row, Deserialize)]
struct Wire {
    id: [u8; 16],
    kind: i8,
    bucket: u32,
    correlation_id: [u8; 16],
    request_id: [u8; 16],
    edge_request_id: [u8; 16],
    trace_id: [u8; 16],
}

impl Wire {
    fn row(self) -> Option<IdRow> {
        let id = u128::from_be_bytes(self.id);
        let others = [self.correlation_id, self.request_id, self.edge_request_id, self.trace_id];
        let mut ids = others.map(u128::from_be_bytes);
        let own = IdKind::ALL.iter().position(|kind| *kind as i8 == self.kind)?;
        *ids.get_mut(own)? = id;
        let locator = Locator::of_ids(self.bucket, ids)?;
        Some(IdRow { id, kind: *IdKind::ALL.get(own)?, locator, ids })
    }
}

impl Store {
    /// Every place where any of `ids` was seen, as whatever kind, at any time, with the other ids seen beside it. The
    /// newest [`MAX_ROWS_PER_ID`] of each id: so many of one mean that there may be more, and that it says little.
    pub async fn ids_of(&self, tenant: &str, ids: &[u128]) -> Result<Vec<IdRow>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT DISTINCT id, kind, bucket, correlation_id, request_id, edge_request_id, trace_id FROM ids \
             WHERE tenant = {{tenant:String}} AND id IN \
             (SELECT toFixedString(unhex(arrayJoin({{ids:Array(String)}})), 16)) \
             ORDER BY bucket DESC LIMIT {MAX_ROWS_PER_ID} BY id"
        );
        let rows: Vec<Wire> = self
            .read(&sql)
            .param("tenant", tenant)
            .param("ids", hex_list(ids))
            .fetch_all()
            .await
            .map_err(failed("look up ids"))?;
        Ok(rows.into_iter().filter_map(Wire::row).collect())
    }
}
