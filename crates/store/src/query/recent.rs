//! The events of shipped segments in the form that correlation reads: as the shipper packed them.

use super::hex_list;
use crate::client::{Store, failed};
use crate::error::StoreError;
use crate::native::{Cell, Malformed, Reader};

/// Some of a segment's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentChunk {
    /// The segment.
    pub segment: [u8; 16],
    /// How many events.
    pub events: u32,
    /// As `Batch::push_recent` was given them.
    pub packed: Vec<u8>,
}

impl Store {
    /// Everything that is kept of `segments`, by segment and place. Whoever asks for many at once holds them all: a
    /// hundred thousand events are some ten megabytes. A segment that is not there was shipped by an instance that
    /// does not correlate, or too long ago.
    pub async fn recent(&self, segments: &[[u8; 16]]) -> Result<Vec<RecentChunk>, StoreError> {
        if segments.is_empty() {
            return Ok(Vec::new());
        }
        let what = "read recent events";
        // One row of each chunk: a repeated shipping in another hour is not known by its token.
        let sql = "SELECT segment, events, bytes FROM recent WHERE segment IN \
                   (SELECT toFixedString(unhex(arrayJoin({segments:Array(String)})), 16)) \
                   ORDER BY segment, chunk LIMIT 1 BY segment, chunk";
        let ids: Vec<u128> = segments.iter().map(|segment| u128::from_be_bytes(*segment)).collect();
        let query = self.read(sql).param("segments", hex_list(&ids));
        let mut cursor = query.fetch_bytes("RowBinary").map_err(failed(what))?;
        let answer = cursor.collect().await.map_err(failed(what))?;
        decode(&answer).map_err(|source| StoreError::Answer { what, source })
    }
}

fn decode(answer: &[u8]) -> Result<Vec<RecentChunk>, Malformed> {
    let mut reader = Reader::new(answer);
    let mut chunks = Vec::new();
    while !reader.is_empty() {
        chunks.push(RecentChunk {
            segment: reader.array()?,
            events: Cell::take(&mut reader)?,
            packed: reader.bytes()?.to_vec(),
        });
    }
    Ok(chunks)
}
