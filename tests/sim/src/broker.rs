//! The broker, as MQTT 5 describes one: sessions that outlive connections for a while, bounded
//! queues, a bounded number of messages in flight, retained messages, redelivery, and a memory that
//! a restart keeps, loses, or throws back to an older state.

use std::collections::{BTreeMap, VecDeque};

use nodemedic_protocol::message::Message;
use nodemedic_protocol::topic::Kind;

use crate::clock::True;
use crate::fact::Host;
use crate::wire::{AGAIN_MS, is_sure};
use crate::world::{Event, World};

/// Between two copies of the broker's memory.
const COPY_MS: u64 = 40_000;

/// So many messages may come again.
const PAST_MAX: usize = 400;

/// What a restart does to the broker's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recalls {
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// What it had at its last copy.
    Copy,
}

/// What the broker keeps for one client.
#[derive(Clone, Debug)]
struct Session<M> {
    waiting: VecDeque<M>,
    /// Sent over the connection of now and not answered.
    in_flight: usize,
    /// When it ends, while its client is gone.
    ends: Option<True>,
}

impl<M> Default for Session<M> {
    fn default() -> Session<M> {
        Session {
            waiting: VecDeque::new(),
            in_flight: 0,
            ends: None,
        }
    }
}

impl<M> Session<M> {
    fn keep(&mut self, message: M, max: usize, drops_oldest: bool) {
        if self.waiting.len() >= max {
            if !drops_oldest {
                return;
            }
            self.waiting.pop_front();
        }
        self.waiting.push_back(message);
    }
}

/// What a broker may write to its disk.
#[derive(Clone, Debug, Default)]
struct Memory {
    retained: BTreeMap<(Host, Kind), Message>,
    boss: Session<(Host, Message)>,
    hosts: BTreeMap<Host, Session<Message>>,
}

/// The broker.
#[derive(Debug, Default)]
pub struct Broker {
    /// True while it runs.
    pub up: bool,
    /// Connections up to this one, of each host, were forgotten with everything of them.
    pub(crate) forgot_through: Vec<u64>,
    memory: Memory,
    copy: Memory,
    /// What passed lately, so that it can come again when nobody expects it.
    pub(crate) past_up: VecDeque<(Host, Message)>,
    /// The same, towards the nodes.
    pub(crate) past_down: VecDeque<(Host, Message)>,
}

fn remember(past: &mut VecDeque<(Host, Message)>, h: Host, message: &Message) {
    if past.len() >= PAST_MAX {
        past.pop_front();
    }
    past.push_back((h, message.clone()));
}

impl World {
    /// A message of a node: kept if its kind is, and on to the coordinator.
    pub(crate) fn route(&mut self, h: Host, message: Message) {
        let Some(kind) = message.kind() else { return };
        if kind != Kind::Sample {
            remember(&mut self.broker.past_up, h, &message);
        }
        if kind.delivery().retain {
            let retained = &mut self.broker.memory.retained;
            retained.insert((h, kind), message.clone());
        }
        self.pass_to_boss(h, message);
    }

    fn pass_to_boss(&mut self, h: Host, message: Message) {
        let sure = is_sure(&message);
        let conn = self.boss.conn;
        let (max, oldest) = (self.knobs.queue_max, self.knobs.queue_drops_oldest);
        let session = &mut self.broker.memory.boss;
        if sure && (conn == 0 || session.in_flight >= 20 * self.knobs.receive_max) {
            session.keep((h, message), max, oldest);
            return;
        }
        if conn == 0 {
            return;
        }
        if sure {
            session.in_flight += 1;
        }
        let (times, last) = self.arrivals(sure, self.boss.last_in, 0);
        self.boss.last_in = last;
        for at in times {
            let event = Event::AtBoss(conn, h, Box::new(message.clone()), false);
            self.at_moment(at, event);
        }
    }

    /// The coordinator has answered for one message.
    pub(crate) fn boss_answered(&mut self, conn: u64) {
        if self.boss.conn != conn {
            return;
        }
        let session = &mut self.broker.memory.boss;
        session.in_flight = session.in_flight.saturating_sub(1);
        if let Some((h, message)) = session.waiting.pop_front() {
            self.pass_to_boss(h, message);
        }
    }

    /// Nobody answered for this message before its connection ended: the next one gets it.
    pub(crate) fn boss_did_not_answer(&mut self, h: Host, message: Message) {
        if !self.broker.up || !is_sure(&message) {
            return;
        }
        let (max, oldest) = (self.knobs.queue_max, self.knobs.queue_drops_oldest);
        let session = &mut self.broker.memory.boss;
        if self.boss.conn == 0 {
            session.keep((h, message), max, oldest);
        } else {
            self.pass_to_boss(h, message);
        }
    }

    /// A coordinator subscribes: it gets what is retained, and what its session kept.
    pub(crate) fn subscribe_boss(&mut self) {
        let conn = self.boss.conn;
        let retained = self.broker.memory.retained.clone();
        for ((h, _), message) in retained {
            let delay = self.latency();
            self.at(delay, Event::AtBoss(conn, h, Box::new(message), true));
        }
        let now = self.now;
        let session = &mut self.broker.memory.boss;
        session.in_flight = 0;
        if session.ends.take().is_some_and(|ends| ends <= now) {
            session.waiting.clear();
        }
        for (h, message) in std::mem::take(&mut session.waiting) {
            self.pass_to_boss(h, message);
        }
    }

    /// The coordinator's connection is over; its session waits for it.
    pub(crate) fn boss_session_waits(&mut self) {
        let ends = self.now + self.knobs.session_ms;
        self.broker.memory.boss.ends = Some(ends);
        self.broker.memory.boss.in_flight = 0;
    }

    /// A message for a node is at the broker.
    pub(crate) fn at_broker_down(&mut self, h: Host, message: Message) {
        if !self.broker.up {
            return;
        }
        if self.boss.mute {
            if is_sure(&message) {
                self.at(AGAIN_MS, Event::AtBrokerDown(h, Box::new(message)));
            }
            return;
        }
        remember(&mut self.broker.past_down, h, &message);
        self.pass_to_host(h, message);
    }

    fn pass_to_host(&mut self, h: Host, message: Message) {
        let sure = is_sure(&message);
        let (now, slower) = (self.now, self.slower(h));
        let link = &self.hosts[h].link;
        let (conn, last) = (link.broker_conn, link.last_down);
        let (max, oldest) = (self.knobs.queue_max, self.knobs.queue_drops_oldest);
        let Some(session) = self.broker.memory.hosts.get_mut(&h) else {
            return;
        };
        if session.ends.is_some_and(|ends| ends <= now) {
            self.broker.memory.hosts.remove(&h);
            return;
        }
        if sure && (conn == 0 || session.in_flight >= self.knobs.receive_max) {
            session.keep(message, max, oldest);
            return;
        }
        if conn == 0 {
            return;
        }
        if sure {
            session.in_flight += 1;
        }
        let (times, last) = self.arrivals(sure, last, slower);
        self.hosts[h].link.last_down = last;
        for at in times {
            let event = Event::AtNode(h, conn, Box::new(message.clone()));
            self.at_moment(at, event);
        }
    }

    /// The node has answered for one message.
    pub(crate) fn node_answered(&mut self, h: Host, conn: u64) {
        if self.hosts[h].link.broker_conn != conn {
            return;
        }
        let Some(session) = self.broker.memory.hosts.get_mut(&h) else {
            return;
        };
        session.in_flight = session.in_flight.saturating_sub(1);
        if let Some(message) = session.waiting.pop_front() {
            self.pass_to_host(h, message);
        }
    }

    /// Nobody answered for this message before its connection ended: the next one gets it.
    pub(crate) fn not_answered(&mut self, h: Host, conn: u64, message: Message) {
        if !self.broker.up || conn <= self.broker.forgot_through[h] {
            return;
        }
        if self.hosts[h].link.broker_conn == conn {
            self.hosts[h].link.broker_conn = 0;
            self.session_waits(h);
        }
        self.pass_to_host(h, message);
    }

    /// A node is connected: it has a session, and gets what waits in it.
    pub(crate) fn session_resumes(&mut self, h: Host) {
        let now = self.now;
        let session = self.broker.memory.hosts.entry(h).or_default();
        session.in_flight = 0;
        if session.ends.take().is_some_and(|ends| ends <= now) {
            session.waiting.clear();
        }
        for message in std::mem::take(&mut session.waiting) {
            self.at(2, Event::Redelivered(h, Box::new(message)));
        }
    }

    pub(crate) fn redelivered(&mut self, h: Host, message: Message) {
        if self.broker.up {
            self.pass_to_host(h, message);
        }
    }

    /// The connection of a node is over; its session waits for it.
    pub(crate) fn session_waits(&mut self, h: Host) {
        let ends = self.now + self.knobs.session_ms;
        if let Some(session) = self.broker.memory.hosts.get_mut(&h) {
            session.in_flight = 0;
            session.ends = Some(ends);
        }
    }

    /// Something that was said long ago is said again: to its receiver, or to a wrong node, or as
    /// if the broker had kept it.
    pub(crate) fn replay(&mut self, h: Host) {
        let pick = |rng: &mut nodemedic_protocol::rng::Rng, past: &VecDeque<(Host, Message)>| {
            let n = usize::try_from(rng.below(past.len() as u64)).unwrap_or(0);
            past.get(n).cloned()
        };
        if let Some((to, message)) = pick(&mut self.rng, &self.broker.past_down) {
            let to = if self.rng.chance(300) { h } else { to };
            let retained = self.rng.chance(200);
            if self.hosts[to].link.agent_up && self.now >= self.hosts[to].suspended_until {
                self.receive(to, message, retained);
            }
        }
        if let Some((from, message)) = pick(&mut self.rng, &self.broker.past_up) {
            let conn = self.boss.conn;
            self.at_boss(conn, from, Box::new(message), false);
        }
    }

    /// The broker copies its memory to its disk, now and then.
    pub(crate) fn broker_copies(&mut self) {
        self.broker.copy = self.broker.memory.clone();
        if !self.calm {
            self.at(COPY_MS, Event::BrokerCopies);
        }
    }

    /// The broker ends; all its connections with it.
    pub(crate) fn broker_down(&mut self, recalls: Recalls) {
        self.broker.up = false;
        for h in 0..self.hosts.len() {
            let link = &mut self.hosts[h].link;
            link.broker_conn = 0;
            let conn = link.conn;
            if recalls != Recalls::All {
                self.broker.forgot_through[h] = conn;
            }
            self.session_waits(h);
            let delay = self.latency();
            self.at(delay, Event::DeadForAgent(h, conn, false));
        }
        match recalls {
            Recalls::All => {}
            Recalls::Nothing => self.broker.memory = Memory::default(),
            Recalls::Copy => self.broker.memory = self.broker.copy.clone(),
        }
        self.boss_link_down();
    }

    pub(crate) const fn broker_up(&mut self) {
        self.broker.up = true;
    }
}
