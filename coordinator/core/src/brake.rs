//! The storm brake: when many hosts fall silent at once, it is this coordinator or the network, and
//! nothing is taken out on silence. Pure: who is counted is in `reserve.rs`.
//!
//! A storm begins when enough hosts are silent, and ends when fewer have been for `hold`. The brake
//! holds during a storm, but for the time of a person's release.

use nodemedic_protocol::api::{BrakeChange, BrakeState};
use nodemedic_protocol::{Boottime, Millis, Now, WallTime};

use crate::stored::{BrakeRecord, ReleaseRecord};

/// When the brake engages and lifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakeSettings {
    /// So many silent hosts at least.
    pub min: u32,
    /// So many of a hundred of the fleet at least.
    pub percent: u32,
    /// Fewer must have been silent for so long before it lifts.
    pub hold: Millis,
    /// A silence that has lasted for so long without a storm has nothing in common with a later
    /// one, and is not counted any more.
    pub apart: Millis,
}

impl Default for BrakeSettings {
    fn default() -> Self {
        BrakeSettings {
            // One host may die alone; two at once have something in common.
            min: 2,
            // Above the largest failure domain of most fleets: a rack of twenty in a hundred fails
            // over at once. Below a half: who hears less than that is likelier cut off itself.
            percent: 33,
            // Above suspect_after: who falls silent again in time is counted again.
            hold: Millis::from_secs(60),
            // A host that died alone was dealt with by then; and what fails together fails within
            // minutes.
            apart: Millis::from_secs(600),
        }
    }
}

impl BrakeSettings {
    /// So many silent hosts of a fleet of `hosts` engage the brake (B): the percentage rounded up.
    #[must_use]
    pub fn threshold(&self, hosts: usize) -> usize {
        let whole = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let share = hosts.saturating_mul(whole(self.percent)).div_ceil(100);
        share.max(whole(self.min))
    }
}

/// What is counted at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Hosts that are silent and have not said that they go.
    pub silent: usize,
    /// All hosts.
    pub hosts: usize,
    /// False while this coordinator cannot know that the others were heard: its link is down, or it
    /// has only just begun.
    pub certain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Storm {
    since: WallTime,
    /// Since when too few are silent.
    below: Option<Boottime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Release {
    record: ReleaseRecord,
    until: Boottime,
}

/// The brake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brake {
    storm: Option<Storm>,
    release: Option<Release>,
}

impl Brake {
    /// As it was stored: a storm goes on until it is seen to be over. The boot clock may be another
    /// one than before, so what is left of a release is reckoned by the wall clock, and is never
    /// more than the whole.
    #[must_use]
    pub fn resume(record: Option<BrakeRecord>, now: Now) -> Brake {
        let Some(record) = record else {
            return Brake::default();
        };
        Brake {
            storm: Some(Storm {
                since: record.since,
                below: None,
            }),
            release: record.release.map(|record| {
                let gone = Millis(now.wall.0.saturating_sub(record.since.0));
                let until = now.boot + (record.span - gone);
                Release { record, until }
            }),
        }
    }

    /// What is kept of it; absent while there is no storm.
    #[must_use]
    pub fn record(&self) -> Option<BrakeRecord> {
        self.storm.map(|storm| BrakeRecord {
            since: storm.since,
            release: self.release.as_ref().map(|r| r.record.clone()),
        })
    }

    /// Whether it holds.
    #[must_use]
    pub const fn state(&self) -> BrakeState {
        match (&self.storm, &self.release) {
            (None, _) => BrakeState::Off,
            (Some(_), None) => BrakeState::Engaged,
            (Some(_), Some(_)) => BrakeState::Released,
        }
    }

    /// True while nothing may be taken out on silence.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.state() == BrakeState::Engaged
    }

    /// Since when there is a storm.
    #[must_use]
    pub fn since(&self) -> Option<WallTime> {
        self.storm.map(|storm| storm.since)
    }

    /// A person's release while it lasts, and when it ends.
    #[must_use]
    pub fn released(&self) -> Option<(&ReleaseRecord, Boottime)> {
        self.release.as_ref().map(|r| (&r.record, r.until))
    }

    /// Judges one count. What changes must be stored before anything is done that follows from it.
    pub fn judge(
        &mut self,
        now: Now,
        count: Count,
        settings: &BrakeSettings,
    ) -> Option<BrakeChange> {
        let threshold = settings.threshold(count.hosts);
        let many = count.silent >= threshold;
        let Some(storm) = &mut self.storm else {
            if !many {
                return None;
            }
            self.storm = Some(Storm {
                since: now.wall,
                below: None,
            });
            return Some(BrakeChange::Engaged {
                silent: number(count.silent),
                threshold: number(threshold),
                hosts: number(count.hosts),
            });
        };
        if many || !count.certain {
            storm.below = None;
        } else {
            let below = *storm.below.get_or_insert(now.boot);
            if now.boot.since(below) >= settings.hold {
                *self = Brake::default();
                return Some(BrakeChange::Lifted);
            }
        }
        if self.release.as_ref().is_some_and(|r| r.until <= now.boot) {
            self.release = None;
            return Some(BrakeChange::ReleaseEnded);
        }
        None
    }

    /// Takes a person's word; false when there is no storm.
    pub fn release(&mut self, now: Now, record: ReleaseRecord) -> bool {
        if self.storm.is_none() {
            return false;
        }
        let until = now.boot + record.span;
        self.release = Some(Release { record, until });
        true
    }

    /// When time alone changes something.
    #[must_use]
    pub fn next(&self, settings: &BrakeSettings) -> Option<Boottime> {
        let below = self.storm.and_then(|storm| storm.below);
        let lifts = below.map(|at| at + settings.hold);
        let ends = self.release.as_ref().map(|r| r.until);
        [lifts, ends].into_iter().flatten().min()
    }
}

/// For people and programs; a fleet is smaller than this.
pub(crate) fn number(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_silent_hosts_engage_it() {
        let settings = BrakeSettings::default();
        let thresholds: [usize; 16] = core::array::from_fn(|i| settings.threshold(i + 1));
        // Hosts:              1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16
        assert_eq!(thresholds, [2, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6]);
        assert_eq!(settings.threshold(100), 33);
        assert_eq!(settings.threshold(101), 34);
    }

    fn now(seconds: u64) -> Now {
        Now {
            boot: Boottime(seconds * 1000),
            wall: WallTime(1_000_000 + seconds * 1000),
        }
    }

    fn count(silent: usize) -> Count {
        Count {
            silent,
            hosts: 3,
            certain: true,
        }
    }

    fn release(at: u64, seconds: u64) -> ReleaseRecord {
        ReleaseRecord {
            since: now(at).wall,
            span: Millis::from_secs(seconds),
            reason: "r".into(),
        }
    }

    #[test]
    fn it_lifts_only_after_a_whole_hold_that_was_seen() {
        let settings = BrakeSettings::default();
        let mut brake = Brake::default();
        assert_eq!(brake.judge(now(0), count(1), &settings), None);
        let engaged = brake.judge(now(1), count(2), &settings);
        assert!(matches!(
            engaged,
            Some(BrakeChange::Engaged { silent: 2, .. })
        ));
        assert_eq!(brake.judge(now(10), count(1), &settings), None);
        // One more falls silent within the hold: it begins again.
        assert_eq!(brake.judge(now(60), count(2), &settings), None);
        assert_eq!(brake.judge(now(61), count(0), &settings), None);
        assert_eq!(brake.next(&settings), Some(now(121).boot));
        // What a deaf coordinator counts is no sight of anybody.
        let deaf = Count {
            certain: false,
            ..count(0)
        };
        assert_eq!(brake.judge(now(120), deaf, &settings), None);
        assert_eq!(brake.judge(now(125), count(0), &settings), None);
        assert_eq!(brake.judge(now(184), count(1), &settings), None);
        assert!(brake.holds());
        let lifted = brake.judge(now(185), count(1), &settings);
        assert_eq!(lifted, Some(BrakeChange::Lifted));
        assert_eq!(brake, Brake::default());
    }

    #[test]
    fn a_release_ends_by_itself_and_with_the_storm_and_outlives_a_restart_at_most_so_long() {
        let settings = BrakeSettings::default();
        let mut brake = Brake::default();
        assert!(
            !brake.release(now(0), release(0, 600)),
            "nothing to release"
        );
        brake.judge(now(1), count(3), &settings);
        assert!(brake.release(now(2), release(2, 600)));
        assert_eq!(brake.state(), BrakeState::Released);
        let record = brake.record();
        let after = Brake::resume(record.clone(), now(302));
        assert_eq!(after.released().map(|r| r.1), Some(now(602).boot));
        // The wall clock went back: no more than the whole is left.
        let before = Brake::resume(record, now(0));
        assert_eq!(before.released().map(|r| r.1), Some(now(600).boot));
        assert_eq!(brake.judge(now(601), count(3), &settings), None);
        let ended = brake.judge(now(602), count(3), &settings);
        assert_eq!(ended, Some(BrakeChange::ReleaseEnded));
        assert!(brake.holds());
        assert!(brake.release(now(603), release(603, 600)));
        brake.judge(now(604), count(0), &settings);
        let lifted = brake.judge(now(664), count(0), &settings);
        assert_eq!(lifted, Some(BrakeChange::Lifted));
        assert_eq!(
            brake.state(),
            BrakeState::Off,
            "the next storm is another one"
        );
    }
}
