//! What the agent does between its core and the watchdog: beats, promises with their targets, and
//! the gate behind which exclusive work waits until its promise is taken.

use nodemedic_protocol::Generation;
use nodemedic_protocol::event::Outcome;
use nodemedic_protocol::work::Enforcement;
use nodemedic_sim_agent_core::{DownCause, Gate, GatePromise, Input, Promise, UnitKey};

use crate::fact::{Fact, Host};
use crate::watchdog::Named;
use crate::world::{Event, World};

/// Between two beats, as the agent's client does.
const BEAT_MS: u64 = 1_000;

/// Beats without an answer that mean that there is no watchdog.
const MISSES_MAX: u32 = 2;

impl World {
    /// A new run of the agent begins to beat.
    pub(crate) fn beats_begin(&mut self, h: Host) {
        let dog = &mut self.hosts[h].dog;
        dog.sequence = 0;
        dog.misses = 0;
        dog.told = None;
        let run = self.hosts[h].run;
        self.at(5, Event::Beat(h, run));
    }

    pub(crate) fn beat_due(&mut self, h: Host, run: u64) {
        let host = &self.hosts[h];
        if host.run != run || host.agent.is_none() {
            return;
        }
        if self.now < host.frozen_until {
            let until = host.frozen_until;
            self.at_moment(until, Event::Beat(h, run));
            return;
        }
        self.beat(h);
        self.at(BEAT_MS, Event::Beat(h, run));
    }

    /// One beat, with all that is promised and has a target. True when the watchdog has taken it
    /// and holds no broken promise.
    pub(crate) fn beat(&mut self, h: Host) -> bool {
        let host = &self.hosts[h];
        if host.agent.is_none() || self.now < host.still_until() {
            return false;
        }
        let promises: Vec<Named> = host
            .promises
            .iter()
            .filter_map(|p| self.named(h, p))
            .collect();
        let answer = self.beat_watchdog(h, &promises);
        let dog = &mut self.hosts[h].dog;
        let enforcement = match answer {
            Some(answer) => {
                dog.misses = 0;
                answer.enforcement
            }
            None => {
                dog.misses += 1;
                if dog.misses < MISSES_MAX && dog.told.is_some() {
                    return false;
                }
                Enforcement::None
            }
        };
        if dog.told != Some(enforcement) {
            dog.told = Some(enforcement);
            self.hosts[h].enforcement = enforcement;
            let run = self.hosts[h].run;
            let known = Input::Enforcement(enforcement);
            self.at(2, Event::ToCore(h, run, Box::new(known)));
        }
        answer.is_some_and(|answer| answer.taken && answer.broken == 0)
    }

    /// A promise with what it is about; without a target nothing of it runs, and it is kept.
    fn named(&self, h: Host, promise: &Promise) -> Option<Named> {
        let host = &self.hosts[h];
        let unit = UnitKey::Work(promise.work.clone());
        let leader = host.processes.get(&unit).map(|process| process.pid);
        if !host.systemd && leader.is_none() {
            return None;
        }
        Some(Named {
            deadline: promise.deadline,
            grace: promise.grace,
            unit,
            leader,
        })
    }

    pub(crate) fn note_promises(&mut self, h: Host, promises: &[Promise]) {
        let clock = self.hosts[h].clock;
        for promise in promises {
            let known = &self.hosts[h].promises;
            if !known.contains(promise) {
                self.fact(Fact::Promised {
                    host: h,
                    work: promise.work.clone(),
                    generation: promise.generation,
                    until: clock.when(promise.deadline),
                    due: clock.when(promise.deadline + promise.grace),
                });
            }
        }
    }

    /// Starts a unit; exclusive work goes through its gate.
    pub(crate) fn start(&mut self, h: Host, unit: &UnitKey, act: u64) {
        let boot = self.hosts[h].boot;
        let Some(gate) = self.gate_of(h, unit) else {
            let takes = self.between(20, 1_200);
            self.at(takes, Event::Land(h, boot, unit.clone(), act));
            return;
        };
        if !self.hosts[h].systemd {
            let generation = self.generation_of(h, unit);
            self.process_begins(h, unit, generation, true);
        }
        let taken = match gate.promise {
            GatePromise::No => true,
            GatePromise::IfEnforced => {
                self.beat(h) || self.hosts[h].enforcement == Enforcement::None
            }
            GatePromise::Required => self.beat(h),
        };
        if taken && self.is_leased(h, unit, gate) {
            let run = self.hosts[h].run;
            let delay = self.between(0, 30);
            self.at(delay, Event::Open(h, run, unit.clone(), act));
        } else {
            self.turn_away(h, unit, act);
        }
    }

    fn turn_away(&mut self, h: Host, unit: &UnitKey, act: u64) {
        let boot = self.hosts[h].boot;
        let why = DownCause::TurnedAway("its promise is not taken, or its lease is over".into());
        self.hosts[h].ended.insert(unit.clone(), why);
        let over = Outcome::Failed("turned away".into());
        self.at(5, Event::ActOver(h, boot, unit.clone(), act, over));
    }

    fn gate_of(&self, h: Host, unit: &UnitKey) -> Option<Gate> {
        self.hosts[h].pending.get(unit)?.act.gate
    }

    fn generation_of(&self, h: Host, unit: &UnitKey) -> Option<Generation> {
        let pending = self.hosts[h].pending.get(unit)?;
        pending.act.generation
    }

    /// The newest promise of the grant counts, or what the core knew when it made the act.
    fn is_leased(&self, h: Host, unit: &UnitKey, gate: Gate) -> bool {
        let host = &self.hosts[h];
        let generation = self.generation_of(h, unit);
        let mut promises = host.promises.iter();
        let of_grant = |p: &&Promise| {
            UnitKey::Work(p.work.clone()) == *unit && Some(p.generation) == generation
        };
        let deadline = promises
            .find(of_grant)
            .map_or(gate.deadline, |p| p.deadline);
        host.now(self.now).boot < deadline
    }

    /// The agent opens the gate: its last look at the lease was a moment ago, or long ago if it
    /// was frozen between the two.
    pub(crate) fn open(&mut self, h: Host, run: u64, unit: &UnitKey, act: u64) {
        let host = &self.hosts[h];
        let ours = host.pending.get(unit).is_some_and(|p| p.serial == act);
        if host.run != run || host.agent.is_none() || !ours {
            return;
        }
        if self.now < host.frozen_until {
            let until = host.frozen_until;
            self.at_moment(until, Event::Open(h, run, unit.clone(), act));
            return;
        }
        let boot = host.boot;
        if host.systemd {
            let takes = self.between(20, 1_200);
            self.at(takes, Event::Land(h, boot, unit.clone(), act));
            return;
        }
        let generation = self.generation_of(h, unit);
        let over = match self.hosts[h].processes.get_mut(unit) {
            Some(process) if process.gate => {
                process.gate = false;
                self.fact(Fact::Began {
                    host: h,
                    unit: unit.clone(),
                    generation,
                });
                Outcome::Done
            }
            _ => {
                self.turn_away(h, unit, act);
                return;
            }
        };
        self.at(5, Event::ActOver(h, boot, unit.clone(), act, over));
        self.show_all(h, unit);
    }

    /// True when the agent itself holds the start of a unit back.
    pub(crate) fn waits_at_gate(&self, h: Host, unit: &UnitKey) -> bool {
        let host = &self.hosts[h];
        let starting = host.pending.get(unit).is_some_and(|p| p.act.verb.starts());
        let at_gate = host.processes.get(unit).is_some_and(|p| p.gate);
        at_gate || (starting && !host.systemd)
    }

    /// A gate that nobody will open: its process ends.
    pub(crate) fn leave_gate(&mut self, h: Host, unit: &UnitKey) {
        if self.hosts[h].processes.get(unit).is_some_and(|p| p.gate) {
            self.process_ends(h, unit, DownCause::Exited(0), "gate");
        }
    }
}
