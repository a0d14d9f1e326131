//! The state machine: takes an input, hears what it says, then settles what follows from it.
//!
//! The steps of `settle` are in the order in which they depend on each other: who is
//! there, what has ended, what should be where, what each node is told, whom to tell.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;

use nodemedic_protocol::api::Decision;
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::WorkSpec;
use nodemedic_protocol::{Boottime, Epoch, Millis, NodeId, Now, WorkName};

use crate::alerts::Alerts;
use crate::brake::Brake;
use crate::effect::{Effect, LogLevel};
use crate::fencing::Fencing;
use crate::grants::{Grants, promised};
use crate::input::Input;
use crate::lease::safe_time;
use crate::liveness::Ears;
use crate::mutation::{Mutation, Mutations};
use crate::node::Node;
use crate::out::Out;
use crate::plan::PlanReport;
use crate::settings::Settings;
use crate::stored::{EventMark, Stored};

/// Why the core wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A node's silence, return or absence comes to mean something else.
    Liveness,
    /// The fleet had time to speak; new work may be placed.
    Gathered,
    /// The promise of a silent holder ends.
    LeaseEnd,
    /// The deadline of a drain passes.
    DrainDeadline,
    /// A work may come back to where it failed.
    HoldOff,
    /// A work has been short for long enough to tell somebody.
    Short,
    /// An alert is to be told again, or has been shown for long enough.
    Telling,
    /// The storm brake may engage or lift, or its release ends.
    Brake,
    /// A host that is to be rebooted has had time to be emptied, should be back, or is well again.
    Reboot,
    /// A fence is tried again, or a fence device has not answered or is to be looked at.
    Fence,
}

/// More rounds than this of ending and planning never help: each round needs a release or an end.
const ROUNDS_MAX: usize = 8;

/// A coordinator.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) settings: Settings,
    pub(crate) epoch: Epoch,
    pub(crate) started: Now,
    pub(crate) out: Out,
    pub(crate) works: Arc<BTreeMap<WorkName, WorkSpec>>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) grants: Grants,
    pub(crate) marks: BTreeMap<NodeId, EventMark>,
    pub(crate) alerts: Alerts,
    pub(crate) ears: Ears,
    pub(crate) brake: Brake,
    pub(crate) fencing: Fencing,
    pub(crate) superseded: Option<Epoch>,
    pub(crate) report: PlanReport,
    /// Since when each work serves less than it should.
    pub(crate) short_since: BTreeMap<WorkName, Boottime>,
    /// Before this moment no new work is placed; absent until the first connection.
    pub(crate) gather_until: Option<Boottime>,
    /// True when something that a plan depends on may have changed.
    pub(crate) dirty: bool,
    pub(crate) last_command: u64,
    wake: Option<(Boottime, Wake)>,
}

impl Coordinator {
    /// Begins with what is stored; `stored.epoch` is already raised and committed. `seed` is for
    /// jitter only.
    #[must_use]
    pub fn new(settings: Settings, stored: Stored, now: Now, seed: u64) -> Coordinator {
        let grace = resume_grace(&settings, &stored);
        let mut nodes = BTreeMap::new();
        for (name, record) in stored.nodes {
            let mut node = Node::new(record, now.boot);
            node.resume_waits(now, &settings.placement);
            nodes.insert(name, node);
        }
        let mut coordinator = Coordinator {
            epoch: stored.epoch,
            started: now,
            out: Out::new(stored.journal_last),
            works: Arc::new(stored.works),
            nodes,
            grants: Grants::new(
                stored.grants,
                stored.generations,
                now.boot,
                settings.lease.term,
                settings.mutation,
            ),
            marks: stored.marks,
            alerts: Alerts::new(&settings, stored.alerts, Rng::new(seed)),
            ears: Ears {
                listening: None,
                grace_until: now.boot + grace,
            },
            brake: Brake::resume(stored.brake, now),
            // Another stream than that of the alerts.
            fencing: Fencing::new(stored.fence_devices, Rng::new(!seed)),
            superseded: None,
            report: PlanReport::default(),
            short_since: BTreeMap::new(),
            gather_until: None,
            dirty: true,
            last_command: 0,
            wake: None,
            settings,
        };
        coordinator.grants.raise_terms(&mut coordinator.out);
        let epoch = coordinator.epoch;
        let started = Decision::Started { epoch };
        coordinator.out.decide(now, None, started);
        coordinator.adopt_places();
        coordinator.settle(now);
        coordinator
    }

    /// Takes one input. Afterwards take effects until there are none.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Timer => {}
            Input::Message {
                node,
                message,
                retained,
            } => self.hear(now, &node, *message, retained),
            Input::OtherCoordinator(state) => {
                if state.online && state.epoch > self.epoch {
                    self.supersede(state.epoch);
                }
            }
            Input::LinkUp => self.link_up(now),
            Input::LinkDown => {
                self.ears.listening = None;
                self.dirty = true;
            }
            Input::Request { id, request } => {
                // Whoever is silent for too long from this moment on is so for this request.
                self.tick_lives(now);
                self.dirty = true;
                let result = self.request(now, request);
                self.settle(now);
                self.out.push(Effect::Answer { id, result });
            }
            Input::Notified { id, result } => {
                let limits = &self.settings.alerts;
                self.alerts.notified(&mut self.out, now, id, result, limits);
            }
            Input::Fenced { id, answer } => self.hear_device(now, id, answer),
        }
        self.settle(now);
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.settings.mutation.has(Mutation::SendBeforeCommit) {
            return self.out.pop_sends_first();
        }
        self.out.pop()
    }

    /// When to give `Input::Timer`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Boottime, Wake)> {
        let telling = self.alerts.next();
        let telling = telling.map(|at| (at, Wake::Telling));
        [self.wake, telling].into_iter().flatten().min()
    }

    /// Of which leadership it is.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) const fn link_is_up(&self) -> bool {
        self.ears.listening.is_some()
    }

    /// What was said while nobody listened is unknown: nobody is lost for silence before now.
    fn link_up(&mut self, now: Now) {
        self.ears.listening = Some(now.boot);
        let gathered = now.boot + self.settings.placement.gather_for;
        self.gather_until.get_or_insert(gathered);
        if !self.settings.mutation.has(Mutation::SkipResumeGrace) {
            let liveness = &self.settings.liveness;
            let grace = now.boot + liveness.lost_after.max(liveness.reconnect_within);
            self.ears.grace_until = self.ears.grace_until.max(grace);
        }
        self.dirty = true;
    }

    /// Agents obey a newer coordinator: this one acts on nothing any more.
    pub(crate) fn supersede(&mut self, by: Epoch) {
        if self.superseded.is_some_and(|known| known >= by) {
            return;
        }
        self.superseded = Some(by);
        self.dirty = true;
        let epoch = self.epoch;
        let text = format!(
            "agents obey a coordinator of epoch {by}, ours is {epoch}: nothing is decided here any \
             more; stop this one or, if it is the right one, start it until its epoch is higher"
        );
        self.out.log(LogLevel::Warn, text);
    }

    fn settle(&mut self, now: Now) {
        let due = self.wake.is_some_and(|(at, _)| at <= now.boot);
        if self.dirty || due {
            self.dirty = false;
            self.tick_lives(now);
            if self.superseded.is_none() {
                self.judge_brake(now);
                self.free_places(now);
                self.begin_drains(now);
                self.drive_reboots(now);
                for _ in 0..ROUNDS_MAX {
                    let ended = self.end_proved(now);
                    let planned = self.act_on_plan(now);
                    if !ended && !planned {
                        break;
                    }
                }
                self.drive_fences(now);
                self.finish_drains(now);
                self.assign_all(now);
            }
            self.judge_alerts(now);
            self.wake = self.next_wake(now.boot);
        }
        self.alerts.tell(&mut self.out, now, &self.settings);
    }

    fn tick_lives(&mut self, now: Now) {
        for node in self.nodes.values_mut() {
            // Away to Suspect to Lost is the longest way.
            for _ in 0..3 {
                let change = node.life.tick(now.boot, self.ears, &self.settings.liveness);
                let Some(change) = change else { break };
                let decision = change.decision();
                self.out.decide(now, Some(&node.record.node), decision);
            }
        }
    }

    /// The next moment at which time alone changes something.
    fn next_wake(&self, now: Boottime) -> Option<(Boottime, Wake)> {
        let mut times = alloc::vec::Vec::new();
        for node in self.nodes.values() {
            let life = node.life.next(self.ears, &self.settings.liveness);
            times.extend(life.map(|at| (at, Wake::Liveness)));
            times.extend(node.drain_deadline.map(|at| (at, Wake::DrainDeadline)));
            let barred = node.barred_until.values().flatten();
            times.extend(barred.map(|at| (*at, Wake::HoldOff)));
        }
        times.extend(self.gather_until.map(|at| (at, Wake::Gathered)));
        times.extend(self.next_fencing().map(|at| (at, Wake::Fence)));
        times.extend(self.reboot_wakes());
        times.extend(self.brake_wakes().map(|at| (at, Wake::Brake)));
        times.extend(self.lease_ends().map(|at| (at, Wake::LeaseEnd)));
        // An end that came before the grace was over counts when it is.
        times.push((self.ears.grace_until, Wake::LeaseEnd));
        let patience = self.settings.alerts.unplaced_for;
        let short = self.short_since.values();
        times.extend(short.map(|since| (*since + patience, Wake::Short)));
        times.into_iter().filter(|(at, _)| *at > now).min()
    }
}

/// For so long after a start nothing counts that only silence says: the longest promise that the
/// predecessor may have prolonged in its last moment.
fn resume_grace(settings: &Settings, stored: &Stored) -> Millis {
    if settings.mutation.has(Mutation::SkipResumeGrace) {
        return Millis::ZERO;
    }
    let longest = stored.grants.values().filter_map(|grant| {
        let birth = stored.nodes.get(&grant.node)?.birth.as_ref()?;
        let lease = promised(grant, &settings.lease);
        safe_time(&grant.spec, birth.enforcement, &lease, Mutations::NONE).ok()
    });
    let longest = longest.max().unwrap_or(Millis::ZERO);
    let liveness = &settings.liveness;
    longest
        .max(settings.lease.safe_time_min)
        .max(liveness.lost_after)
        .max(liveness.resume_grace_min)
}
