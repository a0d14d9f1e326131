//! The agent's process: what reaches its core, and its effects, between any two of which it may
//! die, freeze, or find the disk full.

use nodemedic_protocol::inventory::Inventory;
use nodemedic_protocol::message::{Answer, Command, CommandBody, Message};
use nodemedic_protocol::sample::Sample;
use nodemedic_sim_agent_core::{Act, Agent, Effect, Facts, Input, Memory, ToNode};

use crate::fact::{Fact, Host};
use crate::works;
use crate::world::{Event, World};

/// Between two samples.
const SAMPLE_MS: u64 = 5_000;

/// A memory that could not be written is tried again after so long, as the agent does.
const MEMORY_RETRY_MS: u64 = 1_000;

impl World {
    pub(crate) fn agent_start(&mut self, h: Host, boot: u64) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if !host.up || host.boot != boot || host.agent.is_some() {
            return;
        }
        if now < host.disk.full_until {
            // It writes its memory once before it begins.
            let until = host.disk.full_until;
            self.at_moment(until, Event::AgentStart(h, boot));
            return;
        }
        self.find_memory(h);
        let seed = self.rng.next_u64();
        let host = &mut self.hosts[h];
        host.run += 1;
        host.watched.clear();
        host.wake = None;
        host.obeyed = (
            host.disk.memory.epoch_seen,
            host.disk.memory.assignment.revision,
        );
        let facts = Facts {
            session: host.session(),
            version: "sim".into(),
            inventory: Inventory::default(),
            capacity: works::CAPACITY,
            spool: host.disk.spool.clone(),
            leases: host.leases.clone(),
        };
        let config = works::agent_config(h, host.name.clone(), &self.knobs);
        let memory = host.disk.memory.clone();
        let agent = Agent::new(config, memory, facts, host.now(now), seed);
        host.agent = Some(agent);
        let run = host.run;
        self.fact(Fact::AgentBegan { host: h });
        self.beats_begin(h);
        self.do_agent_effects(h);
        self.at(20, Event::Sample(h, run));
        let delay = self.between(30, 400);
        self.at(delay, Event::Connect(h, run));
    }

    /// The disk's word, or that of this boot's copy where that is newer; written before all else.
    fn find_memory(&mut self, h: Host) {
        let host = &mut self.hosts[h];
        let boot_id = host.session().boot_id;
        let found = Memory::newest(host.disk.memory.clone(), host.copy.clone(), &boot_id);
        let forgets = host.disk.set_back_from.take() > Some(found.writes);
        host.disk.memory = found.clone();
        host.copy = Some(found);
        if forgets {
            self.fact(Fact::Forgets { host: h });
        }
    }

    pub(crate) fn agent_wake(&mut self, h: Host, run: u64) {
        let host = &mut self.hosts[h];
        if host.run != run {
            return;
        }
        host.wake = None;
        let now = host.now(self.now).boot;
        let due = host.agent.as_ref().and_then(Agent::poll_timeout);
        if due.is_some_and(|(at, _)| at <= now) {
            self.tell_core(h, run, Input::Timer);
        } else {
            self.wake_agent_later(h);
        }
    }

    fn wake_agent_later(&mut self, h: Host) {
        let host = &mut self.hosts[h];
        let Some((boot, _)) = host.agent.as_ref().and_then(Agent::poll_timeout) else {
            return;
        };
        let moment = host.clock.when(boot).max(self.now);
        if host.wake.is_none_or(|at| moment < at || at < self.now) {
            host.wake = Some(moment);
            let run = host.run;
            self.at_moment(moment, Event::AgentWake(h, run));
        }
    }

    /// Hands something to the agent, if it is still that run.
    pub(crate) fn tell_core(&mut self, h: Host, run: u64, input: Input) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if host.run != run || host.agent.is_none() {
            return;
        }
        if now < host.frozen_until {
            let until = host.frozen_until;
            self.at_moment(until, Event::ToCore(h, run, Box::new(input)));
            return;
        }
        self.note_input(h, &input);
        let host = &mut self.hosts[h];
        let clocks = host.now(now);
        if let Some(agent) = &mut host.agent {
            agent.handle(clocks, input);
        }
        self.do_agent_effects(h);
    }

    fn note_input(&mut self, h: Host, input: &Input) {
        if let Input::Received {
            message: ToNode::Command(command),
            retained,
        } = input
        {
            self.note_command(h, command, *retained);
        }
        self.note_sign(h, input);
    }

    fn note_command(&mut self, h: Host, command: &Command, retained: bool) {
        let host = &mut self.hosts[h];
        let session = host.session();
        let now = host.now(self.now).boot;
        let revision = match &command.body {
            CommandBody::Assign(assignment) => Some(assignment.revision),
            _ => None,
        };
        let void = if retained {
            Some("the broker had kept it")
        } else if command.node != host.name {
            Some("it is for another node")
        } else if command.boot_id != session.boot_id {
            Some("it is for another boot")
        } else if command.not_after < now {
            Some("its time is over")
        } else if command.epoch < host.obeyed.0 {
            Some("it is of an older epoch")
        } else if revision.is_some_and(|revision| revision < host.obeyed.1) {
            Some("it is of an older revision")
        } else {
            None
        };
        host.link.judged = Some((command.id.clone(), command.epoch, revision, void));
        if void.is_none()
            && let CommandBody::Assign(assignment) = &command.body
        {
            let works = assignment.works.iter();
            let works = works
                .map(|a| (a.spec.name.clone(), a.generation, a.desired))
                .collect();
            self.fact(Fact::Told {
                host: h,
                revision: assignment.revision,
                works,
            });
        }
    }

    /// The answer to a command leaves the core: it obeyed, or did not.
    fn note_answer(&mut self, h: Host, message: &Message) {
        let Message::Ack(ack) = message else { return };
        let Some((_, epoch, revision, void)) = self.hosts[h]
            .link
            .judged
            .take_if(|judged| judged.0 == ack.id)
        else {
            return;
        };
        let obeyed = ack.answer == Answer::Taken;
        if obeyed && void.is_none() {
            let newest = &mut self.hosts[h].obeyed;
            newest.0 = newest.0.max(epoch);
            newest.1 = newest.1.max(revision.unwrap_or_default());
        }
        self.fact(Fact::Answered {
            host: h,
            obeyed,
            void,
        });
    }

    pub(crate) fn sample(&mut self, h: Host, run: u64) {
        if self.hosts[h].run != run || self.hosts[h].agent.is_none() {
            return;
        }
        let now = self.hosts[h].now(self.now);
        let sample = Sample {
            at: now.boot,
            wall: now.wall,
            ..Sample::default()
        };
        self.tell_core(h, run, Input::Sample(Box::new(sample)));
        self.at(SAMPLE_MS, Event::Sample(h, run));
    }

    /// Does what the agent wants, in order; it may die or freeze before any of it.
    pub(crate) fn do_agent_effects(&mut self, h: Host) {
        while self.now >= self.hosts[h].frozen_until {
            if self.agent_ends_here(h) {
                return;
            }
            let host = &mut self.hosts[h];
            let Some(effect) = host.agent.as_mut().and_then(Agent::poll_effect) else {
                break;
            };
            self.do_agent_effect(h, effect);
        }
        self.wake_agent_later(h);
    }

    /// The agent dies or freezes just before its next effect, if that is its fate.
    fn agent_ends_here(&mut self, h: Host) -> bool {
        let host = &mut self.hosts[h];
        match &mut host.freeze_in {
            Some((0, span)) => {
                let span = *span;
                host.freeze_in = None;
                self.freeze_agent(h, span);
                return true;
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        match &mut host.crash_in {
            Some(0) => {
                self.fact(Fact::Fault(format!(
                    "agent of host-{h} dies between two effects"
                )));
                self.agent_dies(h);
                let boot = self.hosts[h].boot;
                let delay = self.between(200, 20_000);
                self.at(delay, Event::AgentStart(h, boot));
                return true;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        false
    }

    /// The agent's process does nothing for so long, and then goes on where it was.
    pub(crate) fn freeze_agent(&mut self, h: Host, span: u64) {
        if self.hosts[h].agent.is_none() {
            return;
        }
        self.fact(Fact::Fault(format!(
            "agent of host-{h} freezes for {span} ms"
        )));
        let host = &mut self.hosts[h];
        // A shorter pause within a longer one wakes nobody: what waits for the end stays in order.
        host.frozen_until = host.frozen_until.max(self.now + span);
        let (conn, run) = (host.link.conn, host.run);
        self.at(span, Event::Thaw(h, run));
        // The broker hears no ping any more.
        let patience = self.between(6_000, 9_000);
        if span > patience {
            self.at(patience, Event::DeadForBroker(h, conn, false));
            self.at(span + 5, Event::DeadForAgent(h, conn, false));
        }
    }

    pub(crate) fn thaw(&mut self, h: Host, run: u64) {
        let host = &self.hosts[h];
        if host.run == run && host.agent.is_some() && self.now >= host.frozen_until {
            self.show(&Fact::Thawed { host: h });
            self.do_agent_effects(h);
            self.beat(h);
        }
    }

    fn do_agent_effect(&mut self, h: Host, effect: Effect) {
        match effect {
            Effect::Watch(watch) => self.watch(h, watch),
            Effect::Unwatch { unit } => {
                self.hosts[h].watched.remove(&unit);
            }
            Effect::Act(act) => self.begin_act(h, act),
            Effect::Publish { message, token } => {
                self.note_answer(h, &message);
                // An event leaves only when it is on disk; the outbox repeats it.
                let is_event = matches!(message, Message::Event(_));
                if !is_event || self.hosts[h].disk.unspooled.is_empty() {
                    self.publish(h, message, token);
                }
            }
            Effect::SpoolAppend(_) | Effect::SpoolReplace { .. } | Effect::SpoolTrim { .. } => {
                self.hosts[h].disk.unspooled.push(effect);
                self.write_spool(h);
            }
            Effect::Remember(memory) => self.remember(h, *memory),
            Effect::RememberLeases(leases) => self.hosts[h].leases = Some(leases),
            Effect::Promise(promises) => {
                self.note_promises(h, &promises);
                self.hosts[h].promises = promises;
                self.beat(h);
            }
            // No host here declares a remedy.
            Effect::Treat(_) | Effect::Log { .. } => {}
        }
    }

    /// What cannot be written down is not begun, nor what comes too late.
    fn begin_act(&mut self, h: Host, act: Act) {
        let host = &self.hosts[h];
        let starts = act.verb.starts();
        let why = if starts && host.disk.unsaved.is_some() {
            "it cannot be written down"
        } else if act.begin_by.is_some_and(|by| by < host.now(self.now).boot) {
            "it comes too late"
        } else {
            return self.act(h, act);
        };
        let (action, why, run) = (act.action, why.to_owned(), host.run);
        let not_begun = Input::NotBegun { action, why };
        self.at(1, Event::ToCore(h, run, Box::new(not_begun)));
    }

    /// Writes what waits for the spool, in order, as far as the disk takes it.
    fn write_spool(&mut self, h: Host) {
        if self.now < self.hosts[h].disk.full_until {
            self.retry_disk(h);
            return;
        }
        for effect in std::mem::take(&mut self.hosts[h].disk.unspooled) {
            let spool = &mut self.hosts[h].disk.spool;
            let event = match effect {
                Effect::SpoolAppend(event) => event,
                Effect::SpoolReplace { first, last, with } => {
                    spool.events.retain(|e| e.seq < first || e.seq > last);
                    with
                }
                Effect::SpoolTrim { through } => {
                    spool.events.retain(|e| e.seq > through);
                    spool.trimmed = spool.trimmed.max(through);
                    continue;
                }
                _ => continue,
            };
            let place = spool.events.partition_point(|e| e.seq < event.seq);
            spool.events.insert(place, event.clone());
            let stream = spool.stream.clone();
            self.fact(Fact::Spooled {
                host: h,
                stream,
                event: Box::new(event),
            });
        }
    }

    fn retry_disk(&mut self, h: Host) {
        let run = self.hosts[h].run;
        if !std::mem::replace(&mut self.hosts[h].disk.retries, true) {
            self.at(MEMORY_RETRY_MS, Event::DiskRetry(h, run));
        }
    }

    fn remember(&mut self, h: Host, memory: Memory) {
        self.hosts[h].copy = Some(memory.clone());
        let disk = &mut self.hosts[h].disk;
        if self.now < disk.full_until {
            disk.unsaved = Some(memory);
            self.retry_disk(h);
        } else {
            disk.memory = memory;
            disk.unsaved = None;
        }
    }

    pub(crate) fn disk_retry(&mut self, h: Host, run: u64) {
        if self.hosts[h].run != run || self.hosts[h].agent.is_none() {
            return;
        }
        let until = self.hosts[h].still_until();
        if self.now < until {
            self.at_moment(until, Event::DiskRetry(h, run));
            return;
        }
        self.hosts[h].disk.retries = false;
        self.write_spool(h);
        if let Some(memory) = self.hosts[h].disk.unsaved.take() {
            self.remember(h, memory);
        }
    }
}
