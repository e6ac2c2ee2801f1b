//! How a database stands against this build, for whoever asks what is wrong.

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;

use super::{RETENTION, SCHEMA, UNKNOWN_TABLE, VIEWS, files};
use crate::client::{Store, failed};
use crate::error::StoreError;

/// The statements of this build against those that have run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaState {
    /// How many statements this build has, retention left out.
    pub statements: usize,
    /// Those that have not run in the database, in order.
    pub missing: Vec<&'static str>,
    /// What has run there and this build does not know: a newer version was here.
    pub unknown: Vec<String>,
}

impl Store {
    /// Which statements are missing, and which are of another version.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        let applied = match self.applied().await {
            Ok(applied) => applied,
            Err(error) if error.code() == Some(UNKNOWN_TABLE) => HashMap::new(),
            Err(error) => return Err(error),
        };
        let own: Vec<_> =
            files::in_order(self.endpoint.cluster.is_some()).filter(|file| !file.is_retention()).collect();
        let missing = own.iter().map(|file| file.name).filter(|name| !applied.contains_key(*name)).collect();
        let all = || SCHEMA.iter().chain(RETENTION).chain(VIEWS);
        let mut unknown: Vec<String> =
            applied.into_keys().filter(|name| !all().any(|file| file.name == name.as_str())).collect();
        unknown.sort_unstable();
        Ok(SchemaState { statements: own.len(), missing, unknown })
    }

    /// The version of ClickHouse that answers.
    pub async fn server_version(&self) -> Result<String, StoreError> {
        #[derive(Row, Deserialize)]
        struct Answer {
            version: String,
        }
        let answer: Answer = self
            .read("SELECT version() AS version")
            .fetch_one()
            .await
            .map_err(failed("read the store's version"))?;
        Ok(answer.version)
    }
}
