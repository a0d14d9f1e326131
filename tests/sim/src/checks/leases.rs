//! A lease that has ended is not prolonged: its holder began to end then, and its watchdog with it.

use std::collections::BTreeMap;

use nodemedic_protocol::{Generation, WorkName};

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};

/// See the file.
#[derive(Default)]
pub struct NeverProlonged {
    /// The last moment of each lease that a host has promised to end.
    until: BTreeMap<(Host, WorkName, Generation), True>,
}

impl Checker for NeverProlonged {
    fn property(&self) -> &'static str {
        "a lease that has ended is never prolonged"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Promised {
                host,
                work,
                generation,
                until,
                ..
            } => {
                let key = (*host, work.clone(), *generation);
                let before = self.until.insert(key, *until)?;
                // What is over already prolongs nothing.
                (at >= before && *until > before.max(at)).then(|| {
                    format!(
                        "{work} {generation} on host-{host} ended at {before} and is prolonged to \
                         {until}"
                    )
                })
            }
            // Promises are over with the boot that made them. An agent that died may have written a
            // renewal down just before it could promise it, or has lost what it had written. One
            // that was frozen may have renewed in time and promises it now.
            Fact::PoweredOff { host, .. } | Fact::AgentBegan { host } | Fact::Thawed { host } => {
                self.until.retain(|(of, _, _), _| of != host);
                None
            }
            _ => None,
        }
    }
}
