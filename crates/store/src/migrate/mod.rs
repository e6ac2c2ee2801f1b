//! Brings the database to the schema of this build.
//!
//! ClickHouse has no transactions, so every statement is idempotent, and what has run is noted after it ran. Instances
//! take turns by a lock; should a lease run out under a slow one, two run the same idempotent statements.

mod files;
mod lock;
mod render;
mod state;

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::client::{Store, failed};
use crate::error::StoreError;
pub use files::{File, RETENTION, SCHEMA, VIEWS};
pub use render::{DEDUP_WINDOW, Retention, Setting, render};
pub use state::SchemaState;

const UNKNOWN_TABLE: u32 = 60;

/// What [`Store::migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Names of the statements that ran, in order; empty when the schema was current.
    pub applied: Vec<&'static str>,
}

#[derive(Row, Deserialize)]
struct Applied {
    name: String,
    checksum: u64,
}

impl Store {
    /// Runs the schema statements that have not run here, and sets the retention where it differs from the last one.
    ///
    /// Makes the database first, where it is missing.
    pub async fn migrate(&self, retention: &Retention) -> Result<Report, StoreError> {
        self.create_database().await?;
        // Every start comes here, nearly none has anything to do. One that dies with the lock keeps the others, and its
        // own next start, from shipping until the lease runs out.
        if self.missing(retention).await?.is_empty() {
            return Ok(Report::default());
        }
        lock::with_lock(self, || self.migrate_locked(retention)).await
    }

    async fn create_database(&self) -> Result<(), StoreError> {
        let name = self.endpoint.database.replace('\\', "\\\\").replace('`', "\\`");
        let on_cluster = self
            .endpoint
            .cluster
            .as_ref()
            .map(|cluster| format!(" ON CLUSTER '{}'", cluster.replace('\'', "")));
        let statement = format!("CREATE DATABASE IF NOT EXISTS `{name}`{}", on_cluster.unwrap_or_default());
        // A statement runs in a database, and this one's may not be there yet.
        let anywhere = self.client.clone().with_database("default");
        anywhere.query_raw(&statement).execute().await.map_err(failed("create the database"))
    }

    async fn migrate_locked(&self, retention: &Retention) -> Result<Report, StoreError> {
        let mut report = Report::default();
        // Noted at the end, because on a cluster that table is complete only after the last statement. Dying before
        // costs a repetition.
        let mut notes = Vec::new();
        for (name, statement, checksum) in self.missing(retention).await? {
            self.run(&statement, "migrate the schema").await?;
            notes.push((name, checksum));
            report.applied.push(name);
        }
        for (name, checksum) in notes {
            self.note_applied(name, checksum).await?;
        }
        Ok(report)
    }

    /// The statements that have not run here as they are now, in order: name, text and checksum.
    async fn missing(&self, retention: &Retention) -> Result<Vec<(&'static str, String, u64)>, StoreError> {
        let cluster = self.endpoint.cluster.as_deref();
        // The table of what has run is itself a statement: on an empty database it cannot be asked yet.
        let known = match self.applied().await {
            Ok(known) => known,
            Err(error) if error.code() == Some(UNKNOWN_TABLE) => HashMap::new(),
            Err(error) => return Err(error),
        };
        let mut missing = Vec::new();
        for file in files::in_order(cluster.is_some()) {
            let statement = render(file.sql, Setting { cluster, fsync: self.endpoint.fsync, retention });
            let checksum = xxh3_64(statement.as_bytes());
            let current = match known.get(file.name) {
                // A schema file is frozen once released; only its placeholders move; retention and views have files of
                // their own.
                Some(_) if !file.is_repeated() => true,
                Some(&before) => before == checksum,
                None => false,
            };
            if !current {
                missing.push((file.name, statement, checksum));
            }
        }
        Ok(missing)
    }

    /// Whether every schema statement of this build has run, for an instance that may not migrate.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let known = self.applied().await?;
        let files: Vec<_> =
            files::in_order(self.endpoint.cluster.is_some()).filter(|file| !file.is_retention()).collect();
        let missing: Vec<_> = files.iter().filter(|file| !known.contains_key(file.name)).collect();
        match missing.first() {
            None => Ok(()),
            Some(first) => {
                Err(StoreError::Schema { missing: missing.len(), total: files.len(), first: first.name })
            }
        }
    }

    async fn applied(&self) -> Result<HashMap<String, u64>, StoreError> {
        let rows: Vec<Applied> = self
            .read("SELECT name, argMax(checksum, applied_at) AS checksum FROM migrations GROUP BY name")
            .fetch_all()
            .await
            .map_err(failed("read which migrations have run"))?;
        Ok(rows.into_iter().map(|row| (row.name, row.checksum)).collect())
    }

    async fn note_applied(&self, name: &str, checksum: u64) -> Result<(), StoreError> {
        self.client
            .query_raw("INSERT INTO migrations (name, checksum, version) SELECT {name:String}, {checksum:UInt64}, {version:String}")
            .param("name", name)
            .param("checksum", checksum)
            .param("version", env!("CARGO_PKG_VERSION"))
            .execute()
            .await
            .map_err(failed("note a migration"))
    }
}
