//! Unknown alone never destroys: a restart or fence needs a sign that something is ill.

use std::collections::BTreeMap;

use nodemedic_agent_core::UnitKey;
use nodemedic_protocol::event::Verb;

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host, Sign};

/// See the file.
#[derive(Default)]
pub struct UnknownAlone {
    /// Whether the newest sign of health or illness was one of illness.
    ill: BTreeMap<(Host, UnitKey), bool>,
}

impl Checker for UnknownAlone {
    fn property(&self) -> &'static str {
        "what cannot be seen is never on its own a reason to restart or fence"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Shown { host, unit, sign } => {
                let key = (*host, unit.clone());
                match sign {
                    Sign::Well => self.ill.insert(key, false),
                    Sign::Ill => self.ill.insert(key, true),
                    Sign::Nothing => None,
                };
                None
            }
            Fact::Acted {
                host,
                unit,
                verb: verb @ (Verb::Restart | Verb::Fence),
            } => {
                let ill = self.ill.get(&(*host, unit.clone()));
                (ill != Some(&true)).then(|| {
                    format!("{verb} of {unit} on host-{host} without a sign that it is ill")
                })
            }
            _ => None,
        }
    }
}
