//! What the probes of one unit say together: each has its own window, and one that fails through
//! its window is enough.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::work::ProbeSpec;
use nodemedic_protocol::{Boottime, Millis};

use super::window::Window;
use crate::input::Verdict;

/// After so long without an answer of a probe that is asked all the time, somebody is told: the
/// probe is wrong, or may not do what it needs to.
const TELL_UNKNOWN_AFTER: Millis = Millis::from_secs(60);

/// All probes of a unit that ask more than what its manager sees anyway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes {
    each: Vec<One>,
}

#[derive(Clone, Debug)]
struct One {
    /// What it asks, in one word.
    word: &'static str,
    window: Window,
    /// The newest answer.
    last: Option<(Boottime, Verdict)>,
    /// That failure has lasted for too long.
    due: bool,
    /// Of the answers that say something the newest is a failure.
    failed: bool,
    /// Since when it cannot be made.
    unknown_since: Option<Boottime>,
}

/// What all of them come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Some have not answered yet, and none fails.
    Waiting,
    /// None fails, and some pass.
    Well,
    /// Some fail, and none for too long.
    Failing(String),
    /// One fails for too long.
    Due(String),
    /// None can be made, or one that failed cannot.
    Unknown(String),
}

impl Probes {
    pub(crate) fn new(specs: &[ProbeSpec]) -> Probes {
        let one = |spec: &ProbeSpec| One {
            word: spec.check.word(),
            window: Window::new(spec),
            last: None,
            due: false,
            failed: false,
            unknown_since: None,
        };
        Probes {
            each: specs.iter().map(one).collect(),
        }
    }

    /// One answered. `counts` is false while its failures are none yet.
    pub(crate) fn answered(&mut self, now: Boottime, probe: usize, verdict: Verdict, counts: bool) {
        let Some(one) = self.each.get_mut(probe) else {
            return;
        };
        one.due = false;
        let unknown_since = one.unknown_since.take();
        match &verdict {
            Verdict::Pass => {
                one.window.pass(now);
                one.failed = false;
            }
            Verdict::Fail(_) => {
                one.due = counts && one.window.fail(now);
                one.failed = true;
            }
            Verdict::Unknown(_) => {
                one.window.unknown();
                one.unknown_since = unknown_since.or(Some(now));
            }
        }
        one.last = Some((now, verdict));
    }

    /// What they come to now.
    pub(crate) fn standing(&self) -> Standing {
        let asked = || self.each.iter();
        let fails = |one: &One| match &one.last {
            Some((_, Verdict::Fail(why))) => Some(why.clone()),
            _ => None,
        };
        if let Some(why) = asked().filter(|one| one.due).find_map(fails) {
            return Standing::Due(why);
        }
        if let Some(why) = asked().find_map(fails) {
            return Standing::Failing(why);
        }
        // One that failed and cannot be asked now has not been seen to work again.
        let (mut unknown, mut passes, mut failed) = (None, false, false);
        for one in asked() {
            match &one.last {
                None => return Standing::Waiting,
                Some((_, Verdict::Unknown(why))) => {
                    unknown = unknown.or(Some(why.clone()));
                    failed |= one.failed;
                }
                Some(_) => passes = true,
            }
        }
        match unknown {
            Some(why) if !passes || failed => Standing::Unknown(why),
            _ => Standing::Well,
        }
    }

    /// Those that cannot be made now, for people.
    pub(crate) fn blind(&self) -> Option<String> {
        self.each.iter().find_map(|one| match &one.last {
            Some((_, Verdict::Unknown(why))) => Some(format!("cannot be asked: {why}")),
            _ => None,
        })
    }

    /// Those that could not be made for so long that somebody should look.
    pub(crate) fn blind_for_long(&self, now: Boottime) -> Option<String> {
        let long = |one: &&One| {
            let since = one.unknown_since;
            since.is_some_and(|at| now.since(at) >= TELL_UNKNOWN_AFTER)
        };
        let one = self.each.iter().find(long)?;
        match &one.last {
            Some((_, Verdict::Unknown(why))) => Some(why.clone()),
            _ => None,
        }
    }

    /// The newest answer of each, for the record: what it asks, and what came.
    pub(crate) fn answers(&self, now: Boottime) -> Vec<(&'static str, String)> {
        let told = |one: &One| {
            let (at, verdict) = one.last.as_ref()?;
            let text = match verdict {
                Verdict::Pass => String::from("passed"),
                Verdict::Fail(why) => format!("failed: {why}"),
                Verdict::Unknown(why) => format!("could not be made: {why}"),
            };
            Some((one.word, format!("{text} ({} ago)", now.since(*at))))
        };
        self.each.iter().filter_map(told).collect()
    }
}
