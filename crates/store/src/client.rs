//! The connection to ClickHouse, embedded or remote: the same client code for both.

use std::time::Duration;

use clickhouse::{Client, Compression};

use crate::error::StoreError;

/// Where the store is and how to get in.
#[derive(Clone)]
pub struct Endpoint {
    /// `http://host:port` of ClickHouse's HTTP interface.
    pub url: String,
    /// User name; empty for the server's default.
    pub user: String,
    /// Password; empty for none.
    pub password: String,
    /// Database; it must exist.
    pub database: String,
    /// Name of the cluster whose shards hold the tables; `None` for one server or the embedded engine.
    pub cluster: Option<String>,
    /// Whether an insert answers only after its parts are fsynced. Keep it on for the embedded engine and a single
    /// server; a replicated cluster with a quorum may do without.
    pub fsync: bool,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url, user, database, cluster, fsync, password: _ } = self;
        f.debug_struct("Endpoint")
            .field("url", url)
            .field("user", user)
            .field("database", database)
            .field("cluster", cluster)
            .field("fsync", fsync)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A server without a password, its `default` database, no cluster, fsynced inserts.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user: String::new(),
            password: String::new(),
            database: "default".into(),
            cluster: None,
            fsync: true,
        }
    }

    fn is_loopback(&self) -> bool {
        let host = self.url.split("://").nth(1).unwrap_or(&self.url);
        ["127.", "localhost", "[::1]"].iter().any(|loopback| host.starts_with(loopback))
    }

    fn client(&self) -> Client {
        // On loopback, compressing costs more than the bytes do.
        let compression = if self.is_loopback() { Compression::None } else { Compression::Lz4 };
        let mut client =
            Client::default().with_url(&self.url).with_database(&self.database).with_compression(compression);
        if !self.user.is_empty() {
            client = client.with_user(&self.user);
        }
        if !self.password.is_empty() {
            client = client.with_password(&self.password);
        }
        client
    }
}

/// Longest a query of ours may run in the store. The slowest, a search over all retention, gives up before a browser.
pub const QUERY_TIME_S: u32 = 30;
/// Memory a query of ours may take in the store.
pub const QUERY_MEMORY_BYTES: u64 = 1 << 30;
/// Longest an insert may take before it counts as failed and is repeated.
pub const INSERT_TIMEOUT: Duration = Duration::from_secs(60);

/// The store. Cloning is cheap; clones share connections.
#[derive(Clone)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) endpoint: Endpoint,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Store {
    /// A store at `endpoint`. Nothing is sent yet; see [`Self::ping`].
    pub fn connect(endpoint: Endpoint) -> Self {
        Self { client: endpoint.client(), endpoint }
    }

    /// The same store at another address: the embedded engine has a new port and secret after a restart.
    pub fn with_endpoint(&self, endpoint: Endpoint) -> Self {
        Self::connect(endpoint)
    }

    /// Where this store is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks for nothing; `Ok` means that address, credentials and database are right.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read("SELECT 1").fetch_one::<u8>().await.map_err(failed("ask for a sign of life"))?;
        Ok(())
    }

    /// A query that is bounded in time and memory.
    pub(crate) fn read(&self, sql: &str) -> clickhouse::query::Query {
        self.client
            .query_raw(sql)
            .with_setting("max_execution_time", QUERY_TIME_S.to_string())
            .with_setting("max_memory_usage", QUERY_MEMORY_BYTES.to_string())
    }

    /// Runs a statement that answers nothing.
    pub(crate) async fn run(&self, sql: &str, what: &'static str) -> Result<(), StoreError> {
        self.client.query_raw(sql).execute().await.map_err(failed(what))
    }
}

/// Wraps an error of the client with what was being done.
pub(crate) fn failed(what: &'static str) -> impl Fn(clickhouse::error::Error) -> StoreError {
    move |source| StoreError::Statement { what, source: Box::new(source) }
}
