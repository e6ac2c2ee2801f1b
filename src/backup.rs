//! A copy of the data directory from which a service goes on: the engine's tables as they stood when it was ended for a
//! moment, and the segments that were not in them.
//!
//! Order makes it sound. The engine ends first: from then on no segment can be shipped, so whatever the tables lack is in
//! the spool, and stays there. Then the open segment is sealed, and tables and segments are copied, while senders go on
//! sending. A segment that the tables have in part, or whole, is shipped again by the restored service under its own
//! tokens, which are part of the copy: nothing is doubled.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spool::Spool;

/// Written last: a directory without it is no backup.
pub(crate) const MANIFEST: &str = "backup.json";
/// What is copied beside tables and segments. Positions before the segments: a followed line is read twice rather than
/// never.
const SMALL: [&str; 7] =
    ["positions", "reported", "subject.key", "instance", "clickhouse-credentials", "erasures", "receipts"];
/// Files that belong to a running process.
const NOT_COPIED: [&str; 4] = ["lock", "throughline.lock", "status", "reserve"];

/// What a backup holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Manifest {
    /// Where it lies, as the service was told.
    pub(crate) directory: String,
    /// When the engine was ended for it, RFC 3339: what was accepted before is in it.
    pub(crate) taken: String,
    /// Version of the service that made it.
    pub(crate) version: String,
    /// Whether it holds the store's tables; a ClickHouse server is backed up by its own means.
    pub(crate) tables: bool,
    /// Files.
    pub(crate) files: u64,
    /// Their sizes together.
    pub(crate) bytes: u64,
    /// Segments that wait to be shipped.
    pub(crate) segments: u64,
    /// How long the engine was away, in milliseconds.
    pub(crate) engine_away_ms: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("`directory` must be an absolute path on the machine of the service that does not exist yet")]
    Place,
    #[error("another backup is under way")]
    Busy,
    #[error("the engine is not running, or the service ends")]
    Engine,
    #[error("{verb} {path}: {source}")]
    Disk { verb: &'static str, path: PathBuf, source: io::Error },
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Disk { verb, path, source }
}

/// Makes backups, one at a time.
#[derive(Debug)]
pub(crate) struct Backups {
    pub(crate) data_dir: PathBuf,
    pub(crate) spool: Arc<Spool>,
    /// `None` where the store is a server.
    pub(crate) pauses: Option<engine::Pauses>,
    pub(crate) one: tokio::sync::Semaphore,
}

impl Backups {
    /// Copies everything into a directory that it makes. The engine is away meanwhile: questions are refused with 503,
    /// deliveries are accepted.
    pub(crate) async fn make(self: Arc<Self>, to: PathBuf) -> Result<Manifest, BackupError> {
        let _one = self.one.try_acquire().map_err(|_| BackupError::Busy)?;
        if !to.is_absolute() || to.exists() || to.starts_with(&self.data_dir) {
            return Err(BackupError::Place);
        }
        let since = std::time::Instant::now();
        let taken = crate::api::time_text(crate::accept::unix_ns());
        let paused = match &self.pauses {
            Some(pauses) => Some(pauses.pause().await.ok_or(BackupError::Engine)?),
            None => None,
        };
        let (backups, place) = (Arc::clone(&self), to.clone());
        let small = tokio::task::spawn_blocking(move || backups.copy_small(&place));
        let mut copied = joined(small.await, &to)?;
        // An error means that the disk fails, and copying will say so.
        let _ = self.spool.seal_now().await;
        let (backups, place, tables) = (Arc::clone(&self), to.clone(), paused.is_some());
        let rest = tokio::task::spawn_blocking(move || backups.copy_large(&place, tables));
        let (segments, large) = joined(rest.await, &to)?;
        drop(paused);
        copied.add(large);
        let manifest = Manifest {
            directory: to.display().to_string(),
            taken,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tables,
            files: copied.files,
            bytes: copied.bytes,
            segments,
            engine_away_ms: since.elapsed().as_millis() as u64,
        };
        let written = manifest.clone();
        let (place, failed_at) = (to.clone(), to);
        let write = tokio::task::spawn_blocking(move || written.write(&place));
        joined(write.await, &failed_at)?;
        Ok(manifest)
    }

    fn copy_small(&self, to: &Path) -> Result<Copied, BackupError> {
        fs::create_dir_all(to).map_err(failed("make", to))?;
        let mut copied = Copied::default();
        for name in SMALL {
            let from = self.data_dir.join(name);
            if from.exists() {
                copied.add(copy(&from, &to.join(name), false)?);
            }
        }
        Ok(copied)
    }

    fn copy_large(&self, to: &Path, tables: bool) -> Result<(u64, Copied), BackupError> {
        let mut copied = Copied::default();
        if tables {
            copied.add(copy(&self.data_dir.join("engine"), &to.join("engine"), true)?);
        }
        let (from, into) = (self.data_dir.join("spool"), to.join("spool"));
        fs::create_dir(&into).map_err(failed("make", &into))?;
        let mut segments = 0;
        for entry in fs::read_dir(&from).map_err(failed("list", &from))? {
            let path = entry.map_err(failed("list", &from))?.path();
            let sealed = path.extension().is_some_and(|extension| extension == "sealed");
            let Some(name) = path.file_name().filter(|_| sealed) else { continue };
            match copy(&path, &into.join(name), false) {
                Ok(one) => {
                    segments += 1;
                    copied.add(one);
                }
                // Deleted in the meantime, because all of it was in the tables before the engine ended.
                Err(BackupError::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        sync(&into)?;
        Ok((segments, copied))
    }
}

impl Manifest {
    fn write(&self, to: &Path) -> Result<(), BackupError> {
        let path = to.join(MANIFEST);
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed("write", &path)(error.into()))?;
        let mut file = File::create(&path).map_err(failed("make", &path))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed("write", &path))?;
        sync(to)
    }
}

/// Puts a backup where a service can be started. The place must not exist, or be empty.
pub(crate) fn restore(from: &Path, to: &Path) -> anyhow::Result<Manifest> {
    use anyhow::Context as _;
    let manifest = fs::read(from.join(MANIFEST)).with_context(|| {
        format!("{} is no backup, or one that was not finished: it has no {MANIFEST}", from.display())
    })?;
    let manifest: Manifest = serde_json::from_slice(&manifest).context("read the backup's manifest")?;
    let taken =
        to.exists() && fs::read_dir(to).with_context(|| format!("list {}", to.display()))?.next().is_some();
    anyhow::ensure!(!taken, "{} is not empty: restore into a new directory", to.display());
    let mut copied = copy(from, to, false)?;
    fs::remove_file(to.join(MANIFEST)).context("leave the manifest out")?;
    copied.files -= 1;
    anyhow::ensure!(
        copied.files == manifest.files,
        "the backup holds {} files, its manifest says {}: it is not whole",
        copied.files,
        manifest.files
    );
    sync(to)?;
    Ok(manifest)
}

#[derive(Debug, Default, Clone, Copy)]
struct Copied {
    files: u64,
    bytes: u64,
}

impl Copied {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Copies a file or a directory with all that is in it, durably. With `link` the engine's columns, which are written once
/// and never changed, are shared by both places where the file system allows it: the engine is away for less long.
fn copy(from: &Path, to: &Path, link: bool) -> Result<Copied, BackupError> {
    let kind = fs::symlink_metadata(from).map_err(failed("look at", from))?;
    if kind.is_symlink() {
        // The engine's own, relative to where they stand.
        let target = fs::read_link(from).map_err(failed("read the link", from))?;
        unix::symlink(target, to).map_err(failed("make the link", to))?;
        return Ok(Copied::default());
    }
    if !kind.is_dir() {
        let column = from.extension().is_some_and(|extension| extension == "bin");
        if !(link && column && fs::hard_link(from, to).is_ok()) {
            fs::copy(from, to).map_err(failed("copy", from))?;
            File::open(to).and_then(|file| file.sync_all()).map_err(failed("sync", to))?;
        }
        return Ok(Copied { files: 1, bytes: kind.len() });
    }
    fs::create_dir_all(to).map_err(failed("make", to))?;
    fs::set_permissions(to, kind.permissions()).map_err(failed("set the permissions of", to))?;
    let mut copied = Copied::default();
    for entry in fs::read_dir(from).map_err(failed("list", from))? {
        let entry = entry.map_err(failed("list", from))?;
        if NOT_COPIED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        copied.add(copy(&entry.path(), &to.join(entry.file_name()), link)?);
    }
    sync(to)?;
    Ok(copied)
}

fn sync(directory: &Path) -> Result<(), BackupError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

fn joined<T>(
    done: Result<Result<T, BackupError>, tokio::task::JoinError>,
    to: &Path,
) -> Result<T, BackupError> {
    done.map_err(|error| failed("copy to", to)(io::Error::other(error)))?
}
