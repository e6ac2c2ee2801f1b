//! How far each followed file was accepted: one small text file per source, replaced as a whole.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a file is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Identity {
    pub(super) fn of(meta: &fs::Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// A committed position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything before this byte is durable.
    pub(super) offset: u64,
    /// How many first bytes `hash` covers: fewer than the bound while the file is short.
    pub(super) head_bytes: u64,
    /// Hash of those bytes: an inode number is used again for new files.
    pub(super) hash: u64,
}

/// The positions of one source. A file's form: `device inode offset head_bytes hash` a line.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    known: HashMap<Identity, Position>,
}

impl Positions {
    /// Reads what was saved; a missing file is no positions, a damaged line is skipped (its file is read again).
    pub(super) fn load(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let known = text.lines().filter_map(parse).collect();
        Self { path, known }
    }

    pub(super) fn of(&self, identity: Identity) -> Option<Position> {
        self.known.get(&identity).copied()
    }

    pub(super) fn set(&mut self, identity: Identity, position: Position) {
        self.known.insert(identity, position);
    }

    /// Files beside those found whose identity has a position: rotated while nobody looked.
    pub(super) fn rotated_siblings(&self, found: &[PathBuf]) -> Vec<PathBuf> {
        let mut directories: Vec<&Path> = found.iter().filter_map(|path| path.parent()).collect();
        directories.sort_unstable();
        directories.dedup();
        let entries =
            directories.into_iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
        entries
            .filter(|entry| entry.metadata().is_ok_and(|meta| self.known.contains_key(&Identity::of(&meta))))
            .map(|entry| entry.path())
            .filter(|path| !found.contains(path))
            .collect()
    }

    /// Replaces the saved positions durably: temporary file, fsync, rename, fsync of the directory.
    pub(super) fn save(&self) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file = fs::File::create(&temporary)?;
        for (Identity { device, inode }, position) in &self.known {
            let Position { offset, head_bytes, hash } = position;
            writeln!(file, "{device} {inode} {offset} {head_bytes} {hash}")?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(directory) => fs::File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn parse(line: &str) -> Option<(Identity, Position)> {
    let mut numbers = line.split(' ').map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let identity = Identity { device: next()?, inode: next()? };
    Some((identity, Position { offset: next()?, head_bytes: next()?, hash: next()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_and_damage_costs_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.positions");
        let mut positions = Positions::load(path.clone());
        let identity = Identity { device: 1, inode: 2 };
        let position = Position { offset: 3, head_bytes: 4, hash: 5 };
        positions.set(identity, position);
        positions.save().unwrap();
        let saved = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("not a position\n{saved}")).unwrap();
        assert_eq!(Positions::load(path).of(identity), Some(position));
    }
}
