//! An older generation never undoes a newer one, and a grant that ended has ended.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::api::{Decision, JournalWhat, Proof};
use nodemedic_protocol::{Generation, NodeId, WorkName};
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_sim_coordinator_core::Write;

use super::Checker;
use super::holders::Awake;
use super::lies::Lies;
use crate::clock::True;
use crate::fact::{Fact, Host};
use crate::works;

/// Grants rise strictly, and so do the generations under which exclusive work begins.
#[derive(Default)]
pub struct Rising {
    granted: BTreeMap<WorkName, Generation>,
    begun: BTreeMap<WorkName, (Generation, Host)>,
    lies: Lies,
    awake: Awake,
}

impl Rising {
    fn granted(&mut self, work: &WorkName, generation: Generation) -> Option<String> {
        let before = self.granted.insert(work.clone(), generation)?;
        (generation <= before).then(|| format!("{work} granted as {generation} after {before}"))
    }

    fn begun(&mut self, work: &WorkName, generation: Generation, host: Host) -> Option<String> {
        if self.lies.excuse(work, generation, host) {
            return None;
        }
        let before = self.begun.insert(work.clone(), (generation, host));
        let (highest, holder) = before?;
        // The same holder may restart it; nobody else may begin what was begun.
        let fine = generation > highest || (generation == highest && host == holder);
        (!fine).then(|| {
            format!("{work} began as {generation} on host-{host} after {highest} on host-{holder}")
        })
    }
}

/// The decision in a journal entry that was just stored.
fn decision(fact: &Fact) -> Option<(&Option<NodeId>, &Decision)> {
    let Fact::Committed(write) = fact else {
        return None;
    };
    match &**write {
        Write::Journal(entry) => match &entry.what {
            JournalWhat::Coordinator(decision) => Some((&entry.node, decision)),
            JournalWhat::Node(_) => None,
        },
        _ => None,
    }
}

impl Checker for Rising {
    fn property(&self) -> &'static str {
        "generations rise strictly with every grant, and no older one begins after a newer one"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        self.lies.see(fact);
        self.awake.see(at, fact);
        if let Some((
            _,
            Decision::Granted {
                work, generation, ..
            },
        )) = decision(fact)
        {
            return self.granted(work, *generation);
        }
        match fact {
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
            } if works::is_exclusive(work) && self.awake.counts(at, *host) => {
                self.begun(work, *generation, *host)
            }
            // systemd may have been starting it when the host was suspended: `EndedIsEnded` sees
            // that it ends in time.
            _ => None,
        }
    }
}

/// What the coordinator calls ended does not run, and never runs again.
#[derive(Default)]
pub struct EndedIsEnded {
    running: BTreeSet<(WorkName, Generation, Host)>,
    ended: BTreeSet<(WorkName, Generation)>,
    /// What agents were told of: nobody can prove the stop of anything else.
    told: BTreeSet<(WorkName, Generation)>,
    awake: Awake,
    lies: Lies,
    /// What was called ended while its host slept, and must end when that wakes.
    asleep: BTreeMap<(WorkName, Generation, Host), Option<True>>,
}

impl EndedIsEnded {
    fn ended(&mut self, at: True, work: &WorkName, generation: Generation) -> Option<String> {
        self.ended.insert((work.clone(), generation));
        let mut running = self.running.iter();
        let alive = running.find(|(w, g, _)| w == work && *g == generation)?;
        if self.lies.excuse(work, generation, alive.2) {
            return None;
        }
        if !self.awake.counts(at, alive.2) {
            let due = self.awake.due(alive.2);
            self.asleep.insert(alive.clone(), due);
            return None;
        }
        Some(format!(
            "{work} {generation} is called ended and runs on host-{}",
            alive.2
        ))
    }

    fn overslept(&mut self, at: True) -> Option<String> {
        let late = |due: &Option<True>| due.is_some_and(|due| at > due);
        let (which, _) = self.asleep.iter().find(|(_, due)| late(due))?;
        let (work, generation, host) = which.clone();
        self.asleep.clear();
        Some(format!(
            "{work} {generation} was called ended while host-{host} slept, and runs on after that"
        ))
    }
}

impl Checker for EndedIsEnded {
    fn property(&self) -> &'static str {
        "a grant of exclusive work is ended only on a proof that holds"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        self.awake.see(at, fact);
        self.lies.see(fact);
        if let Fact::Resumed { host, .. } = fact {
            let due = self.awake.due(*host);
            for (which, until) in &mut self.asleep {
                if which.2 == *host {
                    *until = due;
                }
            }
        }
        if let Some(what) = self.overslept(at) {
            return Some(what);
        }
        if let Some((
            _,
            Decision::Ended {
                work,
                generation,
                proof,
            },
        )) = decision(fact)
        {
            let proved = !matches!(proof, Proof::NotNeeded | Proof::PersonsWord { .. });
            let untold = !self.told.contains(&(work.clone(), *generation));
            if *proof == Proof::StopConfirmed && works::is_exclusive(work) && untold {
                return Some(format!(
                    "no host was told of the {work} {generation} that it stopped"
                ));
            }
            if proved && works::is_exclusive(work) {
                return self.ended(at, work, *generation);
            }
        }
        match fact {
            Fact::Told { works, .. } => {
                let grants = works.iter().map(|(work, g, _)| (work.clone(), *g));
                self.told.extend(grants);
                None
            }
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
            } => {
                let which = (work.clone(), *generation, *host);
                let again = self.ended.contains(&(work.clone(), *generation));
                let again = again && !self.lies.excuse(work, *generation, *host);
                if again && !self.awake.counts(at, *host) {
                    self.asleep.insert(which.clone(), self.awake.due(*host));
                    self.running.insert(which);
                    return None;
                }
                self.running.insert(which);
                again.then(|| format!("{work} {generation} began on host-{host} after its end"))
            }
            Fact::Ended {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
                ..
            } => {
                let which = (work.clone(), *generation, *host);
                self.running.remove(&which);
                self.asleep.remove(&which);
                None
            }
            _ => None,
        }
    }
}
