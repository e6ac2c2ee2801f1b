//! The spool's bounds, each default a named constant with its reason.

use std::time::Duration;

use crate::error::OpenError;
use crate::layout::{BATCH_HEAD_BYTES, HEADER_BYTES, TRAILER_BYTES};

/// The engine commits a longer insert in several parts, which makes it neither atomic nor repeatable. One record
/// may become several rows (ids): the caller picks a lower bound where it does.
pub const MAX_SEGMENT_RECORDS: u32 = 1_048_448;
/// A segment is read in whole; no configuration may ask for more than this at once.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// A reader holds a segment in memory, and shipping holds two or three at once.
const SEGMENT_MAX_BYTES: u64 = 32 << 20;
/// Inserts gain nothing past 100,000 rows, and ten id rows for each record still fit one insert.
const SEGMENT_MAX_RECORDS: u32 = 100_000;
/// How stale a lookup may be for want of traffic; at most one segment a second keeps the store's parts few.
const SEGMENT_MAX_AGE: Duration = Duration::from_secs(1);
/// About two minutes of 100,000 lines a second, or hours of common traffic, while the store is away.
const MAX_BYTES: u64 = 8 << 30;
/// Sealing needs one block; copy-on-write file systems want some more for their own books.
const RESERVE_BYTES: u64 = 4 << 20;
/// Deliveries waiting for one fsync. Each also holds a connection, so more would only hide a slow disk.
const QUEUE_MAX_BATCHES: usize = 4096;
/// Memory for waiting batches; half a second of 100,000 lines a second.
const QUEUE_MAX_BYTES: usize = 32 << 20;
/// Long enough not to hammer a sick disk, short enough that a sender's retry finds it healed.
const IO_PAUSE: Duration = Duration::from_secs(1);

/// What happens to new batches when [`Options::max_bytes`] is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// They are refused until segments are done: nothing that was acknowledged is lost.
    #[default]
    Refuse,
    /// The oldest sealed segments that nobody holds are deleted for them, and counted in [`crate::Stats`].
    DropOldest,
}

/// How much the spool may hold and how it cuts segments.
#[derive(Debug, Clone)]
pub struct Options {
    /// A segment is sealed before it would grow past this (file size in bytes); also the bound on one batch.
    pub segment_max_bytes: u64,
    /// A segment is sealed before it would hold more records; also the bound on one batch.
    pub segment_max_records: u32,
    /// A segment is sealed this long after its first batch became durable; later while others wait to be taken.
    pub segment_max_age: Duration,
    /// All segments together, queued batches included; above it appends are refused. `corrupt/` and `reserve`
    /// are not counted.
    pub max_bytes: u64,
    /// What happens then.
    pub when_full: WhenFull,
    /// Appends are refused while the file system has less room than this for anybody; 0 for no such floor.
    pub min_free_bytes: u64,
    /// Size of the file given up when sealing meets a full disk; 0 for none.
    pub reserve_bytes: u64,
    /// Batches waiting for, or in, the current fsync.
    pub queue_max_batches: usize,
    /// Bytes of those batches. One batch alone is let in whatever its size.
    pub queue_max_bytes: usize,
    /// After an I/O error appends are refused for this long before the disk is tried again.
    pub io_pause: Duration,
    /// Written into each segment's header and given back by [`crate::Sealed::payload_version`], so that a newer
    /// program knows how an older one encoded its records.
    pub payload_version: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_max_bytes: SEGMENT_MAX_BYTES,
            segment_max_records: SEGMENT_MAX_RECORDS,
            segment_max_age: SEGMENT_MAX_AGE,
            max_bytes: MAX_BYTES,
            when_full: WhenFull::Refuse,
            min_free_bytes: 0,
            reserve_bytes: RESERVE_BYTES,
            queue_max_batches: QUEUE_MAX_BATCHES,
            queue_max_bytes: QUEUE_MAX_BYTES,
            io_pause: IO_PAUSE,
            payload_version: 0,
        }
    }
}

impl Options {
    pub(crate) fn validate(&self) -> Result<(), OpenError> {
        let least = (HEADER_BYTES + BATCH_HEAD_BYTES + TRAILER_BYTES) as u64 + 1;
        let wrong = |what: &str| Err(OpenError::Options { what: what.to_owned() });
        if !(least..=MAX_SEGMENT_BYTES).contains(&self.segment_max_bytes) {
            return wrong(&format!("segment_max_bytes must lie between {least} and {MAX_SEGMENT_BYTES}"));
        }
        if !(1..=MAX_SEGMENT_RECORDS).contains(&self.segment_max_records) {
            return wrong(&format!("segment_max_records must lie between 1 and {MAX_SEGMENT_RECORDS}"));
        }
        if self.max_bytes < self.segment_max_bytes {
            return wrong("max_bytes must hold at least one segment (segment_max_bytes)");
        }
        if self.queue_max_batches == 0 {
            return wrong("queue_max_batches must be at least 1");
        }
        Ok(())
    }

    /// The most one batch may take, head included.
    pub(crate) fn batch_max_bytes(&self) -> u64 {
        self.segment_max_bytes - (HEADER_BYTES + TRAILER_BYTES) as u64
    }
}
