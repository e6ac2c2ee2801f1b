//! One followed file: where it was read to, whether it was rotated away or cut.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::positions::{Identity, Position, Positions};

/// Bytes read at once, and the longest line: longer ones become a reject. Above Fastly's and Envoy's own bounds.
const CHUNK_BYTES: usize = 1 << 20;
/// First bytes of a file that tell it from another with the same inode number. A log line's time is within them.
const HEAD_BYTES: u64 = 256;

/// An open file with its position.
pub(super) struct Followed {
    path: PathBuf,
    file: File,
    identity: Identity,
    /// Everything before is durable.
    committed: u64,
    /// End of the chunk that is being accepted.
    read: u64,
    /// A line longer than a chunk is being skipped to its end.
    in_long_line: bool,
    finished: bool,
}

impl Followed {
    /// Opens a file that is not followed yet, at its committed position. `None` for what is no regular file, is
    /// followed already, or cannot be opened (it is tried again at the next look).
    pub(super) fn open(path: &Path, positions: &Positions, followed: &[Self]) -> Option<Self> {
        let file = File::open(path).ok()?;
        let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let identity = Identity::of(&meta);
        if followed.iter().any(|other| other.identity == identity) {
            return None;
        }
        let known = positions.of(identity).filter(|known| {
            meta.len() >= known.offset
                && head_hash(&file, known.head_bytes).is_ok_and(|hash| hash == known.hash)
        });
        let start = known.map_or(0, |known| known.offset);
        // A rotated sibling that was read to its end need not be opened again and again.
        let done_with = known.is_some() && meta.len() == start && !positions_matter(path);
        (!done_with).then(|| Self {
            path: path.to_owned(),
            file,
            identity,
            committed: start,
            read: start,
            in_long_line: false,
            finished: false,
        })
    }

    /// The next whole lines, if any. Marks the file finished when it was rotated away and read to its end.
    pub(super) fn next_chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            let length = self.file.metadata().ok()?.len();
            if length < self.read {
                tracing::info!(file = %self.path.display(), "truncated: reading from its beginning");
                (self.committed, self.read, self.in_long_line) = (0, 0, false);
            }
            let wanted = usize::try_from(length - self.read).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let mut chunk = vec![0; wanted];
            let got = read_at(&self.file, &mut chunk, self.read).ok()?;
            chunk.truncate(got);
            let rotated =
                || std::fs::metadata(&self.path).map_or(true, |meta| Identity::of(&meta) != self.identity);
            let whole = whole_records(&chunk);
            match whole.checked_sub(1) {
                Some(at) => {
                    chunk.truncate(at + 1);
                    self.read += chunk.len() as u64;
                    if std::mem::take(&mut self.in_long_line) {
                        let end = memchr::memchr(b'\n', &chunk).map_or(chunk.len(), |at| at + 1);
                        chunk.drain(..end);
                        if chunk.is_empty() {
                            continue;
                        }
                    }
                    return Some(chunk);
                }
                // The decoder names it as a reject; its rest is skipped.
                None if got == CHUNK_BYTES => {
                    self.read += got as u64;
                    if !std::mem::replace(&mut self.in_long_line, true) {
                        return Some(chunk);
                    }
                }
                // Nobody will write the missing newline of a file that is gone.
                None if got > 0 && rotated() => {
                    self.read += got as u64;
                    return Some(chunk);
                }
                None => {
                    self.finished = got == 0 && rotated();
                    return None;
                }
            }
        }
    }

    /// The chunk was not accepted: the next one starts where it started.
    pub(super) fn step_back(&mut self) {
        self.read = self.committed;
        self.in_long_line = false;
    }

    /// The chunk is durable: the position to keep.
    pub(super) fn commit(&mut self) -> Position {
        self.committed = self.read;
        let head_bytes = self.committed.min(HEAD_BYTES);
        let hash = head_hash(&self.file, head_bytes).unwrap_or_default();
        Position { offset: self.committed, head_bytes, hash }
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn position(&self) -> u64 {
        self.committed
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }
}

/// How many first bytes are whole lines, without a last line that a container runtime cut and goes on with (CRI's
/// flag `P`): its rest must come in the same delivery. A chunk of nothing but such parts is taken as it is when full.
fn whole_records(chunk: &[u8]) -> usize {
    let lines_end = memchr::memrchr(b'\n', chunk).map_or(0, |at| at + 1);
    let mut end = lines_end;
    while end > 0 {
        let start = memchr::memrchr(b'\n', &chunk[..end - 1]).map_or(0, |at| at + 1);
        if !decode::envoy::is_cut_line(&chunk[start..end]) {
            return end;
        }
        end = start;
    }
    if chunk.len() == CHUNK_BYTES { lines_end } else { 0 }
}

/// Whether a name looks like the live end of a log rather than a rotated piece (`access.log.1`, `access.log.3.gz`).
fn positions_matter(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    !extension.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            got => filled += got,
        }
    }
    Ok(filled)
}

fn head_hash(file: &File, bytes: u64) -> io::Result<u64> {
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_BYTES)).unwrap_or_default()];
    let got = read_at(file, &mut head, 0)?;
    let digest = Sha256::digest(&head[..got]);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Ok(u64::from_le_bytes(first))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    struct Log {
        directory: tempfile::TempDir,
        positions: Positions,
    }

    impl Log {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let positions = Positions::load(directory.path().join("positions"));
            Self { directory, positions }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("access.log")
        }

        fn append(&self, text: &str) {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn open(&self) -> Followed {
            Followed::open(&self.path(), &self.positions, &[]).unwrap()
        }
    }

    fn drain(log: &mut Log, file: &mut Followed) -> String {
        let mut all = Vec::new();
        while let Some(chunk) = file.next_chunk() {
            all.extend(chunk);
            log.positions.set(file.identity(), file.commit());
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn only_whole_lines_are_taken() {
        let mut log = Log::new();
        log.append("one\ntw");
        let mut file = log.open();
        assert_eq!(drain(&mut log, &mut file), "one\n");
        log.append("o\n");
        assert_eq!(drain(&mut log, &mut file), "two\n");
    }

    #[test]
    fn a_line_that_the_runtime_cut_waits_for_its_rest() {
        let mut log = Log::new();
        let part = "2026-11-21T20:00:00.000000000Z stdout P first half\n";
        let rest = "2026-11-21T20:00:00.000000001Z stdout F second half\n";
        log.append(&format!("whole\n{part}"));
        let mut file = log.open();
        assert_eq!(drain(&mut log, &mut file), "whole\n");
        log.append(rest);
        assert_eq!(drain(&mut log, &mut file), format!("{part}{rest}"));
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut log = Log::new();
        log.append("one\n");
        let mut file = log.open();
        drain(&mut log, &mut file);
        log.append("two\n");
        let mut again = log.open();
        assert_eq!(drain(&mut log, &mut again), "two\n");
    }

    #[test]
    fn a_rotated_file_is_read_to_its_end_without_its_newline() {
        let mut log = Log::new();
        log.append("one\n");
        let mut file = log.open();
        drain(&mut log, &mut file);
        log.append("last");
        fs::rename(log.path(), log.directory.path().join("access.log.1")).unwrap();
        log.append("new\n");
        assert_eq!(drain(&mut log, &mut file), "last");
        assert!(file.is_finished());
        let mut new = log.open();
        assert_eq!(drain(&mut log, &mut new), "new\n");
    }

    #[test]
    fn a_rotation_while_down_is_found_by_inode() {
        let mut log = Log::new();
        log.append("one\n");
        let mut file = log.open();
        drain(&mut log, &mut file);
        drop(file);
        log.append("two\n");
        let rotated = log.directory.path().join("access.log.1");
        fs::rename(log.path(), &rotated).unwrap();
        log.append("new\n");
        assert_eq!(log.positions.rotated_siblings(&[log.path()]), std::slice::from_ref(&rotated));
        let mut old = Followed::open(&rotated, &log.positions, &[]).unwrap();
        assert_eq!(drain(&mut log, &mut old), "two\n");
    }

    #[test]
    fn a_truncated_file_starts_over() {
        let mut log = Log::new();
        log.append("one\ntwo\n");
        let mut file = log.open();
        drain(&mut log, &mut file);
        fs::write(log.path(), "x\n").unwrap();
        assert_eq!(drain(&mut log, &mut file), "x\n");
    }

    #[test]
    fn a_line_without_end_costs_only_itself() {
        let mut log = Log::new();
        log.append(&"x".repeat(CHUNK_BYTES + 10));
        log.append("\nnext\n");
        let mut file = log.open();
        let read = drain(&mut log, &mut file);
        assert_eq!(read.len(), CHUNK_BYTES + "next\n".len());
        assert!(read.ends_with("next\n"));
    }
}
