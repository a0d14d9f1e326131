//! The world: a queue of what will happen, and the parts that it happens to.
//!
//! Everything random is drawn from one stream in the order of the queue, so one seed is one world.

use std::collections::BTreeMap;

use nodemedic_agent_core::{Input as AgentInput, UnitKey};
use nodemedic_coordinator_core::{Input as BossInput, Request};
use nodemedic_protocol::ids::NameError;
use nodemedic_protocol::message::Message;
use nodemedic_protocol::rng::Rng;

use crate::boss::Boss;
use crate::checks::{Checks, Limits};
use crate::clock::{RIGHT, True};
use crate::fact::{Fact, Host};
use crate::host::HostState;
use crate::knobs::Knobs;
use crate::trace::Trace;
use crate::wire::Broker;
use crate::works;

/// Something that will happen.
#[derive(Debug)]
pub enum Event {
    /// A host gets power.
    Boot(Host),
    /// The agent of a host starts, if that boot still lasts.
    AgentStart(Host, u64),
    /// An agent wants to be woken.
    AgentWake(Host, u64),
    /// Something happens to an agent of that run.
    ToCore(Host, u64, Box<AgentInput>),
    /// The sampler of an agent.
    Sample(Host, u64),
    /// A look at a unit, for a watch.
    Look(Host, u64, UnitKey, u64),
    /// A probe of a unit, for a watch.
    Probe(Host, u64, UnitKey, u64),
    /// A process begins, for an act.
    Land(Host, u64, UnitKey, u64),
    /// An act is over.
    ActOver(Host, u64, UnitKey, u64, nodemedic_protocol::event::Outcome),
    /// A watchdog looks at its promises.
    Watchdog(Host, u64),
    /// An agent tries to connect.
    Connect(Host, u64),
    /// An agent finds its connection dead.
    DeadForAgent(Host, u64, bool),
    /// The broker finds a connection dead.
    DeadForBroker(Host, u64, bool),
    /// A message of a node arrives at the broker.
    AtBroker(Host, u64, Box<Message>, Option<nodemedic_agent_core::Token>),
    /// The broker's word for a message arrives at its agent.
    Acked(Host, u64, nodemedic_agent_core::Token),
    /// A message for a node arrives at the broker.
    AtBrokerDown(Host, Box<Message>),
    /// A message arrives at a node.
    AtNode(Host, u64, Box<Message>),
    /// The broker is back.
    BrokerUp,
    /// A coordinator starts.
    BossStart,
    /// It wants to be woken.
    BossWake(u64),
    /// It tries to connect.
    BossConnect(u64),
    /// Something happens to it.
    ToBoss(u64, Box<BossInput>),
    /// A message of a node arrives at the coordinator, over that connection.
    AtBoss(u64, Host, Box<Message>, bool),
    /// A person asks for something, until it is answered.
    Ask(Box<Request>),
    /// Something breaks.
    Fault,
    /// A fault ends.
    Heal(crate::faults::Broken),
    /// All faults end.
    Calm,
    /// A look at whether the world has come to rest.
    Rest,
}

/// All of it.
pub struct World {
    /// True time.
    pub now: True,
    /// Its weather.
    pub knobs: Knobs,
    /// The hosts.
    pub hosts: Vec<HostState>,
    /// The broker.
    pub broker: Broker,
    /// The coordinator.
    pub boss: Boss,
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
        let boss = Boss::new(&knobs, &mut rng);
        let restarts = works::RESTARTS;
        // A window of the fastest clock is this long in true time, less the odd millisecond.
        let window_ms = restarts.window.0 * RIGHT / (RIGHT + knobs.drift) - 2;
        let limits = Limits {
            max: restarts.max as usize,
            window_ms,
        };
        let mut world = World {
            now: 0,
            hosts,
            broker: Broker::default(),
            boss,
            checks: crate::checks::all(works::exclusive(), limits),
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
        world.at(0, Event::BossStart);
        for host in 0..world.hosts.len() {
            let delay = world.rng.below(2_000);
            world.at(delay, Event::Boot(host));
        }
        let works = works::specs();
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
        self.checks.see(self.now, &fact);
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
        self.happen(event);
        !self.over
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Boot(host) => self.boot(host),
            Event::AgentStart(host, boot) => self.agent_start(host, boot),
            Event::AgentWake(host, run) => self.agent_wake(host, run),
            Event::ToCore(host, run, input) => self.tell_core(host, run, *input),
            Event::Sample(host, run) => self.sample(host, run),
            Event::Look(host, run, unit, watch) => self.look(host, run, unit, watch),
            Event::Probe(host, run, unit, watch) => self.probe(host, run, unit, watch),
            Event::Land(host, boot, unit, act) => self.land(host, boot, &unit, act),
            Event::ActOver(host, boot, unit, act, outcome) => {
                self.act_over(host, boot, &unit, act, outcome);
            }
            Event::Watchdog(host, boot) => self.watchdog(host, boot),
            Event::Connect(host, run) => self.connect(host, run),
            Event::DeadForAgent(host, conn, if_cut) => self.dead_for_agent(host, conn, if_cut),
            Event::DeadForBroker(host, conn, if_cut) => self.dead_for_broker(host, conn, if_cut),
            Event::AtBroker(host, conn, message, token) => {
                self.at_broker(host, conn, *message, token);
            }
            Event::Acked(host, conn, token) => self.acked(host, conn, token),
            Event::AtBrokerDown(host, message) => self.at_broker_down(host, *message),
            Event::AtNode(host, conn, message) => self.at_node(host, conn, *message),
            Event::BrokerUp => self.broker_up(),
            Event::BossStart => self.boss_start(),
            Event::BossWake(run) => self.boss_wake(run),
            Event::BossConnect(run) => self.boss_connect(run),
            Event::ToBoss(run, input) => self.tell_boss(run, *input),
            Event::AtBoss(conn, host, message, retained) => {
                self.at_boss(conn, host, message, retained);
            }
            Event::Ask(request) => self.ask(*request),
            Event::Fault => self.fault(),
            Event::Heal(broken) => self.heal(broken),
            Event::Calm => self.begin_calm(),
            Event::Rest => self.look_for_rest(),
        }
    }
}
