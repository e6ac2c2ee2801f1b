//! The spool: what was acknowledged survives here until it is in the store.
//!
//! Batches of opaque byte records go in, are fsynced, and only then acknowledged; they come out as sealed
//! segments, oldest first, and a segment is deleted only when its reader says it is done. The spool knows
//! bytes and nothing of what they mean.
//!
//! # Design constraints
//!
//! - **Acknowledged means durable.** [`Spool::append`] resolves after `fdatasync` of the file (and, for the first
//!   batch of a segment, `fsync` of the directory, without which the file itself could vanish).
//! - **A batch is atomic.** After any crash a batch is there whole or not at all. A batch that was *not*
//!   acknowledged may survive a crash too: its bytes may have reached the disk before the answer could leave.
//! - **A sealed segment never changes.** Its random id is the token under which the store drops a repeated
//!   insert, so the same id must always mean the same records. A segment is handed out only once its trailer is
//!   on disk, and recovery never appends to a segment of an earlier run: it seals it and starts another.
//! - **After a failed fsync the file descriptor is never trusted again.** The kernel may have marked the pages
//!   clean; a second fsync would then claim success. The segment is cut back to its last durable length through
//!   a fresh descriptor, sealed there, and the next batch opens a new segment.
//! - **Everything is bounded**: the queue by batches and bytes, the directory by [`Options::max_bytes`], a segment
//!   by bytes, records and age. Full is an error with a time to come back after, never growth; or, if the operator
//!   chose so ([`WhenFull::DropOldest`]), the oldest sealed segments that nobody holds are deleted, counted and logged.
//! - **A batch lies within one segment**, so a batch may not exceed a segment.
//! - All integers are little endian. All checksums are CRC-32C.
//!
//! # The directory
//!
//! ```text
//! 00000000000000000042.open     the segment being written (or one a crash left behind)
//! 00000000000000000041.sealed   complete, waiting to be shipped; the lowest number is the oldest
//! 00000000000000000040.tmp      a rescue that a crash interrupted; removed at the next start
//! corrupt/                      originals of what failed its checks; nothing here is read or deleted again
//! reserve                       bytes given up when the disk is full, so that sealing still works
//! lock                          held (flock) by the process that owns the directory; contains its pid
//! ```
//!
//! # Segment, byte by byte
//!
//! ```text
//! header, 64 bytes
//!    0   8  magic "TLSPOOL\n"
//!    8   2  encoding version, 1
//!   10   2  zero
//!   12   4  payload version: the caller's own number, carried and not understood
//!   16  16  segment id, random
//!   32   8  sequence number, the one in the file's name
//!   40   8  time of the first append, ms since 1970
//!   48  12  zero
//!   60   4  CRC of bytes 0..60
//!
//! batch, any number of times
//!    0   4  marker "TLBA"
//!    4   4  length of the body in bytes
//!    8   4  number of records in the body
//!   12   4  CRC of the body
//!   16   4  CRC of: segment id, this batch's offset in the file (8 bytes), bytes 0..16 above
//!   20   …  body: each record as its length (4 bytes) and its bytes
//!
//! trailer, 48 bytes, only in a sealed segment, always at its very end
//!    0   4  marker "TLSE"
//!    4   4  CRC of all the batches' head CRCs (their last 4 bytes) in order
//!    8   8  number of records
//!   16   8  number of batches
//!   24   8  offset of this trailer in the file
//!   32   8  time of sealing, ms since 1970
//!   40   4  zero
//!   44   4  CRC of: segment id, bytes 0..44 above
//! ```
//!
//! The checksum is one per batch rather than one per record: a batch is the unit of acknowledgement and of
//! recovery, so a finer one would buy nothing. The head's CRC binds a batch to its segment *and* offset, so old
//! blocks that a file system hands back after a crash never pass for a batch. The first 64 bytes keep their form
//! in every later version; only what follows them may change, and then the version number does.
//!
//! # What is synced when
//!
//! | step                | file                | directory | if power fails in between                              |
//! |---------------------|---------------------|-----------|--------------------------------------------------------|
//! | first batch         | `fdatasync`         | `fsync`   | not acknowledged; the file is removed or recovered     |
//! | later batches       | `fdatasync`, shared | -         | not acknowledged; the torn tail is cut off             |
//! | seal                | `fdatasync`         | -         | an `.open` file with a trailer: recovery renames it    |
//! | done                | -                   | `fsync`   | the segment comes back, under the same id              |
//! | rescue of a segment | `fdatasync` of .tmp | `fsync`   | the original is still in place, or the rescue is       |
//!
//! # Recovery
//!
//! [`Spool::open`] reads every `.open` file from its header on, batch by batch. The first batch that fails its
//! checks ends the good part. If no whole batch follows, that is a torn tail: it is cut off, counted, and the
//! segment is sealed. If whole batches do follow, something else damaged the file: the original goes to
//! `corrupt/`, and all its whole batches stay, under the same segment id. A file without a single batch is
//! removed: nothing in it was ever acknowledged. A `.sealed` file is only checked at both ends when the spool
//! opens (a long backlog must not delay the start); its batches are checked when it is read, and
//! [`Sealed::set_aside`] does with a damaged one what recovery does. Keeping the id is what makes a rescue safe:
//! a table that already took this segment drops the shorter block, a table that did not takes what is left.
//! A file of another encoding version, or with a name that is not ours, is reported and left where it is.

mod batch;
#[cfg(feature = "testing")]
mod drive;
mod error;
mod files;
mod intake;
mod layout;
mod names;
mod options;
mod reader;
mod recover;
mod rescue;
mod reserve;
mod seal;
mod sealed;
mod shared;
mod shelf;
mod spool;
mod stats;
mod survey;
#[cfg(test)]
mod tests;
mod writer;

pub use batch::Batch;
#[cfg(feature = "testing")]
pub use drive::drive;
pub use error::{AppendError, DoneError, FullCause, OpenError, ReadError, SealError};
pub use files::{DirEntry, FileLayer, SegmentFile, StdFiles};
pub use layout::ENCODING_VERSION;
pub use options::{MAX_SEGMENT_BYTES, MAX_SEGMENT_RECORDS, Options, WhenFull};
pub use reader::{Records, SegmentReader};
pub use recover::{Recovery, SetAside};
pub use sealed::Sealed;
pub use spool::Spool;
pub use stats::Stats;
pub use survey::{FileState, Surveyed, survey};
