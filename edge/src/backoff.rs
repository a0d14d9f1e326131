//! Jittered exponential back-off as a value: it says how long to wait and never waits itself.

use nodemedic_protocol::Millis;
use nodemedic_protocol::rng::Rng;

/// How long to wait before each next attempt: doubling from the first wait to the longest, each
/// changed by at most a fifth, so that a fleet that failed together does not return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Millis,
    max: Millis,
    next: Millis,
    rng: Rng,
}

impl Backoff {
    /// Waits from `first` to `max`; a `max` below `first` counts as `first`. The same seed gives
    /// the same waits.
    #[must_use]
    pub fn new(first: Millis, max: Millis, seed: u64) -> Backoff {
        Backoff {
            first,
            max: max.max(first),
            next: first,
            rng: Rng::new(seed),
        }
    }

    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Millis {
        let wait = self.next;
        self.next = Millis(wait.0.saturating_mul(2)).min(self.max);
        Millis(self.rng.jitter(wait.0))
    }

    /// An attempt succeeded: the following wait is the first again. The random stream goes on.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Millis(100), Millis(1000), 7);
        for about in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait().0;
            assert!(
                (about - about / 5..=about + about / 5).contains(&wait),
                "{wait} for {about}"
            );
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Millis(120));
    }

    #[test]
    fn a_fleet_that_failed_together_does_not_return_together() {
        let wait = |seed| Backoff::new(Millis(10_000), Millis(10_000), seed).next_wait();
        assert_eq!(wait(1), wait(1));
        let waits: std::collections::BTreeSet<_> = (0..100).map(wait).collect();
        assert!(waits.len() > 90, "{} different waits of 100", waits.len());
    }

    #[test]
    fn odd_limits_do_not_break_it() {
        let mut backoff = Backoff::new(Millis(500), Millis(100), 1);
        for _ in 0..100 {
            assert!((400..=600).contains(&backoff.next_wait().0));
        }
        let mut backoff = Backoff::new(Millis::ZERO, Millis(u64::MAX), 1);
        assert_eq!(backoff.next_wait(), Millis::ZERO);
    }
}
