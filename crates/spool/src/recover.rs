//! What an earlier run left behind: made whole, sealed, listed for shipping. No single file stops the rest.

use std::io;
use std::path::Path;

use crate::error::OpenError;
use crate::files::{DirEntry, FileLayer};
use crate::layout::{self, End, Extent, HEADER_BYTES, Header, HeaderFault, TRAILER_BYTES};
use crate::names::{self, CORRUPT, Kind};
use crate::options::MAX_SEGMENT_BYTES;
use crate::rescue::{move_aside, rescue};
use crate::reserve::{self, Reserve};
use crate::seal::Closing;
use crate::shelf::SealedMeta;

/// What [`crate::Spool::open`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments listed for shipping.
    pub segments: usize,
    /// Records in them. Those of segments sealed before are as their trailers say.
    pub records: u64,
    /// Bytes cut off the ends of unsealed segments; none of them was acknowledged.
    pub torn_bytes: u64,
    /// Unsealed segments that had such an end.
    pub torn_tails: usize,
    /// Files removed because they held no batch: nothing in them was acknowledged.
    pub removed_empty: usize,
    /// Files now in `corrupt/`.
    pub set_aside: Vec<SetAside>,
    /// Names left alone: not ours, or of another encoding version.
    pub foreign: Vec<String>,
    /// Files left in place, and out of the queue, because the system could not read them or had no room to repair
    /// them, with its reason. The next start tries again.
    pub unusable: Vec<(String, String)>,
}

/// A damaged file whose original is in `corrupt/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its file name.
    pub name: String,
    /// Which check failed.
    pub reason: String,
    /// Records of its whole batches, which stay queued under the segment's id.
    pub rescued_records: u64,
}

pub(crate) struct Recovered {
    pub(crate) report: Recovery,
    pub(crate) sealed: Vec<SealedMeta>,
    pub(crate) used_bytes: u64,
    pub(crate) next_sequence: u64,
    pub(crate) reserve: Reserve,
}

/// What became of one file.
enum Fate {
    Listed(SealedMeta),
    Removed,
    Foreign,
    SetAside { reason: &'static str, rescued: Option<SealedMeta> },
}

pub(crate) fn recover(layer: &dyn FileLayer, dir: &Path, reserve_bytes: u64) -> Result<Recovered, OpenError> {
    let failed = |verb, path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { verb, path, source }
    };
    let corrupt = dir.join(CORRUPT);
    let aside = layer.list(&corrupt).map_err(failed("list", &corrupt))?;
    let entries = layer.list(dir).map_err(failed("list", dir))?;
    let mut out = Recovered {
        report: Recovery::default(),
        sealed: Vec::new(),
        used_bytes: 0,
        next_sequence: 0,
        reserve: Reserve::new(dir, reserve_bytes),
    };
    out.reserve.adopt(entries.iter().find(|entry| entry.name == reserve::NAME).map(|entry| entry.bytes));

    // Past every number ever seen, so that a name in corrupt/ is not used again either.
    let numbers = entries.iter().chain(&aside).filter_map(|entry| names::leading_number(&entry.name));
    out.next_sequence = numbers.max().map_or(1, |highest| highest.saturating_add(1));

    let mut ours = Vec::new();
    for entry in entries {
        match names::parse(&entry.name) {
            Some((sequence, kind)) if entry.is_file => ours.push((sequence, kind, entry)),
            _ if [names::LOCK, reserve::NAME, CORRUPT].contains(&entry.name.as_str()) => {}
            _ => out.report.foreign.push(entry.name),
        }
    }
    // Interrupted rescues first: making one anew takes its name.
    ours.sort_by_key(|(sequence, kind, _)| (*kind != Kind::Rescue, *sequence, *kind));
    for (sequence, kind, entry) in ours {
        let fate = match kind {
            Kind::Rescue => layer.remove(&dir.join(&entry.name)).map(|()| Fate::Removed),
            _ if out.sealed.last().is_some_and(|meta| meta.sequence == sequence) => {
                let reason = "a sealed segment of this number exists";
                move_aside(layer, dir, &dir.join(&entry.name))
                    .map(|()| Fate::SetAside { reason, rescued: None })
            }
            Kind::Sealed => recover_sealed(layer, dir, sequence, &entry),
            Kind::Open => recover_open(layer, dir, sequence, &entry, &mut out.reserve, &mut out.report),
        };
        out.enter(entry, fate);
    }
    layer.sync_dir(dir).map_err(failed("sync", dir))?;
    Ok(out)
}

impl Recovered {
    fn enter(&mut self, entry: DirEntry, fate: io::Result<Fate>) {
        match fate {
            Ok(Fate::Listed(meta)) => self.list(meta),
            Ok(Fate::Removed) => self.report.removed_empty += 1,
            Ok(Fate::Foreign) => {
                self.used_bytes += entry.bytes;
                self.report.foreign.push(entry.name);
            }
            Ok(Fate::SetAside { reason, rescued }) => {
                let rescued_records = rescued.as_ref().map_or(0, |meta| meta.records);
                self.report.set_aside.push(SetAside {
                    name: entry.name,
                    reason: reason.to_owned(),
                    rescued_records,
                });
                if let Some(meta) = rescued {
                    self.list(meta);
                }
            }
            Err(error) => {
                self.used_bytes += entry.bytes;
                self.report.unusable.push((entry.name, error.to_string()));
            }
        }
    }

    fn list(&mut self, meta: SealedMeta) {
        self.report.segments += 1;
        self.report.records += meta.records;
        self.used_bytes += meta.bytes;
        self.sealed.push(meta);
    }
}

/// Looks at both ends only; the batches are checked when the segment is read.
fn recover_sealed(layer: &dyn FileLayer, dir: &Path, sequence: u64, entry: &DirEntry) -> io::Result<Fate> {
    let path = dir.join(&entry.name);
    if entry.bytes > MAX_SEGMENT_BYTES {
        return lost(layer, dir, &path, "larger than any segment");
    }
    let head = layer.read(&path, 0, HEADER_BYTES)?;
    let header = match header_of(&head, sequence) {
        Ok(header) => header,
        Err(HeaderFault::ForeignVersion(_)) => return Ok(Fate::Foreign),
        Err(HeaderFault::Unwritten) => return lost(layer, dir, &path, "empty or without a header"),
        Err(HeaderFault::Damaged(reason)) => return lost(layer, dir, &path, reason),
    };
    let tail_at = entry.bytes.saturating_sub(TRAILER_BYTES as u64);
    let tail = layer.read(&path, tail_at, TRAILER_BYTES)?;
    match Extent::from_trailer(&tail, &header.id) {
        Some(extent) if extent.bytes == tail_at => Ok(Fate::Listed(Closing { header, extent }.meta(dir))),
        _ => {
            let bytes = layer.read(&path, 0, MAX_SEGMENT_BYTES as usize)?;
            let rescued = rescue(layer, dir, &path, &header, &bytes)?;
            Ok(Fate::SetAside { reason: "the trailer is missing or damaged", rescued })
        }
    }
}

fn recover_open(
    layer: &dyn FileLayer,
    dir: &Path,
    sequence: u64,
    entry: &DirEntry,
    reserve: &mut Reserve,
    report: &mut Recovery,
) -> io::Result<Fate> {
    let path = dir.join(&entry.name);
    if entry.bytes > MAX_SEGMENT_BYTES {
        return lost(layer, dir, &path, "larger than any segment");
    }
    let bytes = layer.read(&path, 0, MAX_SEGMENT_BYTES as usize)?;
    let header = match header_of(&bytes, sequence) {
        Ok(header) => header,
        Err(HeaderFault::ForeignVersion(_)) => return Ok(Fate::Foreign),
        Err(HeaderFault::Unwritten) => return layer.remove(&path).map(|()| Fate::Removed),
        Err(HeaderFault::Damaged(reason)) => return lost(layer, dir, &path, reason),
    };
    let scan = layout::scan(&bytes, &header.id);
    let end = usize::try_from(scan.extent.bytes).unwrap_or(usize::MAX);
    let (content, tail) = bytes.split_at_checked(end).unwrap_or((&bytes, &[]));
    if let End::Fault(reason) = scan.end
        && layout::next_batch(&bytes, &header.id, end).is_some()
    {
        return rescue(layer, dir, &path, &header, &bytes).map(|rescued| Fate::SetAside { reason, rescued });
    }
    let torn_bytes = if scan.end == End::Sealed { 0 } else { tail.len() as u64 };
    if scan.extent.batches == 0 {
        report.torn_bytes += torn_bytes;
        return layer.remove(&path).map(|()| Fate::Removed);
    }
    // All of it is written again: if a sync failed before the crash, the page cache may show us bytes that it holds
    // for clean and that are not on the disk, and syncing those would do nothing.
    let meta = Closing { header, extent: scan.extent }.seal(layer, dir, reserve, content)?;
    report.torn_bytes += torn_bytes;
    report.torn_tails += usize::from(torn_bytes > 0);
    Ok(Fate::Listed(meta))
}

fn header_of(bytes: &[u8], sequence: u64) -> Result<Header, HeaderFault> {
    let header = Header::decode(bytes)?;
    // A copy under another name would be shipped under the same id as its original.
    if header.sequence == sequence {
        Ok(header)
    } else {
        Err(HeaderFault::Damaged("the name is of another segment"))
    }
}

fn lost(layer: &dyn FileLayer, dir: &Path, path: &Path, reason: &'static str) -> io::Result<Fate> {
    move_aside(layer, dir, path).map(|()| Fate::SetAside { reason, rescued: None })
}
