//! The last look before exclusive work starts: is its lease still in force, and does the watchdog
//! know what to end when it is over?

use std::path::PathBuf;

use nodemedic_agent_core::{Act, GatePromise, UnitKey};
use nodemedic_edge::clock;
use nodemedic_protocol::{Boottime, Millis};
use tokio::time::timeout;

use super::target::{Target, Targets};
use crate::watchdog::confirm::Confirmer;

/// What a start has to pass.
#[derive(Clone, Debug)]
pub struct Door {
    /// What the watchdog has to kill.
    pub targets: Targets,
    /// Where its word is asked for.
    pub confirmer: Confirmer,
    /// The program that is the gate of a command: this agent.
    pub gate_program: PathBuf,
}

/// Until when the start may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(Boottime);

impl Pass {
    /// The look of the very last moment.
    ///
    /// # Errors
    /// When the lease is over.
    pub fn still_holds(self) -> Result<(), String> {
        let now = clock::boottime();
        if now < self.0 {
            return Ok(());
        }
        let late = now.since(self.0);
        Err(format!("its lease ended {late} before it could start"))
    }
}

impl Door {
    /// Names the target to the watchdog and waits for its word, where the act asks for it. `None`
    /// for what has no gate.
    ///
    /// # Errors
    /// Why it must not start.
    pub async fn pass(&self, act: &Act, target: Target) -> Result<Option<Pass>, String> {
        let Some(gate) = act.gate else {
            return Ok(None);
        };
        let (UnitKey::Work(work), Some(generation)) = (&act.unit, act.generation) else {
            return Err("only work of the fleet starts under a lease".to_owned());
        };
        let mut deadline = gate.deadline;
        if gate.promise != GatePromise::No {
            self.targets.set(&act.unit, target);
            // The other half of the time is for the start itself.
            let within = Millis(act.timeout.0 / 2);
            let asked = self.confirmer.confirm(work, generation, gate.promise);
            let answer = timeout(within.to_duration(), asked).await;
            let answer = answer
                .unwrap_or_else(|_| Err(format!("no watchdog took its promise within {within}")));
            deadline = answer?.unwrap_or(deadline);
        }
        let pass = Pass(deadline);
        pass.still_holds().map(|()| Some(pass))
    }
}
