//! What a new run of the agent takes over of a unit's history, so that an agent that dies between
//! any two steps neither loses an act nor does one twice.

use alloc::string::ToString;

use nodemedic_protocol::Boottime;
use nodemedic_protocol::event::Verb;

use super::{Ctx, Stage, Unit, Wish};
use crate::input::DownCause;
use crate::memory::{Ailing, Due, Intent};

/// What is left of an earlier run and was not acted on yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recalled {
    /// What was to be done to it.
    due: Option<Due>,
    /// What was begun, or was about to be.
    cut: Option<Intent>,
    /// It was let back by itself, and not yet seen well.
    tried: bool,
    /// It was down then, and to be started: who came later found it so.
    down_at: Option<Boottime>,
}

impl Unit {
    /// Takes over what an earlier run knew.
    pub(super) fn recall(&mut self, ailing: Option<Ailing>, cut: Option<Intent>, tried: bool) {
        let starts = cut.as_ref().filter(|cut| cut.verb.starts());
        let due = ailing.as_ref().and_then(|ailing| ailing.due.as_ref());
        let begun = starts.map(|cut| cut.at.boot);
        self.recalled.down_at = begun.max(due.and_then(|due| due.down_at));
        if let Some(ailing) = ailing {
            self.failures = ailing.failures;
            self.down_since = ailing.down_since;
            self.recalled.due = ailing.due;
        }
        self.recalled.cut = cut;
        self.recalled.tried = tried;
    }

    /// True when somebody else stopped it, or may have.
    pub(super) fn is_by_other(&self, cause: &DownCause) -> bool {
        match cause {
            DownCause::StoppedByOther => true,
            // Before a start systemd is told to forget the failure; an agent that dies between the
            // two leaves a unit that looks as if a person had stopped it.
            DownCause::FoundDown { since } => self.recalled.down_at.is_none_or(|at| at <= *since),
            _ => false,
        }
    }

    /// True when it was down by our own doing as the run before ended: nobody can have stopped it
    /// since.
    pub(super) fn was_down_by_us(&self) -> bool {
        let start = |intent: &Intent| intent.verb == Verb::Start;
        self.recalled.tried || self.recalled.cut.as_ref().is_some_and(start)
    }

    /// What the next run must know.
    pub(crate) fn ailing(&self) -> Option<Ailing> {
        let due = match &self.stage {
            Stage::Backoff { retry_at, cause } => Some(Due {
                at: *retry_at,
                down_at: Some(self.stage_since),
                cause: cause.clone(),
            }),
            Stage::Waiting {
                wish: Wish::Heal,
                cause,
                since,
                ..
            } => Some(Due {
                at: *since,
                down_at: Some(self.stage_since),
                cause: cause.clone(),
            }),
            _ => self.recalled.due.clone(),
        };
        let ails = self.failures > 0 || self.down_since.is_some() || due.is_some();
        ails.then(|| Ailing {
            unit: self.key.clone(),
            generation: self.plan.generation,
            failures: self.failures,
            down_since: self.down_since,
            due,
        })
    }

    /// An intent of the run before that nobody has judged yet.
    pub(crate) const fn cut(&self) -> Option<&Intent> {
        self.recalled.cut.as_ref()
    }

    /// It is seen for the first time, and does not run. Returns whether that is accounted for.
    pub(super) fn resume_down(&mut self, ctx: &mut Ctx<'_>) -> bool {
        if let Some(due) = self.recalled.due.take() {
            self.recalled.cut = None;
            let (retry_at, cause) = (due.at, due.cause);
            self.enter(ctx.now().boot, Stage::Backoff { retry_at, cause });
            return true;
        }
        let tried = core::mem::take(&mut self.recalled.tried);
        let Some(intent) = self.take_undone(ctx) else {
            if tried {
                self.want(ctx, Wish::Heal, "it is tried again".to_string());
            }
            return tried;
        };
        let wish = match intent.verb {
            Verb::Start => Wish::Start,
            _ => Wish::Heal,
        };
        self.want(ctx, wish, intent.cause);
        true
    }

    /// It is seen for the first time, and runs: whether it must be acted on is judged anew.
    pub(super) fn resume_running(&mut self, ctx: &mut Ctx<'_>) {
        self.recalled.due = None;
        self.recalled.tried = false;
        self.recalled.down_at = None;
        let _the_use_is_given_back = self.take_undone(ctx);
    }

    /// The intent that was cut off, if it was certainly not begun: its newest start is older. Then
    /// what it took is given back. Where nobody can tell it counts as done.
    fn take_undone(&mut self, ctx: &mut Ctx<'_>) -> Option<Intent> {
        let intent = self.recalled.cut.take()?;
        if self.started.is_none_or(|at| at >= intent.at.boot) {
            return None;
        }
        if intent.verb.restarts() {
            ctx.tools.budget.give_back(&self.key);
        } else {
            ctx.tools
                .ledger
                .forget_start(&self.key, self.plan.generation);
        }
        Some(intent)
    }
}
