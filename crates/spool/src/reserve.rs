//! A file of real blocks, given up when the disk is full so that what is acknowledged can still be sealed.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::FileLayer;

const CHUNK_BYTES: usize = 64 << 10;

pub(crate) const NAME: &str = "reserve";

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    intact: bool,
}

impl Reserve {
    pub(crate) fn new(dir: &Path, bytes: u64) -> Self {
        Self { path: dir.join(NAME), bytes, intact: false }
    }

    pub(crate) fn is_intact(&self) -> bool {
        self.intact || self.bytes == 0
    }

    /// Takes over what an earlier run left, if it has the full size.
    pub(crate) fn adopt(&mut self, there_bytes: Option<u64>) {
        self.intact = there_bytes == Some(self.bytes);
    }

    /// Makes the file, unless it is there in full. A part of one is removed again: it would only take room.
    pub(crate) fn restore(&mut self, layer: &dyn FileLayer) -> io::Result<()> {
        if self.is_intact() {
            return Ok(());
        }
        remove_if_there(layer, &self.path)?;
        let written = self.fill(layer);
        self.intact = written.is_ok();
        if !self.intact {
            remove_if_there(layer, &self.path)?;
        }
        written
    }

    fn fill(&self, layer: &dyn FileLayer) -> io::Result<()> {
        let mut file = layer.create(&self.path)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        // Noise rather than zeros: a compressing file system would make a reserve of zeros vanish.
        let mut noise: u64 = 0x9e37_79b9_7f4a_7c15;
        while offset < self.bytes {
            for word in chunk.chunks_exact_mut(8) {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                word.copy_from_slice(&noise.to_le_bytes());
            }
            let n = (self.bytes - offset).min(CHUNK_BYTES as u64);
            file.write_all_at(chunk.get(..n as usize).unwrap_or_default(), offset)?;
            offset += n;
        }
        file.sync()
    }

    /// Gives the room back to the disk; false if there was none to give.
    pub(crate) fn release(&mut self, layer: &dyn FileLayer) -> bool {
        let had = self.intact;
        self.intact = false;
        had && layer.remove(&self.path).is_ok()
    }
}

fn remove_if_there(layer: &dyn FileLayer, path: &Path) -> io::Result<()> {
    match layer.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Whether an error means that the disk, or our share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
