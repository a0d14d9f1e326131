//! Never two live holders of one exclusive work, judged on the processes that really run.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::{Generation, WorkName};
use nodemedic_sim_agent_core::UnitKey;

use super::Checker;
use super::lies::Lies;
use crate::clock::True;
use crate::fact::{Fact, Host};
use crate::works;

/// A host that wakes up has so long to find out what ended while it slept. docs/safety.md says what
/// a suspended host costs.
pub const WAKE_MS: u64 = 5_000;

/// Which hosts sleep, or have just woken up.
#[derive(Default)]
pub struct Awake {
    asleep: BTreeSet<Host>,
    /// When what runs there counts again.
    drowsy_until: BTreeMap<Host, True>,
}

impl Awake {
    pub(super) fn see(&mut self, at: True, fact: &Fact) {
        match fact {
            Fact::Suspended { host } => {
                self.asleep.insert(*host);
            }
            Fact::Resumed { host, wakes_within } => {
                self.asleep.remove(host);
                self.drowsy_until.insert(*host, at + wakes_within);
            }
            Fact::PoweredOff { host, .. } => {
                self.asleep.remove(host);
                self.drowsy_until.remove(host);
            }
            _ => {}
        }
    }

    /// Whether what runs on a host counts as running.
    pub(super) fn counts(&self, at: True, host: Host) -> bool {
        let drowsy = self.due(host).is_some_and(|due| at <= due);
        !self.asleep.contains(&host) && !drowsy
    }

    /// When what runs on a host that woke up counts again; absent while it sleeps.
    pub(super) fn due(&self, host: Host) -> Option<True> {
        let until = self.drowsy_until.get(&host).copied();
        until.filter(|_| !self.asleep.contains(&host))
    }
}

/// See the file.
#[derive(Default)]
pub struct OneHolder {
    running: BTreeMap<WorkName, BTreeMap<Host, Generation>>,
    /// Works with more than one process, of which one slept or was said to be off.
    doubled: BTreeSet<WorkName>,
    awake: Awake,
    lies: Lies,
}

impl OneHolder {
    fn live(&self, at: True, work: &WorkName) -> Vec<(Host, Generation)> {
        let running = self.running.get(work).into_iter().flatten();
        let live = running.filter(|(host, generation)| {
            let counts = self.awake.counts(at, **host);
            counts && !self.lies.excuse(work, **generation, **host)
        });
        live.map(|(host, generation)| (*host, *generation))
            .collect()
    }
}

impl Checker for OneHolder {
    fn property(&self) -> &'static str {
        "never two live holders of one exclusive work"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        self.awake.see(at, fact);
        self.lies.see(fact);
        match fact {
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation,
            } if works::is_exclusive(work) => {
                let running = self.running.entry(work.clone()).or_default();
                running.insert(*host, generation.unwrap_or_default());
                if running.len() > 1 {
                    self.doubled.insert(work.clone());
                }
            }
            Fact::Ended {
                host,
                unit: UnitKey::Work(work),
                ..
            } => {
                if let Some(running) = self.running.get_mut(work) {
                    running.remove(host);
                    if running.len() < 2 {
                        self.doubled.remove(work);
                    }
                }
            }
            _ => {}
        }
        for work in &self.doubled {
            let live = self.live(at, work);
            if live.len() > 1 {
                let what = format!("{work} runs on {live:?}");
                self.doubled.clear();
                return Some(what);
            }
        }
        None
    }
}
