//! Ids to places and to other ids, without a time range.

use clickhouse::Row;
use correlation::IdKind;
use serde::Deserialize;

use super::hex_list;
use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::locator::Locator;

/// Most rows of one answer about ids. An id on more rows than this is weak: it groups the world.
pub const MAX_ID_ROWS: usize = 10_000;

/// One place where an id was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdRow {
    /// The id.
    pub id: u128,
    /// What it was there.
    pub kind: IdKind,
    /// Where its events lie.
    pub locator: Locator,
}

#[derive(Row, Deserialize)]
struct Wire {
    id: [u8; 16],
    kind: i8,
    bucket: u32,
    locator: u64,
}

impl Store {
    /// Every place where any of `ids` was seen, as whatever kind, at any time. At most [`MAX_ID_ROWS`], newest first.
    pub async fn ids_of(&self, tenant: &str, ids: &[u128]) -> Result<Vec<IdRow>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT DISTINCT id, kind, bucket, locator FROM ids WHERE tenant = {{tenant:String}} AND id IN \
             (SELECT toFixedString(unhex(arrayJoin({{ids:Array(String)}})), 16)) \
             ORDER BY bucket DESC LIMIT {MAX_ID_ROWS}"
        );
        let rows: Vec<Wire> = self
            .read(&sql)
            .param("tenant", tenant)
            .param("ids", hex_list(ids))
            .fetch_all()
            .await
            .map_err(failed("look up ids"))?;
        let row = |wire: Wire| {
            let kind = IdKind::ALL.into_iter().find(|kind| *kind as i8 == wire.kind)?;
            let locator = Locator { bucket_s: wire.bucket, key: wire.locator };
            Some(IdRow { id: u128::from_be_bytes(wire.id), kind, locator })
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }
}
