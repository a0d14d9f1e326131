//! What the coordinator is told, and when: birth, heartbeats, health and work on change, samples.
//!
//! A session is one run of the agent. Its birth, health and work messages are numbered; heartbeats
//! carry the number that was sent last, so that a coordinator that missed one asks for a rebirth.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::local::LinkStatus;
use nodemedic_protocol::message::{
    Birth, GoingDown, Health, Heartbeat, Message, Presence, Session, WorkReport,
};
use nodemedic_protocol::reboot::RebootWord;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::work::WorkStatus;
use nodemedic_protocol::{Boottime, Condition, Epoch, Level, Millis, Revision, Seq};

use crate::lease::Leases;
use crate::out::Out;

/// The state that messages tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub level: Level,
    pub conditions: Vec<Condition>,
    pub drain_wanted: Option<String>,
    pub reboot: Option<RebootWord>,
    pub works: Vec<WorkStatus>,
    pub revision: Revision,
    pub epoch_seen: Epoch,
}

/// One session's messages.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    session: Session,
    seq: Seq,
    n: u64,
    up: bool,
    since: Boottime,
    last_error: Option<String>,
    presence_due: bool,
    birth_due: bool,
    next_heartbeat: Boottime,
    next_sample: Boottime,
    told: Option<Picture>,
}

impl Report {
    pub(crate) const fn new(session: Session, now: Boottime) -> Report {
        Report {
            session,
            seq: Seq(0),
            n: 0,
            up: false,
            since: now,
            last_error: None,
            presence_due: false,
            birth_due: false,
            next_heartbeat: Boottime(0),
            next_sample: Boottime(0),
            told: None,
        }
    }

    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.up
    }

    /// The link stands: everything is told again, because a broker may have forgotten it.
    pub(crate) fn link_up(&mut self, now: Boottime) {
        self.up = true;
        self.since = now;
        self.last_error = None;
        self.presence_due = true;
        self.birth_due = true;
        self.next_heartbeat = now;
        self.next_sample = now;
    }

    pub(crate) fn link_down(&mut self, now: Boottime, error: String) {
        if self.up {
            self.since = now;
        }
        self.up = false;
        self.last_error = Some(error);
    }

    /// Everything is told again, beginning with the birth.
    pub(crate) const fn rebirth(&mut self) {
        self.birth_due = true;
    }

    /// The next heartbeat leaves at once: a lease waits for it.
    pub(crate) const fn hurry(&mut self, now: Boottime) {
        self.next_heartbeat = now;
    }

    pub(crate) fn heartbeat_at(&self) -> Option<Boottime> {
        self.up.then_some(self.next_heartbeat)
    }

    pub(crate) fn sample(&mut self, out: &mut Out, every: Millis, sample: &Sample) {
        if self.up && self.next_sample <= out.now.boot {
            self.next_sample = out.now.boot + every;
            out.send(Message::Sample(Box::new(sample.clone())));
        }
    }

    /// Tells what is due and what has changed.
    pub(crate) fn tell(
        &mut self,
        out: &mut Out,
        leases: &mut Leases,
        every: Millis,
        picture: Picture,
        birth: impl FnOnce(Session, Seq, &Picture) -> Birth,
    ) {
        if !self.up {
            return;
        }
        let now = out.now;
        if core::mem::take(&mut self.presence_due) {
            out.send(Message::Presence(self.presence(out, None)));
        }
        let born = core::mem::take(&mut self.birth_due);
        if born {
            let seq = self.next_seq();
            let birth = birth(self.session.clone(), seq, &picture);
            out.send(Message::Birth(Box::new(birth)));
        }
        let told = self.told.as_ref().filter(|_| !born);
        let health_is_new = told.is_none_or(|t| {
            (t.level, &t.conditions, &t.drain_wanted)
                != (picture.level, &picture.conditions, &picture.drain_wanted)
        });
        let works_are_new = !born
            && told.is_none_or(|t| (t.revision, &t.works) != (picture.revision, &picture.works));
        if health_is_new {
            let health = Health {
                session: self.session.clone(),
                seq: self.next_seq(),
                level: picture.level,
                conditions: picture.conditions.clone(),
                drain_wanted: picture.drain_wanted.clone(),
            };
            out.send(Message::Health(health));
        }
        if works_are_new {
            let report = WorkReport {
                session: self.session.clone(),
                seq: self.next_seq(),
                at: now.boot,
                revision: picture.revision,
                works: picture.works.clone(),
            };
            out.send(Message::Work(report));
        }
        if self.next_heartbeat <= now.boot {
            self.next_heartbeat = now.boot + every;
            self.n += 1;
            leases.sent(self.n, now.boot);
            let heartbeat = self.heartbeat(now.boot, &picture);
            out.send(Message::Heartbeat(heartbeat));
        }
        self.told = Some(picture);
    }

    const fn next_seq(&mut self) -> Seq {
        self.seq = self.seq.next();
        self.seq
    }

    fn heartbeat(&self, sent_at: Boottime, picture: &Picture) -> Heartbeat {
        Heartbeat {
            session: self.session.clone(),
            n: self.n,
            sent_at,
            seq_sent: self.seq,
            revision: picture.revision,
            epoch_seen: picture.epoch_seen,
            level: picture.level,
            drain_wanted: picture.drain_wanted.clone(),
            reboot: picture.reboot.clone(),
            works: picture.works.clone(),
        }
    }

    /// There, or going.
    pub(crate) fn presence(&self, out: &Out, going_down: Option<GoingDown>) -> Presence {
        Presence {
            session: self.session.clone(),
            online: going_down.is_none(),
            wall: out.now.wall,
            going_down,
        }
    }

    pub(crate) fn link_status(&self, spooled_events: u64, dropped_events: u64) -> LinkStatus {
        LinkStatus {
            up: self.up,
            since: self.since,
            last_error: self.last_error.clone(),
            spooled_events,
            dropped_events,
        }
    }
}
