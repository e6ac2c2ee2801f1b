//! The events that correlation reads, packed some thousand to a row: rows that hold an erased event are packed anew
//! without it.

use bytes::Bytes;
use event::Record;
use store::erase::RecentPart;
use store::{Store, StoreError};

use super::Match;
use crate::correlate::{Packer, Plain};

/// Why a row could not be gone through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecentError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Insert(#[from] store::InsertError),
    #[error("a row of `recent` cannot be packed anew: {0}")]
    Packing(String),
}

/// Takes events out of all that is kept of these moments of receipt; how many there were.
pub(super) async fn rewrite(
    store: &Store,
    what: &Match,
    erasure: u128,
    (first_ns, last_ns): (i64, i64),
) -> Result<u64, RecentError> {
    let (mut taken, mut old) = (0, Vec::new());
    for segment in store.recent_segments(first_ns, last_ns).await? {
        let parts = store.recent_parts(segment).await?;
        let mut next = parts.last().map_or(0, |part| part.chunk) + 1;
        let mut instead = Vec::new();
        for part in &parts {
            let Some((count, packed)) = tokio::task::block_in_place(|| without(part, what))? else {
                continue;
            };
            taken += u64::from(part.events.saturating_sub(count));
            // Also a row of nothing: a segment without any is reported as missing.
            instead.push(RecentPart { chunk: next, events: count, packed });
            next += 1;
            old.push((segment, part.chunk));
        }
        if !instead.is_empty() {
            store.replace_recent(erasure, segment, &instead).await?;
        }
    }
    if !old.is_empty() {
        store.delete_recent(&old).await?;
    }
    Ok(taken)
}

/// How many events of all that is kept of these moments of receipt would be taken out.
pub(super) async fn count(
    store: &Store,
    what: &Match,
    (first_ns, last_ns): (i64, i64),
) -> Result<u64, RecentError> {
    let mut count = 0;
    for segment in store.recent_segments(first_ns, last_ns).await? {
        for part in store.recent_parts(segment).await? {
            if let Some((kept, _)) = tokio::task::block_in_place(|| without(&part, what))? {
                count += u64::from(part.events.saturating_sub(kept));
            }
        }
    }
    Ok(count)
}

/// A row without the events that go; `None` where it holds none of them.
fn without(part: &RecentPart, what: &Match) -> Result<Option<(u32, Vec<u8>)>, RecentError> {
    let failed = |error: &dyn std::fmt::Display| RecentError::Packing(error.to_string());
    let plain = Plain::unpack(Bytes::from(part.packed.clone())).map_err(|error| failed(&error))?;
    let mut packer = Packer::whole();
    let mut found = false;
    for event in plain.events() {
        let (_, bytes) = event.map_err(|error| failed(&error))?;
        match event::wire::read(bytes) {
            Ok(Record::Event(event)) if what.takes_event(&event) => found = true,
            // What a newer version wrote cannot be judged here; it leaves with the hours.
            _ => packer.keep(bytes),
        }
    }
    if !found {
        return Ok(None);
    }
    packer.pack().map(Some).map_err(|error| failed(&error))
}
