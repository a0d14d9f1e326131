//! The world: a queue of what will happen, and the parts that it happens to.
//!
//! Everything random is drawn from one stream in the order of the queue, so one seed is one world.

use std::collections::BTreeMap;

use nodemedic_protocol::Boottime;
use nodemedic_protocol::ids::NameError;
use nodemedic_protocol::message::{Message, Presence};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::WorkSpec;
use nodemedic_sim_agent_core::{Input as AgentInput, UnitKey};
use nodemedic_sim_coordinator_core::{Input as BossInput, Request};

use crate::boss::Boss;
use crate::broker::Broker;
use crate::checks::Checks;
use crate::clock::True;
use crate::fact::{Fact, Host};
use crate::faults::{Broken, Fault};
use crate::fence::Devices;
use crate::host::HostState;
use crate::knobs::Knobs;
use crate::trace::Trace;
use crate::works;

/// Something that will happen.
#[derive(Debug)]
pub enum Event {
    /// A host gets power.
    Boot(Host),
    /// A suspended host goes on.
    Resume(Host, u64),
    /// The agent of a host starts, if that boot still lasts.
    AgentStart(Host, u64),
    /// An agent wants to be woken.
    AgentWake(Host, u64),
    /// A frozen agent goes on.
    Thaw(Host, u64),
    /// Something happens to an agent of that run.
    ToCore(Host, u64, Box<AgentInput>),
    /// The sampler of an agent.
    Sample(Host, u64),
    /// A look at a unit, for a watch.
    Look(Host, u64, UnitKey, u64),
    /// A probe of a unit, for a watch.
    Probe(Host, u64, UnitKey, u64),
    /// The gate of a work opens, for an act.
    Open(Host, u64, UnitKey, u64),
    /// A process begins, for an act.
    Land(Host, u64, UnitKey, u64),
    /// An act is over.
    ActOver(Host, u64, UnitKey, u64, nodemedic_protocol::event::Outcome),
    /// The agent tries its disk again.
    DiskRetry(Host, u64),
    /// The agent beats for the watchdog.
    Beat(Host, u64),
    /// A watchdog's process starts.
    DogStart(Host, u64),
    /// A watchdog of that life looks at its promises.
    Dog(Host, u64),
    /// A watchdog's device looks whether it was fed.
    Device(Host, u64),
    /// The last moment that the worst watchdog has for a promise.
    Worst(Host, u64, Boottime),
    /// A process that was asked to end ends.
    Termed(Host, u64, UnitKey, u32),
    /// An agent tries to connect.
    Connect(Host, u64),
    /// An agent finds its connection dead.
    DeadForAgent(Host, u64, bool),
    /// The broker finds a connection dead.
    DeadForBroker(Host, u64, bool),
    /// The will of a connection is due.
    Will(Host, u64, Box<Presence>),
    /// A message of a node arrives at the broker.
    AtBroker(
        Host,
        u64,
        Box<Message>,
        Option<nodemedic_sim_agent_core::Token>,
    ),
    /// The broker's word for a message arrives at its agent.
    Acked(Host, u64, nodemedic_sim_agent_core::Token),
    /// A message for a node arrives at the broker.
    AtBrokerDown(Host, Box<Message>),
    /// A message that waited in a session leaves the broker.
    Redelivered(Host, Box<Message>),
    /// A message arrives at a node.
    AtNode(Host, u64, Box<Message>),
    /// A node's word for a message arrives at the broker.
    Answered(Host, u64),
    /// The broker is back.
    BrokerUp,
    /// The broker copies its memory.
    BrokerCopies,
    /// A coordinator starts.
    BossStart,
    /// It wants to be woken.
    BossWake(u64),
    /// It was frozen, and goes on.
    BossThaw(u64),
    /// It tries to connect.
    BossConnect(u64),
    /// The broker finds its connection dead.
    BossDead(u64),
    /// Its word for a message arrives at the broker.
    BossAnswered(u64),
    /// Something happens to it.
    ToBoss(u64, Box<BossInput>),
    /// A message of a node arrives at the coordinator, over that connection.
    AtBoss(u64, Host, Box<Message>, bool),
    /// A fence device switches the power of a host.
    Switch(Host, bool),
    /// A person asks for something, until it is answered.
    Ask(Box<Request>),
    /// Somebody makes copies of what is on disks.
    Backup,
    /// Something drawn breaks.
    Draw,
    /// This breaks.
    Fault(Box<Fault>),
    /// A fault ends.
    Heal(Broken),
    /// All faults end.
    Calm,
    /// A look at whether the world has come to rest.
    Rest,
}

impl Event {
    /// On which host it needs a running kernel.
    const fn needs(&self) -> Option<Host> {
        match self {
            Event::AgentStart(h, _)
            | Event::AgentWake(h, _)
            | Event::Thaw(h, _)
            | Event::ToCore(h, ..)
            | Event::Sample(h, _)
            | Event::Look(h, ..)
            | Event::Probe(h, ..)
            | Event::Open(h, ..)
            | Event::Land(h, ..)
            | Event::ActOver(h, ..)
            | Event::DiskRetry(h, _)
            | Event::Beat(h, _)
            | Event::DogStart(h, _)
            | Event::Dog(h, _)
            | Event::Termed(h, ..)
            | Event::Connect(h, _)
            | Event::DeadForAgent(h, ..)
            | Event::Acked(h, ..)
            | Event::AtNode(h, ..) => Some(*h),
            _ => None,
        }
    }
}

/// All of it.
pub struct World {
    /// True time.
    pub now: True,
    /// Its weather.
    pub knobs: Knobs,
    /// The works that people have asked for.
    pub works: Vec<WorkSpec>,
    /// The hosts.
    pub hosts: Vec<HostState>,
    /// The broker.
    pub broker: Broker,
    /// The coordinator.
    pub boss: Boss,
    /// The fence devices.
    pub devices: Devices,
    /// The properties.
    pub checks: Checks,
    /// The record.
    pub trace: Trace,
    /// True once faults are over.
    pub calm: bool,
    /// When it came to rest after the calm.
    pub rested: Option<True>,
    /// Looks in a row at which it was at rest.
    pub restful: u32,
    /// True when nothing more needs to happen.
    pub over: bool,
    pub(crate) rng: Rng,
    queue: BTreeMap<(True, u64), Event>,
    queued: u64,
}

/// A name made by the simulation itself.
pub(crate) fn own<T>(name: Result<T, NameError>) -> T {
    match name {
        Ok(name) => name,
        Err(error) => unreachable!("the simulation makes good names only: {error}"),
    }
}

impl World {
    /// The world of these knobs, before anything has happened.
    #[must_use]
    pub fn new(knobs: Knobs, keep_facts: bool) -> World {
        let mut rng = Rng::new(knobs.seed);
        let hosts = (0..knobs.hosts)
            .map(|n| HostState::new(n, &knobs, &mut rng))
            .collect();
        let (devices, fencing) = Devices::draw(&knobs, &mut rng);
        let boss = Boss::new(&knobs, fencing, &mut rng);
        let works = works::specs(knobs.hosts);
        let mut world = World {
            now: 0,
            works: works.clone(),
            hosts,
            broker: Broker::default(),
            boss,
            devices,
            checks: crate::checks::all(&knobs),
            trace: Trace::new(keep_facts),
            calm: false,
            rested: None,
            restful: 0,
            over: false,
            rng,
            queue: BTreeMap::new(),
            queued: 0,
            knobs,
        };
        world.broker.up = true;
        world.broker.forgot_through = vec![0; world.hosts.len()];
        world.at(0, Event::BossStart);
        world.at(0, Event::BrokerCopies);
        for host in 0..world.hosts.len() {
            let delay = world.rng.below(2_000);
            world.at(delay, Event::Boot(host));
        }
        world.at(3_000, Event::Ask(Box::new(Request::PutWork { works })));
        world.plan_faults();
        let calm = world.knobs.fault_ms;
        world.at(calm, Event::Calm);
        world
    }

    /// Puts an event into the queue, so long from now.
    pub(crate) fn at(&mut self, delay: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), event);
    }

    /// Puts an event into the queue at a moment; a past one is now.
    pub(crate) fn at_moment(&mut self, moment: True, event: Event) {
        self.at(moment.saturating_sub(self.now), event);
    }

    /// Something really happened.
    pub(crate) fn fact(&mut self, fact: Fact) {
        self.trace.add(self.now, &fact);
        self.show(&fact);
    }

    /// Something really happened that is too common to be recorded.
    pub(crate) fn show(&mut self, fact: &Fact) {
        self.checks.see(self.now, fact);
    }

    /// A moment within a span, drawn.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.rng.below(to.saturating_sub(from) + 1)
    }

    /// True so many times in a thousand while faults last.
    pub(crate) fn bad_luck(&mut self, per_mille: u64) -> bool {
        !self.calm && self.rng.chance(per_mille)
    }

    /// The next thing happens. False when nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.queue.pop_first() else {
            return false;
        };
        self.now = at;
        if let Some(h) = event.needs()
            && self.now < self.hosts[h].suspended_until
        {
            let until = self.hosts[h].suspended_until;
            self.at_moment(until, event);
        } else {
            self.happen(event);
        }
        !self.over
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Boot(host) => self.boot(host),
            Event::Resume(host, boot) => self.resume(host, boot),
            Event::AgentStart(host, boot) => self.agent_start(host, boot),
            Event::AgentWake(host, run) => self.agent_wake(host, run),
            Event::Thaw(host, run) => self.thaw(host, run),
            Event::ToCore(host, run, input) => self.tell_core(host, run, *input),
            Event::Sample(host, run) => self.sample(host, run),
            Event::Look(host, run, unit, watch) => self.look(host, run, unit, watch),
            Event::Probe(host, run, unit, watch) => self.probe(host, run, unit, watch),
            Event::Open(host, run, unit, act) => self.open(host, run, &unit, act),
            Event::Land(host, boot, unit, act) => self.land(host, boot, &unit, act),
            Event::ActOver(host, boot, unit, act, outcome) => {
                self.act_over(host, boot, &unit, act, outcome);
            }
            Event::DiskRetry(host, run) => self.disk_retry(host, run),
            Event::Beat(host, run) => self.beat_due(host, run),
            Event::DogStart(host, boot) => self.dog_starts(host, boot),
            Event::Dog(host, life) => self.dog_wakes(host, life),
            Event::Device(host, boot) => self.device_looks(host, boot),
            Event::Worst(host, boot, end) => self.worst_ends(host, boot, end),
            Event::Termed(host, boot, unit, pid) => self.termed(host, boot, &unit, pid),
            Event::Switch(host, on) => self.switch(host, on),
            Event::Ask(request) => self.ask(*request),
            Event::Backup => self.backup(),
            Event::Draw => self.draw(),
            Event::Fault(fault) => self.strike(*fault),
            Event::Heal(broken) => self.heal(broken),
            Event::Calm => self.begin_calm(),
            Event::Rest => self.look_for_rest(),
            other => self.pass(other),
        }
    }

    /// What happens on the network, at the broker and at the coordinator.
    fn pass(&mut self, event: Event) {
        match event {
            Event::Connect(host, run) => self.connect(host, run),
            Event::DeadForAgent(host, conn, if_cut) => self.dead_for_agent(host, conn, if_cut),
            Event::DeadForBroker(host, conn, if_cut) => self.dead_for_broker(host, conn, if_cut),
            Event::Will(host, conn, will) => self.will(host, conn, *will),
            Event::AtBroker(host, conn, message, token) => {
                self.at_broker(host, conn, *message, token);
            }
            Event::Acked(host, conn, token) => self.acked(host, conn, token),
            Event::AtBrokerDown(host, message) => self.at_broker_down(host, *message),
            Event::Redelivered(host, message) => self.redelivered(host, *message),
            Event::AtNode(host, conn, message) => self.at_node(host, conn, *message),
            Event::Answered(host, conn) => self.node_answered(host, conn),
            Event::BrokerUp => self.broker_up(),
            Event::BrokerCopies => self.broker_copies(),
            Event::BossStart => self.boss_start(),
            Event::BossWake(run) => self.boss_wake(run),
            Event::BossThaw(run) => self.boss_thaws(run),
            Event::BossConnect(run) => self.boss_connect(run),
            Event::BossDead(conn) => self.boss_dead(conn),
            Event::BossAnswered(conn) => self.boss_answered(conn),
            Event::ToBoss(run, input) => self.tell_boss(run, *input),
            Event::AtBoss(conn, host, message, retained) => {
                self.at_boss(conn, host, message, retained);
            }
            _ => {}
        }
    }
}
