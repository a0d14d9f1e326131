//! Unknown alone never destroys: a restart or fence needs a sign that something is ill.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::event::Verb;
use nodemedic_sim_agent_core::UnitKey;

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host, Sign};

/// See the file.
#[derive(Default)]
pub struct UnknownAlone {
    ill: BTreeMap<(Host, UnitKey), Illness>,
    /// Fences that were begun on a sign. One that could not be proved is tried again until it is,
    /// however the unit looks in between: it may be half stopped.
    fences: BTreeSet<(Host, UnitKey)>,
}

/// What the newest signs of each sort said.
#[derive(Clone, Copy, Default)]
struct Illness {
    down: bool,
    fails: bool,
    /// When the last sign that it is ill was taken back.
    until: Option<True>,
}

/// An act is decided on what was seen until then, and done when that is written down. Signs that
/// come in between come too late, as those do that a suspended host takes in all at once.
const WRITE_MS: u64 = 2_000;

impl Illness {
    const fn is_ill(self) -> bool {
        self.down || self.fails
    }

    fn was_ill(self, at: True) -> bool {
        self.is_ill() || self.until.is_some_and(|until| at - until < WRITE_MS)
    }
}

impl Checker for UnknownAlone {
    fn property(&self) -> &'static str {
        "what cannot be seen is never on its own a reason to restart or fence"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Shown { host, unit, sign } => {
                let ill = self.ill.entry((*host, unit.clone())).or_default();
                let before = *ill;
                match sign {
                    Sign::Well => (ill.down, ill.fails) = (false, false),
                    Sign::Runs => ill.down = false,
                    Sign::Down => ill.down = true,
                    Sign::Passes => ill.fails = false,
                    Sign::Fails => ill.fails = true,
                    Sign::Nothing => {}
                }
                if before.is_ill() && !ill.is_ill() {
                    ill.until = Some(at);
                }
                None
            }
            Fact::Acted {
                host,
                unit,
                verb: verb @ (Verb::Restart | Verb::Kill | Verb::Fence),
            } => {
                let key = (*host, unit.clone());
                let ill = self.ill.get(&key).copied().unwrap_or_default();
                let begun = *verb == Verb::Fence && self.fences.contains(&key);
                if *verb == Verb::Fence {
                    self.fences.insert(key);
                } else {
                    self.fences.remove(&key);
                }
                (!ill.was_ill(at) && !begun).then(|| {
                    format!("{verb} of {unit} on host-{host} without a sign that it is ill")
                })
            }
            // Whoever lets it run again decides anew.
            Fact::Acted {
                host,
                unit,
                verb: Verb::Start | Verb::Unfence,
            } => {
                self.fences.remove(&(*host, unit.clone()));
                None
            }
            _ => None,
        }
    }
}
