//! A host: its boot, its durable files, its agent and its watchdog.

use std::collections::BTreeMap;

use nodemedic_agent_core::{
    Agent, DownCause, Effect, Facts, Input, LeaseMemory, Memory, Promise, Spooled, ToNode, UnitKey,
};
use nodemedic_protocol::inventory::{Capacity, Inventory};
use nodemedic_protocol::message::{CommandBody, Session};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::work::Enforcement;
use nodemedic_protocol::{BootId, Millis, NodeId, Now, Seq, SessionId, StreamId};

use crate::clock::{Clock, RIGHT, True};
use crate::fact::{Fact, Host};
use crate::knobs::Knobs;
use crate::manager::{Pending, Process, Watched};
use crate::watchdog::WATCHDOG_MS;
use crate::wire::Link;
use crate::works;
use crate::world::{Event, World, own};

/// Between two samples.
const SAMPLE_MS: u64 = 5_000;

/// One host.
pub struct HostState {
    /// Its name in the fleet.
    pub name: NodeId,
    /// True while it has power.
    pub up: bool,
    /// Counts boots.
    pub boot: u64,
    /// Its boot clock.
    pub clock: Clock,
    /// Its agent, while one runs.
    pub agent: Option<Agent>,
    /// Counts runs of the agent.
    pub run: u64,
    /// The agent does nothing before this moment.
    pub frozen_until: True,
    /// Effects until the agent dies.
    pub crash_in: Option<u64>,
    /// On disk.
    pub memory: Memory,
    /// On disk.
    pub spool: Spooled,
    /// Counts lives of the spool.
    pub streams: u64,
    /// On a tmpfs.
    pub leases: Option<LeaseMemory>,
    /// What runs.
    pub processes: BTreeMap<UnitKey, Process>,
    /// How what ran on this boot ended.
    pub ended: BTreeMap<UnitKey, DownCause>,
    /// What is being done.
    pub pending: BTreeMap<UnitKey, Pending>,
    /// What the agent watches.
    pub watched: BTreeMap<UnitKey, Watched>,
    /// Starts fail until then.
    pub cursed_until: True,
    /// What the watchdog holds the host to.
    pub promises: Vec<Promise>,
    /// How it does.
    pub enforcement: Enforcement,
    /// Its connection.
    pub link: Link,
    pub(crate) serial: u64,
    wake: Option<True>,
}

impl HostState {
    pub(crate) fn new(n: Host, knobs: &Knobs, rng: &mut Rng) -> HostState {
        let timeout = Millis(WATCHDOG_MS);
        HostState {
            name: own(NodeId::new(format!("host-{n}"))),
            up: false,
            boot: 0,
            clock: Clock {
                origin: 0,
                rate: RIGHT - knobs.drift + rng.below(2 * knobs.drift + 1),
            },
            agent: None,
            run: 0,
            frozen_until: 0,
            crash_in: None,
            memory: Memory::default(),
            spool: fresh_spool(n, 1),
            streams: 1,
            leases: None,
            processes: BTreeMap::new(),
            ended: BTreeMap::new(),
            pending: BTreeMap::new(),
            watched: BTreeMap::new(),
            cursed_until: 0,
            promises: Vec::new(),
            enforcement: match rng.below(5) {
                0 => Enforcement::None,
                1 => Enforcement::Hardware { timeout },
                _ => Enforcement::Software { timeout },
            },
            link: Link::default(),
            serial: 0,
            wake: None,
        }
    }

    /// What its clocks say.
    #[must_use]
    pub const fn now(&self, at: True) -> Now {
        self.clock.now(at)
    }

    /// Boot and run of its agent.
    #[must_use]
    pub fn session(&self) -> Session {
        Session {
            boot_id: own(BootId::new(format!("{}-boot-{}", self.name, self.boot))),
            session_id: own(SessionId::new(format!("{}-run-{}", self.name, self.run))),
        }
    }
}

fn fresh_spool(host: Host, life: u64) -> Spooled {
    Spooled {
        stream: own(StreamId::new(format!("host-{host}-stream-{life}"))),
        trimmed: Seq(0),
        events: Vec::new(),
    }
}

impl World {
    pub(crate) fn boot(&mut self, h: Host) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if host.up {
            return;
        }
        host.up = true;
        host.boot += 1;
        host.clock.origin = now;
        let boot = host.boot;
        let delay = self.between(100, 1_500);
        self.at(delay, Event::AgentStart(h, boot));
    }

    /// Power is gone: what ran runs no more, and a tmpfs is empty.
    pub(crate) fn power_off(&mut self, h: Host) {
        self.agent_dies(h);
        let running: Vec<UnitKey> = self.hosts[h].processes.keys().cloned().collect();
        for unit in running {
            self.process_ends(h, &unit, DownCause::Gone, "power off");
        }
        let host = &mut self.hosts[h];
        host.up = false;
        host.ended.clear();
        host.pending.clear();
        host.leases = None;
        host.promises.clear();
    }

    pub(crate) fn agent_start(&mut self, h: Host, boot: u64) {
        let now = self.now;
        let seed = self.rng.next_u64();
        let host = &mut self.hosts[h];
        if !host.up || host.boot != boot || host.agent.is_some() {
            return;
        }
        host.run += 1;
        host.frozen_until = 0;
        host.watched.clear();
        host.wake = None;
        let facts = Facts {
            session: host.session(),
            version: "sim".into(),
            inventory: Inventory::default(),
            capacity: Capacity {
                cpu_milli: 4_000,
                memory_bytes: 8 << 30,
            },
            spool: host.spool.clone(),
            leases: host.leases.clone(),
        };
        let config = works::agent_config(host.name.clone(), &self.knobs);
        let agent = Agent::new(config, host.memory.clone(), facts, host.now(now), seed);
        host.agent = Some(agent);
        let (run, enforcement) = (host.run, host.enforcement);
        self.fact(Fact::AgentBegan { host: h });
        self.do_agent_effects(h);
        let known = Input::Enforcement(enforcement);
        self.at(5, Event::ToCore(h, run, Box::new(known)));
        self.at(20, Event::Sample(h, run));
        let delay = self.between(30, 400);
        self.at(delay, Event::Connect(h, run));
    }

    /// The agent is gone, by a crash or after its farewell; what it looked after runs on.
    pub(crate) fn agent_dies(&mut self, h: Host) {
        if self.hosts[h].agent.take().is_none() {
            return;
        }
        let orphans: Vec<UnitKey> = self.hosts[h].pending.keys().cloned().collect();
        for unit in orphans {
            // A manager such as systemd may carry on with what it was asked.
            if self.rng.chance(500) {
                self.hosts[h].pending.remove(&unit);
            }
        }
        let host = &mut self.hosts[h];
        host.watched.clear();
        host.crash_in = None;
        host.link.agent_up = false;
        let conn = host.link.conn;
        let delay = self.between(0, 300);
        self.at(delay, Event::DeadForBroker(h, conn, false));
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
            retained: false,
        } = input
            && command.node == self.hosts[h].name
            && command.boot_id == self.hosts[h].session().boot_id
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
        self.note_sign(h, input);
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

    /// Does what the agent wants, in order; it may die before any of it.
    pub(crate) fn do_agent_effects(&mut self, h: Host) {
        loop {
            let host = &mut self.hosts[h];
            let Some(effect) = host.agent.as_mut().and_then(Agent::poll_effect) else {
                break;
            };
            match &mut host.crash_in {
                Some(0) => {
                    self.fact(Fact::Fault(format!(
                        "agent of host-{h} dies before {effect:.60?}"
                    )));
                    self.agent_dies(h);
                    let boot = self.hosts[h].boot;
                    let delay = self.between(200, 20_000);
                    self.at(delay, Event::AgentStart(h, boot));
                    return;
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.do_agent_effect(h, effect);
        }
        self.wake_agent_later(h);
    }

    fn do_agent_effect(&mut self, h: Host, effect: Effect) {
        match effect {
            Effect::Watch(watch) => self.watch(h, watch),
            Effect::Unwatch { unit } => {
                self.hosts[h].watched.remove(&unit);
            }
            Effect::Act(act) => self.act(h, act),
            Effect::Publish { message, token } => self.publish(h, message, token),
            Effect::SpoolAppend(event) => {
                let host = &mut self.hosts[h];
                host.spool.events.push(event.clone());
                let stream = host.spool.stream.clone();
                self.fact(Fact::Spooled {
                    host: h,
                    stream,
                    event,
                });
            }
            Effect::SpoolReplace { first, last, with } => {
                let host = &mut self.hosts[h];
                let events = &mut host.spool.events;
                events.retain(|e| e.seq < first || e.seq > last);
                let place = events.partition_point(|e| e.seq < first);
                events.insert(place, with.clone());
                let stream = host.spool.stream.clone();
                self.fact(Fact::Spooled {
                    host: h,
                    stream,
                    event: with,
                });
            }
            Effect::SpoolTrim { through } => {
                let spool = &mut self.hosts[h].spool;
                spool.events.retain(|e| e.seq > through);
                spool.trimmed = spool.trimmed.max(through);
            }
            Effect::Remember(memory) => self.hosts[h].memory = *memory,
            Effect::RememberLeases(leases) => self.hosts[h].leases = Some(leases),
            Effect::Promise(promises) => self.promise(h, promises),
            Effect::Log { .. } => {}
        }
    }

    /// The spool is lost with what was in it; the agent is dead at that moment.
    pub(crate) fn lose_spool(&mut self, h: Host) {
        let host = &mut self.hosts[h];
        host.streams += 1;
        host.spool = fresh_spool(h, host.streams);
        self.fact(Fact::SpoolLost { host: h });
    }
}
