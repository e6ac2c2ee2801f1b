//! Reproducible randomness: SplitMix64, whose every seed is good and whose streams are told apart by their seed.
//!
//! Not for secrets. Written here because samples must stay the same over upgrades of any library.

/// A stream of numbers that follows from its seed.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn scramble(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The `n`th of many independent streams of one seed.
    pub fn stream(seed: u64, n: u64) -> Self {
        Self::new(scramble(seed ^ scramble(n.wrapping_add(1).wrapping_mul(STEP))))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        scramble(self.state)
    }

    /// The next 128 bits.
    pub fn next_u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A number in `0..bound`; 0 for a bound of 0. The bias of the remainder is far below what samples show.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }

    /// A number in `from..to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from))
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Random 128 bits as a UUID of version 4.
    pub fn uuid_v4(&mut self) -> u128 {
        let random = self.next_u128();
        (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    }
}

/// Ranks by Zipf's law: the nth most frequent has a share in proportion to 1/n.
#[derive(Debug, Clone)]
pub(crate) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=ranks).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    /// A rank in `0..ranks`, 0 being the most frequent.
    pub(crate) fn rank(&self, rng: &mut Rng) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let point = rng.unit() * total;
        self.cumulative.partition_point(|&sum| sum <= point).min(self.cumulative.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_is_fixed() {
        // Reference values of SplitMix64 for seed 0: samples of old versions can be made again.
        let mut rng = Rng::new(0);
        assert_eq!(rng.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn zipf_has_its_shape() {
        let zipf = Zipf::new(10_000);
        let mut rng = Rng::new(1);
        let mut counts = vec![0u32; 10_000];
        for _ in 0..200_000 {
            counts[zipf.rank(&mut rng)] += 1;
        }
        // The harmonic number of 10,000 is 9.79: the first rank has 10.2 % of all, the hundredth a hundredth of it.
        assert!((19_000..22_000).contains(&counts[0]), "{}", counts[0]);
        let around_hundredth: u32 = counts[90..110].iter().sum();
        assert!((3_500..4_700).contains(&around_hundredth), "{around_hundredth}");
        assert!(counts.iter().filter(|&&count| count > 0).count() > 8_000);
    }

    #[test]
    fn version_four_is_marked() {
        let text = correlation::uuid_text(Rng::new(7).uuid_v4());
        assert_eq!(&text[14..15], "4");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
    }
}
