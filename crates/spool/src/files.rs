//! The few file operations the spool needs, behind a trait so that tests can fail any one of them.

use std::any::Any;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Logs are personal: nobody but the service reads them.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// File name; bytes that are not UTF-8 replaced, so such a name never matches one of ours.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Whether it is a plain file.
    pub is_file: bool,
}

/// A file open for writing.
pub trait SegmentFile: Send {
    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file to this length.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
    /// Returns once everything written, and the file's length, would survive a power failure.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system as the spool sees it. Calls block.
pub trait FileLayer: Send + Sync + 'static {
    /// Creates the directory, with its parents, durably; it may exist.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of a spool directory, held until the value is dropped; `None` if another has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
    /// Everything in the directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Creates a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens an existing file for writing, on a descriptor of its own.
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    /// Up to `max_bytes` of the file from `offset` on.
    fn read(&self, path: &Path, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>>;
    /// Renames within one file system, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name; fails with [`io::ErrorKind::AlreadyExists`] rather than replace one.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Bytes that the file system of this directory has left; `None` where it does not say.
    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns once the directory's entries would survive a power failure.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The real thing.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdFiles;

impl SegmentFile for File {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // fdatasync: it includes the length, which is all the metadata that reading back needs.
        self.sync_data()
    }
}

impl FileLayer for StdFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        // Not truncated on opening: until the lock is ours the pid in it is its owner's.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(source),
        }
        // The pid only serves the operator: a full disk must not keep the spool from opening.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Some(Box::new(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry { name, bytes: meta.len(), is_file: meta.is_file() });
        }
        Ok(entries)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = OpenOptions::new().create_new(true).write(true).mode(FILE_MODE).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn read(&self, path: &Path, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let there = file.metadata()?.len().saturating_sub(offset).min(max_bytes as u64);
        let mut bytes = Vec::with_capacity(there as usize);
        OffsetReader { file: &file, offset }.take(there).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        let told = rustix::fs::statvfs(dir)?;
        Ok(Some(told.f_bavail.saturating_mul(told.f_frsize)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

struct OffsetReader<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for OffsetReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}
