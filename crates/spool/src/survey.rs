//! What lies in a spool's directory, for a person to look at: read only, also while a service has it.

use std::io;
use std::path::Path;

use crate::files::{FileLayer, StdFiles};
use crate::layout::{self, ENCODING_VERSION, End, Header, HeaderFault};
use crate::names::{self, CORRUPT, Kind};
use crate::options::MAX_SEGMENT_BYTES;

/// In which state a segment's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Being written, or left behind by a crash.
    Open,
    /// Waits to be shipped.
    Sealed,
    /// The original of a damaged segment: its whole batches are, or were, in the queue.
    Corrupt,
}

/// One segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name, in `corrupt/` with that before it.
    pub name: String,
    /// Its state.
    pub state: FileState,
    /// Size of the file.
    pub bytes: u64,
    /// The segment's id; `None` without a readable header.
    pub id: Option<[u8; 16]>,
    /// [`crate::Options::payload_version`] of the run that wrote it.
    pub payload_version: u32,
    /// When its first batch was appended, ms since 1970.
    pub first_append_unix_ms: u64,
    /// Whole batches in it.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Where the first of its bytes is that is not as it was written, and what is wrong there.
    pub damage: Option<(u64, String)>,
}

/// Every segment's file of a directory, oldest first, then what is in `corrupt/`.
///
/// # Errors
/// The directory cannot be listed. A file that vanishes meanwhile was shipped, and is left out.
pub fn survey(dir: &Path) -> io::Result<Vec<Surveyed>> {
    let layer = StdFiles;
    let mut found = Vec::new();
    let corrupt = dir.join(CORRUPT);
    for (place, prefix) in [(dir, ""), (corrupt.as_path(), "corrupt/")] {
        let entries = match layer.list(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && place != dir => continue,
            entries => entries?,
        };
        let mut here = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.is_file) {
            let state = match (prefix, names::parse(&entry.name)) {
                ("", Some((_, Kind::Open))) => FileState::Open,
                ("", Some((_, Kind::Sealed))) => FileState::Sealed,
                ("", _) => continue,
                _ => FileState::Corrupt,
            };
            match layer.read(&place.join(&entry.name), 0, MAX_SEGMENT_BYTES as usize) {
                Ok(bytes) => here.push(look(format!("{prefix}{}", entry.name), state, &bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        here.sort_by(|a, b| a.name.cmp(&b.name));
        found.append(&mut here);
    }
    Ok(found)
}

fn look(name: String, state: FileState, bytes: &[u8]) -> Surveyed {
    let mut seen = Surveyed {
        name,
        state,
        bytes: bytes.len() as u64,
        id: None,
        payload_version: 0,
        first_append_unix_ms: 0,
        batches: 0,
        records: 0,
        damage: None,
    };
    let header = match Header::decode(bytes) {
        Ok(header) => header,
        Err(fault) => {
            let what = match fault {
                HeaderFault::Unwritten => "no header".to_owned(),
                HeaderFault::Damaged(what) => what.to_owned(),
                HeaderFault::ForeignVersion(version) => {
                    format!("encoding version {version}, this build reads {ENCODING_VERSION}")
                }
            };
            seen.damage = Some((0, what));
            return seen;
        }
    };
    seen.id = Some(header.id);
    seen.payload_version = header.payload_version;
    seen.first_append_unix_ms = header.created_unix_ms;
    let scan = layout::scan(bytes, &header.id);
    let sound = match scan.end {
        End::Sealed => true,
        // One that is written, or that a crash left: its end may be torn.
        End::Open => state == FileState::Open,
        End::Fault(_) => false,
    };
    if !sound {
        let what = match scan.end {
            End::Fault(what) => what,
            _ => "the trailer is missing",
        };
        seen.damage = Some((scan.extent.bytes, what.to_owned()));
    }
    // Behind damage there may be whole batches again, as a rescue finds them.
    let mut from = layout::HEADER_BYTES;
    while let Some(span) = layout::next_batch(bytes, &header.id, from) {
        from = span.offset + span.length;
        seen.batches += 1;
        seen.records += u64::from(span.records);
    }
    seen
}
