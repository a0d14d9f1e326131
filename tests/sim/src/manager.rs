//! The service manager of a host: processes that take time to start and stop, fail, hang, die, lie,
//! and outlive the agent. What of it the agent does itself stands still while that is frozen.

use nodemedic_protocol::Generation;
use nodemedic_protocol::Millis;
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::work::ProbeSpec;
use nodemedic_sim_agent_core::effect::Watch;
use nodemedic_sim_agent_core::{Act, ActionId, DownCause, Input, Seen, UnitKey, Verdict};

use crate::clock::True;
use crate::fact::{Fact, Host};
use crate::world::{Event, World};

/// What runs of a unit.
#[derive(Clone, Debug)]
pub struct Process {
    /// The grant under which it was started.
    pub generation: Option<Generation>,
    /// Names it.
    pub pid: u32,
    /// True while its probe fails.
    pub sick: bool,
    /// True when it must be killed to end.
    pub stubborn: bool,
    /// True while it waits at its gate: nothing of the work itself runs yet.
    pub gate: bool,
    /// What looks and probes say of it is wrong until then.
    pub lies_until: True,
}

/// An act that is not over.
#[derive(Clone, Debug)]
pub struct Pending {
    pub(crate) act: Act,
    pub(crate) serial: u64,
    began: u64,
}

/// What the agent wants to hear of.
#[derive(Clone, Debug)]
pub struct Watched {
    pub(crate) probe: Option<ProbeSpec>,
    serial: u64,
}

impl World {
    pub(crate) fn serial(&mut self, h: Host) -> u64 {
        self.hosts[h].serial += 1;
        self.hosts[h].serial
    }

    fn seen(&self, h: Host, unit: &UnitKey) -> Seen {
        let host = &self.hosts[h];
        let running = host.processes.get(unit).filter(|process| !process.gate);
        match running {
            Some(process) => Seen::Running {
                pid: Some(process.pid),
                generation: process.generation,
            },
            None => Seen::NotRunning {
                cause: host
                    .ended
                    .get(unit)
                    .cloned()
                    .unwrap_or(DownCause::NotStarted),
            },
        }
    }

    pub(crate) fn watch(&mut self, h: Host, watch: Watch) {
        let serial = self.serial(h);
        let run = self.hosts[h].run;
        // The works of this world have one probe at most.
        if let Some(probe) = watch.probes.first() {
            let event = Event::Probe(h, run, watch.unit.clone(), serial);
            self.at(probe.interval.0, event);
        }
        let unit = watch.unit.clone();
        let watched = Watched {
            probe: watch.probes.into_iter().next(),
            serial,
        };
        self.hosts[h].watched.insert(watch.unit, watched);
        let delay = self.between(1, 20);
        self.at(delay, Event::Look(h, run, unit, serial));
    }

    pub(crate) fn look(&mut self, h: Host, run: u64, unit: UnitKey, watch: u64) {
        let host = &self.hosts[h];
        if host.run != run || host.watched.get(&unit).map(|w| w.serial) != Some(watch) {
            return;
        }
        let blind = self.knobs.blind;
        let seen = if self.bad_luck(blind) {
            // It is looked at again, as after a manager that did not answer.
            let delay = self.between(500, 4_000);
            self.at(delay, Event::Look(h, run, unit.clone(), watch));
            let why = "the manager does not answer".into();
            Seen::Unknown { why }
        } else if self.lies(h, &unit) {
            // What a status command says is no proof of a stop, and is never taken for one.
            let cause = DownCause::Exited(0);
            Seen::NotRunning { cause }
        } else {
            self.seen(h, &unit)
        };
        self.tell_core(
            h,
            run,
            Input::Observed {
                unit,
                seen,
                started: None,
            },
        );
    }

    fn lies(&self, h: Host, unit: &UnitKey) -> bool {
        let process = self.hosts[h].processes.get(unit);
        process.is_some_and(|process| self.now < process.lies_until)
    }

    /// Everybody who watches a unit sees how it is now.
    pub(crate) fn show_all(&mut self, h: Host, unit: &UnitKey) {
        if let Some(watched) = self.hosts[h].watched.get(unit) {
            let (serial, run) = (watched.serial, self.hosts[h].run);
            let delay = self.between(1, 30);
            self.at(delay, Event::Look(h, run, unit.clone(), serial));
        }
    }

    pub(crate) fn probe(&mut self, h: Host, run: u64, unit: UnitKey, watch: u64) {
        let host = &self.hosts[h];
        let Some(watched) = host.watched.get(&unit) else {
            return;
        };
        let (Some(probe), true) = (&watched.probe, watched.serial == watch && host.run == run)
        else {
            return;
        };
        let interval = probe.interval.0;
        let now = self.now;
        let runs = host.processes.get(&unit).filter(|process| !process.gate);
        let runs = runs.map(|p| p.sick && now >= p.lies_until);
        let blind = self.knobs.blind;
        let verdict = if self.bad_luck(blind) {
            Some(Verdict::Unknown("no file descriptor left".into()))
        } else {
            runs.map(|sick| match sick {
                true => Verdict::Fail("connection refused".into()),
                false => Verdict::Pass,
            })
        };
        self.at(interval, Event::Probe(h, run, unit.clone(), watch));
        if let Some(verdict) = verdict {
            let input = Input::Probed {
                unit,
                probe: 0,
                verdict,
            };
            self.tell_core(h, run, input);
        }
    }

    pub(crate) fn act(&mut self, h: Host, act: Act) {
        self.fact(Fact::Acted {
            host: h,
            unit: act.unit.clone(),
            verb: act.verb,
        });
        let unit = act.unit.clone();
        if let Some(old) = self.hosts[h].pending.remove(&unit) {
            self.leave_gate(h, &unit);
            let seen = self.seen(h, &unit);
            let over = ended(&old.act, Outcome::Interrupted, self.now - old.began, seen);
            let run = self.hosts[h].run;
            self.at(1, Event::ToCore(h, run, Box::new(over)));
        }
        let (verb, timeout, grace) = (act.verb, act.timeout.0, act.stop_grace.0);
        let (serial, boot) = (self.serial(h), self.hosts[h].boot);
        let pending = Pending {
            act,
            serial,
            began: self.now,
        };
        self.hosts[h].pending.insert(unit.clone(), pending);
        let over = |outcome| Event::ActOver(h, boot, unit.clone(), serial, outcome);
        let hangs = self.knobs.action_hangs;
        if self.bad_luck(hangs) {
            self.at(timeout, over(Outcome::TimedOut));
            return;
        }
        let runs = self.hosts[h].processes.get(&unit).map(|p| p.stubborn);
        match (verb, runs) {
            (Verb::Start, Some(_)) | (Verb::Stop | Verb::Fence, None) | (Verb::Unfence, _) => {
                self.at(5, over(Outcome::Done));
            }
            (Verb::Stop | Verb::Fence, Some(stubborn)) => {
                let takes = if stubborn {
                    grace + 50
                } else {
                    self.between(10, 800).min(grace)
                };
                self.at(takes, over(Outcome::Done));
            }
            (Verb::Start, None) | (Verb::Restart | Verb::Kill, _) => {
                if runs.is_some() {
                    let signal = if verb == Verb::Kill { 9 } else { 15 };
                    self.process_ends(h, &unit, DownCause::Killed(signal), "restart");
                }
                let fails = self.knobs.start_fails;
                let cursed = self.now < self.hosts[h].cursed_until;
                if cursed || self.bad_luck(fails) {
                    let takes = self.between(20, 1_200);
                    self.at(takes, over(Outcome::Failed("exit status 1".into())));
                } else {
                    self.start(h, &unit, serial);
                }
            }
        }
    }

    /// A started process runs from here on.
    pub(crate) fn land(&mut self, h: Host, boot: u64, unit: &UnitKey, act: u64) {
        let host = &self.hosts[h];
        let pending = host.pending.get(unit).filter(|p| p.serial == act);
        let Some(generation) = pending.map(|p| p.act.generation) else {
            return;
        };
        if !host.up || host.boot != boot || host.processes.contains_key(unit) {
            return;
        }
        if !host.systemd && self.now < host.frozen_until {
            let until = host.frozen_until;
            self.at_moment(until, Event::Land(h, boot, unit.clone(), act));
            return;
        }
        self.hosts[h].ended.remove(unit);
        self.process_begins(h, unit, generation, false);
        self.at(5, Event::ActOver(h, boot, unit.clone(), act, Outcome::Done));
        self.show_all(h, unit);
    }

    /// There is a process of a unit; the work itself runs in it unless it waits at its gate.
    pub(crate) fn process_begins(
        &mut self,
        h: Host,
        unit: &UnitKey,
        generation: Option<Generation>,
        gate: bool,
    ) {
        let serial = self.serial(h);
        let stubborn = self.bad_luck(100);
        let process = Process {
            generation,
            // 0 and 1 are no processes that anybody may promise to end.
            pid: u32::try_from(serial).unwrap_or(u32::MAX).saturating_add(1),
            sick: false,
            stubborn,
            gate,
            lies_until: 0,
        };
        self.hosts[h].processes.insert(unit.clone(), process);
        if !gate {
            self.fact(Fact::Began {
                host: h,
                unit: unit.clone(),
                generation,
            });
        }
    }

    pub(crate) fn act_over(&mut self, h: Host, boot: u64, unit: &UnitKey, act: u64, o: Outcome) {
        let host = &mut self.hosts[h];
        let ours = host.pending.get(unit).is_some_and(|p| p.serial == act);
        if !host.up || host.boot != boot || !ours {
            return;
        }
        let Some(pending) = host.pending.get(unit).cloned() else {
            return;
        };
        let stops = matches!(pending.act.verb, Verb::Stop | Verb::Fence);
        let (frozen, unkillable) = (host.frozen_until, host.unkillable_until);
        if !host.systemd && self.now < frozen {
            let event = Event::ActOver(h, boot, unit.clone(), act, o);
            self.at_moment(frozen, event);
            return;
        }
        let mut o = o;
        if stops && o == Outcome::Done && host.processes.contains_key(unit) {
            if self.now < unkillable {
                o = Outcome::Failed("it does not die".into());
            } else {
                self.process_ends(h, unit, DownCause::Killed(15), "stopped");
            }
        }
        if matches!(o, Outcome::Failed(_)) {
            self.leave_gate(h, unit);
            let cause = match self.hosts[h].ended.remove(unit) {
                Some(turned @ DownCause::TurnedAway(_)) => turned,
                _ => DownCause::Exited(1),
            };
            self.hosts[h].ended.insert(unit.clone(), cause);
        }
        let seen = self.seen(h, unit);
        self.note_turned_away(h, &pending.act, &seen);
        let over = ended(&pending.act, o, self.now - pending.began, seen);
        let run = self.hosts[h].run;
        self.tell_core_of_act(h, run, unit, act, over);
        self.show_all(h, unit);
    }

    /// The end of an act is noted for the checkers while it is still known as pending.
    fn tell_core_of_act(&mut self, h: Host, run: u64, unit: &UnitKey, act: u64, over: Input) {
        self.note_sign(h, &over);
        let host = &mut self.hosts[h];
        if host.pending.get(unit).is_some_and(|p| p.serial == act) {
            host.pending.remove(unit);
        }
        self.tell_core(h, run, over);
    }

    pub(crate) fn process_ends(
        &mut self,
        h: Host,
        unit: &UnitKey,
        cause: DownCause,
        how: &'static str,
    ) {
        let Some(process) = self.hosts[h].processes.remove(unit) else {
            return;
        };
        if process.gate {
            self.fact(Fact::GateLeft {
                host: h,
                unit: unit.clone(),
                generation: process.generation,
            });
            return;
        }
        self.hosts[h].ended.insert(unit.clone(), cause);
        self.fact(Fact::Ended {
            host: h,
            unit: unit.clone(),
            generation: process.generation,
            how,
        });
    }
}

fn ended(act: &Act, outcome: Outcome, took: u64, seen: Seen) -> Input {
    let action: ActionId = act.action;
    Input::ActionEnded {
        action,
        outcome,
        command: format!("{} {}", act.verb, act.unit),
        took: Millis(took),
        hooks: Vec::new(),
        seen,
    }
}
