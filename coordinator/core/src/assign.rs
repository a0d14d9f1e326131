//! What each node is told: its whole assignment under a rising revision, sent again until it is
//! taken; and the challenge to a boot that nobody knows.
//!
//! A revision is stored before it is sent, and a new coordinator always numbers afresh, so the same
//! revision never stands for two contents.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use nodemedic_protocol::api::Liveness;
use nodemedic_protocol::message::{Command, CommandBody, Message};
use nodemedic_protocol::work::{Assigned, Assignment, Desired};
use nodemedic_protocol::{BootId, Boottime, CommandId, NodeId, Now, Revision};

use crate::coordinator::Coordinator;
use crate::effect::LogLevel;
use crate::grants::Grant;
use crate::node::{Node, Sent};
use crate::stored::Write;

impl Coordinator {
    /// Numbers, stores and sends what has changed, for every node that was heard.
    pub(crate) fn assign_all(&mut self, now: Now) {
        let mut grants: BTreeMap<&NodeId, Vec<&Grant>> = BTreeMap::new();
        for grant in self.grants.all() {
            grants.entry(&grant.record.node).or_default().push(grant);
        }
        let mut changed = Vec::new();
        for (name, node) in &mut self.nodes {
            if node.words.stamp.is_none() {
                continue;
            }
            let held = grants.remove(name).unwrap_or_default();
            if is_told(node, &held) {
                continue;
            }
            let mut works: Vec<Assigned> = held.into_iter().map(assigned).collect();
            works.extend(ghosts(node, &works, &self.works));
            works.sort_by(|a, b| (&a.spec.name, a.generation).cmp(&(&b.spec.name, b.generation)));
            works.reverse();
            // A node knows each work at most once: of two grants the newer one is told, which ends
            // the older one there by itself.
            works.dedup_by(|a, b| a.spec.name == b.spec.name);
            works.reverse();
            let same = node.assignment.as_ref().is_some_and(|a| a.works == works);
            if same {
                continue;
            }
            let never_told = node.record.revision == Revision(0);
            if works.is_empty() && never_told {
                node.assignment = Some(Assignment::default());
                continue;
            }
            node.record.revision = node.record.revision.next();
            self.out.store(Write::Node(node.record.clone()));
            let revision = node.record.revision;
            node.assignment = Some(Assignment { revision, works });
            node.assigned = None;
            changed.push(name.clone());
        }
        for name in changed {
            self.send_assignment(now, &name);
        }
    }

    /// The node has taken a higher revision than this store knows: number above it.
    pub(crate) fn check_revision(&mut self, name: &NodeId, seen: Revision) {
        if let Some(node) = self.nodes.get_mut(name)
            && seen > node.record.revision
        {
            node.record.revision = seen;
            node.assignment = None;
            self.dirty = true;
        }
    }

    pub(crate) fn resend_assignment(&mut self, now: Now, name: &NodeId) {
        let after = self.settings.commands.resend_after;
        let due = self.nodes.get(name).is_some_and(|node| {
            let wanted = node.assignment.as_ref().map(|a| a.revision);
            let waited = node
                .assigned
                .as_ref()
                .is_none_or(|s| now.boot.since(s.at) >= after);
            wanted.is_some_and(|wanted| node.words.taken < wanted) && waited
        });
        if due {
            self.send_assignment(now, name);
        }
    }

    fn send_assignment(&mut self, now: Now, name: &NodeId) {
        if !self.link_is_up() {
            return;
        }
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let hears = matches!(
            node.life.kind(),
            Liveness::Alive | Liveness::Suspect | Liveness::Returning
        );
        let (Some(stamp), Some(assignment)) = (node.words.stamp, &node.assignment) else {
            return;
        };
        if !hears {
            return;
        }
        let boot = node.record.session.boot_id.clone();
        let body = CommandBody::Assign(assignment.clone());
        let sent = self.command(now, name, boot, stamp, body);
        if let Some(node) = self.nodes.get_mut(name) {
            node.assigned = sent;
        }
    }

    /// Asks the current session for everything that it has said.
    pub(crate) fn ask_rebirth(&mut self, now: Now, name: &NodeId) {
        let after = self.settings.commands.resend_after;
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let waits = node
            .rebirth
            .as_ref()
            .is_some_and(|s| now.boot.since(s.at) < after);
        let (Some(stamp), false) = (node.words.stamp, waits) else {
            return;
        };
        let boot = node.record.session.boot_id.clone();
        let sent = self.command(now, name, boot, stamp, CommandBody::Rebirth);
        if let Some(node) = self.nodes.get_mut(name) {
            node.rebirth = sent;
        }
    }

    /// Asks another boot to prove that it is the one that runs: only it can answer.
    pub(crate) fn challenge(&mut self, now: Now, name: &NodeId) {
        let after = self.settings.commands.resend_after;
        if !self.link_is_up() || self.superseded.is_some() {
            return;
        }
        let Some(candidate) = self.nodes.get(name).and_then(|n| n.candidate.as_ref()) else {
            return;
        };
        let sent = candidate.challenge.as_ref();
        if sent.is_some_and(|s| now.boot.since(s.at) < after) {
            return;
        }
        // Asked again under the same name: the answer to any of them proves as much, and a broker
        // that is slower than the asking would otherwise never bring one in time.
        let again = sent.map(|s| s.id.clone());
        let (boot, stamp) = (candidate.session.boot_id.clone(), candidate.stamp);
        let sent = self.command_as(now, name, again, (boot, stamp), CommandBody::Rebirth);
        let node = self.nodes.get_mut(name);
        if let Some(candidate) = node.and_then(|n| n.candidate.as_mut()) {
            candidate.challenge = sent;
        }
    }

    fn command(
        &mut self,
        now: Now,
        name: &NodeId,
        boot_id: BootId,
        stamp: Boottime,
        body: CommandBody,
    ) -> Option<Sent> {
        self.command_as(now, name, None, (boot_id, stamp), body)
    }

    /// Its id holds the epoch, so no two coordinators ever use the same one.
    pub(crate) fn next_id(&mut self, name: &NodeId) -> Option<CommandId> {
        self.last_command += 1;
        let text = format!("c{}-{}", self.epoch, self.last_command);
        match CommandId::new(text) {
            Ok(id) => Some(id),
            Err(error) => {
                let text = format!("no command was sent to {name}: {error}");
                self.out.log(LogLevel::Warn, text);
                None
            }
        }
    }

    /// Sends a command to a boot, void after a moment of its boot clock.
    pub(crate) fn send_command(
        &mut self,
        name: &NodeId,
        id: CommandId,
        (boot_id, not_after): (BootId, Boottime),
        body: CommandBody,
    ) {
        let command = Command {
            id,
            node: name.clone(),
            boot_id,
            epoch: self.epoch,
            not_after,
            body,
        };
        self.out.send(name, Message::Command(command));
    }

    /// Sends a command to a boot, under a new name or once more under an old one.
    fn command_as(
        &mut self,
        now: Now,
        name: &NodeId,
        again: Option<CommandId>,
        (boot_id, stamp): (BootId, Boottime),
        body: CommandBody,
    ) -> Option<Sent> {
        let id = match again {
            Some(id) => id,
            None => self.next_id(name)?,
        };
        let until = stamp + self.settings.commands.valid_for;
        self.send_command(name, id.clone(), (boot_id, until), body);
        let at = now.boot;
        Some(Sent { id, at })
    }
}

fn assigned(grant: &Grant) -> Assigned {
    Assigned {
        spec: grant.record.spec.clone(),
        generation: grant.record.key.generation,
        desired: desired(grant),
    }
}

const fn desired(grant: &Grant) -> Desired {
    if grant.releasing() {
        Desired::Stop
    } else {
        Desired::Run
    }
}

/// True when a node was told exactly what it holds, and reports nothing else: so it is nearly
/// always, and nothing need be copied.
fn is_told(node: &Node, held: &[&Grant]) -> bool {
    let Some(assignment) = &node.assignment else {
        return false;
    };
    let mut reported = node.words.works.iter().flatten();
    let strange = reported.any(|(key, status)| {
        !status.state.is_stopped() && !held.iter().any(|g| g.record.key.work == key.work)
    });
    let same = |(told, grant): (&Assigned, &&Grant)| {
        told.generation == grant.record.key.generation
            && told.desired == desired(grant)
            && told.spec == grant.record.spec
    };
    let told = &assignment.works;
    !strange && told.len() == held.len() && told.iter().zip(held).all(same)
}

/// What a node reports though it does not hold it: it must stop.
fn ghosts(
    node: &Node,
    held: &[Assigned],
    works: &BTreeMap<nodemedic_protocol::WorkName, nodemedic_protocol::work::WorkSpec>,
) -> Vec<Assigned> {
    let reported = node.words.works.iter().flatten();
    reported
        .filter(|(key, status)| {
            !status.state.is_stopped() && !held.iter().any(|a| a.spec.name == key.work)
        })
        .filter_map(|(key, _)| {
            Some(Assigned {
                spec: works.get(&key.work)?.clone(),
                generation: key.generation,
                desired: Desired::Stop,
            })
        })
        .collect()
}
