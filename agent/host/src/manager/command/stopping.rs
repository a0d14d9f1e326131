//! Ends what runs of a command, and says so only when nothing of it is left.

use nodemedic_agent_core::{Act, DownCause};
use nodemedic_edge::child;
use nodemedic_protocol::Millis;
use nodemedic_protocol::event::Verb;

use super::record::Record;
use super::{CommandUnit, State, ending, spawn};

/// Output of a stop command that is kept for the record of the action.
const STOP_OUTPUT_MAX_BYTES: usize = 4096;

impl CommandUnit {
    pub(super) async fn stop(&mut self, act: &Act) -> Result<(), String> {
        self.gated = None;
        let Some(record) = self.record().await? else {
            self.state = State::Down(match &self.state {
                State::Down(cause) => cause.clone(),
                _ => DownCause::NotStarted,
            });
            return Ok(());
        };
        let members = record.members();
        let mut grace = act.stop_grace;
        let running = !members.find().await?.is_empty();
        // What is to be killed hard is not asked before.
        let kill = act.verb == Verb::Kill;
        if kill {
            grace = Millis::ZERO;
        }
        let asked = running && !kill && !self.run.stop.is_empty();
        if asked {
            let took = self.ask_to_stop(&record, grace).await;
            grace = grace - took;
        }
        if running {
            members.end(!asked && !kill, grace).await?;
        }
        // The only proof that counts: nobody is there any more.
        let left = members.find().await?;
        if !left.is_empty() {
            return Err(format!(
                "still there after SIGKILL: {}",
                ending::list(&left)
            ));
        }
        if let State::Up(running) = &self.state {
            let _how_we_ended_it = running.process.collect();
        }
        self.forget().await?;
        self.state = State::Down(DownCause::NotStarted);
        Ok(())
    }

    /// Runs the stop command. Whatever it answers, what is left afterwards is counted and killed.
    async fn ask_to_stop(&self, record: &Record, grace: Millis) -> Millis {
        let mut words = self.run.stop.iter();
        let Some(program) = words.next() else {
            return Millis::ZERO;
        };
        let mut env = self.run.environment.clone();
        env.extend(spawn::own_environment(
            &self.unit,
            &self.places,
            record.generation,
        ));
        let began = nodemedic_edge::clock::boottime();
        let ended = child::run(child::Spec {
            program: program.into(),
            args: words.cloned().collect(),
            env,
            cwd: None,
            stdin: Vec::new(),
            timeout: grace,
            output_max_bytes: STOP_OUTPUT_MAX_BYTES,
        })
        .await;
        match ended {
            Ok(finished) if finished.code == Some(0) => {}
            Ok(finished) => tracing::warn!(
                unit = %self.unit,
                code = finished.code,
                signal = finished.signal,
                stderr = %String::from_utf8_lossy(&finished.stderr),
                "the stop command failed; what is left is killed"
            ),
            Err(error) => {
                tracing::warn!(
                    unit = %self.unit,
                    %error,
                    "the stop command failed; what is left is killed"
                );
            }
        }
        nodemedic_edge::clock::boottime().since(began)
    }
}
