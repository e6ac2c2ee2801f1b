//! The store's disk budget (`retention.max_bytes`): over it the oldest days go. Where what was received today is too much by
//! itself, nothing more is shipped: it waits in the spool, whose own budget says when senders are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Between two looks: at 100 MB/s, which no engine stores, a gigabyte.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Keeps the store within its budget, and counts what it takes where there is none.
pub(crate) struct RoomKeeper {
    pub(crate) store: watch::Receiver<Option<Store>>,
    /// `None` for no bound.
    pub(crate) max_bytes: Option<u64>,
    pub(crate) full: Arc<AtomicBool>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: CancellationToken,
}

impl RoomKeeper {
    /// Runs until the service drains.
    pub(crate) async fn run(self) {
        loop {
            let store = self.store.borrow().clone();
            if let Some(store) = store
                && let Err(error) = self.look(&store).await
            {
                tracing::warn!(%error, "cannot look after the store's room; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                // What a drain ships is little; a store that was full by its last look stays so.
                () = self.stopping.cancelled() => return,
            }
        }
    }

    async fn look(&self, store: &Store) -> Result<(), StoreError> {
        let room = store.room().await?;
        let mut left = room.bytes();
        let Some(max_bytes) = self.max_bytes else {
            self.metrics.store.takes(left);
            return Ok(());
        };
        for partition in room.beyond(max_bytes) {
            store.drop_partition(partition).await?;
            left -= partition.bytes;
            self.metrics.store.dropped(&partition.table, partition.rows);
            let (table, id, bytes) = (&partition.table, &partition.id, partition.bytes);
            tracing::warn!(
                table,
                partition = id,
                bytes,
                rows = partition.rows,
                "dropped for `retention.max_bytes`"
            );
        }
        self.metrics.store.takes(left);
        let is_full = left > max_bytes;
        if self.full.swap(is_full, Ordering::Relaxed) != is_full && is_full {
            tracing::error!(
                bytes = left,
                max_bytes,
                "what was received today is more than `retention.max_bytes`: nothing is shipped until it is raised or the day ends"
            );
        }
        Ok(())
    }
}
