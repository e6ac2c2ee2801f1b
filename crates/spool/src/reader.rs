//! A sealed segment read back: whole, checked before the first record is given out.

use std::path::Path;

use crate::error::ReadError;
use crate::files::FileLayer;
use crate::layout::{self, BATCH_HEAD_BYTES, End, HEADER_BYTES, Header, HeaderFault, SegmentId, Span};

/// A segment in memory, every checksum verified. Takes as many bytes as the file.
#[derive(Debug)]
pub struct SegmentReader {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    records: u64,
}

impl SegmentReader {
    /// Reads and checks a sealed segment. Blocks.
    pub(crate) fn load(
        layer: &dyn FileLayer,
        path: &Path,
        id: &SegmentId,
        bytes: u64,
    ) -> Result<Self, ReadError> {
        let damaged = |offset, what| ReadError::Damaged { path: path.to_owned(), offset, what };
        // One byte more than expected, so that a file that grew is noticed and yet not read in whole.
        let max_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(1);
        let read = layer.read(path, 0, max_bytes);
        let bytes = read.map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        match Header::decode(&bytes) {
            Ok(header) if header.id == *id => {}
            Ok(_) => return Err(damaged(0, "the header names another segment")),
            Err(HeaderFault::Unwritten) => return Err(damaged(0, "no header")),
            Err(HeaderFault::Damaged(what)) => return Err(damaged(0, what)),
            Err(HeaderFault::ForeignVersion(_)) => return Err(damaged(0, "another encoding version")),
        }
        let scan = layout::scan(&bytes, id);
        match scan.end {
            End::Sealed => Ok(Self { bytes, spans: scan.spans, records: scan.extent.records }),
            End::Open => Err(damaged(scan.extent.bytes, "the trailer is missing")),
            End::Fault(what) => Err(damaged(scan.extent.bytes, what)),
        }
    }

    /// How many records [`SegmentReader::records`] gives.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of payload at most: the file without header, to size a buffer by.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER_BYTES)
    }

    /// All records in the order they were appended.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { reader: self, next_span: 0, body: &[] }
    }
}

/// Iterator over a segment's records; see [`SegmentReader::records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    reader: &'a SegmentReader,
    next_span: usize,
    body: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.body.is_empty() {
            let span = self.reader.spans.get(self.next_span)?;
            self.next_span += 1;
            self.body = self.reader.bytes.get(span.offset + BATCH_HEAD_BYTES..span.offset + span.length)?;
        }
        let (record, rest) = layout::split_record(self.body)?;
        self.body = rest;
        Some(record)
    }
}
