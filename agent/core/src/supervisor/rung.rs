//! Which rung a failure leads to, how what is due waits and begins, and what is told of it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::{EventKind, Verb};
use nodemedic_protocol::healing::{Mode, Rung};
use nodemedic_protocol::{Millis, Now};

use super::{Ctx, Goal, Hold, Stage, Tools, Unit, Wish};
use crate::describe::command_of;
use crate::input::Seen;

/// What only waits for its turn is called down after this long: before, it is most times healed.
const TELL_AFTER: Millis = Millis::from_secs(10);

impl Unit {
    /// Something is to be done to it, now or as soon as nothing comes first.
    pub(super) fn want(&mut self, ctx: &Ctx<'_>, wish: Wish, cause: String) {
        let now = ctx.now().boot;
        let stage = Stage::Waiting {
            wish,
            cause,
            since: now,
            hold: Hold::Looked,
        };
        self.enter(now, stage);
    }

    /// Its turn has come.
    pub(super) fn go(&mut self, ctx: &mut Ctx<'_>) {
        let Stage::Waiting { wish, cause, .. } = self.stage.clone() else {
            return;
        };
        match wish {
            Wish::Start => self.start(ctx, cause),
            Wish::Heal => self.restart(ctx, cause),
            Wish::Fence => self.begin(ctx, Verb::Fence, cause, None),
            Wish::Retry => self.retry(ctx, cause),
        }
    }

    /// Something comes first.
    pub(super) fn put_on_hold(&mut self, ctx: &mut Ctx<'_>, hold: Hold) {
        let now = ctx.now();
        let Stage::Waiting {
            wish,
            cause,
            since,
            hold: before,
        } = &mut self.stage
        else {
            return;
        };
        let new = *before != hold;
        *before = hold.clone();
        let (wish, cause, since) = (*wish, cause.clone(), *since);
        if wish == Wish::Retry {
            return;
        }
        if new && hold == Hold::Mode(Mode::Advise) {
            let verb = self.next_verb(now, ctx.tools, wish);
            ctx.out.event(
                self.key.component(),
                EventKind::Advised {
                    verb,
                    cause: cause.clone(),
                    command: self.advice(verb),
                },
            );
        }
        if !hold.is_short() || now.boot.since(since) >= TELL_AFTER {
            self.raise_down(ctx, &format!("{cause}; {hold}"));
        }
    }

    /// What would be done if nothing came first.
    fn next_verb(&self, now: Now, tools: &Tools, wish: Wish) -> Verb {
        let begun = tools.ledger.was_started(&self.key, self.plan.generation);
        match wish {
            Wish::Start => Verb::Start,
            Wish::Fence => Verb::Fence,
            Wish::Retry => Verb::Unfence,
            Wish::Heal if !begun => Verb::Start,
            Wish::Heal if self.is_spent(now, tools) => Verb::Fence,
            Wish::Heal => verb_of(self.rung()),
        }
    }

    fn is_spent(&self, now: Now, tools: &Tools) -> bool {
        let policy = &self.plan.restart;
        tools.budget.used(now, &self.key, policy.window) >= policy.max
    }

    /// The whole of what would be called, the hooks too.
    fn advice(&self, verb: Verb) -> String {
        let act = command_of(&self.key, &self.plan.run, verb);
        let Some(hooks) = self.hooks(verb) else {
            return act;
        };
        let words = [hooks.before.join(" "), act, hooks.after.join(" ")];
        let words = words.into_iter().filter(|part| !part.is_empty());
        words.collect::<alloc::vec::Vec<_>>().join(", then ")
    }

    /// The rung that its newest failure leads to, while its budget has a use left.
    pub(super) fn rung(&self) -> Rung {
        self.rung_of(self.failures.max(1))
    }

    fn rung_of(&self, failure: u32) -> Rung {
        let ladder = self.plan.ladder;
        let with_hook = self.plan.hooks.as_ref().map_or(0, |_| ladder.with_hook);
        if failure <= ladder.restarts {
            Rung::Restart
        } else if failure <= ladder.restarts.saturating_add(with_hook) {
            Rung::RestartWithHook
        } else {
            Rung::Kill
        }
    }

    /// What its next failure leads to, for people.
    pub(crate) fn next_rung(&self, now: Now, tools: &Tools) -> Option<Rung> {
        if self.goal != Goal::Run {
            return None;
        }
        if self.is_spent(now, tools) {
            return Some(Rung::Fence);
        }
        Some(self.rung_of(self.failures_now(now).saturating_add(1)))
    }

    /// Failures in a row as they count now: a stretch well for long enough has ended the row.
    pub(crate) fn failures_now(&self, now: Now) -> u32 {
        let well = self.well_since.map(|since| now.boot.since(since));
        match well {
            Some(span) if span >= self.plan.restart.healthy_after => 0,
            _ => self.failures,
        }
    }

    /// The hooks of this act, if it is on their rung.
    pub(super) fn hooks(&self, verb: Verb) -> Option<&crate::config::Hooks> {
        let on_rung = verb == Verb::Restart && self.rung() == Rung::RestartWithHook;
        self.plan.hooks.as_ref().filter(|_| on_rung)
    }

    /// What is known of it now, for the record of an act.
    pub(super) fn evidence(&self, now: Now, verb: Verb) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut put = |name: &str, value: String| {
            all.insert(name.to_string(), value);
        };
        if let Some(seen) = &self.seen {
            let text = match seen {
                Seen::Running { pid: Some(pid), .. } => format!("runs as process {pid}"),
                Seen::Running { pid: None, .. } => "runs".to_string(),
                Seen::NotRunning { cause } => format!("does not run: {cause}"),
                Seen::Unknown { why } => format!("cannot be seen: {why}"),
            };
            put("seen", text);
        }
        match self.probes.answers(now.boot).as_slice() {
            [(_, text)] => put("probe", text.clone()),
            several => {
                for (number, (word, text)) in (1..).zip(several) {
                    put(&format!("probe {number} ({word})"), text.clone());
                }
            }
        }
        if verb.restarts() {
            put("failures_in_a_row", self.failures.to_string());
            put("rung", self.rung().to_string());
        }
        all
    }
}

const fn verb_of(rung: Rung) -> Verb {
    match rung {
        Rung::Restart | Rung::RestartWithHook => Verb::Restart,
        Rung::Kill => Verb::Kill,
        Rung::Fence => Verb::Fence,
    }
}

impl Unit {
    /// The verb of the rung that its newest failure leads to.
    pub(super) fn rung_verb(&self) -> Verb {
        verb_of(self.rung())
    }
}
