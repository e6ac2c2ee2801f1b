//! One delivery's records, framed once into one buffer, so that the writer thread only copies it to the file.

use crate::error::AppendError;
use crate::layout::{self, BATCH_HEAD_BYTES, RECORD_HEAD_BYTES};
use crate::options::Options;

/// The records of one delivery: acknowledged together, recovered together.
///
/// Holds each record as it will lie on disk, so pushing costs one copy. Its size is checked when it is appended;
/// the caller bounds it while filling ([`Batch::bytes`]).
#[derive(Debug)]
pub struct Batch {
    frame: Vec<u8>,
    records: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty batch with room for this many bytes of records and their 4-byte lengths.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut frame = Vec::with_capacity(bytes + BATCH_HEAD_BYTES);
        frame.resize(BATCH_HEAD_BYTES, 0);
        Self { frame, records: 0 }
    }

    /// Adds one record; it may be empty.
    pub fn push(&mut self, record: &[u8]) {
        // A length past u32 saturates here and is refused at append: no segment takes a batch that large.
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.frame.reserve(RECORD_HEAD_BYTES + record.len());
        self.frame.extend_from_slice(&length.to_le_bytes());
        self.frame.extend_from_slice(record);
        self.records = self.records.saturating_add(1);
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// What the batch will take on disk, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.frame.len() as u64
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Checks the size and fills in all of the head but what depends on the place in the file.
    pub(crate) fn frame(mut self, options: &Options) -> Result<Framed, AppendError> {
        let (max_records, max_bytes) = (options.segment_max_records, options.batch_max_bytes());
        if self.records > max_records || self.bytes() > max_bytes {
            let (records, bytes) = (self.records, self.bytes());
            return Err(AppendError::TooLarge { records, bytes, max_records, max_bytes });
        }
        layout::fill_batch_head(&mut self.frame, self.records);
        Ok(Framed { bytes: self.frame, records: self.records })
    }
}

/// A batch that fits a segment and lacks only the checksum that binds it to its place.
#[derive(Debug)]
pub(crate) struct Framed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u32,
}

impl Framed {
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}
