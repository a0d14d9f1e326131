//! Whether exclusive work may start, and what must still stand at the moment when it does.

use nodemedic_protocol::work::{Enforcement, OnLeaseLoss};
use nodemedic_protocol::{Generation, WorkName};

use crate::agent::Agent;
use crate::effect::{Gate, GatePromise};
use crate::mutation::Mutation;
use crate::out::Out;
use crate::supervisor::Permit;

impl Agent {
    /// The watchdog said how it keeps promises.
    pub(crate) fn take_enforcement(&mut self, enforcement: Enforcement) {
        if self.enforcement != enforcement {
            self.enforcement = enforcement;
            // The birth that says so leaves after this is written down.
            self.declared |= enforcement != Enforcement::None;
            self.report.rebirth();
        }
    }

    /// Exclusive work starts under a lease that still holds at the moment of the start, and where
    /// the coordinator may count on the watchdog only after the watchdog knows of it.
    pub(crate) fn permit(
        &self,
        out: &Out,
        work: &WorkName,
        sharing: Option<OnLeaseLoss>,
        generation: Generation,
    ) -> Permit {
        let Some(on_loss) = sharing else {
            return Permit::Free;
        };
        if self.config.mutation.has(Mutation::StartWithoutLease) {
            return Permit::Free;
        }
        let covered = self.leases.covers(out.now.boot, work, generation);
        let deadline = self.leases.deadline(work, generation);
        let Some(deadline) = deadline.filter(|_| covered) else {
            return Permit::No("waits for its lease");
        };
        let promise = match (on_loss, self.declared) {
            (OnLeaseLoss::Keep, _) => GatePromise::No,
            (OnLeaseLoss::Stop, false) => GatePromise::IfEnforced,
            (OnLeaseLoss::Stop, true) if self.enforcement == Enforcement::None => {
                return Permit::No(
                    "waits for the watchdog, which was there on this boot and does not answer",
                );
            }
            (OnLeaseLoss::Stop, true) => GatePromise::Required,
        };
        Permit::Gated(Gate { deadline, promise })
    }
}
