//! When the package manager's lock is looked at: in the moment in which something may have to be
//! done, and, while that waits, once in each turn of the loop. Never otherwise.

use nodemedic_agent_core::{Input, Seen, ToNode, Verdict};
use nodemedic_agent_host::packages::PackageLocks;
use nodemedic_protocol::message::{Command, CommandBody};
use nodemedic_protocol::{Boottime, Millis};

/// Five hundred units that fail in one moment are one look.
const LOOK_EVERY: Millis = Millis(100);

/// The newest look.
#[derive(Debug, Default)]
pub struct Packages {
    locks: PackageLocks,
    looked: Option<Boottime>,
}

impl Packages {
    /// Looks, unless it was done just now.
    pub fn look(&mut self, now: Boottime) -> Option<bool> {
        if self.looked.is_some_and(|at| now.since(at) < LOOK_EVERY) {
            return None;
        }
        self.looked = Some(now);
        Some(self.locks.held())
    }
}

/// Whether an input may make the core restart something, or do something about the host.
#[must_use]
pub const fn may_lead_to_an_act(input: &Input) -> bool {
    matches!(
        input,
        Input::Observed {
            seen: Seen::NotRunning { .. },
            ..
        } | Input::Probed {
            verdict: Verdict::Fail(_),
            ..
        } | Input::ActionEnded { .. }
            | Input::TreatmentEnded { .. }
            | Input::PluginReport { .. }
            | Input::Received {
                message: ToNode::Command(Command {
                    body: CommandBody::Reboot,
                    ..
                }),
                ..
            }
    )
}
