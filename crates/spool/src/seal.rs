//! Turning a segment whose durable length is known into a sealed one. The writer and recovery share it.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::FileLayer;
use crate::layout::{Extent, Header, TRAILER_BYTES};
use crate::names::{self, Kind};
use crate::reserve::{self, Reserve};
use crate::shelf::SealedMeta;

/// A segment that takes no more batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    pub(crate) header: Header,
    /// What is durable; the file may be longer.
    pub(crate) extent: Extent,
}

impl Closing {
    /// Cuts the file to its durable length, writes and syncs the trailer, renames. Each step may be repeated, so the
    /// whole may be tried again after any failure. Gives the reserve to a full disk.
    ///
    /// Opens the file anew: after a failed fsync the old descriptor would not report a second failure. `content` is
    /// what to write once more, from the front, before syncing; empty where every byte is known to be durable.
    pub(crate) fn seal(
        &self,
        layer: &dyn FileLayer,
        dir: &Path,
        reserve: &mut Reserve,
        content: &[u8],
    ) -> io::Result<SealedMeta> {
        match self.try_seal(layer, dir, content) {
            Err(error) if reserve::is_full(&error) && reserve.release(layer) => {
                self.try_seal(layer, dir, content)
            }
            result => result,
        }
    }

    fn try_seal(&self, layer: &dyn FileLayer, dir: &Path, content: &[u8]) -> io::Result<SealedMeta> {
        let sequence = self.header.sequence;
        let (open, sealed) =
            (names::path(dir, sequence, Kind::Open), names::path(dir, sequence, Kind::Sealed));
        let mut file = layer.open(&open)?;
        file.set_len(self.extent.bytes)?;
        if !content.is_empty() {
            file.write_all_at(content, 0)?;
        }
        file.write_all_at(&self.extent.trailer(&self.header.id, unix_ms()), self.extent.bytes)?;
        file.sync()?;
        drop(file);
        // The directory is not synced: an .open file with a trailer is as good as a .sealed one to recovery.
        layer.rename(&open, &sealed)?;
        Ok(self.meta(dir))
    }

    pub(crate) fn meta(&self, dir: &Path) -> SealedMeta {
        SealedMeta {
            sequence: self.header.sequence,
            id: self.header.id,
            payload_version: self.header.payload_version,
            path: names::path(dir, self.header.sequence, Kind::Sealed),
            bytes: self.extent.bytes + TRAILER_BYTES as u64,
            records: self.extent.records,
            batches: self.extent.batches,
            created_unix_ms: self.header.created_unix_ms,
        }
    }
}

/// Now, as the layout stores it; 0 for a clock before 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
