//! What can go wrong, by operation: whose fault it is, and whether trying again helps.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// Why the spool could not be opened. Nothing was changed on disk for [`OpenError::Locked`] and
/// [`OpenError::Options`].
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process, or another spool in this one, owns the directory.
    #[error(
        "spool {dir} is in use by another process (its pid is in {dir}/lock); stop it or choose another directory"
    )]
    Locked {
        /// The spool's directory.
        dir: PathBuf,
    },
    /// A bound makes no sense.
    #[error("spool options: {what}")]
    Options {
        /// Which one, and what is allowed.
        what: String,
    },
    /// The directory itself cannot be used; single bad files never lead here.
    #[error("spool {path}: cannot {verb}: {source}")]
    Io {
        /// What was being done.
        verb: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullCause {
    /// Too many batches wait for an fsync.
    Queue,
    /// The segments on disk have reached [`crate::Options::max_bytes`]: the store is not keeping up.
    Budget,
    /// The disk failed or filled up a moment ago and is being left alone for a while.
    Disk,
    /// The file system has less room than [`crate::Options::min_free_bytes`].
    Floor,
}

/// Why a batch was not acknowledged.
#[derive(Debug, Clone, Error)]
pub enum AppendError {
    /// No room now; nothing was written. Try again after the given time.
    #[error("spool is full ({cause:?}); try again after {retry_after:?}")]
    Full {
        /// Which bound was met.
        cause: FullCause,
        /// When room is likely.
        retry_after: Duration,
    },
    /// The disk failed under this batch, which is not durable. Trying again is safe and may help.
    #[error("spool could not write: {source}; try again after {retry_after:?}")]
    Io {
        /// What the system said; shared by all batches of one fsync.
        source: Arc<io::Error>,
        /// When the disk will be tried again.
        retry_after: Duration,
    },
    /// The batch can never fit a segment: the caller's fault, do not retry.
    #[error(
        "batch of {records} records, {bytes} bytes exceeds a segment ({max_records} records, {max_bytes} bytes); split it"
    )]
    TooLarge {
        /// Records in the batch.
        records: u32,
        /// Its framed size.
        bytes: u64,
        /// The bound on records.
        max_records: u32,
        /// The bound on bytes.
        max_bytes: u64,
    },
    /// The spool was closed before this batch became durable. Another instance may take it.
    #[error("spool is closed")]
    Closed,
}

impl AppendError {
    /// When to try again; `None` where that cannot help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after, .. } | Self::Io { retry_after, .. } => Some(*retry_after),
            Self::TooLarge { .. } | Self::Closed => None,
        }
    }
}

/// Why sealing did not finish. What was acknowledged stays durable; sealing is tried again on its own, and at the
/// latest when the spool is next opened.
#[derive(Debug, Clone, Error)]
pub enum SealError {
    /// The disk failed.
    #[error("spool could not seal a segment: {source}; it is retried")]
    Io {
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Too many callers wait for a seal already.
    #[error("too many seal requests are waiting")]
    Busy,
    /// The spool is closed.
    #[error("spool is closed")]
    Closed,
}

/// Why a sealed segment could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The system refused; trying again may help.
    #[error("segment {path}: cannot read: {source}")]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not those that were written; trying again does not help: [`crate::Sealed::set_aside`] it.
    #[error("segment {path} is damaged at byte {offset}: {what}; set it aside")]
    Damaged {
        /// The segment's file.
        path: PathBuf,
        /// The first byte that fails its checks.
        offset: u64,
        /// Which check.
        what: &'static str,
    },
}

/// Why [`crate::Sealed::done`] or [`crate::Sealed::set_aside`] did not finish.
#[derive(Debug, Error)]
pub enum DoneError {
    /// The file is still there and the segment back in the queue. Shipping it again under its id is safe.
    #[error("segment {path}: cannot {verb}: {source}; it is back in the queue")]
    Returned {
        /// What was being done.
        verb: &'static str,
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A damaged segment could not be repaired for want of room. It is out of the queue, so that it holds up nothing;
    /// the file stays and the next start tries again.
    #[error(
        "segment {path} is damaged and there is no room to repair it: {source}; free disk space and restart"
    )]
    Postponed {
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is gone, but a power failure might bring it back. Nothing to do but note it.
    #[error("segment {path} is removed, but the directory could not be synced: {source}")]
    Unconfirmed {
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
