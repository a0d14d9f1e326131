//! The broker and the network: connections that break, messages that are lost, doubled, late and
//! out of order, partitions in one direction or both, sessions and retained messages.

use std::collections::{BTreeMap, VecDeque};

use nodemedic_agent_core::{Input, ToNode, Token};
use nodemedic_protocol::message::{Message, Presence};
use nodemedic_protocol::topic::Kind;

use crate::fact::Host;
use crate::world::{Event, World};

/// Most messages that the broker keeps for one session.
const QUEUE_MAX: usize = 500;

/// A message that cannot pass now is tried again after so long, as TCP does.
const AGAIN_MS: u64 = 300;

/// The connection of one host, as both ends and the network see it.
#[derive(Debug, Default)]
pub struct Link {
    /// Number of the newest connection.
    pub conn: u64,
    /// The agent believes in it.
    pub agent_up: bool,
    /// The connection that the broker believes in; zero for none.
    pub broker_conn: u64,
    /// Nothing passes from the host.
    pub cut_up: bool,
    /// Nothing passes to the host.
    pub cut_down: bool,
    last_up: u64,
    last_down: u64,
    will: Option<Presence>,
}

/// What the broker keeps.
#[derive(Debug, Default)]
pub struct Broker {
    /// True while it runs.
    pub up: bool,
    retained: BTreeMap<(Host, Kind), Message>,
    for_boss: VecDeque<(Host, Message)>,
    for_host: BTreeMap<Host, VecDeque<Message>>,
    /// What passed lately, so that it can come again when nobody expects it.
    pub(crate) past_up: VecDeque<(Host, Message)>,
    /// The same, towards the nodes.
    pub(crate) past_down: VecDeque<(Host, Message)>,
}

/// So many messages may come again.
const PAST_MAX: usize = 400;

fn remember(past: &mut VecDeque<(Host, Message)>, h: Host, message: &Message) {
    if past.len() >= PAST_MAX {
        past.pop_front();
    }
    past.push_back((h, message.clone()));
}

fn is_sure(message: &Message) -> bool {
    message.kind().is_some_and(|k| k.delivery().at_least_once)
}

fn keep(queue: &mut VecDeque<Message>, message: Message) {
    if queue.len() < QUEUE_MAX {
        queue.push_back(message);
    }
}

impl World {
    fn latency(&mut self) -> u64 {
        let longest = self.knobs.delay_ms;
        1 + self.rng.below(longest)
    }

    /// When a message arrives, once or twice; later ones wait for earlier ones, mostly.
    fn arrivals(&mut self, sure: bool, last: u64) -> (Vec<u64>, u64) {
        let (loss, doubles, reorder) = (self.knobs.loss, self.knobs.duplicate, self.knobs.reorder);
        if !sure && self.bad_luck(loss) {
            return (Vec::new(), last);
        }
        let mut at = self.now + self.latency();
        let mut newest = last;
        if self.bad_luck(reorder) {
            at += self.rng.below(2_000);
        } else {
            at = at.max(last);
            newest = at;
        }
        let mut times = vec![at];
        if self.bad_luck(doubles) {
            times.push(at + self.rng.below(1_000));
        }
        (times, newest)
    }

    /// An agent publishes.
    pub(crate) fn publish(&mut self, h: Host, message: Message, token: Option<Token>) {
        let link = &self.hosts[h].link;
        if !link.agent_up {
            return;
        }
        let (conn, last) = (link.conn, link.last_up);
        let (times, last) = self.arrivals(is_sure(&message), last);
        self.hosts[h].link.last_up = last;
        for at in times {
            let event = Event::AtBroker(h, conn, Box::new(message.clone()), token);
            self.at_moment(at, event);
        }
    }

    pub(crate) fn at_broker(&mut self, h: Host, conn: u64, message: Message, token: Option<Token>) {
        let link = &self.hosts[h].link;
        let (alive, cut) = (link.agent_up && link.conn == conn, link.cut_up);
        if cut {
            if alive && is_sure(&message) {
                let event = Event::AtBroker(h, conn, Box::new(message), token);
                self.at(AGAIN_MS, event);
            }
            return;
        }
        if !self.broker.up || self.hosts[h].link.broker_conn != conn {
            let delay = self.latency();
            self.at(delay, Event::DeadForAgent(h, conn, false));
            return;
        }
        self.route(h, message);
        if let Some(token) = token
            && alive
        {
            let delay = self.latency();
            self.at(delay, Event::Acked(h, conn, token));
        }
    }

    /// The broker's word for a message comes back, as long as the connection lives.
    pub(crate) fn acked(&mut self, h: Host, conn: u64, token: Token) {
        let host = &self.hosts[h];
        if !host.link.agent_up || host.link.conn != conn {
            return;
        }
        let run = host.run;
        if host.link.cut_down {
            self.at(AGAIN_MS, Event::Acked(h, conn, token));
        } else {
            self.tell_core(h, run, Input::Delivered(token));
        }
    }

    fn route(&mut self, h: Host, message: Message) {
        let Some(kind) = message.kind() else { return };
        if kind != Kind::Sample {
            remember(&mut self.broker.past_up, h, &message);
        }
        if kind.delivery().retain {
            self.broker.retained.insert((h, kind), message.clone());
        }
        if self.boss.conn != 0 {
            let conn = self.boss.conn;
            let (times, last) = self.arrivals(is_sure(&message), self.boss.last_in);
            self.boss.last_in = last;
            for at in times {
                let event = Event::AtBoss(conn, h, Box::new(message.clone()), false);
                self.at_moment(at, event);
            }
        } else if is_sure(&message) && self.broker.for_boss.len() < QUEUE_MAX {
            self.broker.for_boss.push_back((h, message));
        }
    }

    /// A coordinator subscribes: it gets what is retained, and what its session kept.
    pub(crate) fn subscribe_boss(&mut self) {
        let conn = self.boss.conn;
        for ((h, _), message) in self.broker.retained.clone() {
            let delay = self.latency();
            self.at(delay, Event::AtBoss(conn, h, Box::new(message), true));
        }
        for (h, message) in std::mem::take(&mut self.broker.for_boss) {
            let delay = self.latency();
            self.at(delay, Event::AtBoss(conn, h, Box::new(message), false));
        }
    }

    /// A message for a node is at the broker.
    pub(crate) fn at_broker_down(&mut self, h: Host, message: Message) {
        if !self.broker.up {
            return;
        }
        remember(&mut self.broker.past_down, h, &message);
        let link = &self.hosts[h].link;
        let (conn, last) = (link.broker_conn, link.last_down);
        if conn == 0 {
            if is_sure(&message) {
                keep(self.broker.for_host.entry(h).or_default(), message);
            }
            return;
        }
        let (times, last) = self.arrivals(is_sure(&message), last);
        self.hosts[h].link.last_down = last;
        for at in times {
            let event = Event::AtNode(h, conn, Box::new(message.clone()));
            self.at_moment(at, event);
        }
    }

    pub(crate) fn at_node(&mut self, h: Host, conn: u64, message: Message) {
        let link = &self.hosts[h].link;
        let sure = is_sure(&message);
        if link.broker_conn == conn && link.cut_down {
            if sure {
                self.at(AGAIN_MS, Event::AtNode(h, conn, Box::new(message)));
            }
            return;
        }
        if !link.agent_up || link.conn != conn {
            // It was not acknowledged: the next connection of the session gets it.
            if sure && self.broker.up {
                self.at(1, Event::AtBrokerDown(h, Box::new(message)));
                self.hosts[h].link.broker_conn = match self.hosts[h].link.broker_conn {
                    dead if dead == conn => 0,
                    other => other,
                };
            }
            return;
        }
        self.receive(h, message, false);
    }

    fn receive(&mut self, h: Host, message: Message, retained: bool) {
        let message = match message {
            Message::Command(command) => ToNode::Command(command),
            Message::Lease(ack) => ToNode::Lease(ack),
            _ => return,
        };
        let run = self.hosts[h].run;
        self.tell_core(h, run, Input::Received { message, retained });
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
            if self.hosts[to].link.agent_up {
                self.receive(to, message, retained);
            }
        }
        if let Some((from, message)) = pick(&mut self.rng, &self.broker.past_up) {
            let conn = self.boss.conn;
            self.at_boss(conn, from, Box::new(message), false);
        }
    }

    pub(crate) fn connect(&mut self, h: Host, run: u64) {
        let host = &self.hosts[h];
        if host.run != run || host.agent.is_none() || host.link.agent_up {
            return;
        }
        let frozen = self.now < host.frozen_until;
        if frozen || !self.broker.up || host.link.cut_up || host.link.cut_down {
            let delay = self.between(500, 3_000);
            self.at(delay, Event::Connect(h, run));
            return;
        }
        // A connection of the same client that the broker still believes in is taken over, and its
        // will is published.
        let old = host.link.broker_conn;
        if old != 0 {
            self.dead_for_broker(h, old, false);
        }
        let host = &mut self.hosts[h];
        let will = Presence {
            session: host.session(),
            online: false,
            wall: host.now(self.now).wall,
            going_down: None,
        };
        let link = &mut host.link;
        link.conn += 1;
        link.agent_up = true;
        link.broker_conn = link.conn;
        link.will = Some(will);
        self.at(1, Event::ToCore(h, run, Box::new(Input::LinkUp)));
        for message in self.broker.for_host.remove(&h).unwrap_or_default() {
            self.at(2, Event::AtBrokerDown(h, Box::new(message)));
        }
    }

    pub(crate) fn dead_for_agent(&mut self, h: Host, conn: u64, if_cut: bool) {
        let host = &mut self.hosts[h];
        let cut = host.link.cut_up || host.link.cut_down;
        if host.link.conn != conn || !host.link.agent_up || (if_cut && !cut) {
            return;
        }
        host.link.agent_up = false;
        let run = host.run;
        let error = "the connection is gone".into();
        self.tell_core(h, run, Input::LinkDown { error });
        let delay = self.between(100, 3_000);
        self.at(delay, Event::Connect(h, run));
    }

    /// The broker publishes the will of a connection that ended without a farewell.
    pub(crate) fn dead_for_broker(&mut self, h: Host, conn: u64, if_cut: bool) {
        let link = &mut self.hosts[h].link;
        let cut = link.cut_up || link.cut_down;
        if link.broker_conn != conn || conn == 0 || (if_cut && !cut) {
            return;
        }
        link.broker_conn = 0;
        if let Some(will) = link.will.take()
            && self.broker.up
        {
            self.route(h, Message::Presence(will));
        }
    }

    /// The agent says farewell and closes: the broker forgets the will.
    pub(crate) fn close_cleanly(&mut self, h: Host) {
        self.hosts[h].link.will = None;
    }

    /// The broker ends; all its connections with it.
    pub(crate) fn broker_down(&mut self, loses_state: bool) {
        self.broker.up = false;
        if loses_state {
            self.broker.retained.clear();
            self.broker.for_boss.clear();
            self.broker.for_host.clear();
        }
        for h in 0..self.hosts.len() {
            let link = &mut self.hosts[h].link;
            link.broker_conn = 0;
            let conn = link.conn;
            let delay = self.latency();
            self.at(delay, Event::DeadForAgent(h, conn, false));
        }
        self.boss_link_down();
    }

    pub(crate) const fn broker_up(&mut self) {
        self.broker.up = true;
    }
}
