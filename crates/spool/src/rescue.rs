//! A damaged segment: the original goes to `corrupt/`, its whole batches stay in the queue under the same id.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::FileLayer;
use crate::layout::{self, Extent, Header, Span};
use crate::names::{self, CORRUPT, Kind};
use crate::seal::{Closing, unix_ms};
use crate::shelf::SealedMeta;

/// Copies of one name in `corrupt/` before giving up: only an operator moving files back makes more than one.
const COPIES_MAX: u32 = 100;

/// Keeps the original aside and replaces it by a sealed segment of its whole batches. `None` if there are none;
/// then the original was moved, not linked. A crash at any point leaves either the original or the rescue in place.
pub(crate) fn rescue(
    layer: &dyn FileLayer,
    dir: &Path,
    original: &Path,
    header: &Header,
    bytes: &[u8],
) -> io::Result<Option<SealedMeta>> {
    let spans = whole_batches(bytes, header);
    if spans.is_empty() {
        return move_aside(layer, dir, original).map(|()| None);
    }
    let extent = write_rescue(layer, dir, header, bytes, &spans)?;
    link_aside(layer, dir, original)?;
    let rescue = names::path(dir, header.sequence, Kind::Rescue);
    // Over the original first: a moment with both an .open and a .sealed of one number never exists.
    layer.rename(&rescue, original)?;
    let closing = Closing { header: *header, extent };
    let sealed = names::path(dir, header.sequence, Kind::Sealed);
    if original != sealed {
        layer.rename(original, &sealed)?;
    }
    layer.sync_dir(dir)?;
    Ok(Some(closing.meta(dir)))
}

pub(crate) fn whole_batches(bytes: &[u8], header: &Header) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = Extent::EMPTY.bytes as usize;
    while let Some(span) = layout::next_batch(bytes, &header.id, from) {
        from = span.offset + span.length;
        spans.push(span);
    }
    spans
}

fn write_rescue(
    layer: &dyn FileLayer,
    dir: &Path,
    header: &Header,
    bytes: &[u8],
    spans: &[Span],
) -> io::Result<Extent> {
    let path = names::path(dir, header.sequence, Kind::Rescue);
    match layer.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = layer.create(&path)?;
        file.write_all_at(&header.encode(), 0)?;
        let mut extent = Extent::EMPTY;
        for span in spans {
            // Copied, since a batch is bound to its offset and that changes here.
            let mut frame = bytes.get(span.offset..span.offset + span.length).unwrap_or_default().to_vec();
            let crc = layout::bind_batch(&mut frame, &header.id, extent.bytes);
            file.write_all_at(&frame, extent.bytes)?;
            extent = extent.with(frame.len() as u64, span.records, crc);
        }
        file.write_all_at(&extent.trailer(&header.id, unix_ms()), extent.bytes)?;
        file.sync()?;
        Ok(extent)
    })();
    if written.is_err() {
        let _ = layer.remove(&path);
    }
    written
}

/// Moves a file that nothing can be rescued from; needs no room on the disk.
pub(crate) fn move_aside(layer: &dyn FileLayer, dir: &Path, original: &Path) -> io::Result<()> {
    let aside = free_name(layer, dir, original)?;
    layer.rename(original, &aside)?;
    layer.sync_dir(&dir.join(CORRUPT))?;
    layer.sync_dir(dir)
}

fn link_aside(layer: &dyn FileLayer, dir: &Path, original: &Path) -> io::Result<()> {
    let aside = free_name(layer, dir, original)?;
    layer.link(original, &aside)?;
    layer.sync_dir(&dir.join(CORRUPT))
}

fn free_name(layer: &dyn FileLayer, dir: &Path, original: &Path) -> io::Result<PathBuf> {
    let corrupt = dir.join(CORRUPT);
    let name = original.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let taken = layer.list(&corrupt)?;
    let free = |name: &String| !taken.iter().any(|entry| entry.name == *name);
    let numbered = (1..COPIES_MAX).map(|n| format!("{name}.{n}"));
    let found = std::iter::once(name.clone()).chain(numbered).find(free);
    let full = || {
        io::Error::new(io::ErrorKind::AlreadyExists, format!("{} holds {name} too often", corrupt.display()))
    };
    found.map(|name| corrupt.join(name)).ok_or_else(full)
}
