//! A small seeded random stream for jitter, so that a core's randomness is owned and repeatable.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): passes BigCrush, is ten lines, and needs no dependency.
//! Never for secrets.

/// A random stream that one owner holds.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias is below 2^-32 for the bounds used
    /// here.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.next_u64() % bound
        }
    }

    /// True `per_mille` times in a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// `value` changed by at most a fifth in either direction: enough to spread a fleet that failed
    /// together.
    pub const fn jitter(&mut self, value: u64) -> u64 {
        let fifth = value / 5;
        (value - fifth).saturating_add(self.below(2 * fifth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            assert!((800..=1200).contains(&rng.jitter(1000)));
        }
        assert_eq!(rng.jitter(0), 0);
    }
}
