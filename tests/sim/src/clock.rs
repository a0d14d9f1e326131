//! Time: one true clock for the world, and for each machine a boot clock that drifts.

use nodemedic_protocol::{Boottime, Now, WallTime};

/// Milliseconds of the world's true time.
pub type True = u64;

/// Wall time of the world's beginning: people read it, nothing depends on it.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// The boot clock of one machine since its last boot.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When it booted.
    pub origin: True,
    /// Milliseconds that it counts in 100,000 true ones.
    pub rate: u64,
}

/// A clock that is right counts so many for as many.
pub const RIGHT: u64 = 100_000;

impl Clock {
    /// What the machine reads now.
    #[must_use]
    pub const fn now(&self, at: True) -> Now {
        Now {
            boot: Boottime((at - self.origin) * self.rate / RIGHT),
            wall: WallTime(EPOCH_MS + at),
        }
    }

    /// The first true moment at which the machine reads at least this.
    #[must_use]
    pub const fn when(&self, boot: Boottime) -> True {
        self.origin + (boot.0.saturating_mul(RIGHT)).div_ceil(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_of_a_drifting_clock_is_neither_early_nor_late() {
        for rate in [99_500, RIGHT, 100_500] {
            let clock = Clock { origin: 77, rate };
            for boot in [0, 1, 999, 20_000, 1_234_567] {
                let at = clock.when(Boottime(boot));
                assert!(clock.now(at).boot >= Boottime(boot));
                assert!(at == 77 || clock.now(at - 1).boot < Boottime(boot));
            }
        }
    }
}
