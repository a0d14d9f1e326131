//! The ladder of one unit: where it stands, and what happens to it at its own pace.
//!
//! What a stage needs lives in its variant. [`super::settle`] holds the decisions that follow from
//! an observation.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::event::{BudgetUse, Outcome, Verb};
use nodemedic_protocol::{Boottime, Millis, Now};

use super::probes::Probes;
use super::{Begun, Ctx, Ended, Goal, Ledger, Permit, Plan, Recalled, Stage, Wish};
use crate::budget::BEGIN_WITHIN;
use crate::describe::command_of;
use crate::effect::{Act, Effect};
use crate::input::Seen;
use crate::unit::UnitKey;

/// After the host's own timeout of an action, so long until the core stops to wait for its end. The
/// host answers late when its disk or bus is slow; this is for the answer that never comes.
const ANSWER_MARGIN: Millis = Millis::from_secs(5);

/// A kill and the look that proves it take at most this long on a host that still works.
const PROOF_TIME: Millis = Millis::from_secs(5);

/// Before anybody said whether it may start.
const UNASKED: &str = "nobody has said yet that it may start";

/// One unit.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(super) key: UnitKey,
    pub(super) plan: Plan,
    pub(super) goal: Goal,
    pub(super) permit: Permit,
    pub(super) stage: Stage,
    pub(super) stage_since: Boottime,
    pub(super) seen: Option<Seen>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Stops and fences in a row that could not be proved.
    pub(super) unproved: u32,
    /// Starts in a row that were none: their gate stayed shut, or they could not begin.
    pub(super) turned_away: u32,
    /// Since when it runs well without a break.
    pub(super) well_since: Option<Boottime>,
    /// Since when it is down, once that was told.
    pub(super) down_since: Option<Boottime>,
    pub(super) detail: String,
    /// What its probes have said since it came up.
    pub(super) probes: Probes,
    /// When its newest start began, as far as anybody can tell.
    pub(super) started: Option<Boottime>,
    /// The way back that is under way is its own try, and no person's word.
    pub(super) own_try: bool,
    /// Of an earlier run of the agent, until it is seen for the first time.
    pub(super) recalled: Recalled,
}

impl Unit {
    pub(crate) fn new(key: UnitKey, plan: Plan, now: Boottime) -> Unit {
        let probes = Probes::new(&plan.asked());
        Unit {
            key,
            plan,
            goal: Goal::Run,
            permit: Permit::No(UNASKED),
            stage: Stage::Unseen,
            stage_since: now,
            seen: None,
            failures: 0,
            unproved: 0,
            turned_away: 0,
            well_since: None,
            down_since: None,
            detail: String::new(),
            probes,
            started: None,
            own_try: false,
            recalled: Recalled::default(),
        }
    }

    pub(crate) const fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(crate) const fn goal(&self) -> Goal {
        self.goal
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) const fn since(&self) -> Boottime {
        self.stage_since
    }

    pub(crate) fn detail(&self) -> String {
        match &self.stage {
            Stage::Unknown { why } | Stage::Suspect { why, .. } => why.clone(),
            Stage::Backoff { cause, .. } => cause.clone(),
            Stage::Waiting { cause, hold, .. } => format!("{cause}; {hold}"),
            Stage::Unseen => "not looked at yet".to_string(),
            Stage::Idle => match self.permit {
                Permit::No(why) => why.to_string(),
                Permit::Free | Permit::Gated(_) => "may start".to_string(),
            },
            Stage::Starting {
                last: Some(why), ..
            } => why.clone(),
            Stage::Running { .. } if self.detail.is_empty() => {
                self.probes.blind().unwrap_or_default()
            }
            _ => self.detail.clone(),
        }
    }

    pub(crate) const fn pid(&self) -> Option<u32> {
        match &self.seen {
            Some(Seen::Running { pid, .. }) => *pid,
            _ => None,
        }
    }

    /// A changed configuration: judged anew from its next observation, with its history.
    pub(crate) fn replan(&mut self, now: Boottime, plan: Plan) {
        self.probes = Probes::new(&plan.asked());
        self.plan = plan;
        if !matches!(
            self.stage,
            Stage::Acting { .. } | Stage::Fenced { .. } | Stage::Stopped | Stage::Unproved { .. }
        ) {
            self.enter(now, Stage::Unseen);
        }
    }

    /// A changed configuration that changes nothing about how it is looked after.
    pub(super) fn replan_manners(&mut self, now: Now, plan: Plan, ledger: &Ledger) {
        self.plan = plan;
        if matches!(self.stage, Stage::Fenced { .. }) {
            let retry_at = self.retry_at(now, ledger);
            self.stage = Stage::Fenced { retry_at };
        }
    }

    pub(super) fn enter(&mut self, now: Boottime, stage: Stage) {
        if self.stage != stage {
            self.stage = stage;
            self.stage_since = now;
        }
    }

    pub(super) const fn is_running(&self) -> bool {
        matches!(self.seen, Some(Seen::Running { .. }))
    }

    /// A manager saw it. What is seen during an action is a picture of that action's middle, so
    /// only the action's own last look counts.
    pub(crate) fn observed(&mut self, ctx: &mut Ctx<'_>, seen: Seen, started: Option<Boottime>) {
        if matches!(self.stage, Stage::Acting { .. }) {
            return;
        }
        self.note_process(ctx, &seen);
        self.seen = Some(seen);
        self.started = started;
        self.settle(ctx);
    }

    /// Its action is over.
    pub(crate) fn ended(&mut self, ctx: &mut Ctx<'_>, ended: Ended) {
        let Stage::Acting { action, verb, .. } = self.stage else {
            return;
        };
        if action != ended.action {
            return;
        }
        self.seen = Some(ended.seen);
        self.act_is_over(ctx, verb, &ended.outcome);
    }

    /// Begins an action; whatever is under way for this unit ends by that.
    pub(super) fn begin(
        &mut self,
        ctx: &mut Ctx<'_>,
        verb: Verb,
        cause: String,
        budget: Option<BudgetUse>,
    ) {
        let now = ctx.now().boot;
        self.recalled = Recalled::default();
        if verb.starts() {
            ctx.tools
                .ledger
                .note_started(&self.key, self.plan.generation);
        }
        self.well_since = None;
        let command = command_of(&self.key, &self.plan.run, verb);
        let evidence = self.evidence(ctx.now(), verb);
        let begun = Begun {
            unit: self.key.clone(),
            verb,
            cause,
            command,
            evidence,
            budget,
        };
        let action = ctx.tools.ledger.open(ctx.out, begun);
        let hooks = self.hooks(verb).cloned();
        let hooks_take = hooks
            .as_ref()
            .map_or(Millis::ZERO, |hooks| hooks.timeout.scaled(2, 1));
        let stop_grace = self.stop_grace(now);
        let timeout = match verb {
            Verb::Start => self.plan.start_grace,
            Verb::Restart | Verb::Kill => {
                stop_grace + PROOF_TIME + self.plan.start_grace + hooks_take
            }
            Verb::Stop | Verb::Fence | Verb::Unfence => stop_grace + PROOF_TIME,
        };
        ctx.out.host.push(Effect::Act(Act {
            action,
            unit: self.key.clone(),
            verb,
            run: self.plan.run.clone(),
            generation: self.plan.generation,
            environment: self.plan.environment.clone(),
            stop_grace,
            timeout,
            begin_by: match verb {
                Verb::Start => Some(now + timeout),
                Verb::Restart | Verb::Kill => Some(now + BEGIN_WITHIN),
                Verb::Stop | Verb::Fence | Verb::Unfence => None,
            },
            gate: self.permit.gate().filter(|_| verb.starts()),
            hooks,
        }));
        self.enter(
            now,
            Stage::Acting {
                action,
                verb,
                until: now + timeout + ANSWER_MARGIN,
            },
        );
    }

    /// How long the asking may take. Where the end is fixed, the kill comes early enough for the
    /// unit to be gone by then: a fifth of the grace is kept for the kill.
    fn stop_grace(&self, now: Boottime) -> Millis {
        match self.goal {
            Goal::Stop {
                over_by: Some(over_by),
            } => {
                let reserve = self.plan.stop_grace.scaled(1, 5);
                over_by.since(now + reserve).min(self.plan.stop_grace)
            }
            _ => self.plan.stop_grace,
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now().boot;
        match self.stage.clone() {
            Stage::Starting { until, last } if until <= now => match last {
                Some(why) => self.failed(ctx, format!("not up within its start grace: {why}")),
                None => self.enter(
                    now,
                    Stage::Unknown {
                        why: "runs, but its probe has not answered".to_string(),
                    },
                ),
            },
            Stage::Backoff { retry_at, cause } if retry_at <= now => {
                self.want(ctx, Wish::Heal, cause);
            }
            Stage::Fenced {
                retry_at: Some(at), ..
            } if at <= now => {
                self.want(ctx, Wish::Retry, "it has been out for long".to_string());
            }
            Stage::Unproved { verb, retry_at } if retry_at <= now => {
                let cause = "it is not proved stopped yet".to_string();
                if matches!(self.key, UnitKey::Service(_)) && verb == Verb::Fence {
                    self.want(ctx, Wish::Fence, cause);
                } else {
                    self.begin(ctx, verb, cause, None);
                }
            }
            Stage::Acting {
                action,
                verb,
                until,
            } if until <= now => {
                let ended = Ended {
                    action,
                    outcome: Outcome::TimedOut,
                    command: "no answer came".to_string(),
                    took: now.since(self.stage_since),
                    hooks: Vec::new(),
                    seen: Seen::Unknown {
                        why: "the last action was not answered".to_string(),
                    },
                };
                ctx.tools.ledger.close(ctx.out, &ended);
                self.seen = Some(ended.seen);
                ctx.out.host.push(Effect::Watch(self.plan.watch(&self.key)));
                self.act_is_over(ctx, verb, &Outcome::TimedOut);
            }
            _ => {}
        }
    }

    /// When [`Unit::tick`] has something to do.
    pub(crate) const fn wake(&self) -> Option<Boottime> {
        match &self.stage {
            Stage::Starting { until, .. } | Stage::Acting { until, .. } => Some(*until),
            Stage::Backoff { retry_at, .. } | Stage::Unproved { retry_at, .. } => Some(*retry_at),
            Stage::Fenced { retry_at } => *retry_at,
            Stage::Waiting { hold, .. } => hold.until(),
            _ => None,
        }
    }
}
