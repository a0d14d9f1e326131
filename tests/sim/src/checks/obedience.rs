//! Losing the coordinator or the broker stops nothing, except exclusive work whose owner chose it:
//! whatever else is stopped was named in an assignment that reached the host.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::event::Verb;
use nodemedic_protocol::work::Desired;
use nodemedic_protocol::{Generation, Revision, WorkName};
use nodemedic_sim_agent_core::UnitKey;

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};
use crate::works::stops_on_lease_loss;

/// See the file.
#[derive(Default)]
pub struct NoStopWithoutWord {
    running: BTreeSet<(Host, WorkName, Generation)>,
    newest: BTreeMap<Host, Revision>,
    /// What an assignment ever told a host to run.
    wanted: BTreeSet<(Host, WorkName, Generation)>,
    /// What a newer one took back.
    unwanted: BTreeSet<(Host, WorkName, Generation)>,
}

impl NoStopWithoutWord {
    fn told(&mut self, host: Host, works: &[(WorkName, Generation, Desired)]) {
        let run = |work: &WorkName, generation: Generation| {
            let mut works = works.iter();
            works.any(|(w, g, d)| w == work && *g == generation && *d == Desired::Run)
        };
        for grant in &self.wanted {
            if grant.0 == host && !run(&grant.1, grant.2) {
                self.unwanted.insert(grant.clone());
            }
        }
        for (work, generation, desired) in works {
            let grant = (host, work.clone(), *generation);
            if *desired == Desired::Run {
                self.wanted.insert(grant);
            } else {
                self.unwanted.insert(grant);
            }
        }
    }

    fn stopped(&self, host: Host, work: &WorkName) -> Option<String> {
        let of_work = |grant: &&(Host, WorkName, Generation)| grant.0 == host && grant.1 == *work;
        let running: Vec<_> = self.running.iter().filter(of_work).collect();
        let told = running.iter().any(|grant| self.unwanted.contains(*grant));
        (!running.is_empty() && !told && !stops_on_lease_loss(work))
            .then(|| format!("{work} on host-{host} is stopped and nobody said so"))
    }
}

impl Checker for NoStopWithoutWord {
    fn property(&self) -> &'static str {
        "nothing is stopped without a word, except exclusive work whose owner chose stop"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Told {
                host,
                revision,
                works,
            } => {
                let newest = self.newest.entry(*host).or_default();
                if *revision >= *newest {
                    *newest = *revision;
                    self.told(*host, works);
                }
                None
            }
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
            } => {
                self.running.insert((*host, work.clone(), *generation));
                None
            }
            Fact::Ended {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
                ..
            } => {
                self.running.remove(&(*host, work.clone(), *generation));
                None
            }
            // An agent whose memory is older than its grants takes what runs for the older ones.
            Fact::Forgets { host } => {
                let running = self.running.iter().filter(|grant| grant.0 == *host);
                self.unwanted.extend(running.cloned());
                None
            }
            Fact::Acted {
                host,
                unit: UnitKey::Work(work),
                verb: Verb::Stop,
            } => self.stopped(*host, work),
            _ => None,
        }
    }
}
