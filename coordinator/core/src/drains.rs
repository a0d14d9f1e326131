//! Emptying nodes: who asked, until when, and when it is done.
//!
//! A drain is done when every grant on the node has ended by proof, not when the stops were asked.

use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::api::{Decision, DrainBy};
use nodemedic_protocol::{Millis, NodeId, Now};

use crate::coordinator::Coordinator;
use crate::stored::{DrainRecord, Write};

impl Coordinator {
    /// What the agent of a node wishes, each time it says so.
    pub(crate) fn hear_wish(&mut self, now: Now, name: &NodeId, wish: Option<&String>) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.words.drain_wanted = wish.cloned();
        let by = node.record.drain.as_ref().map(|d| d.by);
        match (wish, by) {
            (Some(reason), None) if !node.record.wish_overruled => {
                self.begin_drain(now, name, reason, DrainBy::Agent, None);
            }
            (None, Some(DrainBy::Agent)) => {
                self.end_drain(now, name, "the host does not ask for it any more");
            }
            (None, _) if node.record.wish_overruled => {
                node.record.wish_overruled = false;
                self.out.store(Write::Node(node.record.clone()));
            }
            _ => {}
        }
    }

    /// Begins a drain, or changes the reason, asker and deadline of one that is under way.
    pub(crate) fn begin_drain(
        &mut self,
        now: Now,
        name: &NodeId,
        reason: &str,
        by: DrainBy,
        within: Option<Millis>,
    ) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let done = node.record.drain.as_ref().is_some_and(|d| d.done);
        node.record.drain = Some(DrainRecord {
            reason: reason.to_string(),
            by,
            since: now.wall,
            within,
            done,
        });
        node.drain_deadline = within.map(|span| now.boot + span);
        self.out.store(Write::Node(node.record.clone()));
        let because = match by {
            DrainBy::Person => reason.to_string(),
            DrainBy::Agent => format!("the host asks for it: {reason}"),
        };
        let to = if done { "drained" } else { "draining" };
        self.say_scheduling(now, name, to, because);
    }

    /// Takes a drain back, whoever asked for it.
    pub(crate) fn end_drain(&mut self, now: Now, name: &NodeId, because: &str) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.record.drain = None;
        node.drain_deadline = None;
        let to = match &node.record.cordon {
            Some(_) => "cordoned",
            None => "open",
        };
        self.out.store(Write::Node(node.record.clone()));
        self.say_scheduling(now, name, to, because.to_string());
    }

    pub(crate) fn say_scheduling(&mut self, now: Now, name: &NodeId, to: &str, because: String) {
        self.dirty = true;
        let decision = Decision::Scheduling {
            to: to.to_string(),
            because,
        };
        self.out.decide(now, Some(name), decision);
    }

    /// Nodes whose last grant has ended are drained.
    pub(crate) fn finish_drains(&mut self, now: Now) {
        for (name, node) in &mut self.nodes {
            let Some(drain) = node.record.drain.as_mut().filter(|d| !d.done) else {
                continue;
            };
            if self.grants.on(name).next().is_some() {
                continue;
            }
            drain.done = true;
            node.drain_deadline = None;
            self.out.store(Write::Node(node.record.clone()));
            let decision = Decision::Scheduling {
                to: String::from("drained"),
                because: String::from("nothing is left on it"),
            };
            self.out.decide(now, Some(name), decision);
        }
    }
}
