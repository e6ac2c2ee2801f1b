//! A disk in memory that knows what a power failure would leave of it, and that fails to order.
//!
//! Stricter than the real ones: bytes written before a failed sync are never written by a later one, a new name is
//! lost unless its directory was synced, and unsynced bytes survive in part.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

pub(super) use super::steps::Faults;
use super::steps::{EIO, Random, Steps, strike};
use crate::files::{DirEntry, FileLayer, SegmentFile};

#[derive(Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges of `cached` that a sync still has to write.
    dirty: Vec<(usize, usize)>,
}

enum DirOp {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct World {
    /// Mounts of an earlier life fail every call.
    life: u64,
    locked: bool,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_ops: Vec<DirOp>,
    capacity: Option<usize>,
    faults: Faults,
    steps: Steps,
    syncs: u64,
    sync_held: bool,
    syncs_waiting: u64,
}

/// Outlives the processes that mount it.
#[derive(Clone, Default)]
pub(super) struct Disk {
    world: Arc<(Mutex<World>, Condvar)>,
}

/// The disk as one process sees it, until the next crash.
#[derive(Clone)]
pub(super) struct Mount {
    disk: Disk,
    life: u64,
}

impl Disk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.0.lock().unwrap()
    }

    pub(super) fn mount(&self) -> Arc<Mount> {
        Arc::new(Mount { disk: self.clone(), life: self.world().life })
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    pub(super) fn set_steps(&self, steps: Steps) {
        self.world().steps = steps;
    }

    pub(super) fn has_broken(&self) -> bool {
        self.world().steps.is_over()
    }

    /// Lets the disk take only so many more bytes; `None` for a large one.
    pub(super) fn set_room(&self, room: Option<usize>) {
        let mut world = self.world();
        world.capacity = room.map(|room| world.used() + room);
    }

    pub(super) fn flip_bit(&self, path: &Path, at: usize) {
        let mut world = self.world();
        let inode = world.inode_of(path).unwrap();
        let Inode { cached, durable, .. } = &mut world.inodes[inode];
        cached[at] ^= 1;
        // What is damaged stays so through a power failure.
        if let Some(byte) = durable.get_mut(at) {
            *byte ^= 1;
        }
    }

    pub(super) fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Makes file syncs wait until [`Disk::let_syncs_go`].
    pub(super) fn hold_syncs(&self) {
        self.world().sync_held = true;
    }

    pub(super) fn let_syncs_go(&self) {
        self.world().sync_held = false;
        self.world.1.notify_all();
    }

    /// Returns when a sync waits. Blocks.
    pub(super) fn wait_for_held_sync(&self) {
        let mut world = self.world();
        while world.syncs_waiting == 0 {
            world = self.world.1.wait(world).unwrap();
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.world().names.keys().map(|path| path.display().to_string()).collect()
    }

    /// The process dies; what it wrote is still in the page cache.
    pub(super) fn kill(&self) {
        let mut world = self.world();
        world.die();
        world.faults = Faults::default();
    }

    /// The power fails: of what was not synced, some survives.
    pub(super) fn power_failure(&self, seed: u64) {
        self.kill();
        let mut random = Random::new(seed);
        let mut world = self.world();
        let ops = std::mem::take(&mut world.unsynced_ops);
        let kept = random.below(ops.len() + 1);
        for op in ops.into_iter().take(kept) {
            apply(&mut world.durable_names, op);
        }
        world.names = world.durable_names.clone();
        for inode in &mut world.inodes {
            for (from, to) in std::mem::take(&mut inode.dirty) {
                let to = (from + random.below(to.saturating_sub(from) + 1)).min(inode.cached.len());
                if random.below(3) == 0 || from >= to {
                    continue;
                }
                if inode.durable.len() < to {
                    inode.durable.resize(to, 0);
                }
                inode.durable[from..to].copy_from_slice(&inode.cached[from..to]);
            }
            inode.cached = inode.durable.clone();
        }
    }
}

impl World {
    fn die(&mut self) {
        self.life += 1;
        self.locked = false;
    }

    fn used(&self) -> usize {
        self.names.values().map(|&inode| self.inodes[inode].cached.len()).sum()
    }

    fn inode_of(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn record(&mut self, op: DirOp) {
        self.unsynced_ops.push(op);
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, op: DirOp) {
    match op {
        DirOp::Add(path, inode) => {
            names.insert(path, inode);
        }
        DirOp::Remove(path) => {
            names.remove(&path);
        }
        DirOp::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
    }
}

impl Mount {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.disk.world();
        if world.life == self.life { Ok(world) } else { Err(io::Error::other("this process is dead")) }
    }

    /// The world, for a step that changes it.
    fn act(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.world()?;
        match world.steps.take() {
            None => Ok(world),
            Some(is_fatal) => {
                if is_fatal {
                    world.die();
                }
                Err(io::Error::from_raw_os_error(EIO))
            }
        }
    }
}

struct Held {
    mount: Mount,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Ok(mut world) = self.mount.world() {
            world.locked = false;
        }
    }
}

impl FileLayer for Mount {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.world().map(drop)
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let mut world = self.world()?;
        if std::mem::replace(&mut world.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held { mount: self.clone() })))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.world()?;
        let entries = world.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(entries
            .map(|(path, &inode)| DirEntry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                bytes: world.inodes[inode].cached.len() as u64,
                is_file: true,
            })
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let mut world = self.act()?;
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.names.insert(path.to_owned(), inode);
        world.record(DirOp::Add(path.to_owned(), inode));
        Ok(Box::new(Handle { mount: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let mut world = self.act()?;
        strike(&mut world.faults.opens)?;
        let inode = world.inode_of(path)?;
        Ok(Box::new(Handle { mount: self.clone(), inode }))
    }

    fn read(&self, path: &Path, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
        let mut world = self.world()?;
        strike(&mut world.faults.reads)?;
        let bytes = &world.inodes[world.inode_of(path)?].cached;
        let from = (offset as usize).min(bytes.len());
        let to = from.saturating_add(max_bytes).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.act()?;
        strike(&mut world.faults.renames)?;
        world.inode_of(from)?;
        apply(&mut world.names, DirOp::Rename(from.to_owned(), to.to_owned()));
        world.record(DirOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.act()?;
        let inode = world.inode_of(from)?;
        world.names.insert(to.to_owned(), inode);
        world.record(DirOp::Add(to.to_owned(), inode));
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<Option<u64>> {
        let room = |world: &World| Some(world.capacity?.saturating_sub(world.used()) as u64);
        self.world().map(|world| room(&world))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.act()?;
        strike(&mut world.faults.removes)?;
        world.inode_of(path)?;
        world.names.remove(path);
        world.record(DirOp::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.act()?;
        strike(&mut world.faults.dir_syncs)?;
        let inside = |path: &Path| path.parent() == Some(dir);
        for op in std::mem::take(&mut world.unsynced_ops) {
            let ours = match &op {
                DirOp::Add(path, _) | DirOp::Remove(path) => inside(path),
                DirOp::Rename(from, to) => inside(from) || inside(to),
            };
            if ours {
                apply(&mut world.durable_names, op);
            } else {
                world.record(op);
            }
        }
        Ok(())
    }
}

struct Handle {
    mount: Mount,
    inode: usize,
}

impl SegmentFile for Handle {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.mount.world()?;
        let offset = offset as usize;
        let end = offset + bytes.len();
        let grows = end.saturating_sub(world.inodes[self.inode].cached.len());
        let room = world.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(world.used()));
        let step = world.steps.take();
        let fault = strike(&mut world.faults.writes).err();
        let fault = fault.or(step.map(|_| io::Error::from_raw_os_error(EIO)));
        let short = match &fault {
            Some(_) => bytes.len() / 2,
            None if grows > room => bytes.len() - (grows - room),
            None => bytes.len(),
        };
        let inode = &mut world.inodes[self.inode];
        let end = offset + short;
        if inode.cached.len() < end {
            inode.cached.resize(end, 0);
        }
        inode.cached[offset..end].copy_from_slice(&bytes[..short]);
        inode.dirty.push((offset, end));
        if step == Some(true) {
            world.die();
        }
        match fault {
            Some(error) => Err(error),
            None if short < bytes.len() => Err(io::ErrorKind::StorageFull.into()),
            None => Ok(()),
        }
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let mut world = self.mount.act()?;
        let inode = &mut world.inodes[self.inode];
        inode.cached.resize(bytes as usize, 0);
        inode.dirty.retain(|(from, _)| *from < bytes as usize);
        for range in &mut inode.dirty {
            range.1 = range.1.min(bytes as usize);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.mount.act()?;
        world.syncs += 1;
        world.syncs_waiting += 1;
        self.mount.disk.world.1.notify_all();
        while world.sync_held {
            world = self.mount.disk.world.1.wait(world).unwrap();
        }
        world.syncs_waiting -= 1;
        if world.life != self.mount.life {
            return Err(io::Error::other("this process is dead"));
        }
        let fault = strike(&mut world.faults.syncs);
        let inode = &mut world.inodes[self.inode];
        let dirty = std::mem::take(&mut inode.dirty);
        fault?;
        let Inode { cached, durable, .. } = inode;
        durable.resize(cached.len(), 0);
        for (from, to) in dirty {
            durable[from..to].copy_from_slice(&cached[from..to]);
        }
        Ok(())
    }
}
