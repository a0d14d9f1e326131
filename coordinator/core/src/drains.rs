//! Emptying nodes: who asked, until when, and when it is done.
//!
//! A drain begins when there is room for it among the hosts that are out; until then it waits and
//! changes nothing. It is done when every grant on the node has ended by proof, not when the stops
//! were asked.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::api::{Decision, DrainBy, Purpose};
use nodemedic_protocol::{Millis, NodeId, Now};

use crate::budget::NoRoom;
use crate::coordinator::Coordinator;
use crate::stored::{DrainRecord, Write};

/// What somebody wants of a node.
pub(crate) struct DrainWish {
    pub(crate) reason: String,
    pub(crate) by: DrainBy,
    pub(crate) within: Option<Millis>,
}

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
                let wish = DrainWish {
                    reason: reason.clone(),
                    by: DrainBy::Agent,
                    within: None,
                };
                self.ask_drain(now, name, wish, false);
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

    /// Takes a wish: begins at once if there is room, else waits for it. A drain that has begun
    /// gets another reason, asker and deadline.
    pub(crate) fn ask_drain(&mut self, now: Now, name: &NodeId, wish: DrainWish, overriding: bool) {
        let asked = self.out.journal_last();
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let before = node.record.drain.take();
        let begun = before.as_ref().filter(|drain| !drain.waits);
        let again = before.as_ref().filter(|d| d.waits && d.by == wish.by);
        let record = DrainRecord {
            since: again.map_or(now.wall, |drain| drain.since),
            order: again.map_or(asked, |drain| drain.order),
            waits: begun.is_none(),
            done: begun.is_some_and(|drain| drain.done),
            reason: wish.reason,
            by: wish.by,
            within: wish.within,
        };
        let waits = record.waits;
        node.record.drain = Some(record);
        self.out.store(Write::Node(node.record.clone()));
        if !waits || (overriding && self.reserve(now, name, Purpose::Drain, true).is_ok()) {
            self.begin_drain(now, name);
        } else {
            self.begin_drains(now);
            if let Some(why) = self.why_drain_waits(name) {
                self.say_scheduling(now, name, "waits to be drained", why.to_string());
            }
        }
    }

    /// Begins the drains that wait, as far as there is room: what persons asked for first, then in
    /// the order of asking. One that does not fit holds up no other.
    pub(crate) fn begin_drains(&mut self, now: Now) {
        let held = self.brake.holds();
        for (by, name) in self.waiting_drains() {
            let may = by == DrainBy::Person || !held;
            if may && self.reserve(now, &name, Purpose::Drain, false).is_ok() {
                self.begin_drain(now, &name);
            }
        }
    }

    /// The drains that wait, in the order in which they begin.
    pub(crate) fn waiting_drains(&self) -> Vec<(DrainBy, NodeId)> {
        let nodes = self.nodes.values().filter_map(|node| {
            let drain = node.record.drain.as_ref().filter(|drain| drain.waits)?;
            Some((
                drain.by == DrainBy::Agent,
                drain.order,
                drain.by,
                node.name(),
            ))
        });
        let mut waiting: Vec<_> = nodes.collect();
        waiting.sort_unstable_by(|a, b| (a.0, a.1, a.3).cmp(&(b.0, b.1, b.3)));
        let in_order = waiting.into_iter();
        in_order
            .map(|(_, _, by, name)| (by, name.clone()))
            .collect()
    }

    /// What keeps a drain from beginning; absent when it has begun, or nobody wants one.
    pub(crate) fn why_drain_waits(&self, name: &NodeId) -> Option<NoRoom> {
        let node = self.nodes.get(name)?;
        let drain = node.record.drain.as_ref().filter(|drain| drain.waits)?;
        let full = self.usage().room_for(name, &self.settings.budget);
        let mut reasons = full.map_or_else(|full| full.reasons, |()| Vec::new());
        if drain.by == DrainBy::Agent
            && let Some(brake) = self.brake_obstacle()
        {
            reasons.push(brake);
        }
        Some(NoRoom { reasons })
    }

    /// Its place is reserved: the node is emptied from now on.
    fn begin_drain(&mut self, now: Now, name: &NodeId) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(drain) = &mut node.record.drain else {
            return;
        };
        drain.waits = false;
        drain.since = now.wall;
        node.drain_deadline = drain.within.map(|span| now.boot + span);
        let because = match drain.by {
            DrainBy::Person => drain.reason.clone(),
            DrainBy::Agent => format!("the host asks for it: {}", drain.reason),
        };
        let to = if drain.done { "drained" } else { "draining" };
        self.out.store(Write::Node(node.record.clone()));
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
        self.give_back(name, Purpose::Drain);
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
            let Some(drain) = node.record.drain.as_mut().filter(|d| !d.done && !d.waits) else {
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
