//! What a unit is to do: taken from its configuration or its grant, and how that begins.

use alloc::string::{String, ToString};

use nodemedic_protocol::event::Verb;

use super::{Ctx, Goal, Permit, Stage, Unit};
use crate::unit::UnitKey;

impl Unit {
    /// What it is to do, and whether it may start now.
    pub(crate) fn aim(&mut self, ctx: &mut Ctx<'_>, goal: Goal, permit: Permit) {
        let gained = permit.may_start() && !self.permit.may_start();
        self.permit = permit;
        if self.goal == goal {
            if gained && self.stage == Stage::Idle {
                self.settle(ctx);
            }
            return;
        }
        self.goal = goal;
        match goal {
            Goal::Run => self.settle(ctx),
            Goal::Stop { .. } if self.stage == Stage::Stopped => {}
            Goal::Stop { .. } => {
                let cause = self.detail_of_stop();
                self.begin(ctx, Verb::Stop, cause, None);
            }
            Goal::Fence if matches!(self.stage, Stage::Fenced { .. }) => {}
            // A service that an earlier run fenced: its first observation says what is left to do.
            Goal::Fence if self.stage == Stage::Unseen && self.is_service() => {}
            Goal::Fence => self.begin(ctx, Verb::Fence, "it is fenced".to_string(), None),
        }
    }

    const fn is_service(&self) -> bool {
        matches!(self.key, UnitKey::Service(_))
    }

    fn detail_of_stop(&self) -> String {
        if self.detail.is_empty() {
            "the assignment says so".to_string()
        } else {
            self.detail.clone()
        }
    }

    /// One line for people: why it stands as it does.
    pub(crate) fn explain(&mut self, detail: String) {
        self.detail = detail;
    }

    /// Known to be proved stopped by an earlier run on this boot: only a stray run matters.
    pub(crate) fn settled(mut self, goal: Goal) -> Unit {
        self.goal = goal;
        self.stage = match goal {
            Goal::Fence => Stage::Fenced { retry_at: None },
            Goal::Run | Goal::Stop { .. } => Stage::Stopped,
        };
        self
    }
}
