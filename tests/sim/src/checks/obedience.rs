//! Losing the coordinator or the broker stops nothing, except exclusive work whose owner chose it:
//! whatever else is stopped was named in an assignment that reached the host.

use std::collections::BTreeSet;

use nodemedic_agent_core::UnitKey;
use nodemedic_protocol::event::Verb;
use nodemedic_protocol::work::Desired;
use nodemedic_protocol::{Generation, WorkName};

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};
use crate::works::stops_on_lease_loss;

/// See the file.
#[derive(Default)]
pub struct NoStopWithoutWord {
    running: BTreeSet<(Host, WorkName, Generation)>,
    may_stop: BTreeSet<(Host, WorkName)>,
}

impl Checker for NoStopWithoutWord {
    fn property(&self) -> &'static str {
        "nothing is stopped without a word, except exclusive work whose owner chose stop"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Told { host, works } => {
                let runs = self.running.iter().filter(|(h, ..)| h == host);
                for (_, work, generation) in runs {
                    let stays = works.iter().any(|(name, granted, desired)| {
                        name == work && granted == generation && *desired == Desired::Run
                    });
                    if !stays {
                        self.may_stop.insert((*host, work.clone()));
                    }
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
                if !self.running.iter().any(|(h, w, _)| h == host && w == work) {
                    self.may_stop.remove(&(*host, work.clone()));
                }
                None
            }
            Fact::Acted {
                host,
                unit: UnitKey::Work(work),
                verb: Verb::Stop,
            } => {
                let runs = self.running.iter().any(|(h, w, _)| h == host && w == work);
                let told = self.may_stop.contains(&(*host, work.clone()));
                (runs && !told && !stops_on_lease_loss(work))
                    .then(|| format!("{work} on host-{host} is stopped and nobody said so"))
            }
            _ => None,
        }
    }
}
