//! Looks after units: one task for each, which adopts what runs, says every change at once, runs
//! the probe, and does one action at a time.
//!
//! A supervisor never blocks on what it supervises: each unit has its own task, each call a
//! deadline, and all of them speak through one bounded queue.

pub mod command;
pub mod door;
mod hooks;
pub mod process;
pub mod systemd;
pub mod target;
mod unit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use nodemedic_agent_core::describe::full_name;
use nodemedic_agent_core::effect::Watch;
use nodemedic_agent_core::{Act, Input, UnitKey};
use nodemedic_helper::Allow;
use nodemedic_protocol::event::{HookRecord, Outcome};
use nodemedic_protocol::work::Run;
use nodemedic_protocol::{BootId, Millis};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::command::Places;
use self::door::Door;
use self::systemd::Bus;
use self::target::Targets;
use crate::diagnose::{self, Diagnostics, Subject};
use crate::helper::Helper;
use crate::watchdog::confirm::Confirmer;

/// Orders that one unit has not taken yet. The core gives a unit one action at a time.
const ORDERS_MAX: usize = 16;

/// Where things are kept.
#[derive(Clone, Debug)]
pub struct UnitSettings {
    /// Durable state of the agent: logs and directories of works are below.
    pub state: PathBuf,
    /// Run-time state of this boot: records of what was started, and environment files of templated
    /// units, are below. On a tmpfs, so that a state that is set back loses sight of nothing that
    /// runs.
    pub run: PathBuf,
    /// This boot.
    pub boot_id: BootId,
    /// Address of the bus; absent = the system's.
    pub bus_address: Option<String>,
    /// Where cgroups are: `/sys/fs/cgroup`.
    pub cgroup_root: PathBuf,
    /// Seed of the jitter of probes.
    pub seed: u64,
    /// The program that is the gate of a command: `/proc/self/exe`.
    pub gate_program: PathBuf,
    /// Who does what needs root.
    pub helper: Helper,
}

/// All units that are looked after.
#[derive(Debug)]
pub struct Units {
    settings: UnitSettings,
    bus: Arc<Bus>,
    inputs: mpsc::Sender<Input>,
    units: BTreeMap<UnitKey, Handle>,
    door: Door,
    diagnostics: Diagnostics,
    made: u64,
}

#[derive(Debug)]
struct Handle {
    watch: Watch,
    orders: mpsc::Sender<unit::Order>,
    task: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Units {
    /// Nothing is looked after yet. What is seen and what ends goes to `inputs`; `confirmer` is
    /// asked before exclusive work starts.
    #[must_use]
    pub fn new(settings: UnitSettings, confirmer: Confirmer, inputs: mpsc::Sender<Input>) -> Units {
        let bus = Arc::new(Bus::new(settings.bus_address.clone()));
        let diagnostics = Diagnostics::new(
            Arc::clone(&bus),
            settings.cgroup_root.clone(),
            settings.boot_id.clone(),
            diagnose::Shelf::new(settings.state.join("diagnose")),
            inputs.clone(),
        );
        Units {
            bus,
            diagnostics,
            door: Door {
                targets: Targets::default(),
                confirmer,
                gate_program: settings.gate_program.clone(),
            },
            settings,
            inputs,
            units: BTreeMap::new(),
            made: 0,
        }
    }

    /// Looks after a unit from now on; a second one of a unit replaces the first.
    pub fn watch(&mut self, watch: Watch) {
        if let Some(handle) = self.units.get_mut(&watch.unit)
            && handle
                .orders
                .try_send(unit::Order::Watch(Box::new(watch.clone())))
                .is_ok()
        {
            handle.watch = watch;
            return;
        }
        self.made += 1;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let key = watch.unit.clone();
        let task = unit::Task {
            places: Places {
                records: self
                    .settings
                    .run
                    .join("command")
                    .join(self.settings.boot_id.as_str()),
                logs: self.settings.state.join("log"),
                works: self.settings.state.join("work"),
                boot_id: self.settings.boot_id.clone(),
            },
            environment_files: self.settings.run.join("work"),
            cgroup_root: self.settings.cgroup_root.clone(),
            bus: Arc::clone(&self.bus),
            helper: self.settings.helper.clone(),
            inputs: self.inputs.clone(),
            door: self.door.clone(),
            diagnostics: self.diagnostics.clone(),
            seed: self.settings.seed.wrapping_add(self.made),
        };
        let task = tokio::spawn(task.run(watch.clone(), inbox));
        let handle = Handle {
            watch,
            orders,
            task,
        };
        self.units.insert(key, handle);
    }

    /// Forgets a unit. What runs of it keeps running.
    pub fn unwatch(&mut self, unit: &UnitKey) {
        self.units.remove(unit);
    }

    /// Does one thing to a unit. An earlier one of the same unit ends as interrupted.
    pub fn act(&mut self, act: Act) {
        let order = unit::Order::Act(Box::new(act));
        let refused = match self.units.get(unit_of(&order)) {
            None => order,
            Some(handle) => match handle.orders.try_send(order) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(order)) => order,
                Err(mpsc::error::TrySendError::Closed(order)) => order,
            },
        };
        if let unit::Order::Act(act) = refused {
            // Never silent: the core waits for exactly one end of each action.
            let inputs = self.inputs.clone();
            tokio::spawn(async move {
                let ended = unit::refused(&act, "the unit is not watched, or has too many orders");
                let _agent_ends = inputs.send(ended).await;
            });
        }
    }

    /// What an agent that is root may act on from now on.
    pub fn allow(&self, allow: Allow) {
        self.settings.helper.allow(allow);
    }

    /// What the watchdog has to kill, unit by unit; kept up to date by the units' tasks.
    #[must_use]
    pub fn targets(&self) -> Targets {
        self.door.targets.clone()
    }

    /// Takes and keeps what is to be seen of units.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        self.diagnostics.clone()
    }

    /// The unit that a person means: a service of this name, or else a work; `service:NAME` and
    /// `work:NAME` say which.
    ///
    /// # Errors
    /// When there is none; the message names those there are.
    pub fn named(&self, said: &str) -> Result<Subject, String> {
        let means = |key: &UnitKey| match key {
            UnitKey::Service(name) => {
                said == name.as_str() || said.strip_prefix("service:") == Some(name.as_str())
            }
            UnitKey::Work(name) => {
                said == name.as_str() || said.strip_prefix("work:") == Some(name.as_str())
            }
        };
        // Services stand before works in the map.
        let found = self.units.iter().find(|(key, _)| means(key));
        let Some((_, handle)) = found else {
            let all: Vec<String> = self.units.keys().map(UnitKey::to_string).collect();
            let all = if all.is_empty() {
                "nothing is looked after on this host".to_owned()
            } else {
                format!("this host has: {}", all.join(", "))
            };
            return Err(format!("there is no service or work {said:?} here; {all}"));
        };
        let logs = self.settings.state.join("log");
        Ok(subject_of(&handle.watch, &self.door.targets, &logs))
    }

    /// How many units are looked after.
    #[must_use]
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}

/// What diagnostics need to know of a unit.
fn subject_of(watch: &Watch, targets: &Targets, logs: &std::path::Path) -> Subject {
    let unit_name = match &watch.run {
        Run::Systemd { unit } => Some(full_name(&watch.unit, unit)),
        Run::Command { .. } => None,
    };
    Subject {
        key: watch.unit.clone(),
        run: watch.run.clone(),
        probes: watch.probes.clone(),
        target: targets.of(&watch.unit),
        unit_name,
        log: logs.join(format!("{}.log", command::record::file_stem(&watch.unit))),
    }
}

fn unit_of(order: &unit::Order) -> &UnitKey {
    match order {
        unit::Order::Watch(watch) => &watch.unit,
        unit::Order::Act(act) => &act.unit,
    }
}

/// The end of an action, as input.
pub(crate) fn ended(
    act: &Act,
    outcome: Outcome,
    command: String,
    took: Millis,
    hooks: Vec<HookRecord>,
    seen: nodemedic_agent_core::Seen,
) -> Input {
    Input::ActionEnded {
        action: act.action,
        outcome,
        command,
        took,
        hooks,
        seen,
    }
}
