//! An older generation never undoes a newer one, and a grant that ended has ended.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_agent_core::UnitKey;
use nodemedic_coordinator_core::Write;
use nodemedic_protocol::api::{Decision, JournalWhat, Proof};
use nodemedic_protocol::{Generation, NodeId, WorkName};

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};

/// Grants rise strictly, and so do the generations under which exclusive work begins.
pub struct Rising {
    exclusive: Vec<WorkName>,
    granted: BTreeMap<WorkName, Generation>,
    begun: BTreeMap<WorkName, (Generation, Host)>,
}

impl Rising {
    pub(super) const fn new(exclusive: Vec<WorkName>) -> Rising {
        Rising {
            exclusive,
            granted: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    fn granted(&mut self, work: &WorkName, generation: Generation) -> Option<String> {
        let before = self.granted.insert(work.clone(), generation)?;
        (generation <= before).then(|| format!("{work} granted as {generation} after {before}"))
    }

    fn begun(&mut self, work: &WorkName, generation: Generation, host: Host) -> Option<String> {
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

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
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
            } if self.exclusive.contains(work) => self.begun(work, *generation, *host),
            _ => None,
        }
    }
}

/// What the coordinator calls ended does not run, and never runs again.
pub struct EndedIsEnded {
    exclusive: Vec<WorkName>,
    running: BTreeSet<(WorkName, Generation, Host)>,
    ended: BTreeSet<(WorkName, Generation)>,
}

impl EndedIsEnded {
    pub(super) const fn new(exclusive: Vec<WorkName>) -> EndedIsEnded {
        EndedIsEnded {
            exclusive,
            running: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    fn ended(&mut self, work: &WorkName, generation: Generation) -> Option<String> {
        self.ended.insert((work.clone(), generation));
        let alive = self
            .running
            .iter()
            .find(|(w, g, _)| w == work && *g == generation)?;
        Some(format!(
            "{work} {generation} is called ended and runs on host-{}",
            alive.2
        ))
    }
}

impl Checker for EndedIsEnded {
    fn property(&self) -> &'static str {
        "a grant of exclusive work is ended only on a proof that holds"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
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
            if proved && self.exclusive.contains(work) {
                return self.ended(work, *generation);
            }
        }
        match fact {
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
            } => {
                self.running.insert((work.clone(), *generation, *host));
                let again = self.ended.contains(&(work.clone(), *generation));
                again.then(|| format!("{work} {generation} began on host-{host} after its end"))
            }
            Fact::Ended {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
                ..
            } => {
                self.running.remove(&(work.clone(), *generation, *host));
                None
            }
            _ => None,
        }
    }
}
