//! The end of the ladder: proved not to run and kept out, and the ways back.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::work::StopCause;
use nodemedic_protocol::{Boottime, Millis, Now};

use super::{Ctx, Goal, Ledger, Stage, Unit, Wish, backoff};
use crate::config::RestartPolicy;
use crate::effect::LogLevel;
use crate::input::{DownCause, Seen};
use crate::unit::UnitKey;

/// How fast a stop that could not be proved is tried again: soon, because exclusive work may wait
/// for it elsewhere, but a hung kernel is not asked more than twice a minute.
const STOP_RETRY: RestartPolicy = RestartPolicy {
    max: u32::MAX,
    window: Millis::ZERO,
    backoff: Millis::from_secs(1),
    backoff_max: Millis::from_secs(30),
    healthy_after: Millis::ZERO,
};

impl Unit {
    pub(super) fn fence(&mut self, ctx: &mut Ctx<'_>, cause: String) {
        self.goal = Goal::Fence;
        self.detail.clone_from(&cause);
        match &self.key {
            UnitKey::Service(name) => ctx.tools.ledger.set_fenced(ctx.now(), name, &cause, false),
            UnitKey::Work(work) => {
                ctx.out
                    .ending
                    .push((work.clone(), StopCause::Fenced, cause.clone()));
            }
        }
        self.begin(ctx, Verb::Fence, cause, None);
    }

    /// A fenced service that somebody starts by hand is left alone: that person is at work on it.
    pub(super) fn settle_fence(&mut self, ctx: &mut Ctx<'_>, seen: &Seen) {
        let running = matches!(seen, Seen::Running { .. });
        match (&self.key, &self.stage) {
            (UnitKey::Service(_), Stage::Fenced { .. }) if running => {
                self.detail =
                    "runs although it is fenced; unfence it to have it looked after".to_string();
            }
            (UnitKey::Work(_), Stage::Fenced { .. }) if running => {
                let cause = "it runs although it is fenced here".to_string();
                self.begin(ctx, Verb::Fence, cause, None);
            }
            (UnitKey::Service(name), Stage::Unseen) => {
                let fenced = ctx.tools.ledger.fenced(name).cloned();
                match fenced {
                    Some(fenced) if fenced.proved => {
                        self.detail = fenced.cause;
                        self.enter_fenced(ctx);
                        self.tell_fenced(ctx);
                    }
                    _ => self.want(ctx, Wish::Fence, "it is fenced".to_string()),
                }
            }
            _ => {}
        }
    }

    pub(super) fn stop_is_over(&mut self, ctx: &mut Ctx<'_>, verb: Verb, outcome: &Outcome) {
        let now = ctx.now().boot;
        if *outcome != Outcome::Done {
            let wait = backoff::delay(&STOP_RETRY, self.unproved + 1, &mut ctx.tools.rng);
            self.unproved = self.unproved.saturating_add(1).min(16);
            if verb == Verb::Fence {
                self.tell_fence_failed(ctx, outcome);
            }
            self.enter(
                now,
                Stage::Unproved {
                    verb,
                    retry_at: now + wait,
                },
            );
            return;
        }
        self.unproved = 0;
        match self.goal {
            // The stop made room for a run under the right grant.
            Goal::Run => {
                self.enter(now, Stage::Unseen);
                if self.is_stopped_by_other() || !self.is_running() {
                    self.seen = Some(Seen::NotRunning {
                        cause: DownCause::NotStarted,
                    });
                }
                self.settle(ctx);
            }
            Goal::Stop { .. } => {
                self.enter(now, Stage::Stopped);
                self.down_since = None;
                let component = self.key.component();
                ctx.book.clear(
                    ctx.out,
                    &component,
                    &Reason::Down,
                    "it is stopped on request",
                );
                ctx.out.proved.push(self.key.clone());
            }
            Goal::Fence => {
                if let UnitKey::Service(name) = &self.key {
                    let now = ctx.now();
                    ctx.tools.ledger.set_fenced(now, name, &self.detail, true);
                }
                self.enter_fenced(ctx);
                self.tell_fenced(ctx);
                ctx.out.proved.push(self.key.clone());
            }
        }
    }

    /// A person lets it back, with a fresh budget.
    pub(crate) fn unfence(&mut self, ctx: &mut Ctx<'_>) {
        if self.goal != Goal::Fence {
            ctx.out.log(
                LogLevel::Info,
                format!("{} is not fenced, so there is nothing to undo", self.key),
            );
            return;
        }
        self.own_try = false;
        let cause = "a person lets it back".to_string();
        self.begin(ctx, Verb::Unfence, cause, None);
    }

    pub(super) fn unfence_is_over(&mut self, ctx: &mut Ctx<'_>, outcome: &Outcome) {
        let own_try = core::mem::take(&mut self.own_try);
        if *outcome != Outcome::Done {
            if let (UnitKey::Service(name), true) = (&self.key, own_try) {
                // The next try waits as long as this one did.
                ctx.tools.ledger.put_off(ctx.out.now, name);
            }
            self.enter_fenced(ctx);
            return;
        }
        self.failures = 0;
        self.goal = Goal::Run;
        match &self.key {
            // From here on it counts: an agent that dies before tries again.
            UnitKey::Service(name) if own_try => ctx.tools.ledger.note_try(name),
            _ => self.renew(ctx),
        }
        self.enter(ctx.now().boot, Stage::Unseen);
        if !self.is_running() {
            // Our own fence stopped it, whatever the manager says of that.
            self.seen = Some(Seen::NotRunning {
                cause: DownCause::NotStarted,
            });
        }
        self.settle(ctx);
    }

    /// A person's word: everything is forgotten, and the budget is whole again.
    fn renew(&mut self, ctx: &mut Ctx<'_>) {
        if let UnitKey::Service(name) = &self.key {
            ctx.tools.ledger.unset_fenced(name);
            ctx.tools.ledger.forget_tries(name);
        }
        ctx.tools.budget.renew(&self.key);
        ctx.tools.ledger.forget_starts(&self.key);
        self.down_since = None;
        self.detail.clear();
        self.clear_fenced(ctx, "a person let it back");
    }

    fn clear_fenced(&self, ctx: &mut Ctx<'_>, because: &str) {
        let component = self.key.component();
        for reason in [Reason::Fenced, Reason::FenceFailed] {
            ctx.book.clear(ctx.out, &component, &reason, because);
        }
    }

    /// Proved not to run from here on, and tried again by itself at its time.
    fn enter_fenced(&mut self, ctx: &Ctx<'_>) {
        let now = ctx.now();
        let retry_at = self.retry_at(now, &ctx.tools.ledger);
        self.enter(now.boot, Stage::Fenced { retry_at });
    }

    /// When it is tried again by itself. Of another boot the time counts from the beginning of this
    /// one, as that of the budget does.
    pub(super) fn retry_at(&self, now: Now, ledger: &Ledger) -> Option<Boottime> {
        let (UnitKey::Service(name), Some(retry)) = (&self.key, self.plan.retry) else {
            return None;
        };
        let since = ledger.fenced_since(now, name)?;
        (ledger.tries(name) < retry.times).then_some(since + retry.after)
    }

    /// The time of its own try has come. Somebody who started it by hand is at work on it.
    pub(super) fn retry(&mut self, ctx: &mut Ctx<'_>, cause: String) {
        if self.is_running() {
            let now = ctx.now().boot;
            self.enter(now, Stage::Fenced { retry_at: None });
            return;
        }
        self.own_try = true;
        self.begin(ctx, Verb::Unfence, cause, None);
    }

    fn is_tried(&self, ctx: &Ctx<'_>) -> bool {
        match &self.key {
            UnitKey::Service(name) => ctx.tools.ledger.fenced(name).is_some_and(|f| f.trying),
            UnitKey::Work(_) => false,
        }
    }

    /// It runs well: a try of its own has helped.
    pub(super) fn end_try(&mut self, ctx: &mut Ctx<'_>) {
        if let UnitKey::Service(name) = &self.key
            && self.is_tried(ctx)
        {
            ctx.tools.ledger.unset_fenced(name);
            self.clear_fenced(ctx, "it was tried again, and runs well");
        }
    }
}
