//! What the spool tells about itself, for metrics and readiness.

use std::time::Duration;

/// A snapshot; the parts are read one after another, so they may differ by one batch.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Bytes counted against the budget: all segments, and batches still queued.
    pub used_bytes: u64,
    /// The budget, [`crate::Options::max_bytes`].
    pub max_bytes: u64,
    /// Bytes of durable records in the segment being written, framing included.
    pub open_bytes: u64,
    /// Durable records in the segment being written.
    pub open_records: u64,
    /// Sealed segments waiting for [`crate::Spool::next_sealed`].
    pub sealed_waiting: usize,
    /// Sealed segments handed out and not yet done.
    pub sealed_out: usize,
    /// Segments whose sealing failed and is being retried; more than 0 for long means a sick disk.
    pub seals_failing: usize,
    /// Age of the oldest record that is not done with.
    pub oldest_age: Option<Duration>,
    /// Batches queued or being written.
    pub queue_batches: usize,
    /// Their bytes.
    pub queue_bytes: u64,
    /// Batches acknowledged since the spool opened.
    pub appended_batches: u64,
    /// Records acknowledged since the spool opened.
    pub appended_records: u64,
    /// Bytes acknowledged since the spool opened, framing included.
    pub appended_bytes: u64,
    /// Segments sealed since the spool opened.
    pub segments_sealed: u64,
    /// Times the writer waited for the disk (`fdatasync`) since the spool opened.
    pub fsyncs: u64,
    /// Appends refused as full since the spool opened.
    pub appends_refused: u64,
    /// Batches not acknowledged because of an I/O error since the spool opened.
    pub appends_failed: u64,
    /// I/O errors since the spool opened.
    pub io_errors: u64,
    /// The last I/O error and how long ago it was; kept after things go well again.
    pub last_error: Option<(String, Duration)>,
    /// How long the writer has been at what it took last; `None` while it waits for work. A turn is a few writes and
    /// fsyncs: more than seconds means a disk that hangs, which reports no error.
    pub writing_for: Option<Duration>,
    /// Whether the writer thread is gone: nothing will be accepted any more.
    pub writer_gone: bool,
    /// Whether the reserve file has its full size.
    pub reserve_intact: bool,
    /// Files in `corrupt/` put there since the spool opened, recovery included.
    pub set_aside: u64,
    /// Sealed segments deleted unshipped because the spool was full and [`crate::WhenFull::DropOldest`] holds.
    pub dropped_segments: u64,
    /// Records in them.
    pub dropped_records: u64,
    /// Whether the file system has less room than [`crate::Options::min_free_bytes`].
    pub below_floor: bool,
    /// Records in sealed segments that are not done, and in the open one.
    pub waiting_records: u64,
    /// Whether the spool is closed.
    pub closed: bool,
}
