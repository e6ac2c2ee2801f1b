//! The spools of dead instances: opened here, shipped under the ids of their own segments, emptied.
//!
//! The lock in the directory decides who may: as long as its owner lives, nobody else ships from it. Ids of segments are
//! what the store's deduplication goes by, so what the dead owner had half shipped is completed and not doubled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::Counter;
use spool::{OpenError, Spool};
use tokio_util::sync::CancellationToken;

use crate::config::DEFAULT_TENANT;
use crate::ship::{SPOOL_SOURCE, Shipper};

/// How often a directory is looked at whose owner lived the last time. An owner that restarts takes a second or two.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Takes over the spools of these directories as their owners die.
pub(crate) struct Adopter {
    /// Data directories of other instances, or their spools.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) options: spool::Options,
    pub(crate) shipper: Arc<Shipper>,
    pub(crate) stopping: CancellationToken,
}

impl Adopter {
    /// Goes on until the service stops: a spool may be left behind at any time.
    pub(crate) async fn run(self) {
        let mut waits = vec![false; self.directories.len()];
        loop {
            for (directory, waits) in self.directories.iter().zip(&mut waits) {
                let spool = spool_in(directory);
                tokio::select! {
                    () = self.look(&spool, waits) => {}
                    // What is under way is repeated under its tokens by whoever takes the spool next.
                    () = self.stopping.cancelled() => return,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    async fn look(&self, directory: &Path, waits: &mut bool) {
        match has_segments(directory) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                if !std::mem::replace(waits, true) {
                    tracing::warn!(directory = %directory.display(), %error, "cannot look into a spool to adopt; it is tried again");
                }
                return;
            }
        }
        match Spool::open(directory, self.options.clone()).await {
            Ok((spool, recovery)) => {
                *waits = false;
                let aside = recovery.set_aside.len() as u64;
                self.shipper.books.note(DEFAULT_TENANT, SPOOL_SOURCE, Counter::SetAside, aside);
                tracing::info!(directory = %directory.display(), ?recovery, "adopted a spool without an owner; shipping it");
                self.empty(&spool, directory).await;
            }
            Err(OpenError::Locked { .. }) => {
                if !std::mem::replace(waits, true) {
                    tracing::info!(directory = %directory.display(), "a spool to adopt is in use by its owner; it is left alone as long as that lives");
                }
            }
            Err(error) => {
                if !std::mem::replace(waits, true) {
                    tracing::warn!(directory = %directory.display(), %error, "cannot adopt a spool; it is tried again");
                }
            }
        }
    }

    async fn empty(&self, spool: &Spool, directory: &Path) {
        if let Err(error) = spool.close().await {
            tracing::warn!(directory = %directory.display(), %error, "a segment of the adopted spool is not sealed; it is tried again");
        }
        let mut segments = 0_u64;
        while let Some(sealed) = spool.next_sealed().await {
            self.shipper.ship(sealed).await;
            segments += 1;
        }
        tracing::info!(directory = %directory.display(), segments, "the adopted spool is shipped");
    }
}

/// The spool of a data directory, or the directory itself.
fn spool_in(directory: &Path) -> PathBuf {
    let inside = directory.join("spool");
    if inside.is_dir() { inside } else { directory.to_owned() }
}

/// Whether there is anything to ship; opening a spool would make a directory that is not there.
fn has_segments(directory: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if Path::new(&name).extension().is_some_and(|kind| kind == "open" || kind == "sealed") {
            return Ok(true);
        }
    }
    Ok(false)
}
