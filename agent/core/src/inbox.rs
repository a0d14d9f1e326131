//! Messages from the coordinator: what is obeyed, what is refused, and how often a refusal is told.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::message::{Ack, Answer, Command, CommandBody, LeaseAck, Message, Refusal};
use nodemedic_protocol::{Boottime, CommandId, Component, Millis};

use crate::agent::Agent;
use crate::effect::LogLevel;
use crate::input::ToNode;
use crate::mutation::Mutation;
use crate::out::Out;
use crate::unit::UnitKey;

/// One bad message of each sort is told in so long: a peer that sends nothing else must not fill
/// log and spool.
const TELL_EVERY: Millis = Millis::from_secs(60);

/// What was refused, by sort.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    refused: BTreeMap<&'static str, Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    count: u64,
    told_at: Boottime,
    told_count: u64,
}

impl Inbox {
    /// Counts a refusal; returns how many were not told since the last one, when it is time to
    /// tell.
    fn count(&mut self, now: Boottime, sort: &'static str) -> Option<u64> {
        let refused = self.refused.entry(sort).or_insert(Refused {
            count: 0,
            told_at: Boottime(0),
            told_count: 0,
        });
        refused.count += 1;
        if refused.count > 1 && now.since(refused.told_at) < TELL_EVERY {
            return None;
        }
        let untold = refused.count - refused.told_count - 1;
        refused.told_at = now;
        refused.told_count = refused.count;
        Some(untold)
    }

    fn refuse(&mut self, out: &mut Out, sort: &'static str, error: &str) {
        let Some(untold) = self.count(out.now.boot, sort) else {
            return;
        };
        let error = match untold {
            0 => error.to_string(),
            more => format!("{error} (and {more} more like it before)"),
        };
        out.log(LogLevel::Warn, error.clone());
        out.event(
            Component::Agent("inbox".to_string()),
            EventKind::MessageRefused { error },
        );
    }

    pub(crate) fn malformed(&mut self, out: &mut Out, error: &str) {
        self.refuse(out, "malformed", error);
    }
}

impl Agent {
    pub(crate) fn receive(&mut self, out: &mut Out, message: ToNode, retained: bool) {
        match message {
            ToNode::Command(command) => self.command(out, command, retained),
            ToNode::Lease(ack) => self.lease_ack(out, &ack, retained),
            ToNode::Coordinator(state) => {
                // A leader's epoch is committed before it is published: whoever has a lower one
                // leads no more, also when its messages come first.
                self.epoch_seen = self.epoch_seen.max(state.epoch);
                let what = if state.online { "leads" } else { "is gone" };
                out.log(
                    LogLevel::Info,
                    format!("coordinator of epoch {} {what}", state.epoch),
                );
            }
        }
    }

    fn command(&mut self, out: &mut Out, command: Command, retained: bool) {
        let id = command.id.clone();
        let answer = match self.refusal(out, &command, retained) {
            Some(refusal) => Answer::Refused(refusal),
            None => {
                self.epoch_seen = command.epoch;
                self.doctor.hear(out.now.boot);
                self.obey(out, &id, command.body)
            }
        };
        if let Answer::Refused(refusal) = &answer {
            let error = format!("refused command {id}: {}", say(refusal));
            self.inbox.refuse(out, sort(refusal), &error);
        }
        out.send(Message::Ack(Ack {
            session: self.report.session().clone(),
            id,
            answer,
        }));
    }

    fn refusal(&self, out: &Out, command: &Command, retained: bool) -> Option<Refusal> {
        let mutation = self.config.mutation;
        let foreign = mutation.has(Mutation::ObeyForeign);
        if retained && !mutation.has(Mutation::ObeyRetained) {
            Some(Refusal::Retained)
        } else if command.node != self.config.node && !foreign {
            Some(Refusal::ForeignNode)
        } else if command.boot_id != self.facts.session.boot_id && !foreign {
            Some(Refusal::ForeignBoot)
        } else if command.not_after < out.now.boot && !mutation.has(Mutation::ObeyExpired) {
            Some(Refusal::Expired)
        } else if command.epoch < self.epoch_seen && !mutation.has(Mutation::AcceptOldEpoch) {
            Some(Refusal::OlderEpoch {
                seen: self.epoch_seen,
            })
        } else {
            None
        }
    }

    fn obey(&mut self, out: &mut Out, id: &CommandId, body: CommandBody) -> Answer {
        match body {
            CommandBody::Rebirth => {
                self.report.rebirth();
                Answer::Taken
            }
            CommandBody::Reboot => self.permitted(out, id),
            CommandBody::Assign(assignment) => match self.works.take(assignment, out.now.boot) {
                Ok(gone) => {
                    for work in gone {
                        self.forget(out, &work, "the assignment no longer names it");
                    }
                    // Exclusive work waits for its lease, and the lease for a heartbeat.
                    self.report.hurry(out.now.boot);
                    Answer::Taken
                }
                Err(refusal) => Answer::Refused(refusal),
            },
        }
    }

    fn lease_ack(&mut self, out: &mut Out, ack: &LeaseAck, retained: bool) {
        if retained || ack.session != *self.report.session() {
            let error = "dropped a lease for another session or one that the broker had kept";
            self.inbox.refuse(out, "foreign lease", error);
            return;
        }
        let mutation = self.config.mutation;
        if ack.epoch < self.epoch_seen && !mutation.has(Mutation::AcceptOldEpoch) {
            let error = format!(
                "dropped a lease of epoch {}; epoch {} is obeyed",
                ack.epoch, self.epoch_seen
            );
            self.inbox.refuse(out, "old lease", &error);
            return;
        }
        self.epoch_seen = ack.epoch;
        self.doctor.hear(out.now.boot);
        let named = if mutation.has(Mutation::AckRenewsAll) {
            self.works.all_grants()
        } else {
            ack.grants.clone()
        };
        for grant in &named {
            let Some(held) = self.works.held().get(&grant.work) else {
                continue;
            };
            let Some(on_loss) = held.exclusive() else {
                continue;
            };
            let ends = held.ending.is_some()
                && !mutation.has(Mutation::AckRenewsAll)
                && !mutation.has(Mutation::RenewAfterEnd);
            if held.generation() != grant.generation || ends {
                continue;
            }
            let (n, term) = (ack.n, ack.term);
            let generation = grant.generation;
            self.leases
                .renew(out.now.boot, n, term, &grant.work, generation, on_loss);
        }
        if let Some(stream) = &ack.stream {
            let trims = self.outbox.stored(out.now.boot, stream, ack.events_stored);
            out.host.extend(trims);
        }
    }

    /// A work left for good.
    pub(crate) fn forget(
        &mut self,
        out: &mut Out,
        work: &nodemedic_protocol::WorkName,
        because: &str,
    ) {
        let key = UnitKey::Work(work.clone());
        self.leases.forget(work);
        self.supervisor.tools_mut().ledger.forget_starts(&key);
        self.supervisor.unwatch(out, &mut self.book, &key, because);
    }
}

fn say(refusal: &Refusal) -> String {
    match refusal {
        Refusal::ForeignNode => "it is for another node".to_string(),
        Refusal::ForeignBoot => "it is for another boot of this host".to_string(),
        Refusal::Expired => "its time is over".to_string(),
        Refusal::Retained => "it was kept by the broker; commands never are".to_string(),
        Refusal::OlderEpoch { seen } => {
            format!("it is of an older coordinator; epoch {seen} is obeyed")
        }
        Refusal::OlderRevision { seen } => {
            format!("its assignment is older than revision {seen}, which is in force")
        }
        Refusal::SameRevisionOtherContent => {
            "its assignment has the revision in force and another content".to_string()
        }
        Refusal::NotNow { why } => why.clone(),
    }
}

const fn sort(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::ForeignNode => "foreign node",
        Refusal::ForeignBoot => "foreign boot",
        Refusal::Expired => "expired",
        Refusal::Retained => "retained",
        Refusal::OlderEpoch { .. } => "older epoch",
        Refusal::OlderRevision { .. } => "older revision",
        Refusal::SameRevisionOtherContent => "same revision, other content",
        Refusal::NotNow { .. } => "not now",
    }
}
