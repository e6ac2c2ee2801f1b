//! Files that are followed: new lines are accepted as they appear, through rotation and truncation, and the position
//! is kept across restarts.
//!
//! A file is known by device, inode and the hash of its first bytes, not by its name: a rotated file is read to its
//! end under its new name, and a new file under the old name starts at its beginning. A position is committed only
//! when everything before it is durable, so what was read and not acknowledged is read again.

mod follow;
mod positions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::config::Source;
use follow::Followed;
use positions::Positions;

/// How often files are looked at. Polling works on every file system, network ones included; a line waits this long.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the globs are expanded again, in looks.
const GLOB_EVERY: u32 = 8;
/// Files of one source; a glob that meets more is a mistake, and each costs an open descriptor.
const MAX_FILES: usize = 4096;

/// Follows the files of one source until told to stop.
pub(crate) async fn follow(
    source: Arc<Source>,
    acceptor: Acceptor,
    state_dir: PathBuf,
    stopping: CancellationToken,
) {
    let mut positions = Positions::load(state_dir.join(format!("{}.positions", source.name)));
    let mut followed: Vec<Followed> = Vec::new();
    let mut looks = 0;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if looks % GLOB_EVERY == 0 {
            discover(&source, &positions, &mut followed);
        }
        looks = looks.wrapping_add(1);
        let mut advanced = false;
        for file in &mut followed {
            while let Some(chunk) = file.next_chunk() {
                let sink = acceptor.decode_here(&source, chunk.len(), |delivery, rules, sink| {
                    decode::envoy::decode_lines(&chunk, delivery, rules, sink);
                });
                let accepted = tokio::select! {
                    accepted = acceptor.append_when_room(&source, sink) => accepted,
                    // Not committed, so it is read again after the restart.
                    () = stopping.cancelled() => break,
                };
                if let Err(refusal) = accepted {
                    tracing::warn!(source = source.name, file = %file.path().display(), %refusal, "lines wait for the spool");
                    file.step_back();
                    break;
                }
                positions.set(file.identity(), file.commit());
                advanced = true;
            }
        }
        if advanced && let Err(error) = positions.save() {
            tracing::error!(source = source.name, %error, "cannot keep the position: after a restart lines are read again");
        }
        followed.retain(|file| !file.is_finished());
        tokio::select! {
            _ = tick.tick() => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Adds files that the globs find and that are not followed yet.
fn discover(source: &Source, positions: &Positions, followed: &mut Vec<Followed>) {
    let mut found: Vec<PathBuf> = Vec::new();
    for pattern in &source.paths {
        match glob::glob(pattern) {
            Ok(paths) => found.extend(paths.flatten()),
            Err(error) => tracing::error!(source = source.name, pattern, %error, "not a file pattern"),
        }
    }
    // A file that was rotated while the service was down no longer matches; its position tells where it was.
    found.extend(positions.rotated_siblings(&found));
    for path in found {
        if followed.len() >= MAX_FILES {
            tracing::error!(source = source.name, limit = MAX_FILES, "too many files: narrow the pattern");
            return;
        }
        if let Some(file) = Followed::open(&path, positions, followed) {
            tracing::info!(source = source.name, file = %path.display(), from = file.position(), "following");
            followed.push(file);
        }
    }
}
