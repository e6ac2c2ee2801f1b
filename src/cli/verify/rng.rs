//! Reproducible randomness: SplitMix64, and a checksum by the same mixing. Not for secrets.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Numbers that follow from a seed.
#[derive(Debug, Clone)]
pub(super) struct Rng {
    state: u64,
}

impl Rng {
    /// The stream of a seed that these numbers name: every batch and every life of the service has its own, so that what
    /// one makes of its numbers changes nothing for the others.
    pub(super) fn stream(seed: u64, name: [u64; 2]) -> Self {
        Self { state: hash(seed, &[name[0], name[1]]) }
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number in `from..to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.bits() % (to - from).max(1)
    }

    /// True in so many cases of a thousand.
    pub(super) fn permille(&mut self, cases: u64) -> bool {
        self.bits() % 1000 < cases
    }
}

/// A hash of numbers under a seed.
pub(super) fn hash(seed: u64, numbers: &[u64]) -> u64 {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, seed)
}
