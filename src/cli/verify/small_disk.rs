//! A real file system for the spool that really fills up: a tmpfs over `data/spool`, where mounting is allowed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// The name of the file that takes all room: not one of the spool's, which leaves it alone.
const BALLAST: &str = "ballast";
/// How much of it is written at once.
const PIECE_BYTES: usize = 64 << 10;

/// A mounted file system.
#[derive(Debug)]
pub(super) struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB. Needs the rights of root.
    pub(super) async fn mount(place: &Path, size_mib: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(place).with_context(|| format!("make {}", place.display()))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size_mib}m,mode=700"), "tmpfs"]).arg(place);
        let status = mount.status().await.context("run mount")?;
        ensure!(status.success(), "cannot mount a small disk: run as root, or without --small-disk");
        Ok(Self { place: place.to_owned() })
    }

    /// Takes all room that is left.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut ballast = fs::OpenOptions::new().create(true).append(true).open(self.place.join(BALLAST))?;
        let piece = vec![0x55; PIECE_BYTES];
        while ballast.write_all(&piece).is_ok() {}
        Ok(())
    }

    /// Gives it back.
    pub(super) fn free(&self) -> io::Result<()> {
        match fs::remove_file(self.place.join(BALLAST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends it, and all that is on it.
    pub(super) async fn unmount(self) -> anyhow::Result<()> {
        let status = Command::new("umount").arg(&self.place).status().await.context("run umount")?;
        ensure!(status.success(), "cannot unmount {}", self.place.display());
        Ok(())
    }
}
