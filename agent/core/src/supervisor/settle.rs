//! What follows from what is seen of a unit: the rungs of the ladder.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::work::StopCause;
use nodemedic_protocol::{Generation, Millis, Severity};

use super::{Ctx, Goal, Stage, Unit, backoff};
use crate::conditions::Finding;
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
        let waits = match self.stage {
            Stage::Backoff { .. } => true,
            Stage::Idle => !self.permit.may_start(),
            _ => false,
        };
        if waits {
            return;
        }
        // What is seen of work before its first start under this grant is left from another one.
        if !begun && (is_work || *cause == DownCause::NotStarted) {
            self.first_start(ctx);
        } else if *cause == DownCause::StoppedByOther {
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
        match self.stage {
            Stage::Starting { .. } | Stage::Running { .. } | Stage::Suspect { .. } => {}
            // Its probe was what could not be seen; only the probe's own answer ends that.
            Stage::Unknown { .. } if self.plan.is_probed() && self.well_since.is_some() => {}
            _ if self.plan.is_probed() => {
                let until = now + self.plan.start_grace;
                self.enter(now, Stage::Starting { until, last: None });
            }
            _ => self.enter_running(ctx),
        }
    }

    /// The first start on this boot (for work: under this grant) is no restart and takes nothing
    /// from the budget.
    fn first_start(&mut self, ctx: &mut Ctx<'_>) {
        if self.permit.may_start() {
            self.begin(ctx, Verb::Start, "it is to run".to_string(), None);
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
        let well_for = self.well_since.take().map(|since| now.since(since));
        if well_for.is_some_and(|span| span >= self.plan.restart.healthy_after) {
            self.failures = 0;
        }
        let wait = backoff::delay(&self.plan.restart, self.failures, &mut ctx.tools.rng);
        self.failures = self.failures.saturating_add(1);
        if wait == Millis::ZERO {
            // Healed within milliseconds, most times: an event in the journal, no condition, and
            // so nobody is called.
            self.restart(ctx, cause);
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
        match ctx.tools.budget.take(now, &self.key, &self.plan.restart) {
            Ok(budget) => self.begin(ctx, Verb::Restart, cause, Some(budget)),
            Err(spent) => {
                let cause = format!(
                    "{} restarts in {} did not help: {cause}",
                    spent.used, spent.window
                );
                self.fence(ctx, cause);
            }
        }
    }

    fn fence(&mut self, ctx: &mut Ctx<'_>, cause: String) {
        self.goal = Goal::Fence;
        self.detail.clone_from(&cause);
        match &self.key {
            UnitKey::Service(name) => ctx.tools.ledger.set_fenced(name, &cause, false),
            UnitKey::Work(work) => {
                ctx.out
                    .ending
                    .push((work.clone(), StopCause::Fenced, cause.clone()));
            }
        }
        self.begin(ctx, Verb::Fence, cause, None);
    }

    fn settle_stop(&mut self, ctx: &mut Ctx<'_>, seen: &Seen) {
        if self.stage == Stage::Stopped && matches!(seen, Seen::Running { .. }) {
            let cause = "it runs although it is not granted here".to_string();
            self.begin(ctx, Verb::Stop, cause, None);
        }
    }

    /// A fenced service that somebody starts by hand is left alone: that person is at work on it.
    fn settle_fence(&mut self, ctx: &mut Ctx<'_>, seen: &Seen) {
        let running = matches!(seen, Seen::Running { .. });
        match (&self.key, &self.stage) {
            (UnitKey::Service(_), Stage::Fenced) if running => {
                self.detail =
                    "runs although it is fenced; unfence it to have it looked after".to_string();
            }
            (UnitKey::Work(_), Stage::Fenced) if running => {
                let cause = "it runs although it is fenced here".to_string();
                self.begin(ctx, Verb::Fence, cause, None);
            }
            (UnitKey::Service(name), Stage::Unseen) => {
                let fenced = ctx.tools.ledger.fenced(name).cloned();
                match fenced {
                    Some(fenced) if fenced.proved => {
                        self.detail = fenced.cause;
                        self.enter(ctx.now().boot, Stage::Fenced);
                        self.tell_fenced(ctx);
                    }
                    _ => self.begin(ctx, Verb::Fence, "it is fenced".to_string(), None),
                }
            }
            _ => {}
        }
    }

    /// Its action is over, and what was seen after it is in `self.seen`.
    pub(super) fn act_is_over(&mut self, ctx: &mut Ctx<'_>, verb: Verb, outcome: &Outcome) {
        let now = ctx.now().boot;
        match verb {
            Verb::Start | Verb::Restart => {
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

    fn stop_is_over(&mut self, ctx: &mut Ctx<'_>, verb: Verb, outcome: &Outcome) {
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
                self.enter(now, Stage::Fenced);
                if let UnitKey::Service(name) = &self.key {
                    ctx.tools.ledger.set_fenced(name, &self.detail, true);
                }
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
        let cause = "a person lets it back".to_string();
        self.begin(ctx, Verb::Unfence, cause, None);
    }

    fn unfence_is_over(&mut self, ctx: &mut Ctx<'_>, outcome: &Outcome) {
        let now = ctx.now().boot;
        if *outcome != Outcome::Done {
            self.enter(now, Stage::Fenced);
            return;
        }
        if let UnitKey::Service(name) = &self.key {
            ctx.tools.ledger.unset_fenced(name);
        }
        ctx.tools.budget.renew(&self.key);
        ctx.tools.ledger.forget_starts(&self.key);
        self.failures = 0;
        self.down_since = None;
        self.detail.clear();
        self.goal = Goal::Run;
        let component = self.key.component();
        for reason in [Reason::Fenced, Reason::FenceFailed] {
            ctx.book
                .clear(ctx.out, &component, &reason, "a person let it back");
        }
        self.enter(now, Stage::Unseen);
        if !self.is_running() {
            // Our own fence stopped it, whatever the manager says of that.
            self.seen = Some(Seen::NotRunning {
                cause: DownCause::NotStarted,
            });
        }
        self.settle(ctx);
    }
}
