//! How long something has said nothing, in time in which somebody was there to hear it.
//!
//! No wall clock counts, and no time in which host or agent stood still: after a suspend everything
//! looks old that is well.

use nodemedic_protocol::{Boottime, Millis};

/// Beside its interval and timeout a probe may be late by this much on a busy host. Longer gaps are
/// not seen silence.
const LATE: Millis = Millis::from_secs(2);

/// A sign of life that changes with each beat.
#[derive(Clone, Debug)]
pub struct Silence<M> {
    /// Most that one pause between two looks may add.
    gap_max: Millis,
    last: Option<Last<M>>,
}

#[derive(Clone, Debug)]
struct Last<M> {
    mark: M,
    looked: Boottime,
    silent: Millis,
}

impl<M: PartialEq> Silence<M> {
    /// Nothing is known yet; looks come this often and take so long at most.
    pub fn new(interval: Millis, timeout: Millis) -> Silence<M> {
        Silence {
            gap_max: interval + timeout + LATE,
            last: None,
        }
    }

    /// Looked, and found this. `known` is the age that the mark itself tells, when it does by a
    /// clock that does not jump.
    pub fn look(&mut self, now: Boottime, mark: M, known: Option<Millis>) -> Millis {
        let silent = match self.last.take() {
            Some(last) if last.mark == mark => {
                last.silent + now.since(last.looked).min(self.gap_max)
            }
            Some(_) => Millis::ZERO,
            None => known.unwrap_or(Millis::ZERO),
        };
        let silent = known.map_or(silent, |known| silent.min(known));
        self.last = Some(Last {
            mark,
            looked: now,
            silent,
        });
        silent
    }

    /// Whether anything was ever seen of it.
    pub fn was_seen(&self) -> bool {
        self.last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Silence<u32> {
        Silence::new(Millis(5_000), Millis(1_000))
    }

    #[test]
    fn silence_grows_from_look_to_look_and_ends_with_a_beat() {
        let mut age = silence();
        assert_eq!(age.look(Boottime(0), 1, None), Millis::ZERO);
        assert_eq!(age.look(Boottime(5_000), 1, None), Millis(5_000));
        assert_eq!(age.look(Boottime(10_000), 1, None), Millis(10_000));
        assert_eq!(age.look(Boottime(15_000), 2, None), Millis::ZERO);
    }

    #[test]
    fn a_night_asleep_is_no_silence() {
        let mut age = silence();
        age.look(Boottime(0), 1, None);
        let after = age.look(Boottime(30_000_000), 1, None);
        assert_eq!(after, Millis(8_000));
    }

    #[test]
    fn an_age_that_is_known_counts_at_once_and_is_never_exceeded() {
        let mut age = silence();
        assert_eq!(
            age.look(Boottime(0), 1, Some(Millis(60_000))),
            Millis(60_000)
        );
        let mut age = silence();
        age.look(Boottime(0), 1, Some(Millis(100)));
        assert_eq!(
            age.look(Boottime(5_000), 1, Some(Millis(5_100))),
            Millis(5_100)
        );
        // The other clock stood still meanwhile.
        assert_eq!(
            age.look(Boottime(10_000), 1, Some(Millis(5_200))),
            Millis(5_200)
        );
    }
}
