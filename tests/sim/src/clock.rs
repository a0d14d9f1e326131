//! Time: one true clock for the world, and for each machine a boot clock that drifts and a wall
//! clock that somebody sets wrong.

use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::{Boottime, Now, WallTime};

/// Milliseconds of the world's true time.
pub type True = u64;

/// Wall time of the world's beginning: people read it, nothing may depend on it.
const EPOCH_MS: i64 = 1_800_000_000_000;

/// The clocks of one machine since its last boot.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When it booted.
    pub origin: True,
    /// Parts of a millisecond that it counts in one true one; [`RIGHT`] when it is right.
    pub rate: u64,
    /// What it had counted of its first millisecond when it booted: below [`RIGHT`].
    pub phase: u64,
    /// How wrong its wall clock is, in milliseconds.
    pub wall_error: i64,
}

/// A clock that is right counts so many parts for a millisecond.
pub const RIGHT: u64 = 100_000;

impl Clock {
    /// A clock of this rate that begins with the world.
    #[must_use]
    pub const fn new(rate: u64, phase: u64) -> Clock {
        Clock {
            origin: 0,
            rate,
            phase,
            wall_error: 0,
        }
    }

    /// A clock that runs wrong by at most so many hundred-thousandths.
    pub fn draw(drift: u64, rng: &mut Rng) -> Clock {
        let rate = RIGHT - drift + rng.below(2 * drift + 1);
        Clock::new(rate, rng.below(RIGHT))
    }

    /// What the machine reads now.
    #[must_use]
    pub const fn now(&self, at: True) -> Now {
        let wall = (EPOCH_MS + at.cast_signed()).saturating_add(self.wall_error);
        Now {
            boot: Boottime(((at - self.origin) * self.rate + self.phase) / RIGHT),
            wall: WallTime(if wall < 0 { 0 } else { wall.cast_unsigned() }),
        }
    }

    /// The first true moment at which the machine reads at least this.
    #[must_use]
    pub const fn when(&self, boot: Boottime) -> True {
        let parts = boot.0.saturating_mul(RIGHT).saturating_sub(self.phase);
        self.origin + parts.div_ceil(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_of_a_drifting_clock_is_neither_early_nor_late() {
        for (rate, phase) in [(99_500, 0), (RIGHT, 77), (100_500, 99_999)] {
            let mut clock = Clock::new(rate, phase);
            clock.origin = 77;
            for boot in [0, 1, 999, 20_000, 1_234_567] {
                let at = clock.when(Boottime(boot));
                assert!(clock.now(at).boot >= Boottime(boot));
                assert!(at == 77 || clock.now(at - 1).boot < Boottime(boot));
            }
        }
    }

    #[test]
    fn a_wall_clock_may_be_years_off_and_never_below_zero() {
        let mut clock = Clock::new(RIGHT, 0);
        clock.wall_error = i64::MIN;
        assert_eq!(clock.now(5).wall, WallTime(0));
        clock.wall_error = -3_600_000;
        assert_eq!(clock.now(3_600_000).wall, WallTime(EPOCH_MS as u64));
    }
}
