//! What the handle, the writer thread and the handed-out segments have in common.

use std::any::Any;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::files::FileLayer;
use crate::intake::Intake;
use crate::layout::Extent;
use crate::options::Options;
use crate::shelf::Shelf;

pub(crate) struct Shared {
    pub(crate) layer: Arc<dyn FileLayer>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) intake: Intake,
    pub(crate) shelf: Shelf,
    pub(crate) progress: Mutex<Progress>,
    /// Held as long as anybody could still touch a file: also by segments that outlive the handle.
    pub(crate) _lock: Box<dyn Any + Send + Sync>,
}

/// The writer's running account, kept for [`crate::Stats`].
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The open segment's durable part and the time of its first append.
    pub(crate) open: Option<(Extent, u64)>,
    /// Segments whose sealing failed, and the oldest one's first append.
    pub(crate) seals_failing: usize,
    pub(crate) failing_since_unix_ms: Option<u64>,
    pub(crate) appended_batches: u64,
    pub(crate) appended_records: u64,
    pub(crate) appended_bytes: u64,
    pub(crate) appends_failed: u64,
    pub(crate) segments_sealed: u64,
    pub(crate) fsyncs: u64,
    pub(crate) io_errors: u64,
    pub(crate) last_error: Option<(String, Instant)>,
    /// Since when the writer is at the turn it has taken; `None` while it waits for one.
    pub(crate) writing_since: Option<Instant>,
    /// The writer thread ended, whether told to or not.
    pub(crate) writer_gone: bool,
    pub(crate) reserve_intact: bool,
    pub(crate) set_aside: u64,
    pub(crate) dropped_segments: u64,
    pub(crate) dropped_records: u64,
    pub(crate) below_floor: bool,
}

impl Shared {
    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an I/O error and keeps it for the readiness page; `verb` says what failed. Logged by the caller.
    pub(crate) fn note_error(&self, verb: &str, error: &io::Error) {
        let mut progress = self.progress();
        progress.io_errors += 1;
        progress.last_error = Some((format!("cannot {verb}: {error}"), Instant::now()));
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).finish_non_exhaustive()
    }
}
