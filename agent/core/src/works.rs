//! What the coordinator assigned to this host, and how far each grant is.
//!
//! A generation that began to end never runs again. A newer grant of the same work waits until the
//! one before is proved stopped.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::message::Refusal;
use nodemedic_protocol::work::{
    Assigned, Assignment, Desired, GrantRef, OnLeaseLoss, ProbeSpec, Run, Sharing, StopCause,
    WorkSpec,
};
use nodemedic_protocol::{Boottime, Generation, Revision, WorkName};

use crate::config::{Config, Ladder, WhenSpent};
use crate::memory::WorkMemory;
use crate::mutation::{Mutation, Mutations};
use crate::substitute::{Names, instance};
use crate::supervisor::Plan;

/// One work that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub assigned: Assigned,
    /// How it runs here, with everything in braces replaced; fixed once it was made, so that a
    /// changed configuration does not lose sight of what runs.
    pub run: Option<Run>,
    /// Set once this grant is on its way out; the first cause stays.
    pub ending: Option<StopCause>,
    /// When it must be over at the latest, for a grant with a promise behind it.
    pub over_by: Option<Boottime>,
    /// Proved stopped.
    pub stopped: bool,
    pub since: Boottime,
    pub detail: String,
    /// What takes its place once it is stopped.
    pub next: Option<Assigned>,
}

impl Held {
    fn new(assigned: Assigned, now: Boottime) -> Held {
        let ending = (assigned.desired == Desired::Stop).then_some(StopCause::Asked);
        Held {
            assigned,
            run: None,
            ending,
            over_by: None,
            stopped: false,
            since: now,
            detail: String::new(),
            next: None,
        }
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.assigned.generation
    }

    pub(crate) const fn exclusive(&self) -> Option<OnLeaseLoss> {
        match self.assigned.spec.sharing {
            Sharing::Exclusive { on_lease_loss } => Some(on_lease_loss),
            Sharing::Replicated { .. } => None,
        }
    }

    /// Starts its end. Returns whether that is new.
    pub(crate) fn end(&mut self, cause: StopCause, detail: &str) -> bool {
        if self.ending.is_some() {
            return false;
        }
        self.ending = Some(cause);
        self.detail = detail.to_string();
        true
    }
}

/// All works that are known here, and the newest assignment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Works {
    assignment: Assignment,
    held: BTreeMap<WorkName, Held>,
    pub(crate) mutation: Mutations,
}

impl Works {
    /// What an earlier run knew. After a reboot nothing of it runs, so what was on its way out and
    /// not proved is looked at once more.
    pub(crate) fn restored(
        assignment: Assignment,
        works: Vec<WorkMemory>,
        now: Boottime,
        same_boot: bool,
    ) -> Works {
        let mut held: BTreeMap<WorkName, Held> = BTreeMap::new();
        for memory in works {
            let mut one = Held::new(memory.held, now);
            one.run = memory.run;
            one.ending = memory.ending;
            one.stopped = memory.stopped;
            one.detail = memory.detail;
            one.over_by = memory.over_by.filter(|_| same_boot);
            held.insert(memory.work, one);
        }
        let mut works = Works {
            assignment: Assignment::default(),
            held,
            mutation: Mutations::NONE,
        };
        works.follow(assignment, now);
        works
    }

    pub(crate) const fn revision(&self) -> Revision {
        self.assignment.revision
    }

    pub(crate) const fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    pub(crate) const fn held(&self) -> &BTreeMap<WorkName, Held> {
        &self.held
    }

    pub(crate) fn get_mut(&mut self, work: &WorkName) -> Option<&mut Held> {
        self.held.get_mut(work)
    }

    /// Every grant that is held.
    pub(crate) fn all_grants(&self) -> Vec<GrantRef> {
        let grant = |(work, held): (&WorkName, &Held)| GrantRef {
            work: work.clone(),
            generation: held.generation(),
        };
        self.held.iter().map(grant).collect()
    }

    pub(crate) fn names(&self) -> Vec<WorkName> {
        self.held.keys().cloned().collect()
    }

    /// Takes an assignment, if it is newer than the one in force. Returns the works that left.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub(crate) fn take(
        &mut self,
        assignment: Assignment,
        now: Boottime,
    ) -> Result<Vec<WorkName>, Refusal> {
        let seen = self.assignment.revision;
        let older = assignment.revision < seen;
        if older && !self.mutation.has(Mutation::AcceptOldRevision) {
            return Err(Refusal::OlderRevision { seen });
        }
        if assignment.revision == seen {
            return if assignment == self.assignment {
                Ok(Vec::new())
            } else {
                Err(Refusal::SameRevisionOtherContent)
            };
        }
        let named: Vec<&WorkName> = assignment.works.iter().map(|w| &w.spec.name).collect();
        let gone: Vec<WorkName> = self
            .held
            .iter()
            .filter(|(work, held)| held.stopped && !named.contains(work))
            .map(|(work, _)| work.clone())
            .collect();
        for work in &gone {
            self.held.remove(work);
        }
        self.follow(assignment, now);
        Ok(gone)
    }

    /// Brings what is held under an assignment.
    fn follow(&mut self, assignment: Assignment, now: Boottime) {
        for assigned in &assignment.works {
            self.follow_one(assigned, now);
        }
        for (work, held) in &mut self.held {
            if !assignment.works.iter().any(|w| w.spec.name == *work) {
                held.next = None;
                held.end(StopCause::Asked, "the assignment no longer names it");
            }
        }
        self.assignment = assignment;
    }

    fn follow_one(&mut self, assigned: &Assigned, now: Boottime) {
        let work = &assigned.spec.name;
        let Some(held) = self.held.get_mut(work) else {
            self.held
                .insert(work.clone(), Held::new(assigned.clone(), now));
            return;
        };
        let newest = held
            .next
            .as_ref()
            .map_or(held.generation(), |n| n.generation)
            .max(held.generation());
        if assigned.generation < newest {
            return;
        }
        if assigned.generation > held.generation() {
            held.end(
                StopCause::Asked,
                &format!("generation {} takes its place", assigned.generation),
            );
            held.next = Some(assigned.clone());
            return;
        }
        match assigned.desired {
            Desired::Stop => {
                held.end(StopCause::Asked, "the assignment says so");
            }
            // A generation on its way out stays there: somebody may have been told that it ends.
            Desired::Run if held.ending.is_some() => {
                if self.mutation.has(Mutation::ReviveEnded) {
                    *held = Held::new(assigned.clone(), now);
                }
            }
            // How it runs is fixed for a generation: what was started one way is stopped that way.
            Desired::Run => {
                let run = core::mem::replace(&mut held.assigned, assigned.clone());
                held.assigned.spec.run = run.spec.run;
            }
        }
    }

    /// A stopped grant makes room for the next one. Returns whether it did.
    pub(crate) fn advance(&mut self, work: &WorkName, now: Boottime) -> bool {
        let Some(held) = self.held.get_mut(work) else {
            return false;
        };
        match held.next.take() {
            Some(next) if held.stopped => {
                *held = Held::new(next, now);
                true
            }
            next => {
                held.next = next;
                false
            }
        }
    }

    /// What must be remembered.
    pub(crate) fn memory(&self) -> Vec<WorkMemory> {
        self.held
            .iter()
            .map(|(work, held)| WorkMemory {
                work: work.clone(),
                held: held.assigned.clone(),
                run: held.run.clone(),
                ending: held.ending,
                over_by: held.over_by,
                stopped: held.stopped,
                detail: held.detail.clone(),
            })
            .collect()
    }
}

/// Begins the refusal of any program that the coordinator names.
const NO_COMMANDS: &str = "this host runs no commands of the coordinator: set allow_command = true \
    under [work] in its agent.toml";

/// How a work runs on this host.
///
/// # Errors
/// Why this host will not run it.
fn run_of(assigned: &Assigned, config: &Config, names: Names<'_>) -> Result<Run, String> {
    let spec = &assigned.spec;
    match names.run(&spec.run)? {
        Run::Systemd { unit } => Ok(Run::Systemd {
            unit: instance(&unit, &spec.name)?,
        }),
        Run::Command { .. } if !config.allow_command => {
            Err(format!("{NO_COMMANDS}, or use a template unit"))
        }
        Run::Command { start, .. } if start.is_empty() => Err("its command is empty".to_string()),
        command @ Run::Command { .. } => Ok(command),
    }
}

/// How to see that a work does its job. A program is a program, also as a probe, and a word to a
/// socket may have one run: where the coordinator may run none, it may not smuggle one in here.
///
/// # Errors
/// Why this host will not ask so.
fn probes_of(spec: &WorkSpec, config: &Config, names: Names<'_>) -> Result<Vec<ProbeSpec>, String> {
    if spec.probes.iter().any(|p| p.check.acts()) && !config.allow_command {
        return Err(format!("{NO_COMMANDS}, or use a tcp or http probe"));
    }
    spec.probes.iter().map(|p| names.probe(p)).collect()
}

/// Everything that the ladder needs to know of a work.
///
/// # Errors
/// Why this host will not run it.
pub(crate) fn plan_of(held: &mut Held, config: &Config) -> Result<Plan, String> {
    let names = Names {
        node: &config.node,
        vars: &config.vars,
    };
    let spec = &held.assigned.spec;
    let probes = probes_of(spec, config, names);
    let (run, probes) = match (&held.run, probes) {
        (Some(run), probes) => (run.clone(), probes.unwrap_or_default()),
        (None, probes) => (run_of(&held.assigned, config, names)?, probes?),
    };
    held.run = Some(run.clone());
    let environment = BTreeMap::from([
        ("NODEMEDIC_NODE".to_string(), config.node.to_string()),
        ("NODEMEDIC_WORK".to_string(), spec.name.to_string()),
        (
            "NODEMEDIC_GENERATION".to_string(),
            held.assigned.generation.to_string(),
        ),
    ]);
    Ok(Plan {
        run,
        probes,
        restart: config.work_restart,
        when_spent: WhenSpent::Fence,
        start_grace: spec.start_grace,
        boot_grace: config.healing.boot_grace,
        stop_grace: spec.stop_grace,
        generation: Some(held.assigned.generation),
        environment,
        ladder: Ladder::default(),
        hooks: None,
        // How far healing goes is a choice about the host's own services; works are the fleet's.
        mode: Mode::Act,
        group: None,
        retry: None,
    })
}
