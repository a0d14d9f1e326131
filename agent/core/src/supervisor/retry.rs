//! Starts that were none: their gate stayed shut, or they could not begin. Nothing ran, so nothing
//! is counted, and they are tried again.

use alloc::format;
use alloc::string::String;

use nodemedic_protocol::Millis;
use nodemedic_protocol::event::Verb;

use super::{Ctx, Stage, Unit, backoff};
use crate::config::RestartPolicy;
use crate::effect::LogLevel;
use crate::memory::Intent;

/// How fast a start whose gate stayed shut is tried again: what was in the way (a watchdog that
/// restarts, a lease that has just been renewed) is mostly over within a second.
const GATE_RETRY: RestartPolicy = RestartPolicy {
    max: u32::MAX,
    window: Millis::ZERO,
    backoff: Millis(500),
    backoff_max: Millis::from_secs(30),
    healthy_after: Millis::ZERO,
};

/// How fast a start that could not begin is tried again: every try is one more write to a disk that
/// refuses or is slow, and a disk that has room again should not wait for long.
const BEGIN_RETRY: RestartPolicy = RestartPolicy {
    max: u32::MAX,
    window: Millis::ZERO,
    backoff: Millis(500),
    backoff_max: Millis::from_secs(5),
    healthy_after: Millis::ZERO,
};

impl Unit {
    /// Its gate stayed shut and nothing of it ran: that is no failure of the unit, so it costs
    /// neither its budget nor its standing, and is tried again.
    pub(super) fn turned_away(&mut self, ctx: &mut Ctx<'_>, verb: Verb, why: String) {
        let cause = format!("it was not let start: {why}");
        self.was_none(ctx, verb, &GATE_RETRY, cause);
    }

    /// Its start could not begin, and nothing was done. Its use of the budget is given back, and
    /// the next try takes one of its own time.
    pub(super) fn not_begun(&mut self, ctx: &mut Ctx<'_>, intent: Intent, why: &str) {
        ctx.out.log(
            LogLevel::Warn,
            format!("{} of {} was not begun: {why}", intent.verb, self.key),
        );
        match self.stage {
            Stage::Acting { action, verb, .. } if action == intent.action => {
                self.raise_down(ctx, &format!("{}; {why}", intent.cause));
                self.was_none(ctx, verb, &BEGIN_RETRY, intent.cause);
            }
            // Another act has taken its place, and the use that it took stays taken.
            _ => {}
        }
    }

    /// A start or restart that was none.
    fn was_none(&mut self, ctx: &mut Ctx<'_>, verb: Verb, retry: &RestartPolicy, cause: String) {
        let now = ctx.now().boot;
        self.turned_away = self.turned_away.saturating_add(1).min(16);
        let wait = backoff::delay(retry, self.turned_away, &mut ctx.tools.rng);
        let retry_at = now + wait;
        match verb {
            Verb::Restart | Verb::Kill => ctx.tools.budget.give_back(&self.key),
            Verb::Start => ctx
                .tools
                .ledger
                .forget_start(&self.key, self.plan.generation),
            Verb::Stop | Verb::Fence | Verb::Unfence => {
                self.enter(now, Stage::Unproved { verb, retry_at });
                return;
            }
        }
        self.enter(now, Stage::Backoff { retry_at, cause });
    }
}
