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
    /// Opens the file anew: after a failed fsync the old descriptor would not report a second failure.
    pub(crate) fn seal(
        &self,
        layer: &dyn FileLayer,
        dir: &Path,
        reserve: &mut Reserve,
    ) -> io::Result<SealedMeta> {
        let first = self.try_seal(layer, dir);
        match first {
            Err(error) if reserve::is_full(&error) && reserve.release(layer) => self.try_seal(layer, dir),
            result => result,
        }
    }

    fn try_seal(&self, layer: &dyn FileLayer, dir: &Path) -> io::Result<SealedMeta> {
        let open = names::path(dir, self.header.sequence, Kind::Open);
        let mut file = layer.open(&open)?;
        file.set_len(self.extent.bytes)?;
        file.write_all_at(&self.extent.trailer(&self.header.id, unix_ms()), self.extent.bytes)?;
        file.sync()?;
        drop(file);
        self.rename(layer, dir)
    }

    /// The last step alone, for a file that already has its trailer. The directory is not synced: an `.open` file
    /// with a trailer is as good as a `.sealed` one to recovery.
    pub(crate) fn rename(&self, layer: &dyn FileLayer, dir: &Path) -> io::Result<SealedMeta> {
        let sequence = self.header.sequence;
        layer.rename(&names::path(dir, sequence, Kind::Open), &names::path(dir, sequence, Kind::Sealed))?;
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
