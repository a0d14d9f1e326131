//! For how long one probe has been failing, in seconds, whatever the number of its answers.
//!
//! A failing answer holds until the next answer, and an answer that the probe could not be made
//! says nothing about the time before it. Time in which nobody answered at all (a host asleep, an
//! agent that stood still) counts for nothing.

use alloc::collections::VecDeque;

use nodemedic_protocol::work::ProbeSpec;
use nodemedic_protocol::{Boottime, Millis};

/// Stretches of failure that are remembered. The configuration keeps windows below so many answers;
/// when more come all the same the oldest go, and the probe fails later, never sooner.
const STRETCHES_MAX: usize = 512;

/// Beside its interval and its timeout an answer may be late by this much on a busy host.
const LATE: Millis = Millis::from_secs(5);

/// What one probe has said, as stretches of time.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    fail_for: Millis,
    within: Option<Millis>,
    /// The longest time between two answers in which the first one holds.
    gap_max: Millis,
    /// The newest answer was a failure, at this time.
    failing: Option<Boottime>,
    /// From and to, oldest first, never overlapping.
    stretches: VecDeque<(Boottime, Boottime)>,
}

impl Window {
    pub(crate) fn new(spec: &ProbeSpec) -> Window {
        Window {
            fail_for: spec.fail_for,
            within: spec.within,
            gap_max: (spec.interval + spec.timeout).scaled(2, 1) + LATE,
            failing: None,
            stretches: VecDeque::new(),
        }
    }

    /// It works.
    pub(crate) fn pass(&mut self, now: Boottime) {
        if self.within.is_some() {
            self.hold_until(now);
        } else {
            self.stretches.clear();
        }
        self.failing = None;
    }

    /// It does not. Returns whether it has not for too long.
    pub(crate) fn fail(&mut self, now: Boottime) -> bool {
        self.hold_until(now);
        self.failing = Some(now);
        self.failed_for(now) >= self.fail_for
    }

    /// Nobody can tell.
    pub(crate) fn unknown(&mut self) {
        self.failing = None;
    }

    /// The failure that was seen last has held until now.
    fn hold_until(&mut self, now: Boottime) {
        let Some(from) = self.failing.filter(|at| now.since(*at) <= self.gap_max) else {
            return;
        };
        match self.stretches.back_mut() {
            Some((_, to)) if *to == from => *to = now,
            _ => self.stretches.push_back((from, now)),
        }
        if self.stretches.len() > STRETCHES_MAX {
            self.stretches.pop_front();
        }
        if let Some(within) = self.within {
            while matches!(self.stretches.front(), Some((_, to)) if now.since(*to) >= within) {
                self.stretches.pop_front();
            }
        }
    }

    /// For how long it has been seen failing, within its window.
    pub(crate) fn failed_for(&self, now: Boottime) -> Millis {
        let begin = self.within.map_or(Boottime(0), |within| now - within);
        let lengths = self.stretches.iter();
        lengths.fold(Millis::ZERO, |sum, (from, to)| {
            sum + to.since((*from).max(begin))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use nodemedic_protocol::work::Check;
    use proptest::prelude::*;

    fn window(fail_for: u64, within: Option<u64>) -> Window {
        Window::new(&ProbeSpec {
            check: Check::Process,
            interval: Millis::from_secs(5),
            timeout: Millis::from_secs(2),
            fail_for: Millis::from_secs(fail_for),
            within: within.map(Millis::from_secs),
        })
    }

    fn at(second: u64) -> Boottime {
        Boottime(second * 1000)
    }

    /// What a story of answers comes to: `f` fails, `p` passes, `?` cannot be asked, `.` says
    /// nothing; one each five seconds. The second of the first answer at which it is too long.
    fn first_due(mut window: Window, answers: &str) -> Option<u64> {
        (0..)
            .step_by(5)
            .zip(answers.chars())
            .find_map(|(second, c)| {
                let due = match c {
                    'f' => window.fail(at(second)),
                    'p' => {
                        window.pass(at(second));
                        false
                    }
                    '?' => {
                        window.unknown();
                        false
                    }
                    _ => false,
                };
                due.then_some(second)
            })
    }

    #[test]
    fn a_failure_without_a_break_lasts_its_seconds() {
        assert_eq!(first_due(window(15, None), "ppffff"), Some(25));
        assert_eq!(first_due(window(15, None), "fffpfffpfff"), None);
        assert_eq!(first_due(window(0, None), "pppf"), Some(15));
    }

    #[test]
    fn x_of_y_counts_seconds_and_not_answers() {
        // Every second answer fails: half of the time.
        assert_eq!(first_due(window(15, Some(30)), "fpfpfpfpfpfpf"), Some(30));
        assert_eq!(
            first_due(window(16, Some(30)), "fpfpfpfpfpfpfpfpfpfpfpf"),
            None
        );
        // Without the window the same story comes to nothing.
        assert_eq!(first_due(window(15, None), "fpfpfpfpfpfpfpfpfpfpfpf"), None);
        // What lies before the window is forgotten.
        assert_eq!(first_due(window(15, Some(30)), "fffpppppppfff"), None);
        assert_eq!(first_due(window(15, Some(60)), "fffpppppppfff"), Some(50));
    }

    #[test]
    fn what_cannot_be_asked_counts_neither_way() {
        // It prolongs nothing, and ends nothing that was seen.
        assert_eq!(first_due(window(15, None), "f?????????????"), None);
        assert_eq!(first_due(window(15, None), "f?f?f?f?f?f?f?"), None);
        assert_eq!(first_due(window(15, None), "ff??????ff?ff"), Some(60));
    }

    #[test]
    fn time_in_which_nobody_answered_is_no_failure() {
        // A host asleep for minutes between two failures.
        assert_eq!(first_due(window(15, None), "f....................f"), None);
        assert_eq!(
            first_due(window(15, Some(300)), "f....................f"),
            None
        );
        // One answer that is late is none the less the next one.
        assert_eq!(first_due(window(15, None), "f..f"), Some(15));
    }

    #[test]
    fn a_probe_that_flaps_for_a_week_takes_no_memory() {
        let mut window = window(50_000, Some(100_000));
        for second in (0..604_800).step_by(10) {
            window.fail(at(second));
            window.pass(at(second + 5));
        }
        assert_eq!(window.stretches.len(), STRETCHES_MAX);
    }

    #[derive(Clone, Copy, Debug)]
    enum Answer {
        Fail,
        Pass,
        Unknown,
    }

    fn answers() -> impl Strategy<Value = Vec<(u64, Answer)>> {
        let one = prop_oneof![
            3 => Just(Answer::Fail),
            1 => Just(Answer::Pass),
            1 => Just(Answer::Unknown)
        ];
        proptest::collection::vec((0_u64..30_000, one), 0..200)
    }

    proptest! {
        /// Whatever is answered, no more time is called failing than lay between failing answers,
        /// and never more than the window holds.
        #[test]
        fn no_time_is_invented(answers in answers(), within in proptest::option::of(1_u64..60)) {
            let mut window = window(5, within);
            let (mut now, mut honest, mut before) = (Boottime(0), Millis::ZERO, None);
            for (pause, answer) in answers {
                now = now + Millis(pause);
                if let Some(from) = before.take() {
                    let held = !matches!(answer, Answer::Unknown);
                    honest = honest + if held { now.since(from) } else { Millis::ZERO };
                }
                match answer {
                    Answer::Fail => {
                        let due = window.fail(now);
                        before = Some(now);
                        prop_assert!(!due || honest >= Millis::from_secs(5));
                    }
                    Answer::Pass => window.pass(now),
                    Answer::Unknown => window.unknown(),
                }
                prop_assert!(window.failed_for(now) <= honest);
                if let Some(within) = within {
                    prop_assert!(window.failed_for(now) <= Millis::from_secs(within));
                }
            }
        }
    }
}
