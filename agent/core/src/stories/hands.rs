//! The hands of the world: each effect is done, or kept until its time.

use super::*;

impl World {
    /// An action takes its effect.
    pub(super) fn done(&mut self, act: &Act) {
        let generation = act.generation;
        let now = self.now.boot;
        self.done.push((self.elapsed, act.clone()));
        if act.verb.starts() && self.thing(&act.unit).shut {
            self.shut.push(act.action);
        }
        let thing = self.thing(&act.unit);
        if act.verb.starts() && !thing.shut {
            thing.started = thing.started.map(|_| now);
        }
        let outcome = match act.verb {
            Verb::Start | Verb::Restart | Verb::Kill if thing.shut => {
                let why = "the watchdog did not answer".to_string();
                thing.runs = None;
                thing.why_not = DownCause::TurnedAway(why.clone());
                Outcome::Failed(why)
            }
            Verb::Start if thing.runs.is_some() => Outcome::Done,
            Verb::Start | Verb::Restart | Verb::Kill if thing.broken => {
                thing.runs = None;
                thing.why_not = DownCause::Exited(1);
                Outcome::Done
            }
            Verb::Start | Verb::Restart | Verb::Kill => {
                thing.runs = Some(generation);
                Outcome::Done
            }
            Verb::Stop | Verb::Fence if thing.stuck && thing.runs.is_some() => {
                Outcome::Failed("2 processes are left".to_string())
            }
            Verb::Stop | Verb::Fence => {
                thing.runs = None;
                thing.why_not = DownCause::StoppedByOther;
                Outcome::Done
            }
            Verb::Unfence => Outcome::Done,
        };
        self.end_act(act, outcome);
    }

    fn end_act(&mut self, act: &Act, outcome: Outcome) {
        let seen = self.seen(&act.unit);
        self.input(Input::ActionEnded {
            action: act.action,
            outcome,
            command: "as asked".to_string(),
            took: ACT_TAKES,
            hooks: Vec::new(),
            seen,
        });
    }

    /// Does what the agent wants.
    pub(super) fn effects(&mut self) {
        while let Some(effect) = self.agent.poll_effect() {
            self.effect(effect);
            match &mut self.die_after {
                Some(1) => {
                    self.die_after = None;
                    self.restart_agent();
                    return;
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
    }

    /// Restarts that are under way have ended what ran; of what is down its manager was told to
    /// forget the failure.
    pub(super) fn cut_half_way(&mut self) {
        if !self.cut_half_way {
            return;
        }
        for (_, pending) in &self.pending {
            if let Pending::Done(act) = pending
                && act.verb.restarts()
                && let Some(thing) = self.things.get_mut(&act.unit)
            {
                let since = thing.started.unwrap_or_default();
                thing.why_not = match thing.runs.take() {
                    Some(_) => DownCause::Killed(9),
                    None => DownCause::FoundDown { since },
                };
            }
        }
    }

    pub(super) fn later(&mut self, input: Input) {
        self.pending
            .push((self.now.boot, Pending::Input(Box::new(input))));
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Watch(watch) => {
                let unit = watch.unit.clone();
                let first = watch
                    .probes
                    .first()
                    .map_or(Boottime(u64::MAX), |p| self.now.boot + p.interval);
                self.watched.insert(unit.clone(), (watch, first));
                self.pending.push((self.now.boot, Pending::Look(unit)));
            }
            Effect::Unwatch { unit } => {
                self.watched.remove(&unit);
            }
            Effect::Act(act) => self.wait_for_disk(act),
            Effect::Publish { message, token } => {
                if let Some(token) = token {
                    self.later(Input::Delivered(token));
                }
                self.published(&message);
                self.sent.push(message);
            }
            Effect::SpoolAppend(event) => {
                self.events.push(event.clone());
                self.spool.events.push(event);
            }
            Effect::SpoolReplace { first, last, with } => {
                let at = self.spool.events.iter().position(|e| e.seq >= first);
                self.spool.events.retain(|e| e.seq < first || e.seq > last);
                self.spool.events.insert(at.unwrap(), with);
            }
            Effect::SpoolTrim { through } => {
                self.spool.trimmed = through;
                self.spool.events.retain(|e| e.seq > through);
            }
            Effect::Remember(memory) => {
                self.copy = Some(*memory.clone());
                if !self.full {
                    self.memory = *memory;
                }
            }
            Effect::RememberLeases(leases) => self.leases = Some(leases),
            Effect::Treat(_) => unreachable!("no remedy is declared here"),
            Effect::Promise(promises) => self.promises = promises,
            Effect::Log { .. } => {}
        }
    }

    /// Acts of one unit stay in order: what still waits is not begun after a newer one. A stop does
    /// not wait for long.
    fn wait_for_disk(&mut self, act: Act) {
        for at in (0..self.pending.len()).rev() {
            if let (_, Pending::Begin(earlier)) = &self.pending[at]
                && earlier.unit == act.unit
            {
                let (action, why) = (earlier.action, "a newer act came first".to_string());
                self.pending.remove(at);
                self.later(Input::NotBegun { action, why });
            }
        }
        let wait = if act.verb.starts() {
            self.disk_takes
        } else {
            self.disk_takes.min(Millis::from_secs(2))
        };
        if wait == Millis::ZERO {
            return self.begin(act);
        }
        self.pending
            .push((self.now.boot + wait, Pending::Begin(Box::new(act))));
    }

    /// What the shell does with an act: a start that cannot be written down is not begun, nor one
    /// that comes too late.
    pub(super) fn begin(&mut self, act: Act) {
        let why = if act.verb.starts() && self.full {
            "it cannot be written down"
        } else if act.begin_by.is_some_and(|by| by < self.now.boot) {
            "the disk took too long"
        } else {
            return self.act(act);
        };
        let (action, why) = (act.action, why.to_string());
        self.later(Input::NotBegun { action, why });
    }

    fn act(&mut self, act: Act) {
        let remembered = if self.full {
            self.copy.as_ref()
        } else {
            Some(&self.memory)
        };
        let remembered = remembered.map_or(&[][..], |memory| &memory.intents);
        assert!(
            remembered.iter().any(|i| i.action == act.action),
            "an act that is not remembered first: {act:?}"
        );
        let (same, other) = self
            .pending
            .drain(..)
            .partition(|(_, p)| matches!(p, Pending::Done(a) if a.unit == act.unit));
        self.pending = other;
        let same: Vec<(Boottime, Pending)> = same;
        for (_, pending) in same {
            if let Pending::Done(old) = pending {
                let seen = self.seen(&old.unit);
                self.later(Input::ActionEnded {
                    action: old.action,
                    outcome: Outcome::Interrupted,
                    command: "as asked".to_string(),
                    took: Millis(1),
                    hooks: Vec::new(),
                    seen,
                });
            }
        }
        self.acts.push((self.elapsed, act.clone()));
        self.pending
            .push((self.now.boot + ACT_TAKES, Pending::Done(Box::new(act))));
    }
}
