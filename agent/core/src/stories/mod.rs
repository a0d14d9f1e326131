//! Stories on virtual time: a small world that does what the agent asks, dies when told to, and is
//! watched by checks that run at every step.

mod checks;
mod coordinator;
mod disk;
mod gate;
mod given;
mod hands;
mod held;
mod ladder;
mod last_words;
mod lease;
mod manners;
mod probes;
mod properties;
mod rollback;
mod rungs;
mod session;
mod sweep;
mod told;
mod works;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use nodemedic_protocol::event::{Event, EventKind, Outcome, Verb};
use nodemedic_protocol::inventory::{Capacity, Inventory};
use nodemedic_protocol::message::{Command, CommandBody, LeaseAck, Message, Session};
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::work::{
    Assigned, Assignment, Check, Desired, GrantRef, OnLeaseLoss, ProbeSpec, Run, Sharing, WorkSpec,
    WorkState,
};
use nodemedic_protocol::{
    BootId, Boottime, CommandId, Epoch, Generation, Millis, NodeId, Now, Revision, Seq,
    ServiceName, SessionId, StreamId, WallTime, WorkName,
};

use crate::config::RestartPolicy;
use crate::effect::{Act, Watch};
use crate::{
    Agent, Config, DownCause, Effect, Facts, Input, LeaseMemory, Memory, Promise, Seen, Spooled,
    ToNode, UnitKey, Verdict,
};

use given::{command, config, exclusive, http, run, service, work};

/// How long an action takes in this world.
const ACT_TAKES: Millis = Millis(20);

/// How something behaves here.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    /// Under which grant it runs; `None` when it does not.
    pub runs: Option<Option<Generation>>,
    pub why_not: DownCause,
    /// When its newest start began; `None` where the manager cannot tell.
    pub started: Option<Boottime>,
    /// Ends right after each start.
    pub broken: bool,
    /// Cannot be stopped.
    pub stuck: bool,
    /// Is not let in when it is to start.
    pub shut: bool,
    /// Nobody can see it.
    pub hidden: bool,
    pub probe: Verdict,
    /// Of those of several that answer otherwise.
    pub probes: BTreeMap<usize, Verdict>,
}

impl Default for Thing {
    fn default() -> Thing {
        Thing {
            runs: None,
            why_not: DownCause::NotStarted,
            started: Some(Boottime(0)),
            broken: false,
            stuck: false,
            shut: false,
            hidden: false,
            probe: Verdict::Pass,
            probes: BTreeMap::new(),
        }
    }
}

/// A lease as the coordinator of this world reckons it, from outside of the core.
#[derive(Clone, Copy, Debug)]
struct Reckoned {
    deadline: Boottime,
    grace: Millis,
    stops: bool,
}

/// One host with its agent.
pub(super) struct World {
    pub agent: Agent,
    pub config: Config,
    pub now: Now,
    /// Real time since the story began; goes on over reboots.
    pub elapsed: Millis,
    pub memory: Memory,
    /// Its copy on a tmpfs; goes with the boot.
    pub copy: Option<Memory>,
    /// The disk takes nothing.
    full: bool,
    /// The disk takes so long for each memory; acts wait for it.
    pub disk_takes: Millis,
    pub leases: Option<LeaseMemory>,
    pub spool: Spooled,
    pub things: BTreeMap<UnitKey, Thing>,
    pub acts: Vec<(Millis, Act)>,
    /// Acts that took their effect, and when.
    pub done: Vec<(Millis, Act)>,
    /// Acts whose gate stayed shut: nothing was started by them.
    pub shut: Vec<crate::ActionId>,
    pub sent: Vec<Message>,
    pub promises: Vec<Promise>,
    pub events: Vec<Event>,
    pub session: Session,
    watched: BTreeMap<UnitKey, (Watch, Boottime)>,
    pending: Vec<(Boottime, Pending)>,
    /// Whether what was begun goes on when the agent dies, as a job of systemd does.
    pub jobs_go_on: bool,
    /// Whether a restart that the agent's death cuts off has ended what ran, and started nothing.
    pub cut_half_way: bool,
    /// After so many more effects the agent is killed, and started again.
    pub die_after: Option<usize>,
    sampled: bool,
    next_sample: Boottime,
    starts: u64,
    reckoned: BTreeMap<(WorkName, Generation), Reckoned>,
    /// The coordinator acks heartbeats with this term, for the works that run.
    pub acks: Option<Millis>,
    commands: u64,
    pub revision: u64,
    pub epoch: u64,
}

#[derive(Clone, Debug)]
enum Pending {
    Input(Box<Input>),
    Look(UnitKey),
    Begin(Box<Act>),
    Done(Box<Act>),
}

impl World {
    pub(super) fn new(config: Config) -> World {
        let session = Session {
            boot_id: BootId::new("boot-1").unwrap(),
            session_id: SessionId::new("run-1").unwrap(),
        };
        let spool = Spooled {
            stream: StreamId::new("stream").unwrap(),
            trimmed: Seq(0),
            events: Vec::new(),
        };
        let now = Now {
            boot: Boottime(10_000),
            wall: WallTime(1_000_000),
        };
        let facts = facts(&session, &spool, None);
        let mut world = World {
            agent: Agent::new(config.clone(), Memory::default(), facts, now, 1),
            config,
            now,
            elapsed: Millis::ZERO,
            memory: Memory::default(),
            copy: None,
            full: false,
            disk_takes: Millis::ZERO,
            leases: None,
            spool,
            things: BTreeMap::new(),
            acts: Vec::new(),
            done: Vec::new(),
            jobs_go_on: false,
            cut_half_way: false,
            die_after: None,
            shut: Vec::new(),
            sent: Vec::new(),
            promises: Vec::new(),
            events: Vec::new(),
            session,
            watched: BTreeMap::new(),
            pending: Vec::new(),
            sampled: true,
            next_sample: now.boot,
            starts: 1,
            reckoned: BTreeMap::new(),
            acks: None,
            commands: 0,
            revision: 0,
            epoch: 1,
        };
        world.effects();
        world
    }

    /// The agent is killed and started again; what runs keeps running. It does not start on a disk
    /// that takes nothing.
    pub(super) fn restart_agent(&mut self) {
        self.starts += 1;
        self.full = false;
        let copy = self.copy.clone();
        let boot_id = &self.session.boot_id;
        self.memory = Memory::newest(core::mem::take(&mut self.memory), copy, boot_id);
        self.session.session_id = SessionId::new(format!("run-{}", self.starts)).unwrap();
        self.watched.clear();
        self.cut_half_way();
        let goes_on = self.jobs_go_on;
        self.pending
            .retain(|(_, p)| goes_on && matches!(p, Pending::Done(_)));
        self.next_sample = self.now.boot;
        let facts = facts(&self.session, &self.spool, self.leases.clone());
        self.agent = Agent::new(
            self.config.clone(),
            self.memory.clone(),
            facts,
            self.now,
            self.starts,
        );
        self.effects();
    }

    /// The host loses its power; the wall clock comes back as it likes.
    pub(super) fn reboot(&mut self, wall: u64) {
        self.now = Now {
            boot: Boottime(1_000),
            wall: WallTime(wall),
        };
        self.elapsed = self.elapsed + Millis(1_000);
        self.session.boot_id = BootId::new(format!("boot-{}", self.starts + 1)).unwrap();
        self.leases = None;
        self.copy = None;
        self.reckoned.clear();
        self.pending.clear();
        for thing in self.things.values_mut() {
            thing.started = thing.started.map(|_| Boottime(0));
            thing.runs = None;
            thing.why_not = DownCause::NotStarted;
        }
        self.restart_agent();
    }

    /// The disk takes nothing, or what it should have taken.
    pub(super) fn fill_disk(&mut self, full: bool) {
        self.full = full;
        if let Some(copy) = self.copy.clone().filter(|_| !full) {
            self.memory = copy;
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.agent.handle(self.now, input);
        self.effects();
    }

    pub(super) fn thing(&mut self, key: &UnitKey) -> &mut Thing {
        self.things.entry(key.clone()).or_default()
    }

    /// Its process ends, and the kernel says so.
    pub(super) fn kill(&mut self, key: &UnitKey) {
        let thing = self.thing(key);
        if thing.runs.take().is_none() {
            return;
        }
        thing.why_not = DownCause::Killed(9);
        self.observe(key);
    }

    pub(super) fn observe(&mut self, key: &UnitKey) {
        if self.watched.contains_key(key) {
            let seen = self.seen(key);
            let started = self.thing(key).started;
            self.input(Input::Observed {
                unit: key.clone(),
                seen,
                started,
            });
        }
    }

    fn seen(&mut self, key: &UnitKey) -> Seen {
        let job = |(_, p): &(Boottime, Pending)| matches!(p, Pending::Done(a) if a.unit == *key);
        if self.jobs_go_on && self.pending.iter().any(job) {
            return Seen::Unknown {
                why: "a job of it is under way".to_string(),
            };
        }
        let thing = self.thing(key);
        match (thing.hidden, thing.runs) {
            (true, _) => Seen::Unknown {
                why: "the bus is gone".to_string(),
            },
            (false, Some(generation)) => Seen::Running {
                pid: Some(42),
                generation,
            },
            (false, None) => Seen::NotRunning {
                cause: thing.why_not.clone(),
            },
        }
    }

    /// The real time goes on by so much, event by event.
    pub(super) fn pass(&mut self, span: Millis) {
        let end = self.now.boot + span;
        loop {
            let timer = self.agent.poll_timeout().map(|(at, _)| at);
            let pending = self.pending.iter().map(|(at, _)| *at).min();
            let probe = self.watched.values().map(|(_, at)| *at).min();
            let sample = self.sampled.then_some(self.next_sample);
            let next = [timer, pending, probe, sample]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(end)
                .max(self.now.boot);
            if next > end {
                break;
            }
            self.move_to(next);
            self.step();
            if next == end && self.agent.poll_timeout().is_none_or(|(at, _)| at > end) {
                break;
            }
        }
        self.move_to(end);
        self.check();
    }

    fn move_to(&mut self, at: Boottime) {
        let span = at.since(self.now.boot);
        self.elapsed = self.elapsed + span;
        self.now.wall = WallTime(self.now.wall.0.saturating_add(span.0));
        self.now.boot = self.now.boot.max(at);
    }

    fn step(&mut self) {
        self.check();
        let now = self.now.boot;
        let (due, later) = self.pending.drain(..).partition(|(at, _)| *at <= now);
        self.pending = later;
        let due: Vec<(Boottime, Pending)> = due;
        for (_, pending) in due {
            match pending {
                Pending::Input(input) => self.input(*input),
                Pending::Look(unit) => self.observe(&unit),
                Pending::Begin(act) => self.begin(*act),
                Pending::Done(act) => {
                    self.done(&act);
                    // As systemd, which says every change.
                    if self.jobs_go_on {
                        self.pending.push((now, Pending::Look(act.unit)));
                    }
                }
            }
        }
        if self.sampled && self.next_sample <= now {
            self.next_sample = now + Millis::from_secs(1);
            self.input(Input::Sample(Box::new(Sample {
                at: now,
                ..Sample::default()
            })));
        }
        for (key, (watch, at)) in self.watched.clone() {
            let Some(probe) = watch.probes.first().filter(|_| at <= now) else {
                continue;
            };
            if let Some((_, next)) = self.watched.get_mut(&key) {
                *next = now + probe.interval;
            }
            for probe in 0..watch.probes.len() {
                let thing = self.thing(&key);
                if thing.runs.is_none() {
                    break;
                }
                let verdict = thing.probes.get(&probe).unwrap_or(&thing.probe).clone();
                let unit = key.clone();
                self.input(Input::Probed {
                    unit,
                    probe,
                    verdict,
                });
            }
        }
        self.input(Input::Timer);
    }

    // What a story asks.

    pub(super) fn state(&self, key: &UnitKey) -> String {
        let status = self.agent.status(self.now);
        match key {
            UnitKey::Service(name) => status
                .services
                .into_iter()
                .find(|s| s.service == *name)
                .map_or("absent".to_string(), |s| s.state),
            UnitKey::Work(name) => status
                .works
                .into_iter()
                .find(|w| w.work == *name)
                .map_or("absent".to_string(), |w| format!("{:?}", w.state)),
        }
    }

    pub(super) fn verbs(&self, key: &UnitKey) -> Vec<Verb> {
        self.acts
            .iter()
            .filter(|(_, a)| a.unit == *key)
            .map(|(_, a)| a.verb)
            .collect()
    }

    pub(super) fn count(&self, key: &UnitKey, verb: Verb) -> usize {
        self.verbs(key).iter().filter(|v| **v == verb).count()
    }

    pub(super) fn told(&self, matches: impl Fn(&EventKind) -> bool) -> usize {
        self.events.iter().filter(|e| matches(&e.kind)).count()
    }
}

fn facts(session: &Session, spool: &Spooled, leases: Option<LeaseMemory>) -> Facts {
    Facts {
        session: session.clone(),
        version: "1.0".to_string(),
        inventory: Inventory::default(),
        capacity: Capacity::default(),
        spool: spool.clone(),
        leases,
    }
}
