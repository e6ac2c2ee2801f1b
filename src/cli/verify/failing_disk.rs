//! A disk that fails: writes that find no room, and syncs that fail and lose what was written since the last one.
//!
//! It stands between the spool and the real files of a service that `verify` started for that; `serve` knows nothing of
//! it. What a failed sync loses is lost for good, as where the kernel drops the pages: the service must not have
//! acknowledged it, and must not count on a second sync.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use spool::{DirEntry, FileLayer, SegmentFile, StdFiles};

use super::rng::Rng;

/// Operations that fail, of a thousand, while the disk is in a bad time.
const BAD_PERMILLE: u64 = 400;
/// Of how many operations a good and a bad time consist, at most.
const GOOD: u64 = 60;
const BAD: u64 = 10;

/// `ENOSPC` and `EIO`, as the system numbers them.
const NO_ROOM: i32 = 28;
const IO_ERROR: i32 = 5;

#[derive(Debug)]
struct Weather {
    rng: Rng,
    is_bad: bool,
    left: u64,
}

/// When the disk fails; shared by all its files.
#[derive(Debug, Clone)]
struct Failures(Arc<Mutex<Weather>>);

impl Failures {
    /// Whether this operation fails.
    fn strike(&self) -> bool {
        let mut weather = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if weather.left == 0 {
            weather.is_bad = !weather.is_bad;
            let most = if weather.is_bad { BAD } else { GOOD };
            weather.left = weather.rng.between(1, most);
        }
        weather.left -= 1;
        weather.is_bad && weather.rng.permille(BAD_PERMILLE)
    }
}

/// The layer for a spool.
#[derive(Debug)]
pub(super) struct FailingDisk {
    failures: Failures,
}

impl FailingDisk {
    /// A disk whose bad times follow from the seed; it begins with a good one, so that the spool can be opened.
    pub(super) fn new(seed: u64) -> Self {
        let weather = Weather { rng: Rng::stream(seed, [3, 0]), is_bad: false, left: GOOD };
        Self { failures: Failures(Arc::new(Mutex::new(weather))) }
    }

    fn wrap(&self, file: Box<dyn SegmentFile>, bytes: u64) -> Box<dyn SegmentFile> {
        Box::new(FailingFile {
            file,
            failures: self.failures.clone(),
            length: bytes,
            durable: bytes,
            lost: false,
        })
    }
}

struct FailingFile {
    file: Box<dyn SegmentFile>,
    failures: Failures,
    length: u64,
    /// What would survive a power failure.
    durable: u64,
    /// A sync failed: what was not durable then is gone, whatever is written after it.
    lost: bool,
}

impl SegmentFile for FailingFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.failures.strike() {
            let part = bytes.len() / 2;
            self.file.write_all_at(&bytes[..part], offset)?;
            self.length = self.length.max(offset + part as u64);
            return Err(io::Error::from_raw_os_error(NO_ROOM));
        }
        self.length = self.length.max(offset + bytes.len() as u64);
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.length = bytes;
        self.durable = self.durable.min(bytes);
        self.file.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.failures.strike() {
            // The pages are dropped: their place reads as zeros.
            let zeros = usize::try_from(self.length - self.durable).unwrap_or_default();
            self.file.write_all_at(&vec![0; zeros], self.durable)?;
            self.lost = true;
            return Err(io::Error::from_raw_os_error(IO_ERROR));
        }
        // The kernel reports a failure once; the next sync of the descriptor succeeds and has saved nothing of it.
        if !self.lost {
            self.durable = self.length;
        }
        self.file.sync()
    }
}

impl FileLayer for FailingDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        StdFiles.create_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        StdFiles.lock(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        StdFiles.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        if self.failures.strike() {
            return Err(io::Error::from_raw_os_error(NO_ROOM));
        }
        Ok(self.wrap(StdFiles.create(path)?, 0))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let bytes = std::fs::metadata(path)?.len();
        Ok(self.wrap(StdFiles.open(path)?, bytes))
    }

    fn read(&self, path: &Path, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
        StdFiles.read(path, offset, max_bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdFiles.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdFiles.link(from, to)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        StdFiles.free_bytes(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        StdFiles.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.failures.strike() {
            return Err(io::Error::from_raw_os_error(IO_ERROR));
        }
        StdFiles.sync_dir(dir)
    }
}
