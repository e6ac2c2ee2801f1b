//! A sealed segment in the hands of its reader, and the three ways to let go of it.

use std::io;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use crate::error::{DoneError, ReadError};
use crate::layout::Header;
use crate::options::MAX_SEGMENT_BYTES;
use crate::reader::SegmentReader;
use crate::recover::SetAside;
use crate::rescue::rescue;
use crate::reserve;
use crate::shared::Shared;
use crate::shelf::SealedMeta;

/// A segment that will not change any more, handed out to one reader.
///
/// [`Sealed::done`] deletes it. Dropping it, for whatever reason, puts it back at its place in the queue, so a failed
/// shipper loses nothing; the caller waits before it takes the next. Several may be out at once.
#[derive(Debug)]
pub struct Sealed {
    meta: SealedMeta,
    shared: Arc<Shared>,
    /// What becomes of the segment when this value goes.
    at_drop: AtDrop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtDrop {
    Return,
    Finished,
}

impl Drop for Sealed {
    fn drop(&mut self) {
        match self.at_drop {
            AtDrop::Return => self.shared.shelf.put(self.meta.clone()),
            AtDrop::Finished => self.shared.shelf.finished(self.meta.sequence),
        }
    }
}

impl Sealed {
    pub(crate) fn new(meta: SealedMeta, shared: Arc<Shared>) -> Self {
        Self { meta, shared, at_drop: AtDrop::Return }
    }

    /// The random id: the same records for ever, so the store's deduplication token can be made from it.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.meta.id
    }

    /// The number in the file's name; segments are handed out by it.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.meta.sequence
    }

    /// Where it lies, for logs.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.meta.path
    }

    /// Records in it.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.meta.records
    }

    /// Batches in it.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.meta.batches
    }

    /// Size of the file, and of the memory that reading takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.meta.bytes
    }

    /// When its first batch was appended, ms since 1970.
    #[must_use]
    pub fn first_append_unix_ms(&self) -> u64 {
        self.meta.created_unix_ms
    }

    /// [`crate::Options::payload_version`] of the run that wrote it.
    #[must_use]
    pub fn payload_version(&self) -> u32 {
        self.meta.payload_version
    }

    /// Reads the whole segment into memory and verifies it, on a blocking thread.
    ///
    /// # Errors
    /// [`ReadError::Io`] may pass; for [`ReadError::Damaged`] call [`Sealed::set_aside`].
    pub async fn read(&self) -> Result<SegmentReader, ReadError> {
        let (meta, shared) = (self.meta.clone(), Arc::clone(&self.shared));
        let load = move || SegmentReader::load(shared.layer.as_ref(), &meta.path, &meta.id, meta.bytes);
        let path = self.meta.path.clone();
        let gone = |error| ReadError::Io { path, source: io::Error::other(error) };
        tokio::task::spawn_blocking(load).await.map_err(gone)?
    }

    /// Deletes the segment, durably: call it when all its rows are durable in the store.
    ///
    /// Once polled it goes through even if the future is dropped.
    ///
    /// # Errors
    /// [`DoneError::Returned`]: still there and queued again. [`DoneError::Unconfirmed`]: gone, unless power fails.
    pub async fn done(self) -> Result<(), DoneError> {
        self.blocking("delete", Self::delete).await
    }

    /// For a segment that [`Sealed::read`] found damaged: its original goes to `corrupt/`, its whole batches back
    /// into the queue as a segment of the same id.
    ///
    /// # Errors
    /// [`DoneError::Returned`]: nothing was changed. [`DoneError::Postponed`]: the disk is full.
    pub async fn set_aside(self) -> Result<SetAside, DoneError> {
        self.blocking("set aside", Self::replace).await
    }

    /// Runs on a blocking thread that owns the segment, so that dropping the future cannot leave half of it done.
    async fn blocking<T: Send + 'static>(
        self,
        verb: &'static str,
        step: impl FnOnce(Self) -> Result<T, DoneError> + Send + 'static,
    ) -> Result<T, DoneError> {
        let path = self.meta.path.clone();
        let gone = |error| DoneError::Returned { verb, path, source: io::Error::other(error) };
        tokio::task::spawn_blocking(move || step(self)).await.map_err(gone)?
    }

    fn delete(mut self) -> Result<(), DoneError> {
        let shared = Arc::clone(&self.shared);
        match shared.layer.remove(&self.meta.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(self.returned("delete", source));
            }
            _ => {}
        }
        self.at_drop = AtDrop::Finished;
        shared.intake.release(self.meta.bytes);
        shared.layer.sync_dir(&shared.dir).map_err(|source| {
            shared.note_error("sync the directory", &source);
            DoneError::Unconfirmed { path: mem::take(&mut self.meta.path), source }
        })
    }

    fn replace(mut self) -> Result<SetAside, DoneError> {
        let shared = Arc::clone(&self.shared);
        let layer = shared.layer.as_ref();
        let reason = match SegmentReader::load(layer, &self.meta.path, &self.meta.id, self.meta.bytes) {
            Ok(_) => return Err(self.returned("set aside", io::Error::other("it is sound"))),
            Err(ReadError::Io { source, .. }) => return Err(self.returned("set aside", source)),
            Err(ReadError::Damaged { what, .. }) => what,
        };
        let rescued = match self.rescue() {
            Ok(rescued) => rescued,
            Err(source) if reserve::is_full(&source) => {
                shared.note_error("repair a damaged segment", &source);
                self.at_drop = AtDrop::Finished;
                return Err(DoneError::Postponed { path: self.meta.path.clone(), source });
            }
            Err(source) => return Err(self.returned("set aside", source)),
        };
        let name = self.meta.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rescued_records = rescued.as_ref().map_or(0, |meta| meta.records);
        tracing::error!(dir = %shared.dir.display(), name, reason, rescued_records, records = self.meta.records,
            "a spool segment is damaged: the original is in corrupt/, its whole batches are queued");
        shared.progress().set_aside += 1;
        shared.intake.release(self.meta.bytes);
        match rescued {
            Some(meta) => {
                shared.intake.charge(meta.bytes);
                // Goes back to the queue as it is now.
                self.meta = meta;
            }
            None => self.at_drop = AtDrop::Finished,
        }
        Ok(SetAside { name, reason: reason.to_owned(), rescued_records })
    }

    fn rescue(&self) -> io::Result<Option<SealedMeta>> {
        let (layer, dir, meta) = (self.shared.layer.as_ref(), &self.shared.dir, &self.meta);
        let bytes = layer.read(&meta.path, 0, MAX_SEGMENT_BYTES as usize)?;
        // As it was when listed: the header on disk may be what is damaged.
        let header = Header {
            payload_version: meta.payload_version,
            id: meta.id,
            sequence: meta.sequence,
            created_unix_ms: meta.created_unix_ms,
        };
        rescue(layer, dir, &meta.path, &header, &bytes)
    }

    /// Drops the segment back into the queue and says why.
    fn returned(&self, verb: &'static str, source: io::Error) -> DoneError {
        self.shared.note_error(verb, &source);
        DoneError::Returned { verb, path: self.meta.path.clone(), source }
    }
}
