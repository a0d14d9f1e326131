//! A restart budget is never exceeded, across agent restarts and reboots.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use nodemedic_protocol::event::Verb;
use nodemedic_sim_agent_core::UnitKey;

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most so many restarts ...
    pub max: usize,
    /// ... in so much true time; the window by the fastest clock.
    pub window_ms: u64,
}

/// See the file.
pub struct RestartBudget {
    limits: Limits,
    restarts: BTreeMap<(Host, UnitKey), VecDeque<True>>,
}

impl RestartBudget {
    pub(super) const fn new(limits: Limits) -> RestartBudget {
        RestartBudget {
            limits,
            restarts: BTreeMap::new(),
        }
    }
}

impl Checker for RestartBudget {
    fn property(&self) -> &'static str {
        "a restart budget is never exceeded"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Acted {
                host,
                unit,
                verb: Verb::Restart | Verb::Kill,
            } => {
                let used = self.restarts.entry((*host, unit.clone())).or_default();
                used.push_back(at);
                while used
                    .front()
                    .is_some_and(|t| at - t >= self.limits.window_ms)
                {
                    used.pop_front();
                }
                let many = used.len();
                (many > self.limits.max)
                    .then(|| format!("{unit} on host-{host} was restarted {many} times"))
            }
            // Its stopping half may have been done; a restart it is only when something starts.
            Fact::TurnedAway {
                host,
                unit,
                verb: Verb::Restart | Verb::Kill,
            } => {
                if let Some(used) = self.restarts.get_mut(&(*host, unit.clone())) {
                    used.pop_back();
                }
                None
            }
            // The uses since are lost with the disk and the boot: docs/safety.md says so.
            Fact::Forgets { host } => {
                self.restarts.retain(|(of, _), _| of != host);
                None
            }
            // A person who lets a unit back gives it a fresh budget.
            Fact::Acted {
                host,
                unit,
                verb: Verb::Unfence,
            } => {
                self.restarts.remove(&(*host, unit.clone()));
                None
            }
            _ => None,
        }
    }
}
