//! What the host does about itself when a condition stands: declared remedies, one at a time, the
//! mildest first, each within a budget; at last a reboot, under a permit; then a person.
//!
//! [`cases`] is the state machine of the conditions, [`reboot`] that of reboots. Nothing is done
//! that was not remembered before, and a use of a budget counts from before it was done: over any
//! death of agent or host none is taken twice and none is forgotten.
//! docs/adr/0019-reboots-and-remedies.md has the argument.

mod agent;
mod cases;
pub mod memory;
mod reboot;
pub mod settings;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::{BootId, Boottime, Component, RemedyName};

use crate::budget::Budget;
use memory::{RebootMemory, RemedyIntent, RemedyMemory, Tried};

pub use settings::{RebootPolicy, Remedies, Remedy, When};

/// What remedies must know of the rest of the host.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    /// No remedy goes further than this.
    pub mode: Mode,
    /// Set while healing of the host is held, with who or what holds it.
    pub held: Option<String>,
    /// Exclusive work of the fleet that is not proved stopped here.
    pub exclusive: Option<String>,
    /// True while nothing critical stands, and everything is seen.
    pub well: bool,
}

/// A condition, by what identifies it.
type Key = (Component, Reason);

/// Which conditions stand that a remedy is for, and what was tried.
#[derive(Debug)]
pub(crate) struct Doctor {
    boot_id: BootId,
    budget: Budget<RemedyName>,
    cases: BTreeMap<Key, Case>,
    last: u64,
    open: Option<RemedyIntent>,
    wish: Option<Wish>,
    reboot: Option<RebootMemory>,
    /// Since when the host is well after its reboot.
    well_since: Option<Boottime>,
    /// When a coordinator was heard last; the start of this run, until one was.
    heard: Boottime,
}

/// One condition that a remedy is for.
#[derive(Clone, Debug, Default)]
struct Case {
    tried: BTreeSet<RemedyName>,
    /// What was advised or told already, so that it is told once.
    advised: BTreeSet<RemedyName>,
    /// The newest remedy has until then to show that it helped.
    settles: Option<Boottime>,
    /// Set once nothing is left to try.
    spent: bool,
}

/// A reboot that is asked for.
#[derive(Clone, Debug)]
struct Wish {
    case: Key,
    remedy: RemedyName,
    why: String,
    since: nodemedic_protocol::Now,
    policy: RebootPolicy,
}

impl Doctor {
    /// With what an earlier run left.
    pub(crate) fn restored(boot_id: BootId, memory: RemedyMemory, now: Boottime) -> Doctor {
        let case = |tried: Tried| {
            let case = Case {
                tried: tried.remedies.into_iter().collect(),
                spent: tried.spent,
                ..Case::default()
            };
            ((tried.component, tried.reason), case)
        };
        Doctor {
            budget: Budget::new(boot_id.clone(), memory.uses),
            cases: memory.tried.into_iter().map(case).collect(),
            last: memory.last,
            open: memory.intent,
            wish: None,
            reboot: memory.reboot,
            well_since: None,
            heard: now,
            boot_id,
        }
    }

    /// What must be remembered.
    pub(crate) fn memory(&self) -> RemedyMemory {
        let tried = self.cases.iter();
        let tried = tried.filter(|(_, case)| case.spent || !case.tried.is_empty());
        RemedyMemory {
            last: self.last,
            uses: self.budget.uses(),
            intent: self.open.clone(),
            tried: tried
                .map(|((component, reason), case)| Tried {
                    component: component.clone(),
                    reason: reason.clone(),
                    remedies: case.tried.iter().cloned().collect(),
                    spent: case.spent,
                })
                .collect(),
            reboot: self.reboot.clone(),
        }
    }

    /// A coordinator has spoken.
    pub(crate) fn hear(&mut self, now: Boottime) {
        self.heard = now;
    }

    /// True while something may have to be done for a condition.
    pub(crate) fn has_due(&self) -> bool {
        self.cases.values().any(|case| !case.spent)
    }

    /// Why a person is needed, if one is: nothing is left to try.
    pub(crate) fn given_up(&self) -> Option<String> {
        let (key, _) = self.cases.iter().find(|(_, case)| case.spent)?;
        Some(alloc::format!("no remedy helps {}: {}", key.0, key.1))
    }
}
