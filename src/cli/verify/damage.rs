//! Damage to the segments of a dead service, by the documented layout of the spool (crates/spool, `lib.rs`).
//!
//! A torn end is bytes of a write that no sync had confirmed: nothing acknowledged may be lost by it. A flipped bit hits
//! what was acknowledged: the records of that one batch may be missing, the original must be in `corrupt/`, and the rest
//! must be served. The last batch of an unsealed segment is left alone: damage there is not to be told from a torn end.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::record::{Number, PATH};
use super::rng::Rng;

const HEADER_BYTES: usize = 64;
const BATCH_HEAD_BYTES: usize = 20;
const BATCH_MARK: &[u8] = b"TLBA";
/// Longest torn end: a write of some pages.
const TORN_BYTES: u64 = 20_000;

/// What was damaged.
#[derive(Debug)]
pub(super) struct Flipped {
    /// Name of the segment without its ending, under which its original must turn up in `corrupt/`.
    pub(super) segment: String,
    pub(super) numbers: BTreeSet<Number>,
}

/// Appends what a torn write leaves to the segment that was being written; whether there was one.
pub(super) fn tear(spool: &Path, rng: &mut Rng) -> io::Result<bool> {
    let Some(path) = segments(spool, "open")?.pop() else { return Ok(false) };
    let mut bytes = fs::read(&path)?;
    let length = rng.between(1, TORN_BYTES) as usize;
    match (rng.between(0, 3), batches(&bytes).last().cloned()) {
        (0, _) => bytes.resize(bytes.len() + length, 0),
        (1, _) | (_, None) => bytes.extend((0..length).map(|_| rng.bits() as u8)),
        // A batch of another place: its head looks right and its body is cut short.
        (_, Some(last)) => {
            let part = last.start..last.start + length.min(last.len());
            bytes.extend_from_within(part);
        }
    }
    fs::write(&path, bytes)?;
    Ok(true)
}

/// Flips one bit in a whole batch of a segment that was not damaged before; `None` where there is none.
pub(super) fn flip(spool: &Path, rng: &mut Rng, before: &BTreeSet<String>) -> io::Result<Option<Flipped>> {
    let mut candidates = segments(spool, "sealed")?;
    candidates.extend(segments(spool, "open")?);
    candidates.retain(|path| !before.contains(&stem(path)));
    if candidates.is_empty() {
        return Ok(None);
    }
    let path = candidates.swap_remove(rng.between(0, candidates.len() as u64) as usize);
    let mut bytes = fs::read(&path)?;
    let mut batches = batches(&bytes);
    if path.extension().is_some_and(|ending| ending == "open") {
        batches.pop();
    }
    if batches.is_empty() {
        return Ok(None);
    }
    let batch = batches.swap_remove(rng.between(0, batches.len() as u64) as usize);
    let numbers = numbers(&bytes[batch.clone()]);
    let at = rng.between(batch.start as u64, batch.end as u64) as usize;
    bytes[at] ^= 1 << rng.between(0, 8);
    fs::write(&path, bytes)?;
    Ok(Some(Flipped { segment: stem(&path), numbers }))
}

/// Segments of the spool by their ending, oldest first.
pub(super) fn segments(spool: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(spool)? {
        let path = entry?.path();
        if path.extension().is_some_and(|own| own == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Names of the segments whose originals were set aside.
pub(super) fn set_aside(spool: &Path) -> io::Result<BTreeSet<String>> {
    let entries = fs::read_dir(spool.join("corrupt"))?;
    entries.map(|entry| Ok(stem(&entry?.path()))).collect()
}

/// The name up to its first dot: `corrupt/` may add to it.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// Where the batches lie.
fn batches(segment: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(head) = segment.get(at..at + BATCH_HEAD_BYTES)
        && head.starts_with(BATCH_MARK)
        && let Some(length) = head[4..].first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
    {
        let end = at + BATCH_HEAD_BYTES + length;
        if end > segment.len() {
            break;
        }
        found.push(at..end);
        at = end;
    }
    found
}

/// The numbers of all records in a batch: their paths stand in it as text.
fn numbers(batch: &[u8]) -> BTreeSet<Number> {
    let places = memchr::memmem::find_iter(batch, PATH.as_bytes());
    let paths = places.filter_map(|at| batch.get(at..at + PATH.len() + 16));
    paths.filter_map(|path| Number::of_path(std::str::from_utf8(path).ok()?)).collect()
}
