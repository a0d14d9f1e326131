//! Never two live holders of one exclusive work, judged on the processes that really run.

use std::collections::BTreeMap;

use nodemedic_agent_core::UnitKey;
use nodemedic_protocol::{Generation, WorkName};

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};

/// See the file.
pub struct OneHolder {
    exclusive: Vec<WorkName>,
    running: BTreeMap<WorkName, BTreeMap<Host, Option<Generation>>>,
}

impl OneHolder {
    pub(super) const fn new(exclusive: Vec<WorkName>) -> OneHolder {
        OneHolder {
            exclusive,
            running: BTreeMap::new(),
        }
    }
}

impl Checker for OneHolder {
    fn property(&self) -> &'static str {
        "never two live holders of one exclusive work"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation,
            } if self.exclusive.contains(work) => {
                let running = self.running.entry(work.clone()).or_default();
                running.insert(*host, *generation);
                (running.len() > 1).then(|| format!("{work} runs on {running:?}"))
            }
            Fact::Ended {
                host,
                unit: UnitKey::Work(work),
                ..
            } => {
                if let Some(running) = self.running.get_mut(work) {
                    running.remove(host);
                }
                None
            }
            _ => None,
        }
    }
}
