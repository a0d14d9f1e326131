//! What follows from what the probes of a unit say.

use alloc::format;
use alloc::string::ToString;

use nodemedic_protocol::health::Reason;
use nodemedic_protocol::{Boottime, Severity};

use super::probes::Standing;
use super::{Ctx, Goal, Stage, Unit};
use crate::conditions::Finding;
use crate::input::{Seen, Verdict};

/// The condition of a probe that cannot be made.
pub(super) const BLIND: &str = "probe cannot be made";

impl Unit {
    /// One of its probes answered.
    pub(crate) fn probed(&mut self, ctx: &mut Ctx<'_>, probe: usize, verdict: Verdict) {
        // Until it is seen anew after a change of its probes, an answer may be of an older one.
        if self.stage == Stage::Unseen {
            return;
        }
        let now = ctx.now().boot;
        let passed = verdict == Verdict::Pass;
        let comes_up = matches!(self.stage, Stage::Starting { .. });
        let counts = !comes_up && now >= self.boot_grace_ends();
        self.probes.answered(now, probe, verdict, counts);
        self.tell_blind(ctx);
        if self.goal != Goal::Run || !self.is_running() {
            return;
        }
        match (self.probes.standing(), &mut self.stage) {
            // What it waits for, if it waits, is over: it runs and has healed by itself.
            (
                Standing::Well,
                Stage::Starting { .. }
                | Stage::Suspect { .. }
                | Stage::Unknown { .. }
                | Stage::Backoff { .. }
                | Stage::Waiting { .. },
            ) if passed => self.enter_running(ctx),
            (Standing::Failing(why) | Standing::Due(why), Stage::Starting { last, .. }) => {
                *last = Some(why);
            }
            (_, Stage::Starting { last, .. }) => *last = None,
            (
                Standing::Due(why),
                Stage::Running { .. } | Stage::Suspect { .. } | Stage::Unknown { .. },
            ) => self.failed(ctx, why),
            (Standing::Failing(why), Stage::Running { .. } | Stage::Unknown { .. }) => {
                self.stretch_ends(ctx);
                self.enter(now, Stage::Suspect { since: now, why });
            }
            (Standing::Failing(why), Stage::Suspect { why: last, .. }) => *last = why,
            (Standing::Unknown(why), Stage::Running { .. } | Stage::Suspect { .. }) => {
                self.enter(now, Stage::Unknown { why });
            }
            _ => {}
        }
    }

    /// After a boot everything is slow, and much comes up late.
    pub(super) fn boot_grace_ends(&self) -> Boottime {
        Boottime(0) + self.plan.boot_grace
    }

    /// Its process is another one than it was: systemd restarted it, or a person. It comes up, and
    /// what was said of the old one counts no more.
    pub(super) fn note_process(&mut self, ctx: &mut Ctx<'_>, seen: &Seen) {
        let pid_of = |seen: &Seen| match seen {
            Seen::Running { pid, .. } => *pid,
            _ => None,
        };
        let before = self.seen.as_ref().and_then(pid_of);
        let another = before.is_some_and(|old| pid_of(seen).is_some_and(|new| new != old));
        let up = matches!(self.stage, Stage::Running { .. } | Stage::Suspect { .. });
        if another && up && self.plan.is_probed() {
            self.stretch_ends(ctx);
            self.enter(ctx.now().boot, Stage::Unseen);
        }
    }

    /// A probe that nobody can make is neither a pass nor a failure, and is told. Of Info: it makes
    /// the host no worse than it was seen to be.
    fn tell_blind(&self, ctx: &mut Ctx<'_>) {
        let component = self.key.component();
        let reason = Reason::Other(BLIND.to_string());
        if let Some(why) = self.probes.blind_for_long(ctx.now().boot) {
            let message = format!("a probe of {} cannot be made: {why}", self.key);
            let finding = Finding::plain(Severity::Info, message);
            ctx.book.raise(ctx.out, &component, &reason, finding);
        } else if self.probes.blind().is_none() {
            let because = "its probes can be made again";
            ctx.book.clear(ctx.out, &component, &reason, because);
        }
    }
}
