//! A node under another boot: what it was granted before has ended.

use alloc::vec::Vec;

use nodemedic_protocol::api::Proof;
use nodemedic_protocol::message::Session;
use nodemedic_protocol::{NodeId, Now};

use crate::coordinator::Coordinator;
use crate::grants::Grant;
use crate::node::Candidate;
use crate::stored::{GrantKey, Write};

impl Coordinator {
    /// Ends grants of a node by one proof.
    pub(crate) fn end_all_on(
        &mut self,
        now: Now,
        name: &NodeId,
        proof: &Proof,
        which: impl Fn(&Grant) -> bool,
    ) {
        let on_node = self.grants.on(name).filter(|grant| which(grant));
        let old: Vec<GrantKey> = on_node.map(|g| g.record.key.clone()).collect();
        for key in old {
            self.grants.end(&mut self.out, now, &key, proof.clone());
        }
    }

    /// Another boot has proved itself: what was granted to the boots before it runs no more.
    pub(crate) fn adopt_boot(
        &mut self,
        now: Now,
        name: &NodeId,
        session: &Session,
        candidate: Candidate,
    ) {
        self.dead_has_answered(now, name, &session.boot_id);
        self.fenced_is_back(name);
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.adopt(session, candidate.stamp);
        node.assignment = None;
        self.out.store(Write::Node(node.record.clone()));
        if let Some(change) = node.life.hear(now.boot, session) {
            self.out.decide(now, Some(name), change.decision());
        }
        node.words.reboot = candidate.reboot.clone();
        self.rebooted(now, name, &session.boot_id);
        let of_another = |grant: &Grant| grant.record.boot_id != session.boot_id;
        self.end_all_on(now, name, &Proof::Rebooted, of_another);
        self.dirty = true;
        if let Some(birth) = candidate.birth.filter(|b| b.session == *session) {
            self.check_epoch(birth.epoch_seen);
            self.apply_birth(now, name, &birth);
        }
    }
}
