//! What reaches the coordinator's process, and whether a heartbeat is news to it.

use nodemedic_protocol::NodeId;
use nodemedic_protocol::message::{Heartbeat, Message};
use nodemedic_sim_coordinator_core::Input;

use crate::boss::Boss;
use crate::fact::Host;
use crate::wire::is_sure;
use crate::world::{Event, World};

impl Boss {
    /// Whether a heartbeat is a sign of life: another boot must prove itself first, and what is
    /// older than what was heard says nothing.
    pub(crate) fn is_news(&mut self, host: Host, node: &NodeId, beat: &Heartbeat) -> bool {
        let known = self.store.nodes.get(node);
        let of_boot = known.is_none_or(|n| {
            let speaks = n.session == beat.session || beat.sent_at >= n.session_since;
            // What a boot that is confirmed off said may have been under way for long.
            let dead = n.fenced.as_ref().is_some_and(|fenced| {
                let after = fenced.clock_limit.is_some_and(|limit| beat.sent_at > limit);
                fenced.boot_id == beat.session.boot_id && !after
            });
            n.session.boot_id == beat.session.boot_id && speaks && !dead
        });
        let heard = self.beats.get(&host);
        let newer =
            heard.is_none_or(|(boot, at)| *boot != beat.session.boot_id || *at < beat.sent_at);
        if of_boot && newer {
            let heard = (beat.session.boot_id.clone(), beat.sent_at);
            self.beats.insert(host, heard);
        }
        of_boot && newer
    }
}

impl World {
    pub(crate) fn at_boss(&mut self, conn: u64, h: Host, message: Box<Message>, retained: bool) {
        if self.boss.conn != conn || conn == 0 {
            if !retained {
                self.boss_did_not_answer(h, *message);
            }
            return;
        }
        if is_sure(&message) && !retained {
            let delay = self.latency();
            self.at(delay, Event::BossAnswered(conn));
        }
        let (node, run) = (self.hosts[h].name.clone(), self.boss.run);
        let input = Input::Message {
            node,
            message,
            retained,
        };
        self.tell_boss(run, input);
    }
}
