//! How much the tables hold, for metrics.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;

/// One table on disk.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct TableStats {
    /// Its name.
    pub table: String,
    /// Active parts. ClickHouse slows inserts down at 1,000 in one partition and refuses them at 3,000.
    pub parts: u64,
    /// Most active parts of one partition.
    pub most_parts_of_a_partition: u64,
    /// Rows, before rows of equal keys collapse.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Store {
    /// Every table of the database that holds anything, by name. On a cluster: this server's share.
    pub async fn parts(&self) -> Result<Vec<TableStats>, StoreError> {
        let sql = "SELECT table, sum(n) AS parts, max(n) AS most_parts_of_a_partition, sum(r) AS rows, sum(b) AS bytes \
                   FROM (SELECT table, partition, count() AS n, sum(rows) AS r, sum(bytes_on_disk) AS b \
                   FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table, partition) \
                   GROUP BY table ORDER BY table";
        self.read(sql).fetch_all().await.map_err(failed("read the size of the tables"))
    }

    /// Merges a table down to one part per partition. For measurements: it rewrites everything.
    pub async fn optimize(&self, table: &'static str) -> Result<(), StoreError> {
        self.run(&format!("OPTIMIZE TABLE {table} FINAL"), "merge a table").await
    }
}
