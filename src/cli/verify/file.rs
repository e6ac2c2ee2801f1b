//! The followed file: lines appended and rotated, and what its committed position acknowledges.
//!
//! A line may be read once in every life of the service that began before it was committed: that many rows it may have.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::lane::Lane;
use super::ledger::Ledger;
use super::record::Entry;
use super::rng::Rng;

/// Rotated files that were read to their end and are kept all the same; more are deleted, so that inodes come again.
const KEPT: usize = 3;
/// Times that a line may be read in a life whose disk fails: what could not be appended is read again.
const TRIES_ON_A_FAILING_DISK: u16 = 1000;

/// One file, under whatever name.
#[derive(Debug)]
struct Piece {
    path: PathBuf,
    identity: (u64, u64),
    /// Where each line ends, and which record it is.
    lines: Vec<(u64, u64)>,
    /// Lines before this one are committed.
    committed: usize,
}

#[derive(Debug)]
struct State {
    pieces: Vec<Piece>,
    /// How often a line that is appended now may be read in this life; 0 between lives.
    readings: u16,
    rotations: u64,
}

/// The file and its rotated pieces.
#[derive(Debug)]
pub(super) struct Followed {
    directory: PathBuf,
    positions: PathBuf,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
}

impl Followed {
    pub(super) fn new(directory: PathBuf, positions: PathBuf, ledger: Arc<Ledger>) -> Self {
        let state = State { pieces: Vec::new(), readings: 0, rotations: 0 };
        Self { directory, positions, ledger, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends batches until told to stop.
    pub(super) async fn write(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let origin = self.ledger.origin();
        let mut batch = self.ledger.enter(Lane::File, 0);
        while !stop.is_cancelled() {
            let mut rng = Rng::stream(origin.seed, [0x100 + Lane::File as u64, batch]);
            let records = rng.between(1, 40);
            let first = self.ledger.enter(Lane::File, records);
            batch = first + records;
            let lines: Vec<String> =
                (first..batch).map(|nth| Entry::new(origin, Lane::File, nth).text_line()).collect();
            self.append(first, &lines, rng.permille(200))?;
            if rng.permille(25) {
                self.rotate()?;
            }
            tokio::time::sleep(Duration::from_millis(rng.between(30, 250))).await;
        }
        Ok(())
    }

    fn append(&self, first: u64, lines: &[String], in_two: bool) -> io::Result<()> {
        let path = self.directory.join("access.log");
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let meta = file.metadata()?;
        let mut state = self.state();
        if meta.len() == 0 {
            let identity = (meta.dev(), meta.ino());
            state.pieces.push(Piece { path, identity, lines: Vec::new(), committed: 0 });
        }
        let readings = state.readings;
        let Some(piece) = state.pieces.last_mut() else { return Ok(()) };
        let mut end = meta.len();
        for (nth, line) in (first..).zip(lines) {
            end += line.len() as u64;
            piece.lines.push((end, nth));
        }
        // Before the write: the service may be faster than we are.
        self.ledger.sent(Lane::File, first..first + lines.len() as u64, readings);
        drop(state);
        let text = lines.concat();
        // A reader must wait for the rest of a line that came in part.
        let cut = if in_two { text.len() / 2 } else { 0 };
        file.write_all(&text.as_bytes()[..cut])?;
        file.write_all(&text.as_bytes()[cut..])
    }

    fn rotate(&self) -> io::Result<()> {
        let mut state = self.state();
        state.rotations += 1;
        let to = self.directory.join(format!("access.log.{}", state.rotations));
        let Some(piece) = state.pieces.last_mut() else { return Ok(()) };
        fs::rename(&piece.path, &to)?;
        piece.path = to;
        let done = |piece: &Piece| piece.committed == piece.lines.len();
        while state.pieces.len() > KEPT + 1 && state.pieces.first().is_some_and(done) {
            fs::remove_file(&state.pieces.remove(0).path)?;
        }
        Ok(())
    }

    /// A service is started: what is not committed may be read once more.
    pub(super) fn life_begins(&self, failing_disk: bool) {
        let mut state = self.state();
        state.readings = if failing_disk { TRIES_ON_A_FAILING_DISK } else { 1 };
        for piece in &state.pieces {
            for &(_, nth) in &piece.lines[piece.committed..] {
                self.ledger.sent(Lane::File, nth..nth + 1, state.readings);
            }
        }
    }

    /// The service is dead: what its positions commit is acknowledged.
    pub(super) fn life_ended(&self) {
        let mut state = self.state();
        state.readings = 0;
        self.acknowledge(&mut state);
    }

    /// Whether every line is committed.
    pub(super) fn is_committed(&self) -> bool {
        let mut state = self.state();
        self.acknowledge(&mut state);
        state.pieces.iter().all(|piece| piece.committed == piece.lines.len())
    }

    fn acknowledge(&self, state: &mut State) {
        let text = fs::read_to_string(&self.positions).unwrap_or_default();
        let positions: Vec<[u64; 5]> = text.lines().filter_map(position).collect();
        for piece in &mut state.pieces {
            let known = positions.iter().find(|known| (known[0], known[1]) == piece.identity);
            let Some(&[_, _, offset, head_bytes, hash]) = known else { continue };
            // An inode number comes again: the position of a file that was deleted commits nothing of this one.
            if head_hash(&piece.path, head_bytes) != Some(hash) {
                continue;
            }
            while let Some(&(end, nth)) = piece.lines.get(piece.committed)
                && end <= offset
            {
                self.ledger.acknowledged(Lane::File, nth..nth + 1);
                piece.committed += 1;
            }
        }
    }
}

/// `device inode offset head_bytes hash`, as the service keeps it.
fn position(line: &str) -> Option<[u64; 5]> {
    let numbers: Vec<u64> = line.split(' ').map_while(|text| text.parse().ok()).collect();
    numbers.try_into().ok()
}

fn head_hash(path: &Path, bytes: u64) -> Option<u64> {
    let content = fs::read(path).ok()?;
    let digest = Sha256::digest(content.get(..usize::try_from(bytes).ok()?)?);
    digest.first_chunk().map(|first: &[u8; 8]| u64::from_le_bytes(*first))
}
