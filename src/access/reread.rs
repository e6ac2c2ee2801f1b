//! Files that are read again when they change, so that a rotation needs no restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

/// How often files are looked at; certificates are as well.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Largest file: a list of addresses of a thousand lines has 20 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a file says, as it was last readable.
#[derive(Debug)]
pub(crate) struct FromFile<T> {
    path: PathBuf,
    parse: fn(&str) -> Result<T, String>,
    state: RwLock<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    value: Arc<T>,
    /// Of the content that was looked at last, good or bad: what is bad is said once.
    seen: [u8; 32],
}

impl<T> FromFile<T> {
    /// Reads the file for the first time: then what is wrong with it is an error.
    pub(crate) fn open(path: PathBuf, parse: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        let text = read(&path)?;
        let value = parse(&text).map_err(|reason| format!("{}: {reason}", path.display()))?;
        let state = RwLock::new(State { value: Arc::new(value), seen: Sha256::digest(&text).into() });
        Ok(Self { path, parse, state })
    }

    /// What holds now.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).value)
    }
}

/// Something that may have changed outside. Looks at content, not at times: secrets mounted by Kubernetes change by
/// symlink.
pub(crate) trait Reread: Send + Sync {
    /// Looks, and takes over what is new and good. What is bad leaves the old in force. Blocks.
    fn look(&self);
}

impl<T: Send + Sync> Reread for FromFile<T> {
    fn look(&self) {
        let path = self.path.display();
        let outcome = read(&self.path).map(|text| (Sha256::digest(&text).into(), (self.parse)(&text)));
        let (seen, value) = outcome.unwrap_or_else(|reason| ([0; 32], Err(reason)));
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.seen == seen {
            return;
        }
        state.seen = seen;
        match value {
            Ok(value) => {
                state.value = Arc::new(value);
                tracing::info!(file = %path, "read again");
            }
            Err(reason) => {
                tracing::warn!(file = %path, reason, "cannot use the changed file; the old content holds");
            }
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map(|meta| meta.len());
    match length.and_then(|length| Ok((length, std::fs::read_to_string(path)?))) {
        Ok((length, _)) if length > MAX_FILE_BYTES => {
            Err(format!("{} has more than {MAX_FILE_BYTES} bytes", path.display()))
        }
        Ok((_, text)) => Ok(text),
        Err(cause) => Err(format!("cannot read {}: {cause}", path.display())),
    }
}

/// Looks at all of them again and again, until told to stop.
pub(crate) async fn keep_current(files: Vec<Arc<dyn Reread>>, stopping: CancellationToken) {
    if files.is_empty() {
        return;
    }
    let files: Arc<[Arc<dyn Reread>]> = files.into();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopping.cancelled() => return,
        }
        let files = Arc::clone(&files);
        // The file system of a secret may hang; nobody else waits for it.
        let _ = tokio::task::spawn_blocking(move || files.iter().for_each(|file| file.look())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_good_is_taken_over_and_what_is_bad_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let parse = |text: &str| text.trim().parse::<u8>().map_err(|error| error.to_string());
        write("x");
        assert!(FromFile::open(path.clone(), parse).is_err());
        write("1");
        let file = FromFile::open(path.clone(), parse).unwrap();
        for (text, expected) in [("2", 2), ("", 2), ("3", 3)] {
            write(text);
            file.look();
            assert_eq!(*file.current(), expected, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        file.look();
        assert_eq!(*file.current(), 3, "a file that is gone for a moment takes nobody's access");
    }
}
