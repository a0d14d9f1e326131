//! What waits behind its gate: let in, or sent away.

use std::time::Duration;

use nodemedic_agent_core::{Act, DownCause};
use nodemedic_protocol::Millis;
use tokio::time::timeout;

use super::record::Record;
use super::{CommandUnit, Running, State, blocking};
use crate::manager::process::Process;
use crate::manager::target::Target;

/// A gate that could not become its command ends right after it said so.
const GATE_END_WAIT: Duration = Duration::from_secs(1);

impl CommandUnit {
    /// Brings what waits behind its gate to run, once its lease and its promise stand.
    ///
    /// # Errors
    /// Why it must not run.
    pub(super) async fn pass(&mut self, act: &Act) -> Result<(), String> {
        let Some(gated) = &self.gated else {
            return Ok(());
        };
        let target = Target::Session {
            leader: gated.pid,
            start_ticks: gated.start_ticks,
        };
        let pass = self.door.pass(act, target).await?;
        let record = Record {
            gated: false,
            ..gated.record.clone()
        };
        let (unit, places) = (self.unit.clone(), self.places.clone());
        blocking(move || record.save(&unit, &places)).await?;
        let process = Process::open(gated.pid, Some(gated.start_ticks));
        let process = process.map_err(|error| error.to_string())?;
        let process = process.ok_or("its gate ended before it was opened")?;
        // From here to the open gate nothing waits.
        if let Some(pass) = pass {
            pass.still_holds()?;
        }
        let latch = self.gated.take().and_then(|gated| gated.latch);
        self.state = State::Up(Running {
            process,
            generation: act.generation,
        });
        if let Some(latch) = latch
            && let Err(error) = latch.open().await
        {
            let state = State::Down(DownCause::Failed(error));
            if let State::Up(gate) = std::mem::replace(&mut self.state, state)
                && let Ok(Ok(())) = timeout(GATE_END_WAIT, gate.process.ended()).await
            {
                let _it_said_why = gate.process.collect();
            }
        }
        Ok(())
    }

    /// Shuts the gate for good and proves that nobody waits behind it.
    pub(super) async fn send_away(&mut self) {
        self.gated = None;
        let ended = async {
            if let Some(record) = self.record().await? {
                record.members().end(false, Millis::ZERO).await?;
            }
            self.forget().await
        };
        self.state = match ended.await {
            Ok(()) => State::Down(DownCause::NotStarted),
            Err(error) => State::Unseen(error),
        };
    }
}
