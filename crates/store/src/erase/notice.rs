//! Erasures told to the other instances, each of which has a spool of its own.

use std::borrow::Cow;

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::{InsertError, StoreError};
use crate::native::{Block, Cell, Layout};

/// Notices read at once; more wait for the next look.
const AT_ONCE: u32 = 1_000;

/// One erasure, as an instance was asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id.
    pub id: u128,
    /// Whose records.
    pub tenant: String,
    /// Who was asked.
    pub instance: String,
    /// What was asked; the store does not look into it.
    pub request: String,
}

#[derive(Row, Deserialize)]
struct Wire {
    id: [u8; 16],
    tenant: String,
    instance: String,
    request: String,
}

impl Store {
    /// Tells an erasure; repeating it adds nothing.
    pub async fn tell_erasure(&self, notice: &Notice) -> Result<(), InsertError> {
        let mut block = Block::new([
            ("id", u128::TYPE, u128::LAYOUT),
            ("tenant", "String", Layout::Text),
            ("instance", "String", Layout::Text),
            ("request", "String", Layout::Text),
        ]);
        let mut columns = block.columns.iter_mut();
        if let Some(column) = columns.next() {
            notice.id.put(column);
        }
        for text in [&notice.tenant, &notice.instance, &notice.request] {
            if let Some(column) = columns.next() {
                Cow::Borrowed(text.as_str()).put(column);
            }
        }
        block.rows = 1;
        self.insert_block("erasures", &block, format!("{:032x}-erasure", notice.id)).await
    }

    /// Erasures that other instances were asked for.
    pub async fn erasures_of_others(&self, instance: &str) -> Result<Vec<Notice>, StoreError> {
        let sql = "SELECT id, tenant, instance, request FROM erasures WHERE instance != {instance:String} \
                   ORDER BY asked_at DESC LIMIT {limit:UInt32}";
        let query = self.read(sql).param("instance", instance).param("limit", AT_ONCE);
        let rows: Vec<Wire> = query.fetch_all().await.map_err(failed("read erasures"))?;
        let notice = |row: Wire| Notice {
            id: u128::from_be_bytes(row.id),
            tenant: row.tenant,
            instance: row.instance,
            request: row.request,
        };
        Ok(rows.into_iter().map(notice).collect())
    }
}
