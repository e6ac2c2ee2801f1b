//! Carrying erasures out: one task a service, in the order in which they were asked for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spool::Spool;
use store::erase::{Exported, MAX_EVENTS, Notice, Scope, Touched};
use store::{Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::receipt::{ExportedSpans, State};
use super::recent::{self, RecentError};
use super::{Asked, Erasure, Erasures, Match, Receipt, keep, out_of_reach};
use crate::accept::unix_ns;
use crate::api::time_text;

/// Between two looks at what is under way and at what other instances were asked for.
const TICK: Duration = Duration::from_secs(2);
/// How long what waits in the spool is waited for before the store is gone through; it is gone through again after.
const SPOOL_PATIENCE: Duration = Duration::from_secs(5);
/// How long old parts may take to leave the disk: the engine looks for them every half minute.
const PARTS_PATIENCE: Duration = Duration::from_secs(120);
/// Longest pause after an erasure that could not be carried out: what is in its way may take a person to remove.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);
/// Rounds in which ids lead to further events of the same requests; two or three are usual.
const ROUNDS: usize = 16;

/// Who asks where the notice came from the store.
const BY_ANOTHER: &str = "another instance";

/// Why an erasure is not done yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EraseError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Insert(#[from] store::InsertError),
    #[error(transparent)]
    Recent(#[from] RecentError),
    #[error("it concerns more than {MAX_EVENTS} events: ask again with a shorter range of time")]
    TooMany,
    #[error("the store is away; the erasure is noted and goes on by itself")]
    Away,
    #[error(
        "segments that were there before are not shipped yet; until they are, nothing of this reaches the store"
    )]
    Waits,
    #[error("cannot write to the data directory: {0}")]
    Disk(#[from] std::io::Error),
}

/// Carries erasures out.
pub(crate) struct Eraser {
    pub(crate) erasures: Arc<Erasures>,
    pub(crate) store: watch::Receiver<Option<Store>>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) instance: String,
    /// Whether the store may have other instances: the embedded engine has one.
    pub(crate) shared: bool,
    pub(crate) stopping: CancellationToken,
}

impl Eraser {
    /// Runs until the service drains; what is not done then goes on at the next start.
    pub(crate) async fn run(self) {
        let stopping = self.stopping.clone();
        let work = async {
            let mut pause = TICK;
            loop {
                let moved = self.erasures.moved.notified();
                self.adopt().await;
                let mut open = false;
                for erasure in self.erasures.active() {
                    if let Err(error) = self.carry_out(&erasure).await {
                        tracing::warn!(id = %erasure.receipt().id, %error, "an erasure is not done yet; trying again");
                        erasure.change(|receipt| receipt.waiting = vec![error.to_string()]);
                        open = true;
                    }
                }
                if open {
                    let _ = tokio::time::timeout(pause, moved).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                } else {
                    pause = TICK;
                    let _ = tokio::time::timeout(TICK, moved).await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = stopping.cancelled() => {}
        }
    }

    /// Takes over what other instances were asked for and this one has not seen.
    async fn adopt(&self) {
        let Some(store) = self.store.borrow().clone().filter(|_| self.shared) else { return };
        let notices = match store.erasures_of_others(&self.instance).await {
            Ok(notices) => notices,
            Err(error) => {
                return tracing::warn!(%error, "cannot read what other instances were asked to erase");
            }
        };
        for notice in notices.into_iter().rev().filter(|notice| self.erasures.receipt(notice.id).is_none()) {
            let asked = serde_json::from_str::<Asked>(&notice.request).map_err(|error| error.to_string());
            let begun = asked.and_then(|asked| Match::new(asked, [])).and_then(|what| {
                let receipt = empty_receipt(notice.id, &what.asked, BY_ANOTHER, State::Pending);
                let erasure = Erasure { id: notice.id, what, receipt: receipt.into() };
                self.erasures.begin(erasure).map_err(|error| error.to_string())
            });
            if let Err(error) = begun {
                tracing::error!(
                    instance = notice.instance,
                    error,
                    "cannot take over an erasure; upgrade this instance, or ask it itself"
                );
            }
        }
    }

    async fn carry_out(&self, erasure: &Arc<Erasure>) -> Result<(), EraseError> {
        let store = self.store.borrow().clone();
        let Some(store) = store else {
            return Err(EraseError::Away);
        };
        let own = Notice {
            id: erasure.id,
            tenant: erasure.what.asked.tenant.clone(),
            instance: self.instance.clone(),
            request: serde_json::to_string(&erasure.what.asked).map_err(std::io::Error::other)?,
        };
        if self.shared && erasure.receipt().by != BY_ANOTHER {
            store.tell_erasure(&own).await?;
        }
        let sealed_ms = unix_ms();
        // An error means that the disk fails; then the segment stays, and with it the erasure in force.
        let _ = self.spool.seal_now().await;
        if !self.spool_passed(sealed_ms, SPOOL_PATIENCE).await {
            self.go_through(&store, erasure).await?;
            erasure.change(|receipt| {
                receipt.waiting = vec!["records that were accepted before wait in the spool; they are dropped when they are shipped".to_owned()];
            });
            while !self.spool_passed(sealed_ms, Duration::from_secs(60)).await {
                // A held segment waits for a newer version; others must not wait for this erasure.
                if self.erasures.active().len() > 1 {
                    return Err(EraseError::Waits);
                }
            }
        }
        self.go_through(&store, erasure).await?;
        let gone = self.old_parts_gone(&store).await?;
        store.end_erasing().await?;
        let directory = self.erasures.data_dir.join("spool/corrupt");
        let corrupt = remove_corrupt(&directory, &erasure.what)?;
        erasure.change(|receipt| {
            receipt.state = State::Done;
            receipt.finished = Some(time_text(unix_ns()));
            receipt.waiting.clear();
            receipt.count("corrupt", corrupt.removed, None);
            if corrupt.left > 0 {
                receipt.out_of_reach.push(format!(
                    "{} originals of damaged segments in spool/corrupt, in which the value was not found: damage may \
                     hide it. Delete them when you have looked, or erase with --delete-corrupt.",
                    corrupt.left
                ));
            }
            if !gone {
                receipt.out_of_reach.push(
                    "Old parts of the tables were still on the disk; the store removes them within ten minutes."
                        .to_owned(),
                );
            }
        });
        self.erasures.end(erasure)?;
        tracing::info!(id = %erasure.receipt().id, "an erasure is done");
        Ok(())
    }

    /// Whether all that was in the spool at a moment is shipped and gone.
    async fn spool_passed(&self, at_ms: u64, patience: Duration) -> bool {
        let passed = async {
            loop {
                let age_ms = self.spool.stats().oldest_age.map_or(0, |age| age.as_millis() as u64 + 1);
                if age_ms == 0 || unix_ms().saturating_sub(age_ms) > at_ms {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(patience, passed).await.is_ok()
    }

    /// Finds and deletes in the store what there is now.
    async fn go_through(&self, store: &Store, erasure: &Arc<Erasure>) -> Result<(), EraseError> {
        let scope = erasure.what.scope();
        let found = find(store, &scope, &erasure.what).await?;
        // Ids first: a record that waits in the spool belongs to a request that is deleted now.
        keep::write(&self.erasures.data_dir, erasure)?;
        let (keys, ids) = (found.keys(), found.ids(&erasure.what));
        store.note_erasing(erasure.id, &keys, &ids).await?;
        let elsewhere = store.erasable_elsewhere(&scope).await?;
        let exported = store.exported_of(&scope.tenant, erasure.id).await?;
        store.begin_erasing().await?;
        let (places, places_left) = store.erase(&scope, erasure.id).await?;
        let range = found.range().unwrap_or((scope.from_ns, scope.until_ns));
        let recent = recent::rewrite(store, &erasure.what, erasure.id, range).await?;
        let recent_left = recent::count(store, &erasure.what, range).await?;
        let (events, exports) = store.left_of(&scope, erasure.id).await?;
        let rejects = store.erasable_elsewhere(&scope).await?.rejects;
        store.forget_erasing(erasure.id).await?;
        erasure.change(|receipt| {
            receipt.count("events", found.events.len() as u64, Some(events));
            receipt.count("ids", places, Some(places_left));
            receipt.count("rejects", elsewhere.rejects, Some(rejects));
            receipt.count("exports", exported.decisions, Some(exports));
            receipt.count("recent", recent, Some(recent_left));
            told(receipt, exported);
        });
        Ok(())
    }

    async fn old_parts_gone(&self, store: &Store) -> Result<bool, EraseError> {
        let gone = async {
            while store.old_parts().await? > 0 {
                tokio::time::sleep(POLL).await;
            }
            Ok::<(), StoreError>(())
        };
        match tokio::time::timeout(PARTS_PATIENCE, gone).await {
            Ok(looked) => looked.map(|()| true).map_err(EraseError::Store),
            Err(_) => Ok(false),
        }
    }
}

/// What an erasure would do: counts only.
pub(crate) async fn look(store: &Store, what: &Match, receipt: &mut Receipt) -> Result<(), EraseError> {
    let scope = what.scope();
    let found = find(store, &scope, what).await?;
    receipt.count("events", found.events.len() as u64, None);
    receipt.count("rejects", store.erasable_elsewhere(&scope).await?.rejects, None);
    Ok(())
}

/// A receipt before anything was found.
pub(crate) fn empty_receipt(id: u128, asked: &Asked, by: &str, state: State) -> Receipt {
    Receipt {
        id: format!("{id:032x}"),
        state,
        tenant: asked.tenant.clone(),
        by: by.to_owned(),
        asked: time_text(asked.asked_ns),
        finished: None,
        kind: asked.kind,
        value_hash: asked.value_hash.clone(),
        from: (asked.from_ns > 0).then(|| time_text(asked.from_ns)),
        until: time_text(asked.until_ns),
        places: Vec::new(),
        exported: ExportedSpans::default(),
        waiting: Vec::new(),
        out_of_reach: out_of_reach(),
    }
}

fn told(receipt: &mut Receipt, exported: Exported) {
    receipt.exported.spans += exported.spans;
    receipt.exported.trace_ids.extend(exported.trace_ids);
    receipt.exported.trace_ids.sort();
    receipt.exported.trace_ids.dedup();
}

/// Events of an erasure, each row once.
struct Found {
    events: HashMap<(u64, i64), Touched>,
}

impl Found {
    fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.events.keys().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Every id of the events, trace ids too: the places that lead to them are told by them.
    fn ids(&self, what: &Match) -> Vec<u128> {
        let own = |row: &Touched| row.request_ids().into_iter().chain([row.trace_id()]).collect::<Vec<_>>();
        let mut ids: Vec<u128> = self.events.values().flat_map(own).chain(what.ids()).collect();
        ids.retain(|id| *id != 0);
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn range(&self) -> Option<(i64, i64)> {
        let received = || self.events.keys().map(|(_, at)| *at);
        received().min().zip(received().max())
    }
}

/// The events that the value finds, and all others of their requests.
async fn find(store: &Store, scope: &Scope, what: &Match) -> Result<Found, EraseError> {
    let mut found = Found { events: HashMap::new() };
    let mut rows = store.erasable_events(scope).await?;
    let known = what.ids();
    rows.extend(store.erasable_by_ids(scope, &known, false).await?);
    let mut asked: Vec<u128> = known;
    for _ in 0..ROUNDS {
        let mut carriers: HashMap<u128, usize> = HashMap::new();
        for row in rows.drain(..) {
            // A weak id joins nothing, and which one is weak does not stand in the row.
            if row.notes & event::Notes::WEAK_ID.0 == 0 {
                for id in row.request_ids().into_iter().filter(|id| *id != 0) {
                    *carriers.entry(id).or_default() += 1;
                }
            }
            found.events.insert((row.event_key, row.received_ns), row);
        }
        if found.events.len() > MAX_EVENTS {
            return Err(EraseError::TooMany);
        }
        // An id on more events than one request has is worn: it joins nothing.
        let new: Vec<u128> = carriers
            .into_iter()
            .filter(|(id, count)| *count <= trace::EVENTS_PER_REQUEST && !asked.contains(id))
            .map(|(id, _)| id)
            .collect();
        if new.is_empty() {
            break;
        }
        what.grow(new.iter().copied());
        rows = store.erasable_by_ids(scope, &new, false).await?;
        asked.extend(new);
    }
    Ok(found)
}

/// Originals of damaged segments.
struct Corrupt {
    removed: u64,
    left: u64,
}

/// Removes the originals in which the value stands, or all. Their whole batches were shipped long ago; what is left in
/// them is damaged.
fn remove_corrupt(directory: &Path, what: &Match) -> std::io::Result<Corrupt> {
    let mut found = Corrupt { removed: 0, left: 0 };
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if what.asked.delete_corrupt || what.stands_in(&std::fs::read(&path)?) {
            std::fs::remove_file(&path)?;
            found.removed += 1;
        } else {
            found.left += 1;
        }
    }
    std::fs::File::open(directory)?.sync_all()?;
    Ok(found)
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}
