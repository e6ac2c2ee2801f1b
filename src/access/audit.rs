//! The log of who looked up what: one JSON object a line, on the disk before the answer leaves.
//!
//! A thread of its own writes whatever waits, syncs once and says so to all who wait. The file is only ever appended to,
//! readable by its owner, and rotated by size into `FILE.1`, `FILE.2` and so on, so that it takes a bounded part of the
//! disk; whoever must keep more ships it elsewhere. What is refused for want of a token is not in it: nothing was looked
//! up, and whoever has no token must not be able to push out what is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::config::{AuditMode, AuditSettings};

/// Lines that may wait for the disk: each is one answer that waits, too.
const WAITING: usize = 256;

/// One lookup.
#[derive(Debug, Serialize)]
pub(crate) struct Lookup<'l> {
    /// When it was answered, RFC 3339.
    pub(crate) at: String,
    /// Name of the reader.
    pub(crate) reader: &'l str,
    /// Its roles.
    pub(crate) roles: Vec<&'static str>,
    /// Whose records were asked for.
    pub(crate) tenant: &'l str,
    /// From where, through trusted proxies.
    pub(crate) from: String,
    /// Method and route.
    pub(crate) endpoint: String,
    /// What was asked: the path, and each parameter. Never a token.
    pub(crate) asked: Vec<(String, String)>,
    /// Rows of the answer.
    pub(crate) rows: u64,
    /// Status of the answer.
    pub(crate) status: u16,
}

/// A lookup could not be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub(crate) struct NotWritten;

/// The log; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    lines: mpsc::Sender<Line>,
    is_required: bool,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    written: oneshot::Sender<bool>,
}

impl Audit {
    /// Opens the log; `None` where none is kept.
    pub(crate) fn open(settings: &AuditSettings) -> io::Result<Option<Self>> {
        if settings.mode == AuditMode::Off {
            return Ok(None);
        }
        let mut file = Rotated::open(settings)?;
        let (lines, mut waiting) = mpsc::channel::<Line>(WAITING);
        // A thread, not a task: it blocks on the disk by design.
        thread::Builder::new().name("audit".to_owned()).spawn(move || {
            while let Some(first) = waiting.blocking_recv() {
                let mut group = vec![first];
                while let Ok(line) = waiting.try_recv() {
                    group.push(line);
                }
                let is_written = file.append(&group);
                for line in group {
                    // Whoever has gone needs no answer.
                    let _ = line.written.send(is_written);
                }
            }
        })?;
        Ok(Some(Self { lines, is_required: settings.mode == AuditMode::Required }))
    }

    /// Writes a lookup down, durably; an error only where that is required.
    pub(crate) async fn note(&self, lookup: &Lookup<'_>) -> Result<(), NotWritten> {
        match self.write(lookup).await {
            Some(()) => Ok(()),
            None if self.is_required => Err(NotWritten),
            None => Ok(()),
        }
    }

    async fn write(&self, lookup: &Lookup<'_>) -> Option<()> {
        let mut text = serde_json::to_vec(lookup).ok()?;
        text.push(b'\n');
        let (written, is_written) = oneshot::channel();
        self.lines.send(Line { text, written }).await.ok()?;
        is_written.await.ok()?.then_some(())
    }
}

/// The file and what is kept of it.
struct Rotated {
    path: PathBuf,
    max_bytes: u64,
    files: u32,
    /// `None` after a failure: opened again for the next line.
    open: Option<(File, u64)>,
}

impl Rotated {
    fn open(settings: &AuditSettings) -> io::Result<Self> {
        let path = settings.file.clone();
        let open = Some(open(&path)?);
        Ok(Self { path, max_bytes: settings.max_bytes.max(1), files: settings.files, open })
    }

    /// Whether all of these are on the disk now.
    fn append(&mut self, lines: &[Line]) -> bool {
        let outcome = self.try_append(lines);
        if let Err(error) = &outcome {
            self.open = None;
            let file = self.path.display();
            tracing::error!(%file, %error, "the audit log cannot be written; see `audit.mode`");
        }
        outcome.is_ok()
    }

    fn try_append(&mut self, lines: &[Line]) -> io::Result<()> {
        let text: Vec<u8> = lines.iter().flat_map(|line| &line.text).copied().collect();
        let (mut file, mut length) = match self.open.take() {
            // Somebody who moved the file away (logrotate) did not mean the log to end there.
            Some(open) if self.path.exists() => open,
            _ => open(&self.path)?,
        };
        if length > 0 && length + text.len() as u64 > self.max_bytes {
            self.rotate()?;
            (file, length) = open(&self.path)?;
        }
        file.write_all(&text)?;
        file.sync_data()?;
        self.open = Some((file, length + text.len() as u64));
        Ok(())
    }

    /// Each file one further; the last falls off.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.files == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.files).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))
    }
}

/// Opens the file to append to it, and says how long it is. A new one is in its directory durably.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let is_new = !path.exists();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    if is_new && let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(reader: &str) -> Lookup<'_> {
        Lookup {
            at: "2026-11-22T08:00:00Z".to_owned(),
            reader,
            roles: vec!["search"],
            tenant: "shop",
            from: "127.0.0.1".to_owned(),
            endpoint: "GET /api/v1/events".to_owned(),
            asked: vec![("status".to_owned(), "5xx\"\n".to_owned())],
            rows: 3,
            status: 200,
        }
    }

    fn settings(directory: &Path, mode: AuditMode, max_bytes: u64) -> AuditSettings {
        AuditSettings { mode, file: directory.join("audit.log"), max_bytes, files: 2 }
    }

    #[tokio::test]
    async fn lines_are_whole_and_files_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::open(&settings(directory.path(), AuditMode::Required, 600)).unwrap().unwrap();
        for number in 0..20 {
            audit.note(&lookup(&format!("reader-{number:02}"))).await.unwrap();
        }
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        let mut seen = Vec::new();
        for path in names.iter().rev() {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.len() <= 600);
            seen.extend(text.lines().map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["reader"].as_str().unwrap().to_owned()
            }));
        }
        assert_eq!(seen.last().map(String::as_str), Some("reader-19"));
        assert!(seen.is_sorted() && seen.len() >= 3, "{seen:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_an_error_only_where_it_must_be_written() {
        for (mode, expected) in [(AuditMode::Required, Err(NotWritten)), (AuditMode::BestEffort, Ok(()))] {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("sub");
            fs::create_dir(&place).unwrap();
            let audit = Audit::open(&settings(&place, mode, 1 << 20)).unwrap().unwrap();
            audit.note(&lookup("a")).await.unwrap();
            fs::remove_dir_all(&place).unwrap();
            assert_eq!(audit.note(&lookup("b")).await, expected);
            fs::create_dir(&place).unwrap();
            assert_eq!(audit.note(&lookup("c")).await, Ok(()), "it mends itself");
        }
    }
}
