//! Unknown alone never destroys: a restart or fence needs a sign that something is ill.

use std::collections::BTreeMap;

use nodemedic_protocol::event::Verb;
use nodemedic_sim_agent_core::UnitKey;

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host, Sign};

/// See the file.
#[derive(Default)]
pub struct UnknownAlone {
    ill: BTreeMap<(Host, UnitKey), Illness>,
}

/// What the newest signs of each sort said.
#[derive(Clone, Copy, Default)]
struct Illness {
    down: bool,
    fails: bool,
}

impl Checker for UnknownAlone {
    fn property(&self) -> &'static str {
        "what cannot be seen is never on its own a reason to restart or fence"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Shown { host, unit, sign } => {
                let ill = self.ill.entry((*host, unit.clone())).or_default();
                match sign {
                    Sign::Well => *ill = Illness::default(),
                    Sign::Runs => ill.down = false,
                    Sign::Down => ill.down = true,
                    Sign::Passes => ill.fails = false,
                    Sign::Fails => ill.fails = true,
                    Sign::Nothing => {}
                }
                None
            }
            Fact::Acted {
                host,
                unit,
                verb: verb @ (Verb::Restart | Verb::Fence),
            } => {
                let ill = self.ill.get(&(*host, unit.clone())).copied();
                let ill = ill.unwrap_or_default();
                (!ill.down && !ill.fails).then(|| {
                    format!("{verb} of {unit} on host-{host} without a sign that it is ill")
                })
            }
            _ => None,
        }
    }
}
