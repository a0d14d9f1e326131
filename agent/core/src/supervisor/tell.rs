//! What is said of a unit: events for the record, conditions for whoever must act.

use alloc::format;
use alloc::string::ToString;

use nodemedic_protocol::Severity;
use nodemedic_protocol::event::{EventKind, Outcome};
use nodemedic_protocol::health::Reason;

use super::probed::BLIND;
use super::{Ctx, Stage, Unit};
use crate::conditions::Finding;
use crate::input::Seen;

impl Unit {
    pub(super) fn tell_down(&mut self, ctx: &mut Ctx<'_>, cause: &str) {
        if self.down_since.is_some() {
            return;
        }
        self.down_since = Some(ctx.now().boot);
        ctx.out.event(
            self.key.component(),
            EventKind::Down {
                cause: cause.to_string(),
            },
        );
    }

    /// The first restart did not help.
    pub(super) fn raise_down(&self, ctx: &mut Ctx<'_>, cause: &str) {
        let component = self.key.component();
        let finding = Finding::plain(Severity::Warning, format!("{} is down: {cause}", self.key));
        ctx.book.raise(ctx.out, &component, &Reason::Down, finding);
    }

    pub(super) fn tell_fenced(&mut self, ctx: &mut Ctx<'_>) {
        let component = self.key.component();
        let finding = Finding::plain(
            Severity::Critical,
            format!("{} is fenced: {}", self.key, self.detail),
        );
        let because = "it is proved not to run";
        ctx.book
            .clear(ctx.out, &component, &Reason::FenceFailed, because);
        ctx.book.clear(ctx.out, &component, &Reason::Down, because);
        ctx.book
            .raise(ctx.out, &component, &Reason::Fenced, finding);
    }

    pub(super) fn tell_fence_failed(&mut self, ctx: &mut Ctx<'_>, outcome: &Outcome) {
        let what = match outcome {
            Outcome::Failed(why) => why.clone(),
            Outcome::TimedOut => "no proof within the deadline".to_string(),
            Outcome::Done | Outcome::Interrupted => "it was interrupted".to_string(),
        };
        let component = self.key.component();
        let finding = Finding::plain(
            Severity::Critical,
            format!("{} could not be proved stopped: {what}", self.key),
        );
        ctx.book
            .raise(ctx.out, &component, &Reason::FenceFailed, finding);
    }

    pub(super) fn enter_running(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now().boot;
        self.enter(now, Stage::Running { since: now });
        self.well_since = Some(now);
        self.detail.clear();
        self.end_try(ctx);
        let component = self.key.component();
        if let Some(since) = self.down_since.take() {
            ctx.out.event(
                component.clone(),
                EventKind::Up {
                    after: now.since(since),
                },
            );
        }
        for reason in [Reason::Down, Reason::LeaseLost] {
            ctx.book
                .clear(ctx.out, &component, &reason, "it runs well again");
        }
        if !self.plan.is_probed() {
            let reason = Reason::Other(BLIND.to_string());
            let because = "it is not asked any more";
            ctx.book.clear(ctx.out, &component, &reason, because);
        }
    }

    pub(super) fn is_stopped_by_other(&self) -> bool {
        matches!(&self.seen, Some(Seen::NotRunning { cause }) if self.is_by_other(cause))
    }
}
