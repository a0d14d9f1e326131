//! Between the agent and its remedies: what they must know of the rest, and what the rest asks.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::Outcome;
use nodemedic_protocol::message::{Answer, Refusal};
use nodemedic_protocol::{CommandId, Level, Millis};

use super::Around;
use crate::agent::Agent;
use crate::out::Out;
use crate::unit::UnitKey;

impl Agent {
    fn around(&self, out: &Out) -> Around {
        let manners = self.supervisor.manners();
        let paused = manners.pauses.get(None).map(|pause| pause.reason);
        let installing = manners.packages_until(out.now.boot);
        let installing = installing.map(|_| "the package manager is at work".to_string());
        let held = self.works.held().iter();
        let mut exclusive = held.filter(|(_, held)| held.exclusive().is_some() && !held.stopped);
        Around {
            mode: self.config.healing.mode,
            held: paused
                .map(|reason| format!("paused: {reason}"))
                .or(installing),
            exclusive: exclusive
                .next()
                .map(|(work, _)| UnitKey::Work(work.clone()).to_string()),
            well: matches!(self.level(), Level::Healthy | Level::Degraded),
        }
    }

    /// True while something may have to be done about the host itself: then the package manager's
    /// lock is looked at before what may lead to it.
    #[must_use]
    pub fn may_treat(&self) -> bool {
        self.doctor.has_due()
    }

    /// What conditions and time ask of remedies.
    pub(crate) fn doctor_turn(&mut self, out: &mut Out) {
        let around = self.around(out);
        let word = self.doctor.word();
        let settings = &self.config.remedies;
        self.doctor.tick(out, &mut self.book, settings, &around);
        // A coordinator waits for it, and what is placed meanwhile is placed in vain.
        if self.doctor.word() != word {
            self.report.hurry(out.now.boot);
        }
    }

    pub(crate) fn treated(
        &mut self,
        out: &mut Out,
        (id, outcome): (u64, Outcome),
        (command, took): (String, Millis),
    ) {
        let failed = match &outcome {
            Outcome::Done => None,
            Outcome::Failed(why) => Some(why.clone()),
            Outcome::TimedOut => Some("no answer in time".to_string()),
            Outcome::Interrupted => Some("interrupted".to_string()),
        };
        if let Some(error) = failed {
            self.doctor.not_gone(out, id, error);
        }
        let settings = &self.config.remedies;
        self.doctor
            .ended(out, settings, (id, outcome), (command, took));
    }

    /// A permit to reboot arrived, and the command was for this node and boot, and in time.
    pub(crate) fn permitted(&mut self, out: &mut Out, id: &CommandId) -> Answer {
        let around = self.around(out);
        let settings = &self.config.remedies;
        match self.doctor.permit(out, settings, &around, id) {
            Ok(()) => {
                self.report.hurry(out.now.boot);
                Answer::Taken
            }
            Err(why) => Answer::Refused(Refusal::NotNow { why }),
        }
    }
}
