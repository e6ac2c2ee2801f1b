//! Which ids and event keys were decided lately: a filter that answers "no" for certain and "perhaps" otherwise.
//!
//! Settled requests are not looked up in the store one by one, which would cost more than all else. Only those of which
//! the filter says "perhaps" are: late records, redeliveries, the end of a request that ran for long, and one in two
//! hundred by accident. Two generations, each half of the room; when the younger is full the older is forgotten. So the
//! horizon is a number of requests: with the room below between 5 and 11 million.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of both generations together.
pub(crate) const SEEN_BYTES: usize = 64 << 20;
/// Bits set for each entry, all in one cache line of 512 bits.
const PROBES: usize = 7;
/// Bits of room for each entry: with seven probes in one line one foreign entry in two thousand is taken for known.
const BITS_PER_ENTRY: usize = 16;
const LINE_WORDS: usize = 8;

/// What was decided lately.
#[derive(Debug)]
pub(crate) struct Seen {
    young: Vec<u64>,
    old: Vec<u64>,
    entries: usize,
    most_entries: usize,
}

impl Seen {
    /// A filter that takes `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let words = (bytes / 16).next_multiple_of(LINE_WORDS).max(LINE_WORDS);
        let most_entries = words * 64 / BITS_PER_ENTRY;
        Self { young: vec![0; words], old: vec![0; words], entries: 0, most_entries }
    }

    /// Remembers an entry.
    pub(crate) fn insert(&mut self, entry: u64) {
        if self.entries >= self.most_entries {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.fill(0);
            self.entries = 0;
        }
        self.entries += 1;
        let (line, bits) = place(entry, self.young.len());
        for bit in bits {
            self.young[line + bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Whether an entry may have been remembered; `false` is certain within the horizon.
    pub(crate) fn may_hold(&self, entry: u64) -> bool {
        let (line, bits) = place(entry, self.young.len());
        let all = |words: &[u64]| bits.iter().all(|bit| words[line + bit / 64] & (1 << (bit % 64)) != 0);
        all(&self.young) || all(&self.old)
    }
}

/// An id as an entry.
pub(crate) fn of_id(value: u128) -> u64 {
    xxh3_64_with_seed(&value.to_le_bytes(), 1)
}

/// An event key as an entry: a hash already, but apart from the ids.
pub(crate) fn of_key(event_key: u64) -> u64 {
    xxh3_64_with_seed(&event_key.to_le_bytes(), 2)
}

/// First word of the line, and the bits within it.
fn place(entry: u64, words: usize) -> (usize, [usize; PROBES]) {
    let lines = (words / LINE_WORDS) as u64;
    let line = ((u128::from(entry) * u128::from(lines)) >> 64) as usize * LINE_WORDS;
    let spread = entry.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (line, std::array::from_fn(|probe| (spread >> (probe * 9)) as usize & 511))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_held_and_little_else() {
        let mut seen = Seen::new(1 << 20);
        let count = seen.most_entries as u64;
        (0..count).for_each(|n| seen.insert(of_key(n)));
        assert!((0..count).all(|n| seen.may_hold(of_key(n))));
        let wrong = (0..100_000u64).filter(|&n| seen.may_hold(of_id(u128::from(n)))).count();
        assert!(wrong < 300, "{wrong} of 100000 foreign ids are taken for known");
    }

    #[test]
    fn the_horizon_moves_on_in_halves() {
        let mut seen = Seen::new(1 << 16);
        let count = seen.most_entries as u64;
        (0..count * 2).for_each(|n| seen.insert(of_key(n)));
        assert!((0..count * 2).all(|n| seen.may_hold(of_key(n))), "both generations answer");
        seen.insert(of_key(u64::MAX));
        let left = (0..count).filter(|&n| seen.may_hold(of_key(n))).count() as u64;
        assert!(left < count / 50, "{left} of the oldest {count} are still there");
    }
}
