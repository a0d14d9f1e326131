//! The coordinator of the world: it answers heartbeats, assigns work, and reckons with leases from
//! outside of the core.

use super::*;

impl World {
    /// The coordinator of this world answers heartbeats while it is there.
    pub(super) fn published(&mut self, message: &Message) {
        let (Message::Heartbeat(heartbeat), Some(term)) = (message, self.acks) else {
            return;
        };
        let grants: Vec<GrantRef> = heartbeat
            .works
            .iter()
            .filter(|w| !w.state.is_stopped() && w.state != WorkState::Stopping)
            .map(|w| GrantRef {
                work: w.work.clone(),
                generation: w.generation,
            })
            .collect();
        let ack = self.ack(heartbeat.n, term, grants);
        self.later(Input::Received {
            message: ToNode::Lease(ack),
            retained: false,
        });
    }

    /// An ack, reckoned with from outside.
    pub(super) fn ack(&mut self, n: u64, term: Millis, grants: Vec<GrantRef>) -> LeaseAck {
        for grant in &grants {
            let Some(held) = self
                .memory
                .works
                .iter()
                .find(|w| w.work == grant.work && w.held.generation == grant.generation)
            else {
                continue;
            };
            let stops = held.held.spec.sharing == exclusive(OnLeaseLoss::Stop);
            let grace = held.held.spec.stop_grace;
            let deadline = self.now.boot + term;
            let key = (grant.work.clone(), grant.generation);
            let reckoned = self.reckoned.entry(key).or_insert(Reckoned {
                deadline,
                grace,
                stops,
            });
            reckoned.deadline = reckoned.deadline.max(deadline);
        }
        LeaseAck {
            epoch: Epoch(self.epoch),
            session: self.session.clone(),
            n,
            term,
            grants,
            stream: None,
            events_stored: Seq(0),
        }
    }

    /// The coordinator assigns this, under the next revision.
    pub(super) fn assign(&mut self, works: Vec<Assigned>) {
        self.revision += 1;
        let command = self.assignment(self.revision, works);
        self.receive(command);
    }

    pub(super) fn assignment(&mut self, revision: u64, works: Vec<Assigned>) -> Command {
        self.commands += 1;
        Command {
            id: CommandId::new(format!("c{}", self.commands)).unwrap(),
            node: self.config.node.clone(),
            boot_id: self.session.boot_id.clone(),
            epoch: Epoch(self.epoch),
            not_after: self.now.boot + Millis::from_secs(60),
            body: CommandBody::Assign(Assignment {
                revision: Revision(revision),
                works,
            }),
        }
    }

    pub(super) fn receive(&mut self, command: Command) {
        self.input(Input::Received {
            message: ToNode::Command(command),
            retained: false,
        });
    }
}
