//! What managers, probes and acts say of units, on its way to the unit that is meant.

use crate::agent::Agent;
use crate::input::{DownCause, Input, Seen};
use crate::mutation::Mutation;
use crate::out::Out;
use crate::supervisor::{Ended, Order};

impl Agent {
    /// What was said of one unit.
    pub(crate) fn take_said(&mut self, out: &mut Out, said: Input) {
        match said {
            Input::Observed {
                unit,
                mut seen,
                started,
            } => {
                if self.config.mutation.has(Mutation::UnknownIsDown)
                    && matches!(seen, Seen::Unknown { .. })
                {
                    let cause = DownCause::Gone;
                    seen = Seen::NotRunning { cause };
                }
                let seen = (seen, started);
                self.supervisor.observed(out, &mut self.book, &unit, seen);
            }
            Input::Ordering {
                unit,
                after,
                requires,
            } => {
                let order = Order { after, requires };
                self.supervisor.manners_mut().set_order(unit, order);
            }
            Input::Probed {
                unit,
                probe,
                verdict,
            } => {
                let answer = (probe, verdict);
                self.supervisor.probed(out, &mut self.book, &unit, answer);
            }
            Input::NotBegun { action, why } => {
                self.supervisor.not_begun(out, &mut self.book, action, &why);
            }
            Input::ActionEnded {
                action,
                outcome,
                command,
                took,
                hooks,
                seen,
            } => {
                let ended = Ended {
                    action,
                    outcome,
                    command,
                    took,
                    hooks,
                    seen,
                };
                self.supervisor.ended(out, &mut self.book, ended);
            }
            _ => {}
        }
    }
}
