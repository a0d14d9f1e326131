//! What follows from what is seen of a unit: the rungs of the ladder.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::work::StopCause;
use nodemedic_protocol::{Generation, Millis, Severity};

use super::probes::Probes;
use super::{Ctx, Goal, Stage, Unit, Wish, backoff};
use crate::conditions::Finding;
use crate::input::{DownCause, Seen};
use crate::mutation::Mutation;
use crate::unit::UnitKey;

impl Unit {
    /// Acts on what was seen last.
    pub(super) fn settle(&mut self, ctx: &mut Ctx<'_>) {
        let Some(seen) = self.seen.clone() else {
            return;
        };
        match self.goal {
            Goal::Run => self.settle_run(ctx, seen),
            Goal::Stop { .. } => self.settle_stop(ctx, &seen),
            Goal::Fence => self.settle_fence(ctx, &seen),
        }
    }

    fn settle_run(&mut self, ctx: &mut Ctx<'_>, seen: Seen) {
        match seen {
            Seen::Running { generation, .. } => self.settle_running(ctx, generation),
            Seen::NotRunning { cause } => self.settle_down(ctx, &cause),
            Seen::Unknown { why } => self.enter(ctx.now().boot, Stage::Unknown { why }),
        }
    }

    /// It does not run.
    fn settle_down(&mut self, ctx: &mut Ctx<'_>, cause: &DownCause) {
        let begun = ctx
            .tools
            .ledger
            .was_started(&self.key, self.plan.generation);
        let is_work = matches!(self.key, UnitKey::Work(_));
        let by_other = self.is_by_other(cause);
        let waits = match self.stage {
            Stage::Backoff { .. } | Stage::Waiting { .. } => !by_other,
            Stage::Idle => !self.permit.may_start(),
            _ => false,
        };
        let kept_down = by_other && !is_work && !self.was_down_by_us();
        if waits || (!kept_down && self.resume_down(ctx)) {
            return;
        }
        // What is seen of work before its first start under this grant is left from another one.
        if !begun && (is_work || *cause == DownCause::NotStarted) {
            self.first_start(ctx);
        } else if by_other {
            self.hold(ctx);
        } else {
            self.failed(ctx, cause.to_string());
        }
    }

    /// It runs. Under which grant decides whether that is ours.
    fn settle_running(&mut self, ctx: &mut Ctx<'_>, generation: Option<Generation>) {
        let now = ctx.now().boot;
        match (generation, self.plan.generation) {
            (Some(found), Some(mine)) if found < mine => {
                let cause = format!("it runs under generation {found}, {mine} is granted");
                self.begin(ctx, Verb::Stop, cause, None);
                return;
            }
            (Some(found), Some(mine)) if found > mine => {
                let why =
                    format!("it runs under generation {found}, newer than the granted {mine}");
                self.enter(now, Stage::Unknown { why });
                return;
            }
            _ => {}
        }
        ctx.tools
            .ledger
            .note_started(&self.key, self.plan.generation);
        self.resume_running(ctx);
        match self.stage {
            Stage::Starting { .. } | Stage::Running { .. } | Stage::Suspect { .. } => {}
            // Its probe was what could not be seen; only the probe's own answer ends that.
            Stage::Unknown { .. } if self.plan.is_probed() && self.well_since.is_some() => {}
            _ if self.plan.is_probed() => {
                let until = (now + self.plan.start_grace).max(self.boot_grace_ends());
                self.probes = Probes::new(&self.plan.asked());
                self.enter(now, Stage::Starting { until, last: None });
            }
            _ => self.enter_running(ctx),
        }
    }

    /// The first start on this boot (for work: under this grant) is no restart and takes nothing
    /// from the budget.
    fn first_start(&mut self, ctx: &mut Ctx<'_>) {
        if self.permit.may_start() {
            self.want(ctx, Wish::Start, "it is to run".to_string());
        } else {
            self.enter(ctx.now().boot, Stage::Idle);
        }
    }

    /// Its turn to be started for the first time has come.
    pub(super) fn start(&mut self, ctx: &mut Ctx<'_>, cause: String) {
        if self.permit.may_start() {
            self.begin(ctx, Verb::Start, cause, None);
        } else {
            self.enter(ctx.now().boot, Stage::Idle);
        }
    }

    /// Somebody else stopped it on purpose. A service then stays as it is; work gives its grant
    /// back, because the fleet wants it to run somewhere.
    fn hold(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now().boot;
        self.well_since = None;
        self.detail = "stopped by somebody else on this host".to_string();
        if let UnitKey::Work(work) = &self.key {
            ctx.out
                .ending
                .push((work.clone(), StopCause::Refused, self.detail.clone()));
            self.enter(now, Stage::Held);
            return;
        }
        self.enter(now, Stage::Held);
        let finding = Finding::plain(
            Severity::Info,
            format!(
                "{} was stopped by somebody else; it is not restarted",
                self.key
            ),
        );
        let component = self.key.component();
        ctx.book.raise(ctx.out, &component, &Reason::Down, finding);
    }

    /// It failed: down, or its probe failed for too long.
    pub(super) fn failed(&mut self, ctx: &mut Ctx<'_>, cause: String) {
        let now = ctx.now().boot;
        self.tell_down(ctx, &cause);
        self.stretch_ends(ctx);
        let wait = backoff::delay(&self.plan.restart, self.failures, &mut ctx.tools.rng);
        self.failures = self.failures.saturating_add(1);
        if wait == Millis::ZERO {
            // Healed within milliseconds, most times: an event in the journal, no condition, and
            // so nobody is called.
            self.want(ctx, Wish::Heal, cause);
        } else {
            self.raise_down(ctx, &cause);
            self.enter(
                now,
                Stage::Backoff {
                    retry_at: now + wait,
                    cause,
                },
            );
        }
    }

    /// It runs well no longer. A stretch that was long enough has ended the row of failures.
    pub(super) fn stretch_ends(&mut self, ctx: &mut Ctx<'_>) {
        let Some(since) = self.well_since.take() else {
            return;
        };
        let span = ctx.now().boot.since(since);
        if span >= self.plan.restart.healthy_after {
            self.failures = 0;
        }
        if let (UnitKey::Service(name), Some(retry)) = (&self.key, self.plan.retry)
            && span >= retry.after
        {
            ctx.tools.ledger.forget_tries(name);
        }
    }

    /// Restarts it if that is allowed and the budget has a use left; fences it if not.
    pub(super) fn restart(&mut self, ctx: &mut Ctx<'_>, cause: String) {
        let now = ctx.now();
        if !self.permit.may_start() {
            self.raise_down(ctx, &cause);
            self.enter(now.boot, Stage::Idle);
            return;
        }
        if !ctx
            .tools
            .ledger
            .was_started(&self.key, self.plan.generation)
        {
            self.begin(ctx, Verb::Start, cause, None);
            return;
        }
        let free = ctx.tools.mutation.has(Mutation::KillIsFree);
        if free && self.rung_verb() == Verb::Kill {
            self.begin(ctx, Verb::Kill, cause, None);
            return;
        }
        match ctx.tools.budget.take(now, &self.key, &self.plan.restart) {
            Ok(budget) => self.begin(ctx, self.rung_verb(), cause, Some(budget)),
            Err(spent) => {
                let cause = format!(
                    "{} restarts in {} did not help: {cause}",
                    spent.used, spent.window
                );
                self.fence(ctx, cause);
            }
        }
    }

    fn settle_stop(&mut self, ctx: &mut Ctx<'_>, seen: &Seen) {
        if self.stage == Stage::Stopped && matches!(seen, Seen::Running { .. }) {
            let cause = "it runs although it is not granted here".to_string();
            self.begin(ctx, Verb::Stop, cause, None);
        }
    }

    /// Its action is over, and what was seen after it is in `self.seen`.
    pub(super) fn act_is_over(&mut self, ctx: &mut Ctx<'_>, verb: Verb, outcome: &Outcome) {
        let now = ctx.now().boot;
        match verb {
            Verb::Start | Verb::Restart | Verb::Kill => {
                self.enter(now, Stage::Unseen);
                let gate = match &self.seen {
                    Some(Seen::NotRunning {
                        cause: DownCause::TurnedAway(why),
                    }) => Some(why.clone()),
                    _ => None,
                };
                if let Some(why) = gate {
                    self.turned_away(ctx, verb, why);
                    return;
                }
                self.turned_away = 0;
                match (outcome, &self.seen) {
                    (Outcome::Failed(why), Some(Seen::NotRunning { .. }))
                        if !self.is_stopped_by_other() =>
                    {
                        let why = format!("its {verb} failed: {why}");
                        self.failed(ctx, why);
                    }
                    _ => self.settle(ctx),
                }
            }
            Verb::Stop | Verb::Fence => self.stop_is_over(ctx, verb, outcome),
            Verb::Unfence => self.unfence_is_over(ctx, outcome),
        }
    }
}
