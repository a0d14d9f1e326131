//! The agent as others see it: messages' pictures and the local socket's answers. Changes nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::event::Event;
use nodemedic_protocol::event::Verb;
use nodemedic_protocol::health::level_of;
use nodemedic_protocol::local::{LocalStatus, ServiceStatus};
use nodemedic_protocol::message::Birth;
use nodemedic_protocol::work::{StopCause, WorkState, WorkStatus};
use nodemedic_protocol::{Level, Now, ServiceName, WorkName};

use crate::agent::Agent;
use crate::mutation::{Mutation, Mutations};
use crate::out::Out;
use crate::report::Picture;
use crate::supervisor::{Goal, Stage, Unit, Wish};
use crate::unit::UnitKey;
use crate::works::Held;

impl Agent {
    /// Tells the coordinator what is due and what is new.
    pub(crate) fn tell(&mut self, out: &mut Out) {
        if !self.report.is_up() {
            return;
        }
        let picture = self.picture();
        let now = out.now;
        let (facts, config) = (&self.facts, &self.config);
        let (enforcement, stream) = (self.enforcement, self.outbox.stream());
        let mut labels = config.labels.clone();
        labels.extend(self.mode_label());
        self.report.tell(
            out,
            &mut self.leases,
            config.heartbeat_every,
            picture,
            |session, seq, picture| Birth {
                session,
                seq,
                version: facts.version.clone(),
                at: now.boot,
                wall: now.wall,
                inventory: facts.inventory.clone(),
                capacity: facts.capacity,
                labels,
                zone: config.zone.clone(),
                enforcement,
                epoch_seen: picture.epoch_seen,
                revision: picture.revision,
                stream: stream.clone(),
                reboot: picture.reboot.clone(),
                works: picture.works.clone(),
            },
        );
        self.outbox.pump(out);
    }

    fn picture(&self) -> Picture {
        Picture {
            level: self.level(),
            conditions: self.book.all(),
            drain_wanted: self.drain_wanted(),
            reboot: self.doctor.word(),
            works: self.work_statuses(),
            revision: self.works.revision(),
            epoch_seen: self.epoch_seen,
        }
    }

    /// How well the host is. What was not looked at yet is unknown, not healthy.
    pub(crate) fn level(&self) -> Level {
        let level = level_of(&self.book.all());
        if self.is_blind() {
            level.max(Level::Unknown)
        } else {
            level
        }
    }

    fn work_statuses(&self) -> Vec<WorkStatus> {
        self.works
            .held()
            .iter()
            .map(|(work, held)| {
                let unit = self.supervisor.get(&UnitKey::Work(work.clone()));
                work_status(work, held, unit, self.config.mutation)
            })
            .collect()
    }

    /// Everything that the local socket tells.
    #[must_use]
    pub fn status(&self, now: Now) -> LocalStatus {
        LocalStatus {
            node: self.config.node.clone(),
            version: self.facts.version.clone(),
            session: self.report.session().clone(),
            at: now.boot,
            level: self.level(),
            conditions: self.book.all(),
            sample: self.sample.as_deref().cloned(),
            inventory: self.facts.inventory.clone(),
            healing: self.healing_status(),
            services: self.service_statuses(now),
            works: self.work_statuses(),
            link: self
                .report
                .link_status(self.outbox.waiting(), self.outbox.dropped()),
            enforcement: self.enforcement,
            epoch_seen: self.epoch_seen,
            revision: self.works.revision(),
            drain_wanted: self.drain_wanted(),
        }
    }

    fn service_statuses(&self, now: Now) -> Vec<ServiceStatus> {
        self.supervisor
            .iter()
            .filter_map(|(key, unit)| {
                let UnitKey::Service(service) = key else {
                    return None;
                };
                let restart = unit.plan().restart;
                Some(ServiceStatus {
                    service: service.clone(),
                    state: unit.stage().word().to_string(),
                    mode: unit.plan().mode,
                    paused: self.supervisor.manners().pauses.get(Some(service)),
                    failures: unit.failures_now(now),
                    next: unit.next_rung(now, self.supervisor.tools()),
                    since: unit.since(),
                    pid: unit.pid(),
                    restarts_used: self
                        .supervisor
                        .tools()
                        .budget
                        .used(now, key, restart.window),
                    restarts_allowed: restart.max,
                    window: restart.window,
                    detail: unit.detail(),
                })
            })
            .collect()
    }

    /// How well the host is, and whether the link to the broker stands.
    #[must_use]
    pub fn summary(&self) -> (Level, bool) {
        (self.level(), self.report.is_up())
    }

    /// The main processes that are known, with the component's text: what a sampler is to watch.
    #[must_use]
    pub fn main_processes(&self) -> Vec<(String, u32)> {
        self.supervisor
            .iter()
            .filter_map(|(key, unit)| Some((key.to_string(), unit.pid()?)))
            .collect()
    }

    /// The newest events, oldest first.
    #[must_use]
    pub fn events(&self, last: u32) -> Vec<Event> {
        self.outbox
            .newest(usize::try_from(last).unwrap_or(usize::MAX))
    }

    /// Whether a person may let this service back now.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn may_unfence(&self, service: &ServiceName) -> Result<(), String> {
        let key = UnitKey::Service(service.clone());
        match self.supervisor.get(&key) {
            None => Err(format!(
                "there is no service {service:?} in this host's configuration; `nodemedic node` \
                 lists them",
                service = service.as_str()
            )),
            Some(unit) if unit.goal() == Goal::Fence => Ok(()),
            Some(unit) => Err(format!(
                "service {service} is not fenced, it is {}",
                unit.stage().word()
            )),
        }
    }
}

fn work_status(
    work: &WorkName,
    held: &Held,
    unit: Option<&Unit>,
    mutation: Mutations,
) -> WorkStatus {
    let state = match held.ending {
        Some(cause) if held.stopped => match unit.map(Unit::stage) {
            // Somebody started it again behind our back, and it is being stopped.
            Some(Stage::Acting { .. } | Stage::Unproved { .. })
                if !mutation.has(Mutation::StopUnproved) =>
            {
                WorkState::Stopping
            }
            _ => WorkState::Stopped(cause),
        },
        Some(StopCause::Asked | StopCause::LeaseLost | StopCause::Fenced | StopCause::Refused) => {
            WorkState::Stopping
        }
        None => unit.map_or(WorkState::Unknown, |u| running_state(u.stage())),
    };
    let detail = match unit {
        Some(unit) if held.ending.is_none() => unit.detail(),
        _ => held.detail.clone(),
    };
    WorkStatus {
        work: work.clone(),
        generation: held.generation(),
        state,
        since: match unit {
            Some(unit) if !held.stopped => unit.since(),
            _ => held.since,
        },
        pid: unit.and_then(Unit::pid),
        detail,
    }
}

const fn running_state(stage: &Stage) -> WorkState {
    match stage {
        Stage::Unseen | Stage::Unknown { .. } => WorkState::Unknown,
        Stage::Idle
        | Stage::Starting { .. }
        | Stage::Waiting {
            wish: Wish::Start, ..
        }
        | Stage::Acting {
            verb: Verb::Start, ..
        } => WorkState::Starting,
        Stage::Running { .. } => WorkState::Running,
        Stage::Suspect { .. } | Stage::Backoff { .. } | Stage::Waiting { .. } => WorkState::Failing,
        Stage::Acting {
            verb: Verb::Restart | Verb::Kill,
            ..
        } => WorkState::Failing,
        Stage::Acting { .. }
        | Stage::Held
        | Stage::Unproved { .. }
        | Stage::Fenced { .. }
        | Stage::Stopped => WorkState::Stopping,
    }
}
