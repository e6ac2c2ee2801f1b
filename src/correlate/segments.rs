//! Which shipped segments were read. Rows of `shipped` become visible out of order: their time is taken before their
//! insert is durable, and instances insert side by side. So every look goes back as far as an insert may take, and what
//! was read is known by its id.

use std::collections::BTreeSet;

use store::query::{Mark, ShippedRow};
use store::{INSERT_TIMEOUT, Store, StoreError};

/// How far back a look goes: an insert's time-out, and half as much again.
pub(crate) const OVERLAP_US: i64 = INSERT_TIMEOUT.as_micros() as i64 * 3 / 2;
/// Rows of one question.
const PAGE: u32 = 2_000;
/// Unread rows at which listing stops for now.
const ENOUGH: usize = 500;

/// How far segments were read.
#[derive(Debug)]
pub(crate) struct Segments {
    /// The newest that was read.
    position_us: i64,
    /// Those read that a look would find again.
    read: BTreeSet<(i64, [u8; 16])>,
}

/// Segments that are to be read, in order.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    pub(crate) rows: Vec<ShippedRow>,
    /// Whether there are no others.
    pub(crate) complete: bool,
}

impl Segments {
    /// Begins after `through_us`, less the overlap.
    pub(crate) fn after(through_us: i64) -> Self {
        Self { position_us: through_us, read: BTreeSet::new() }
    }

    /// What is to be read next.
    pub(crate) async fn unread(&self, store: &Store) -> Result<Unread, StoreError> {
        let mut mark = Mark { shipped_at_us: self.position_us.saturating_sub(OVERLAP_US), segment: [0; 16] };
        let mut unread = Unread::default();
        loop {
            let page = store.shipped_after(mark, PAGE).await?;
            unread.complete = page.len() < PAGE as usize;
            let Some(last) = page.last() else { return Ok(unread) };
            mark = Mark { shipped_at_us: last.shipped_at_us, segment: last.segment };
            unread.rows.extend(
                page.into_iter().filter(|row| !self.read.contains(&(row.shipped_at_us, row.segment))),
            );
            if unread.complete || unread.rows.len() >= ENOUGH {
                return Ok(unread);
            }
        }
    }

    /// Notes that a segment was read.
    pub(crate) fn note(&mut self, row: &ShippedRow) {
        self.position_us = self.position_us.max(row.shipped_at_us);
        self.read.insert((row.shipped_at_us, row.segment));
        let old = (self.position_us.saturating_sub(OVERLAP_US), [0; 16]);
        self.read = self.read.split_off(&old);
    }
}
