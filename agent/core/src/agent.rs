//! The agent as one state machine: takes an input, moves its parts, and puts what they want into
//! one order that survives a crash at any point (memory, leases, promises, acts, spool, messages).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use nodemedic_protocol::event::EventKind;
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::work::Enforcement;
use nodemedic_protocol::{Boottime, Component, Epoch, Millis, Now};

use crate::budget::Budget;
use crate::conditions::Book;
use crate::config::Config;
use crate::effect::{Effect, LogLevel, Promise, Wake};
use crate::facts::Facts;
use crate::inbox::Inbox;
use crate::input::Input;
use crate::judge::Judge;
use crate::last_words::Words;
use crate::lease::Leases;
use crate::memory::{LeaseMemory, Memory, VERSION};
use crate::mutation::Mutation;
use crate::out::Out;
use crate::outbox::Outbox;
use crate::remedy::Doctor;
use crate::report::Report;
use crate::supervisor::{Ledger, Manners, Pauses, Supervisor, Tools};
use crate::unit::UnitKey;
use crate::works::Works;

/// Samples that did not come for so many intervals are missing.
const STALE_INTERVALS: u64 = 3;

/// Every decision of one agent.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) facts: Facts,
    pub(crate) supervisor: Supervisor,
    pub(crate) works: Works,
    pub(crate) leases: Leases,
    pub(crate) book: Book,
    pub(crate) judge: Judge,
    pub(crate) outbox: Outbox,
    pub(crate) report: Report,
    pub(crate) inbox: Inbox,
    pub(crate) doctor: Doctor,
    pub(crate) enforcement: Enforcement,
    /// Whether anybody may have been told on this boot that promises are enforced.
    pub(crate) declared: bool,
    last_words: Words,
    pub(crate) epoch_seen: Epoch,
    pub(crate) sample: Option<Box<Sample>>,
    pub(crate) sampled_at: Option<Boottime>,
    effects: VecDeque<Effect>,
    remembered: Memory,
    /// None before the first one: what a file of an earlier run says is replaced at once.
    remembered_leases: Option<LeaseMemory>,
    promised: Vec<Promise>,
    clock: Now,
}

impl Agent {
    /// The agent of one run, with what an earlier run left.
    #[must_use]
    pub fn new(config: Config, memory: Memory, facts: Facts, now: Now, seed: u64) -> Agent {
        let mut out = Out::new(now);
        let boot_id = facts.session.boot_id.clone();
        let same_boot = memory.boot_id.as_ref() == Some(&boot_id);
        let ledger = Ledger::restored(&mut out, boot_id.clone(), &memory);
        let mut works = Works::restored(
            memory.assignment.clone(),
            memory.works.clone(),
            now.boot,
            same_boot,
        );
        let mut leases = Leases::restored(facts.leases.clone(), &boot_id, |work| {
            let held = works.held().get(work)?;
            Some((held.generation(), held.exclusive()?))
        });
        leases.mutation = config.mutation;
        works.mutation = config.mutation;
        let of_boot = facts.leases.as_ref().filter(|m| m.boot_id == boot_id);
        let mut agent = Agent {
            supervisor: Supervisor::new(
                Tools {
                    budget: Budget::new(boot_id.clone(), memory.uses.clone()),
                    ledger,
                    rng: Rng::new(seed),
                    mutation: config.mutation,
                },
                Manners::new(
                    config.healing,
                    Pauses::restored(boot_id.clone(), memory.pauses.clone()),
                ),
                &boot_id,
                &memory,
            ),
            works,
            leases,
            judge: Judge::restored(&memory.conditions),
            book: Book::restored(memory.conditions.clone(), same_boot),
            outbox: Outbox::new(boot_id.clone(), facts.spool.clone(), memory.dropped_events),
            report: Report::new(facts.session.clone(), now.boot),
            inbox: Inbox::default(),
            doctor: Doctor::restored(boot_id.clone(), memory.remedies.clone(), now.boot),
            enforcement: Enforcement::None,
            declared: of_boot.is_some_and(|m| m.declared)
                || memory.declared_on.as_ref() == Some(&boot_id),
            last_words: Words::new(memory.watchdog_told.clone()),
            epoch_seen: memory
                .epoch_seen
                .max(of_boot.map_or(Epoch(0), |m| m.epoch_seen)),
            sample: None,
            sampled_at: None,
            effects: VecDeque::new(),
            remembered: memory,
            remembered_leases: None,
            promised: Vec::new(),
            clock: now,
            config,
            facts,
        };
        agent.begin(&mut out, !same_boot);
        agent.turn(out);
        agent
    }

    /// The first of all that this run does.
    fn begin(&mut self, out: &mut Out, new_boot: bool) {
        let version = self.facts.version.clone();
        out.event(
            Component::Agent("self".to_string()),
            EventKind::AgentStarted { version, new_boot },
        );
        self.doctor.recall(out, &self.config.remedies, new_boot);
        self.end_pretence(out);
        self.watch_services(out);
        self.drop_strangers(out);
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        // The boot clock never runs back; a caller that mixed up two readings must not either.
        self.clock = Now {
            boot: now.boot.max(self.clock.boot),
            wall: now.wall,
        };
        let mut out = Out::new(self.clock);
        self.last_words.turn();
        // First of all, so that nothing is decided under a lease that is over.
        self.end_lost_leases(&mut out);
        self.apply(&mut out, input);
        self.turn(out);
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `Input::Timer` is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Boottime, Wake)> {
        let lease = self
            .leases
            .next_end(|work| {
                self.works
                    .held()
                    .get(work)
                    .is_some_and(|h| h.ending.is_none())
            })
            .map(|(at, work)| (at, Wake::Lease(work)));
        let unit = self
            .supervisor
            .next_wake()
            .map(|(at, unit)| (at, Wake::Unit(unit)));
        let heartbeat = self.report.heartbeat_at().map(|at| (at, Wake::Heartbeat));
        let outbox = self
            .outbox
            .resend_at()
            .filter(|_| self.report.is_up())
            .map(|at| (at, Wake::Outbox));
        let stale = self.stale_at().map(|at| (at, Wake::SampleStale));
        let words = self.last_words.due().map(|at| (at, Wake::LastWords));
        let pauses = &self.supervisor.manners().pauses;
        let pause = pauses.next_end().map(|at| (at, Wake::Pause));
        let remedies = &self.config.remedies;
        let remedy = self.doctor.next_wake(self.clock.boot, &self.book, remedies);
        let remedy = remedy.map(|at| (at, Wake::Remedy));
        [lease, unit, heartbeat, outbox, stale, words, pause, remedy]
            .into_iter()
            .flatten()
            .min()
    }

    fn stale_at(&self) -> Option<Boottime> {
        let patience = Millis(self.config.sample_every.0.saturating_mul(STALE_INTERVALS));
        self.sampled_at.map(|at| at + patience)
    }

    fn apply(&mut self, out: &mut Out, input: Input) {
        match input {
            Input::Timer => {}
            Input::Sample(sample) => self.take_sample(out, sample),
            said @ (Input::Observed { .. }
            | Input::Ordering { .. }
            | Input::Probed { .. }
            | Input::NotBegun { .. }
            | Input::ActionEnded { .. }) => self.take_said(out, said),
            Input::TreatmentEnded {
                id,
                outcome,
                command,
                took,
            } => self.treated(out, (id, outcome), (command, took)),
            hold @ (Input::PackageManager { .. } | Input::Pause { .. } | Input::Resume { .. }) => {
                self.take_hold(out, hold);
            }
            Input::LinkUp => {
                out.log(LogLevel::Info, "connected to the broker".to_string());
                self.report.link_up(out.now.boot);
                self.outbox.link_up(out.now.boot);
            }
            Input::LinkDown { error } => {
                if self.report.is_up() {
                    out.log(LogLevel::Warn, format!("lost the broker: {error}"));
                }
                self.report.link_down(out.now.boot, error);
                self.outbox.link_down();
            }
            Input::Delivered(token) => self.outbox.delivered(token),
            Input::Received { message, retained } => self.receive(out, message, retained),
            Input::Malformed { error } => self.inbox.malformed(out, &error),
            Input::Enforcement(enforcement) => self.take_enforcement(enforcement),
            Input::LastWords(words) => self.last_words.found(out, words),
            Input::BootStatus { reset } => {
                let boot_id = &self.facts.session.boot_id;
                self.last_words.device(out, boot_id, reset);
            }
            Input::Reconfigured(config) => self.reconfigure(out, *config),
            Input::ConfigRefused { error } => self.refuse_config(out, error),
            Input::GoingDown {
                reason,
                back_within,
            } => self.go_down(out, reason, back_within),
            Input::Unfence { service } => {
                let key = UnitKey::Service(service);
                self.supervisor.unfence(out, &mut self.book, &key);
            }
            told @ (Input::Noted { .. } | Input::Pretended { .. }) => self.take_told(out, told),
            Input::PluginReport { plugin, report } => self.take_plugin(out, &plugin, report),
        }
    }

    fn take_sample(&mut self, out: &mut Out, sample: Box<Sample>) {
        self.judge
            .sample(out, &mut self.book, &self.config.rules, &sample);
        self.report.sample(out, self.config.report_every, &sample);
        self.sampled_at = Some(out.now.boot);
        self.sample = Some(sample);
    }

    /// Everything that follows from time and from what the parts said.
    fn turn(&mut self, mut out: Out) {
        if self.stale_at().is_some_and(|at| at <= out.now.boot) {
            self.sampled_at = None;
            self.judge.blind(&mut self.book);
            out.log(LogLevel::Warn, "samples stopped coming".to_string());
        }
        self.last_words.tick(&mut out);
        self.end_pauses(&mut out);
        self.supervisor.tick(&mut out, &mut self.book);
        self.supervisor.admit(&mut out, &mut self.book);
        self.reconcile(&mut out);
        // A work that was just granted begins in the same turn; one whose budget is spent is given
        // back.
        self.supervisor.admit(&mut out, &mut self.book);
        if !out.ending.is_empty() || !out.proved.is_empty() {
            self.reconcile(&mut out);
        }
        self.judge_packages(&mut out);
        self.judge_self(&mut out);
        self.doctor_turn(&mut out);
        let mut spool = Vec::new();
        for (component, kind) in core::mem::take(&mut out.events) {
            let max = self.config.spool_events_max;
            self.outbox.push(&out, &mut spool, component, kind, max);
        }
        self.tell(&mut out);
        self.flush(out, spool);
    }

    /// Memory before promises before acts, and events on disk before messages: after a crash
    /// between any two of them the next run knows at least as much as the outside does. An act
    /// waits for the memory alone, which is what makes a restart quick.
    fn flush(&mut self, mut out: Out, spool: Vec<Effect>) {
        if self.config.mutation.has(Mutation::ActBeforeRemember) {
            self.effects.extend(core::mem::take(&mut out.host));
        }
        self.flush_memory();
        let leases = LeaseMemory {
            boot_id: self.facts.session.boot_id.clone(),
            leases: self.leases.records(),
            epoch_seen: self.epoch_seen,
            declared: self.declared,
        };
        if self.remembered_leases.as_ref() != Some(&leases) {
            self.remembered_leases = Some(leases.clone());
            self.effects.push_back(Effect::RememberLeases(leases));
        }
        let promises = self.promises();
        if promises != self.promised {
            self.promised = promises;
            self.effects
                .push_back(Effect::Promise(self.promised.clone()));
        }
        self.effects.extend(out.host);
        self.effects.extend(spool);
        for (message, token) in out.messages {
            self.effects.push_back(Effect::Publish { message, token });
        }
        for (level, message) in out.log {
            self.effects.push_back(Effect::Log { level, message });
        }
    }

    /// The assignment is the bulk of the memory: it is compared where it is, and copied only when
    /// something has changed.
    fn flush_memory(&mut self) {
        let assignment = self.works.assignment();
        let changed = *assignment != self.remembered.assignment;
        let known = core::mem::take(&mut self.remembered.assignment);
        let assignment = if changed { assignment.clone() } else { known };
        let memory = self.memory();
        if !changed && memory == self.remembered {
            self.remembered.assignment = assignment;
            return;
        }
        self.remembered = Memory {
            writes: memory.writes.saturating_add(1),
            assignment,
            ..memory
        };
        let memory = Box::new(self.remembered.clone());
        self.effects.push_back(Effect::Remember(memory));
    }

    /// All of it but the assignment.
    fn memory(&self) -> Memory {
        let mut memory = Memory {
            version: VERSION,
            writes: self.remembered.writes,
            boot_id: Some(self.facts.session.boot_id.clone()),
            epoch_seen: self.epoch_seen,
            works: self.works.memory(),
            uses: if self.config.mutation.has(Mutation::ForgetUses) {
                Vec::new()
            } else {
                self.supervisor.tools().budget.uses()
            },
            conditions: self.book.all(),
            dropped_events: self.outbox.dropped(),
            watchdog_told: self.last_words.told().clone(),
            remedies: self.doctor.memory(),
            declared_on: self.declared.then(|| self.facts.session.boot_id.clone()),
            ..Memory::default()
        };
        // Whether somebody looks now is not worth a write to disk.
        for condition in &mut memory.conditions {
            condition.seen = false;
        }
        self.supervisor.remember(&mut memory);
        memory
    }

    fn promises(&self) -> Vec<Promise> {
        self.leases
            .promised()
            .filter_map(|(work, lease)| {
                let held = self.works.held().get(work)?;
                Some(Promise {
                    work: work.clone(),
                    generation: lease.generation,
                    deadline: lease.deadline,
                    grace: held.assigned.spec.stop_grace,
                })
            })
            .collect()
    }
}
