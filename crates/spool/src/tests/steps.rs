//! Which step of all that change the disk breaks, and the dice of power failures.

use std::io;

/// Counts down to one write, sync, create, open, cut, rename, link, remove or sync of a directory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steps {
    /// Steps until it breaks; none where nothing does.
    left: Option<u64>,
    is_fatal: bool,
    is_over: bool,
}

impl Steps {
    /// The `nth` step fails, counted from 1; of a write the first half is done.
    pub(super) fn failing(nth: u64) -> Self {
        Self { left: Some(nth), is_fatal: false, is_over: false }
    }

    /// The process dies at the `nth` step.
    pub(super) fn dying(nth: u64) -> Self {
        Self { is_fatal: true, ..Self::failing(nth) }
    }

    /// One step: whether it breaks, and if it does whether the process dies.
    pub(super) fn take(&mut self) -> Option<bool> {
        let left = self.left.as_mut()?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.left = None;
        self.is_over = true;
        Some(self.is_fatal)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

/// What to fail next, and how often.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) syncs: u32,
    pub(super) writes: u32,
    pub(super) renames: u32,
    pub(super) dir_syncs: u32,
    pub(super) removes: u32,
    pub(super) opens: u32,
    pub(super) reads: u32,
}

pub(super) fn strike(count: &mut u32) -> io::Result<()> {
    if *count == 0 {
        return Ok(());
    }
    *count -= 1;
    Err(io::Error::from_raw_os_error(EIO))
}

/// The same on every Unix.
pub(super) const EIO: i32 = 5;

/// xorshift: the same seed, the same failure.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
