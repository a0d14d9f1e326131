//! The network: connections that break, messages that are lost, doubled, late and out of order,
//! cuts in one direction or both, of one host or of many, slow lines. The broker is in [`broker`].
//!
//! [`broker`]: crate::broker

use nodemedic_protocol::ids::CommandId;
use nodemedic_protocol::message::{Message, Presence};
use nodemedic_protocol::{Epoch, Revision};
use nodemedic_sim_agent_core::{Input, ToNode, Token};

use crate::clock::True;
use crate::fact::Host;
use crate::world::{Event, World};

/// A message that cannot pass now is tried again after so long, as TCP does.
pub(crate) const AGAIN_MS: u64 = 300;

/// What a command was found to be when it arrived: its name, epoch and revision, and why it must
/// not be obeyed, if so.
pub(crate) type Judged = (CommandId, Epoch, Option<Revision>, Option<&'static str>);

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
    /// Everything takes so much longer ...
    pub slow_by: u64,
    /// ... until then.
    pub slow_until: True,
    pub(crate) last_up: u64,
    pub(crate) last_down: u64,
    pub(crate) will: Option<Presence>,
    pub(crate) judged: Option<Judged>,
}

impl Link {
    /// True when something is cut.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut_up || self.cut_down
    }
}

pub(crate) fn is_sure(message: &Message) -> bool {
    message.kind().is_some_and(|k| k.delivery().at_least_once)
}

impl World {
    pub(crate) fn latency(&mut self) -> u64 {
        match self.knobs.delay_ms {
            0 => 0,
            longest => 1 + self.rng.below(longest),
        }
    }

    /// When a message arrives, once or twice; later ones wait for earlier ones, mostly.
    pub(crate) fn arrivals(&mut self, sure: bool, last: u64, slower: u64) -> (Vec<u64>, u64) {
        let (loss, doubles, reorder) = (self.knobs.loss, self.knobs.duplicate, self.knobs.reorder);
        if !sure && self.bad_luck(loss) {
            return (Vec::new(), last);
        }
        let mut at = self.now + self.latency() + slower;
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

    pub(crate) fn slower(&self, h: Host) -> u64 {
        let link = &self.hosts[h].link;
        if self.now < link.slow_until {
            link.slow_by
        } else {
            0
        }
    }

    /// An agent publishes.
    pub(crate) fn publish(&mut self, h: Host, message: Message, token: Option<Token>) {
        let slower = self.slower(h);
        let link = &self.hosts[h].link;
        if !link.agent_up {
            return;
        }
        let (conn, last) = (link.conn, link.last_up);
        let (times, last) = self.arrivals(is_sure(&message), last, slower);
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
            if sure {
                self.not_answered(h, conn, message);
            }
            return;
        }
        if sure {
            let delay = self.latency();
            self.at(delay, Event::Answered(h, conn));
        }
        self.receive(h, message, false);
    }

    pub(crate) fn receive(&mut self, h: Host, message: Message, retained: bool) {
        let message = match message {
            Message::Command(command) => ToNode::Command(command),
            Message::Lease(ack) => ToNode::Lease(ack),
            _ => return,
        };
        let run = self.hosts[h].run;
        self.tell_core(h, run, Input::Received { message, retained });
    }

    pub(crate) fn connect(&mut self, h: Host, run: u64) {
        let host = &self.hosts[h];
        if host.run != run || host.agent.is_none() || host.link.agent_up {
            return;
        }
        let frozen = self.now < host.frozen_until;
        if frozen || !self.broker.up || host.link.is_cut() {
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
        self.session_resumes(h);
    }

    pub(crate) fn dead_for_agent(&mut self, h: Host, conn: u64, if_cut: bool) {
        let host = &mut self.hosts[h];
        let cut = host.link.is_cut();
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

    /// The broker publishes the will of a connection that ended without a farewell, at once or
    /// after its delay.
    pub(crate) fn dead_for_broker(&mut self, h: Host, conn: u64, if_cut: bool) {
        let link = &mut self.hosts[h].link;
        let cut = link.is_cut();
        if link.broker_conn != conn || conn == 0 || (if_cut && !cut) {
            return;
        }
        link.broker_conn = 0;
        let will = link.will.take();
        self.session_waits(h);
        if let Some(will) = will
            && self.broker.up
        {
            // The end of the session publishes a will that is held back.
            let delay = self.knobs.will_delay_ms.min(self.knobs.session_ms);
            self.at(delay, Event::Will(h, conn, Box::new(will)));
        }
    }

    /// A will that was held back: a connection made meanwhile has cancelled it.
    pub(crate) fn will(&mut self, h: Host, conn: u64, will: Presence) {
        let held_back = self.knobs.will_delay_ms > 0;
        let connected = self.hosts[h].link.broker_conn != 0;
        if self.broker.up && !(held_back && connected) && conn > self.broker.forgot_through[h] {
            self.route(h, Message::Presence(will));
        }
    }

    /// The agent says farewell and closes: the broker forgets the will.
    pub(crate) fn close_cleanly(&mut self, h: Host) {
        self.hosts[h].link.will = None;
    }
}
