//! A node as the coordinator sees one: says what an agent says, and really runs or stops work.

use std::collections::BTreeMap;

use nodemedic_protocol::event::{Event, EventBatch, EventKind};
use nodemedic_protocol::health::{Condition, Reason, level_of};
use nodemedic_protocol::inventory::{Capacity, Inventory};
use nodemedic_protocol::message::{
    Ack, Answer, Birth, Command, CommandBody, GoingDown, Health, Heartbeat, LeaseAck, Message,
    Presence, Refusal, Session, WorkReport,
};
use nodemedic_protocol::reboot::{RebootWanted, RebootWord};
use nodemedic_protocol::work::{
    Assigned, Desired, Enforcement, Sharing, StopCause, WorkState, WorkStatus,
};
use nodemedic_protocol::{
    BootId, Boottime, CommandId, Component, Epoch, Millis, NodeId, Now, Revision, Seq, SessionId,
    Severity, StreamId, WorkName,
};

pub struct Held {
    pub assigned: Assigned,
    pub state: WorkState,
    lease: Option<Boottime>,
}

impl Held {
    fn is_exclusive(&self) -> bool {
        matches!(self.assigned.spec.sharing, Sharing::Exclusive { .. })
    }

    /// What never had a lease runs nothing that must be stopped.
    fn stop(&mut self) {
        self.state = if self.is_exclusive() && self.lease.is_none() {
            WorkState::Stopped(StopCause::Asked)
        } else {
            WorkState::Stopping
        };
    }
}

pub struct FakeNode {
    pub name: NodeId,
    pub up: bool,
    pub connected: bool,
    pub boot: u64,
    session: u64,
    n: u64,
    seq: u64,
    pub revision: Revision,
    pub epoch_seen: Epoch,
    pub works: BTreeMap<WorkName, Held>,
    pub drain_wanted: Option<String>,
    pub conditions: Vec<Condition>,
    /// Work that is fenced as soon as it is started here.
    pub breaks: Option<WorkName>,
    /// Work that does not stop here, whoever asks.
    pub sticks: Option<WorkName>,
    pub zone: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub capacity: Capacity,
    pub enforcement: Enforcement,
    pub events: Vec<Event>,
    pub events_stored: u64,
    /// What it says of reboots.
    pub reboot: Option<RebootWord>,
    /// Each permit that it took, on which boot of it, and when.
    pub permits: Vec<(CommandId, u64, Boottime)>,
    /// Goes down, and is back, so long after it took a permit; absent: it never goes.
    pub reboots_in: Option<(Millis, Millis)>,
    pub stays_out: Millis,
    going: Option<Boottime>,
    back: Option<Boottime>,
    out_until: Option<Boottime>,
    beat_at: BTreeMap<u64, Boottime>,
    outbox: Vec<Message>,
}

impl FakeNode {
    pub fn new(name: &str) -> FakeNode {
        FakeNode {
            name: NodeId::new(name).unwrap(),
            up: true,
            connected: true,
            boot: 1,
            session: 1,
            n: 0,
            seq: 0,
            revision: Revision(0),
            epoch_seen: Epoch(0),
            works: BTreeMap::new(),
            drain_wanted: None,
            conditions: Vec::new(),
            breaks: None,
            sticks: None,
            zone: None,
            labels: BTreeMap::new(),
            capacity: Capacity {
                cpu_milli: 4000,
                memory_bytes: 8 << 30,
            },
            enforcement: Enforcement::Software {
                timeout: Millis::from_secs(5),
            },
            events: Vec::new(),
            events_stored: 0,
            reboot: None,
            permits: Vec::new(),
            reboots_in: Some((Millis(1500), Millis::from_secs(20))),
            stays_out: Millis::from_secs(60),
            going: None,
            back: None,
            out_until: None,
            beat_at: BTreeMap::new(),
            outbox: Vec::new(),
        }
    }

    pub fn session(&self) -> Session {
        Session {
            boot_id: BootId::new(format!("{}-boot-{}", self.name, self.boot)).unwrap(),
            session_id: SessionId::new(format!("{}-session-{}", self.name, self.session)).unwrap(),
        }
    }

    pub fn stream() -> StreamId {
        StreamId::new("stream-1").unwrap()
    }

    pub fn runs(&self, work: &str) -> bool {
        self.up
            && self
                .works
                .iter()
                .any(|(name, held)| name.as_str() == work && !held.state.is_stopped())
    }

    pub fn happened(&mut self, now: Now) {
        let seq = Seq(self.events.len() as u64 + 1);
        self.events.push(Event {
            seq,
            boot_id: self.session().boot_id,
            at: now.boot,
            wall: now.wall,
            component: Component::Host,
            kind: EventKind::ConfigReloaded,
        });
    }

    /// The agent dies and comes back; what it runs goes on.
    pub fn restart_agent(&mut self, now: Now) {
        self.session += 1;
        self.n = 0;
        self.seq = 0;
        self.beat_at.clear();
        self.say_birth(now);
    }

    /// The host loses power and comes back: nothing runs any more.
    pub fn reboot(&mut self, now: Now) {
        self.boot += 1;
        self.works.clear();
        self.revision = Revision(0);
        self.up = true;
        self.restart_agent(now);
    }

    pub fn farewell(&mut self, now: Now, back_within: Millis) -> Message {
        self.up = false;
        Message::Presence(Presence {
            session: self.session(),
            online: false,
            wall: now.wall,
            going_down: Some(GoingDown {
                reason: "agent upgrade".into(),
                back_within,
            }),
        })
    }

    pub fn will(&self, now: Now) -> Message {
        Message::Presence(Presence {
            session: self.session(),
            online: false,
            wall: now.wall,
            going_down: None,
        })
    }

    fn statuses(&self) -> Vec<WorkStatus> {
        let status = |held: &Held| WorkStatus {
            work: held.assigned.spec.name.clone(),
            generation: held.assigned.generation,
            state: held.state,
            since: Boottime(0),
            pid: None,
            detail: String::new(),
        };
        self.works.values().map(status).collect()
    }

    pub fn say_birth(&mut self, now: Now) {
        self.seq += 1;
        let birth = Birth {
            session: self.session(),
            seq: Seq(self.seq),
            version: "1".into(),
            at: now.boot,
            wall: now.wall,
            inventory: Inventory::default(),
            capacity: self.capacity,
            labels: self.labels.clone(),
            zone: self.zone.clone(),
            enforcement: self.enforcement,
            epoch_seen: self.epoch_seen,
            revision: self.revision,
            stream: Self::stream(),
            reboot: self.reboot.clone(),
            works: self.statuses(),
        };
        self.outbox.push(Message::Birth(Box::new(birth)));
        self.say_health();
    }

    pub fn say_health(&mut self) {
        self.seq += 1;
        let health = Health {
            session: self.session(),
            seq: Seq(self.seq),
            level: level_of(&self.conditions),
            conditions: self.conditions.clone(),
            drain_wanted: self.drain_wanted.clone(),
        };
        self.outbox.push(Message::Health(health));
    }

    fn say_works(&mut self, now: Now) {
        self.seq += 1;
        let report = WorkReport {
            session: self.session(),
            seq: Seq(self.seq),
            at: now.boot,
            revision: self.revision,
            works: self.statuses(),
        };
        self.outbox.push(Message::Work(report));
    }

    /// It asks for a permit.
    pub fn want_reboot(&mut self, now: Now) {
        self.out_until = None;
        self.reboot = Some(RebootWord::Wanted(RebootWanted {
            why: "the disk does not answer".into(),
            since: now.wall,
            stay_out: self.stays_out,
        }));
    }

    /// Something is very wrong with it.
    pub fn fail(&mut self, now: Now) {
        self.conditions.push(Condition {
            component: Component::Host,
            reason: Reason::Unresponsive,
            severity: Severity::Critical,
            since: now.boot,
            since_wall: now.wall,
            seen: true,
            message: "it does not answer".into(),
            evidence: BTreeMap::new(),
        });
        self.say_health();
    }

    pub fn recover(&mut self) {
        self.conditions.clear();
        self.say_health();
    }

    fn permit(&mut self, now: Now, id: &CommandId) -> Option<Refusal> {
        let wants = matches!(self.reboot, Some(RebootWord::Wanted(_)));
        // What runs on it is the coordinator's business: an agent would look again.
        if !wants {
            let why = "not wanted".into();
            return Some(Refusal::NotNow { why });
        }
        self.permits.push((id.clone(), self.boot, now.boot));
        let permit = Some(id.clone());
        self.reboot = Some(RebootWord::Going { permit });
        self.going = self.reboots_in.map(|(down, _)| now.boot + down);
        None
    }

    /// Goes down, comes back, and is let in again, each when it is due.
    fn pass_reboot(&mut self, now: Now) {
        let due = |at: Option<Boottime>| at.is_some_and(|at| at <= now.boot);
        if due(self.going) {
            self.going = None;
            self.up = false;
            self.back = self.reboots_in.map(|(_, back)| now.boot + back);
        }
        if due(self.back) {
            self.back = None;
            self.conditions.clear();
            self.reboot = Some(RebootWord::StaysOut {
                why: "the disk did not answer".into(),
                well_for: self.stays_out,
            });
            self.out_until = Some(now.boot + self.stays_out);
            self.reboot(now);
        }
        if due(self.out_until) {
            self.out_until = None;
            self.reboot = None;
        }
    }

    /// Half a second passes on the host; what it says comes back.
    pub fn tick(&mut self, now: Now) -> Vec<Message> {
        self.pass_reboot(now);
        if !self.up {
            self.outbox.clear();
            return Vec::new();
        }
        let before: Vec<WorkState> = self.works.values().map(|h| h.state).collect();
        for (name, held) in &mut self.works {
            let leased = held.lease.is_some_and(|end| now.boot < end);
            if held.state.is_stopped() {
                continue;
            }
            held.state = if self.sticks.as_ref() == Some(name) && held.state == WorkState::Stopping
            {
                WorkState::Stopping
            } else if held.state == WorkState::Stopping {
                WorkState::Stopped(StopCause::Asked)
            } else if held.is_exclusive() && held.lease.is_none() {
                WorkState::Starting
            } else if held.is_exclusive() && !leased {
                WorkState::Stopped(StopCause::LeaseLost)
            } else if self.breaks.as_ref() == Some(name) {
                WorkState::Stopped(StopCause::Fenced)
            } else {
                WorkState::Running
            };
        }
        let after: Vec<WorkState> = self.works.values().map(|h| h.state).collect();
        if before != after {
            self.say_works(now);
        }
        if now.boot.0.is_multiple_of(2_000) {
            self.beat(now);
        }
        std::mem::take(&mut self.outbox)
    }

    fn beat(&mut self, now: Now) {
        self.n += 1;
        self.beat_at.insert(self.n, now.boot);
        self.outbox.push(Message::Heartbeat(Heartbeat {
            session: self.session(),
            n: self.n,
            sent_at: now.boot,
            seq_sent: Seq(self.seq),
            revision: self.revision,
            epoch_seen: self.epoch_seen,
            level: level_of(&self.conditions),
            drain_wanted: self.drain_wanted.clone(),
            reboot: self.reboot.clone(),
            works: self.statuses(),
        }));
        let unsent = self.events.iter().filter(|e| e.seq.0 > self.events_stored);
        let events: Vec<Event> = unsent.cloned().collect();
        if !events.is_empty() {
            let stream = Self::stream();
            self.outbox
                .push(Message::Event(EventBatch { stream, events }));
        }
    }

    pub fn take(&mut self, now: Now, message: Message) {
        match message {
            Message::Command(command) => self.obey(now, command),
            Message::Lease(ack) => self.renew(&ack),
            other => panic!("a node got {other:?}"),
        }
    }

    fn obey(&mut self, now: Now, command: Command) {
        assert_eq!(command.node, self.name);
        let mut refusal = if command.boot_id != self.session().boot_id {
            Some(Refusal::ForeignBoot)
        } else if command.epoch < self.epoch_seen {
            let seen = self.epoch_seen;
            Some(Refusal::OlderEpoch { seen })
        } else if now.boot > command.not_after {
            Some(Refusal::Expired)
        } else {
            None
        };
        if refusal.is_none() {
            self.epoch_seen = command.epoch;
            match command.body {
                CommandBody::Rebirth => self.say_birth(now),
                CommandBody::Reboot => refusal = self.permit(now, &command.id),
                CommandBody::Assign(assignment) => {
                    assert!(assignment.revision >= self.revision, "{}", self.name);
                    self.revision = assignment.revision;
                    self.assign(assignment.works);
                }
            }
        }
        let answer = refusal.map_or(Answer::Taken, Answer::Refused);
        let (session, id) = (self.session(), command.id);
        self.outbox.push(Message::Ack(Ack {
            session,
            id,
            answer,
        }));
    }

    fn assign(&mut self, works: Vec<Assigned>) {
        for held in self.works.values_mut() {
            let named = works.iter().any(|a| a.spec.name == held.assigned.spec.name);
            if !named && !held.state.is_stopped() {
                held.stop();
            }
        }
        for assigned in works {
            let name = assigned.spec.name.clone();
            let known = self.works.get_mut(&name);
            let stop = assigned.desired == Desired::Stop;
            match known {
                Some(held) if held.assigned.generation == assigned.generation => {
                    if stop && !held.state.is_stopped() {
                        held.stop();
                    }
                }
                _ => {
                    let held = Held {
                        state: if stop {
                            WorkState::Stopped(StopCause::Asked)
                        } else {
                            WorkState::Starting
                        },
                        assigned,
                        lease: None,
                    };
                    self.works.insert(name, held);
                }
            }
        }
    }

    fn renew(&mut self, ack: &LeaseAck) {
        if ack.session != self.session() || ack.epoch < self.epoch_seen {
            return;
        }
        let Some(sent) = self.beat_at.get(&ack.n).copied() else {
            return;
        };
        self.epoch_seen = ack.epoch;
        self.events_stored = self.events_stored.max(ack.events_stored.0);
        for grant in &ack.grants {
            if let Some(held) = self.works.get_mut(&grant.work)
                && held.assigned.generation == grant.generation
            {
                held.lease = held.lease.max(Some(sent + ack.term));
            }
        }
    }
}
