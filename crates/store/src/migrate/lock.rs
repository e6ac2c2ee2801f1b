//! One migration at a time: creating a table is the one thing that ClickHouse does for exactly one of two callers.
//!
//! The lock is a table; its time of creation is the start of the lease. A holder that died leaves it behind until the
//! lease runs out.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::client::{Store, failed};
use crate::error::StoreError;

/// After this long a holder counts as dead. A migration of this schema takes a second.
const LEASE_S: u32 = 20;
/// How long to wait for another instance's migration before giving up.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const TABLE_ALREADY_EXISTS: u32 = 57;

/// Runs `work` while holding the lock.
pub(super) async fn with_lock<T, F>(store: &Store, work: impl FnOnce() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let since = Instant::now();
    while !take(store).await? {
        if since.elapsed() > PATIENCE {
            return Err(StoreError::Locked { waited_s: PATIENCE.as_secs() });
        }
        drop_expired(store).await?;
        tokio::time::sleep(POLL).await;
    }
    let outcome = work().await;
    let released = store.run("DROP TABLE IF EXISTS migration_lock SYNC", "release the migration lock").await;
    let outcome = outcome?;
    released.map(|()| outcome)
}

async fn take(store: &Store) -> Result<bool, StoreError> {
    match store
        .run("CREATE TABLE migration_lock (held UInt8) ENGINE = Memory", "take the migration lock")
        .await
    {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(TABLE_ALREADY_EXISTS) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn drop_expired(store: &Store) -> Result<(), StoreError> {
    let expired: u64 = store
        .read(
            "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'migration_lock' \
             AND metadata_modification_time < now() - toIntervalSecond({lease:UInt32})",
        )
        .param("lease", LEASE_S)
        .fetch_one()
        .await
        .map_err(failed("look at the migration lock"))?;
    if expired > 0 {
        tracing::warn!(lease_s = LEASE_S, "a migration lock was left behind; taking it over");
        store
            .run("DROP TABLE IF EXISTS migration_lock SYNC", "drop a migration lock that was left behind")
            .await?;
    }
    Ok(())
}
