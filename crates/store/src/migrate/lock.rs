//! One migration at a time: creating a table is the one thing that ClickHouse does for exactly one of two callers.
//!
//! The lock is a table. Its comment holds the holder's token and the seconds of its lease, its time of creation (by the
//! store's clock) is the start of the lease. A holder that died leaves it behind; whoever finds the lease run out
//! renames the table to a name made of the dead holder's token. That name can be taken once, so of two that saw the same
//! dead lock one succeeds, and neither can remove the lock that the other took in the meantime. A holder drops its lock
//! only while its token stands in it and its lease has time left.

use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use clickhouse::Row;
use serde::Deserialize;

use crate::client::{Store, failed};
use crate::error::StoreError;

/// After this long a holder counts as dead. A migration of this schema takes a second.
const LEASE_S: u32 = 20;
/// Least of a lease that must be left to drop the lock oneself: longer than a `DROP` takes.
const MARGIN_S: i64 = 5;
/// How long to wait for another instance's migration before giving up.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// Age at which the remains of a taken-over lock go: nobody acts on something seen so long ago.
const REMAINS_S: u32 = 3600;
const UNKNOWN_TABLE: u32 = 60;
const TABLE_ALREADY_EXISTS: u32 = 57;

/// The lock as the database shows it.
#[derive(Row, Deserialize)]
struct Held {
    comment: String,
    uuid: String,
    age_s: i64,
}

impl Held {
    /// Who holds it; the table itself stands in for a comment that somebody else wrote.
    fn token(&self) -> String {
        let token = self.comment.split(' ').next().filter(|token| !token.is_empty()).unwrap_or(&self.uuid);
        token.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
    }

    fn left_s(&self) -> i64 {
        let lease_s = self.comment.split(' ').nth(1).and_then(|text| text.parse().ok());
        lease_s.unwrap_or(i64::from(LEASE_S)).saturating_sub(self.age_s)
    }
}

/// Runs `work` while holding the lock.
pub(super) async fn with_lock<T, F>(store: &Store, work: impl FnOnce() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let since = Instant::now();
    let token = format!("{:016x}{:08x}", RandomState::new().build_hasher().finish(), std::process::id());
    while !take(store, &token).await? {
        if since.elapsed() > PATIENCE {
            return Err(StoreError::Locked { waited_s: PATIENCE.as_secs() });
        }
        set_expired_aside(store).await?;
        tokio::time::sleep(POLL).await;
    }
    let outcome = work().await;
    let released = release(store, &token).await;
    let outcome = outcome?;
    released.map(|()| outcome)
}

async fn take(store: &Store, token: &str) -> Result<bool, StoreError> {
    let statement =
        format!("CREATE TABLE migration_lock (held UInt8) ENGINE = Memory COMMENT '{token} {LEASE_S}'");
    match store.run(&statement, "take the migration lock").await {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(TABLE_ALREADY_EXISTS) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn look(store: &Store) -> Result<Option<Held>, StoreError> {
    store
        .read(
            "SELECT comment, toString(uuid) AS uuid, dateDiff('second', metadata_modification_time, now()) AS age_s \
             FROM system.tables WHERE database = currentDatabase() AND name = 'migration_lock'",
        )
        .fetch_optional()
        .await
        .map_err(failed("look at the migration lock"))
}

async fn set_expired_aside(store: &Store) -> Result<(), StoreError> {
    let Some(held) = look(store).await?.filter(|held| held.left_s() < 0) else { return Ok(()) };
    let token = held.token();
    let statement = format!("RENAME TABLE migration_lock TO `migration_lock_{token}`");
    match store.run(&statement, "set a dead migration lock aside").await {
        Ok(()) => {
            tracing::warn!(token, "a migration lock was left behind; it is set aside");
            Ok(())
        }
        // Somebody else was first.
        Err(error) if matches!(error.code(), Some(TABLE_ALREADY_EXISTS | UNKNOWN_TABLE)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Drops the lock where it is surely still ours, and the old remains of others'.
async fn release(store: &Store, token: &str) -> Result<(), StoreError> {
    let remains: Vec<String> = store
        .read(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'migration_lock_') \
             AND metadata_modification_time < now() - toIntervalSecond({age:UInt32})",
        )
        .param("age", REMAINS_S)
        .fetch_all()
        .await
        .map_err(failed("look for remains of migration locks"))?;
    for name in remains.iter().filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
        store
            .run(&format!("DROP TABLE IF EXISTS `{name}` SYNC"), "drop the remains of a migration lock")
            .await?;
    }
    match look(store).await? {
        Some(held) if held.token() == token && held.left_s() >= MARGIN_S => {
            store.run("DROP TABLE IF EXISTS migration_lock SYNC", "release the migration lock").await
        }
        _ => {
            tracing::warn!(token, "the lease of the migration lock ran out before it could be released");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_stands_in_the_comment() {
        let held = |comment: &str| Held { comment: comment.into(), uuid: "6-2".into(), age_s: 15 };
        assert_eq!((held("ab12 20").token().as_str(), held("ab12 20").left_s()), ("ab12", 5));
        assert_eq!((held("ab`; 0").token().as_str(), held("ab`; 0").left_s()), ("ab", -15));
        assert_eq!((held("").token().as_str(), held("").left_s()), ("62", 5));
    }
}
