//! What nodes say: who speaks, whether it is newer than what is known, and what it changes.

use alloc::format;

use nodemedic_protocol::api::Proof;
use nodemedic_protocol::message::{
    Ack, Answer, Birth, Health, Heartbeat, LeaseAck, Message, Presence, Refusal, Session,
    WorkReport,
};
use nodemedic_protocol::{Boottime, Epoch, NodeId, Now, Seq};

use crate::coordinator::Coordinator;
use crate::effect::LogLevel;
use crate::mutation::Mutation;
use crate::node::{Candidate, Node, birth_facts};
use crate::stored::{EventMark, GrantKey, Write};

/// More nodes than this are not taken: the design goal is thousands, and memory must be bounded
/// even when a certificate authority is careless.
pub const NODES_MAX: usize = 20_000;

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The session that speaks for its node.
    Current,
    /// Another boot, which must prove itself first; or an older session.
    Stranger,
}

impl Coordinator {
    pub(crate) fn hear(&mut self, now: Now, node: &NodeId, message: Message, retained: bool) {
        match message {
            Message::Presence(presence) => self.hear_presence(now, node, &presence),
            Message::Birth(birth) if !retained => self.hear_birth(now, node, *birth),
            Message::Heartbeat(beat) if !retained => self.hear_beat(now, node, &beat),
            Message::Health(health) => self.hear_health(now, node, health, retained),
            Message::Sample(sample) => {
                if let Some(known) = self.nodes.get_mut(node) {
                    known.words.sample = Some(*sample);
                }
            }
            Message::Event(batch) if !retained => self.hear_events(now, node, batch),
            Message::Work(report) if !retained => self.hear_work(now, node, &report),
            Message::Ack(ack) if !retained => self.hear_ack(now, node, &ack),
            other => {
                let kind = other.kind().map_or("state", |k| k.as_str());
                let kept = if retained {
                    "kept by the broker"
                } else {
                    "ours"
                };
                let text = format!("dropped a message of kind {kind} from {node}: it is {kept}");
                self.out.log(LogLevel::Debug, text);
            }
        }
    }

    fn hear_presence(&mut self, now: Now, name: &NodeId, presence: &Presence) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if presence.online || presence.session != node.record.session {
            return;
        }
        let change = match &presence.going_down {
            Some(going) => node.life.goes(now.boot, &presence.session, going),
            None => node.life.hint_gone(now.boot),
        };
        if let Some(change) = change {
            self.dirty = true;
            self.out.decide(now, Some(name), change.decision());
        }
        if self.settings.mutation.has(Mutation::TrustWill) && presence.going_down.is_none() {
            self.end_all_on(now, name, &Proof::LeaseEnded, |_| true);
        }
    }

    /// Finds out who speaks; a new session of the known boot takes over by its later time.
    fn recognise(&mut self, now: Now, name: &NodeId, session: &Session, stamp: Boottime) -> Who {
        if !self.nodes.contains_key(name) && !self.welcome(now, name, session, stamp) {
            return Who::Stranger;
        }
        let dead = self.is_of_the_dead(now, name, &session.boot_id, stamp);
        let Some(node) = self.nodes.get_mut(name) else {
            return Who::Stranger;
        };
        let known = node.record.session.clone();
        let newest = node.words.stamp;
        if session.boot_id == known.boot_id && !dead {
            node.hear_clock(stamp, now.boot);
        }
        if *session == known && !dead {
            node.words.stamp = Some(stamp.max(newest.unwrap_or(stamp)));
            return Who::Current;
        }
        if session.boot_id == known.boot_id && !dead {
            if stamp < newest.unwrap_or(node.record.session_since) {
                return Who::Stranger;
            }
            node.adopt(session, stamp);
            self.out.store(Write::Node(node.record.clone()));
            return Who::Current;
        }
        match &mut node.candidate {
            Some(candidate) if candidate.session == *session => {
                candidate.stamp = candidate.stamp.max(stamp);
            }
            other => {
                *other = Some(Candidate {
                    session: session.clone(),
                    stamp,
                    birth: None,
                    reboot: None,
                    challenge: None,
                });
            }
        }
        if self.settings.mutation.has(Mutation::TrustBirth)
            && let Some(candidate) = node.candidate.take()
        {
            self.adopt_boot(now, name, session, candidate);
            return Who::Current;
        }
        self.challenge(now, name);
        Who::Stranger
    }

    fn welcome(&mut self, now: Now, name: &NodeId, session: &Session, stamp: Boottime) -> bool {
        if self.nodes.len() >= NODES_MAX {
            let text = format!("{name} is not taken in: there are {NODES_MAX} nodes already");
            self.out.log(LogLevel::Warn, text);
            return false;
        }
        let record = Node::first_record(name, session, stamp);
        self.out.store(Write::Node(record.clone()));
        let node = Node::new(record, now.boot);
        self.nodes.insert(name.clone(), node);
        true
    }

    pub(crate) fn check_epoch(&mut self, seen: Epoch) {
        if seen > self.epoch {
            self.supersede(seen);
        }
    }

    fn hear_birth(&mut self, now: Now, name: &NodeId, birth: Birth) {
        let who = self.recognise(now, name, &birth.session, birth.at);
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if who == Who::Current {
            self.check_epoch(birth.epoch_seen);
            self.apply_birth(now, name, &birth);
        } else if let Some(candidate) = &mut node.candidate
            && candidate.session == birth.session
        {
            candidate.birth = Some(birth);
        }
    }

    pub(crate) fn apply_birth(&mut self, now: Now, name: &NodeId, birth: &Birth) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let newest = node.record.birth.as_ref().map(|b| b.at);
        if node.words.seq.is_some_and(|seen| birth.seq < seen)
            || newest.is_some_and(|newest| birth.at < newest)
        {
            return;
        }
        node.words.seq = Some(birth.seq);
        node.words.gap = false;
        node.words.taken = birth.revision;
        node.rebirth = None;
        // A heartbeat that left later knows better.
        let newest = node.words.stamp.is_none_or(|heard| birth.at >= heard);
        let facts = Some(birth_facts(birth));
        if node.record.birth != facts {
            node.record.birth = facts;
            self.out.store(Write::Node(node.record.clone()));
        }
        if self.marks.get(name).map(|m| &m.stream) != Some(&birth.stream) {
            let mark = EventMark {
                stream: birth.stream.clone(),
                seq: Seq(0),
            };
            self.marks.insert(name.clone(), mark.clone());
            let node = name.clone();
            self.out.store(Write::EventMark { node, mark });
        }
        self.hear_works(now, name, birth.at, &birth.works);
        if newest {
            self.hear_reboot(now, name, birth.reboot.as_ref());
        }
        self.check_revision(name, birth.revision);
        self.dirty = true;
    }

    fn hear_beat(&mut self, now: Now, name: &NodeId, beat: &Heartbeat) {
        if self.recognise(now, name, &beat.session, beat.sent_at) == Who::Stranger {
            self.note_candidate(name, beat);
            return;
        }
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if node.words.beat.is_some_and(|newest| beat.n <= newest) {
            return;
        }
        node.words.beat = Some(beat.n);
        if let Some(change) = node.life.hear(now.boot, &beat.session) {
            self.dirty = true;
            self.out.decide(now, Some(name), change.decision());
        }
        node.fell_alone = false;
        if node.record.known_down.take().is_some() {
            self.dirty = true;
            self.out.store(Write::Node(node.record.clone()));
        }
        self.dirty |= node.words.level != Some(beat.level);
        node.words.level = Some(beat.level);
        node.words.taken = node.words.taken.max(beat.revision);
        let wants = node.words.seq.is_none_or(|seen| seen < beat.seq_sent) || node.words.gap;
        let needs_birth = wants || node.record.birth.is_none();
        self.dirty |= node.assignment.is_none();
        self.check_epoch(beat.epoch_seen);
        if self.superseded.is_some() {
            return;
        }
        self.hear_works(now, name, beat.sent_at, &beat.works);
        self.hear_wish(now, name, beat.drain_wanted.as_ref());
        self.hear_reboot(now, name, beat.reboot.as_ref());
        self.check_revision(name, beat.revision);
        if !self.link_is_up() {
            return;
        }
        if needs_birth {
            self.ask_rebirth(now, name);
        }
        self.resend_assignment(now, name);
        // What this very heartbeat proves stopped is not renewed.
        self.dirty |= self.end_proved(now);
        self.renew(now, name, beat);
    }

    /// What a boot that has not proved itself yet says of reboots counts when it has.
    fn note_candidate(&mut self, name: &NodeId, beat: &Heartbeat) {
        let node = self.nodes.get_mut(name);
        let candidate = node.and_then(|node| node.candidate.as_mut());
        if let Some(candidate) = candidate.filter(|c| c.session == beat.session) {
            candidate.reboot.clone_from(&beat.reboot);
        }
    }

    /// Acknowledges a heartbeat: renews exactly what is granted and not being taken away.
    fn renew(&mut self, now: Now, name: &NodeId, beat: &Heartbeat) {
        let grants = self.grants.renew(name, now.boot);
        let mark = self.marks.get(name);
        let ack = LeaseAck {
            epoch: self.epoch,
            session: beat.session.clone(),
            n: beat.n,
            term: self.settings.lease.term,
            grants,
            stream: mark.map(|m| m.stream.clone()),
            events_stored: mark.map_or(Seq(0), |m| m.seq),
        };
        self.out.send(name, Message::Lease(ack));
    }

    fn hear_health(&mut self, _now: Now, name: &NodeId, health: Health, retained: bool) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if health.session != node.record.session {
            node.health_ahead = Some(health);
            return;
        }
        if !retained {
            node.hear_seq(health.seq);
        }
        let newest = node.words.health.as_ref().map(|h| h.seq);
        if newest.is_some_and(|newest| health.seq < newest) {
            return;
        }
        // Most say again what is known; nothing follows from that.
        let known = node.words.health.as_ref();
        self.dirty |=
            known.is_none_or(|k| k.level != health.level || k.conditions != health.conditions);
        node.words.health = Some(health);
    }

    fn hear_work(&mut self, now: Now, name: &NodeId, report: &WorkReport) {
        if self.recognise(now, name, &report.session, report.at) == Who::Stranger {
            return;
        }
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.hear_seq(report.seq);
        node.words.taken = node.words.taken.max(report.revision);
        self.hear_works(now, name, report.at, &report.works);
    }

    fn hear_works(
        &mut self,
        now: Now,
        name: &NodeId,
        at: Boottime,
        works: &[nodemedic_protocol::work::WorkStatus],
    ) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let before = node.words.works.clone();
        if !node.hear_works(at, works) || before == node.words.works {
            return;
        }
        self.dirty = true;
        let reported = node.words.works.as_ref();
        node.ghosts
            .retain(|key| reported.is_some_and(|r| r.contains_key(key)));
        for status in works {
            let key = GrantKey {
                work: status.work.clone(),
                generation: status.generation,
            };
            let old = before.as_ref().and_then(|b| b.get(&key)).map(|s| s.state);
            if old != Some(status.state) {
                self.grants.touch(&key, now.boot);
            }
            self.grants
                .seen(&mut self.out, &status.work, status.generation);
            let ours = self.grants.get(&key);
            let held = ours.is_some_and(|g| g.record.node == *name);
            if !held && !status.state.is_stopped() && node.ghosts.insert(key) {
                let text = format!(
                    "{name} reports {} generation {} as {:?}, which it does not hold any more; \
                    it is \
                     told to stop it",
                    status.work, status.generation, status.state
                );
                self.out.log(LogLevel::Warn, text);
            }
        }
    }

    fn hear_ack(&mut self, now: Now, name: &NodeId, ack: &Ack) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let challenge = node.candidate.as_ref().and_then(|c| c.challenge.as_ref());
        if challenge.is_some_and(|sent| sent.id == ack.id) {
            let candidate = node.candidate.take_if(|c| {
                ack.answer != Answer::Taken || c.session.boot_id == ack.session.boot_id
            });
            if ack.answer == Answer::Taken
                && let Some(candidate) = candidate
            {
                self.adopt_boot(now, name, &ack.session, candidate);
            }
            return;
        }
        let Answer::Refused(refusal) = &ack.answer else {
            return;
        };
        let text = format!("{name} refused command {}: {refusal:?}", ack.id);
        self.out.log(LogLevel::Debug, text);
        match refusal {
            Refusal::OlderEpoch { seen } => self.check_epoch(*seen),
            Refusal::OlderRevision { seen } => self.check_revision(name, *seen),
            Refusal::SameRevisionOtherContent => {
                node.assignment = None;
                self.dirty = true;
            }
            // A permit that is refused is void by its time; the host may ask again.
            Refusal::NotNow { .. } => {}
            Refusal::ForeignNode | Refusal::ForeignBoot | Refusal::Expired | Refusal::Retained => {}
        }
    }
}
