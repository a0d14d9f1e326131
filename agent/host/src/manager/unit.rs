//! The task of one unit: what is seen goes out, one action at a time is done, the probe runs while
//! the unit does.

use std::path::PathBuf;
use std::sync::Arc;

use nodemedic_agent_core::describe::command_of;
use nodemedic_agent_core::effect::Watch;
use nodemedic_agent_core::{Act, Input, Seen, UnitKey};
use nodemedic_edge::clock;
use nodemedic_protocol::event::{Hook, HookRecord, Outcome, Verb};
use nodemedic_protocol::rng::Rng;
use nodemedic_protocol::work::Run;
use nodemedic_protocol::{Boottime, Millis};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::command::{CommandUnit, Places};
use super::door::Door;
use super::systemd::{Bus, SystemdUnit};
use super::target::Target;
use super::{ended, hooks, subject_of};
use crate::diagnose::Diagnostics;
use crate::helper::Helper;
use crate::probe::{Around, Prober};

/// What the task is told.
#[derive(Debug)]
pub enum Order {
    /// Look anew, this way.
    Watch(Box<Watch>),
    /// Do this.
    Act(Box<Act>),
}

/// What the task needs.
#[derive(Debug)]
pub struct Task {
    /// For commands.
    pub places: Places,
    /// For templated units.
    pub environment_files: PathBuf,
    /// Where cgroups are.
    pub cgroup_root: PathBuf,
    /// For systemd units.
    pub bus: Arc<Bus>,
    /// For what needs root.
    pub helper: Helper,
    /// Where everything goes.
    pub inputs: mpsc::Sender<Input>,
    /// What exclusive work has to pass, and what the watchdog has to kill.
    pub door: Door,
    /// What is written down before something is destroyed.
    pub diagnostics: Diagnostics,
    /// Of the probe's jitter.
    pub seed: u64,
}

/// The two managers behind one face.
#[derive(Debug)]
enum Manager {
    Command(CommandUnit),
    Systemd(SystemdUnit),
}

impl Manager {
    async fn observe(&mut self) -> Seen {
        match self {
            Manager::Command(unit) => unit.observe().await,
            Manager::Systemd(unit) => unit.observe().await,
        }
    }

    async fn changed(&mut self) -> Seen {
        match self {
            Manager::Command(unit) => unit.changed().await,
            Manager::Systemd(unit) => unit.changed().await,
        }
    }

    /// When the newest start of it began, where the manager can tell.
    fn started(&self) -> Option<Boottime> {
        match self {
            Manager::Command(unit) => unit.started(),
            Manager::Systemd(unit) => unit.started(),
        }
    }

    fn target(&self) -> Option<Target> {
        match self {
            Manager::Command(unit) => unit.target(),
            Manager::Systemd(unit) => unit.target(),
        }
    }

    async fn act(&mut self, act: &Act) -> Outcome {
        match self {
            Manager::Command(unit) => unit.act(act).await,
            Manager::Systemd(unit) => unit.act(act).await,
        }
    }
}

/// The end of an action that was never begun.
pub fn refused(act: &Act, why: &str) -> Input {
    ended(
        act,
        Outcome::Failed(why.to_owned()),
        String::new(),
        Millis::ZERO,
        Vec::new(),
        Seen::Unknown {
            why: why.to_owned(),
        },
    )
}

impl Task {
    /// Runs until nobody gives orders any more.
    pub async fn run(self, watch: Watch, mut orders: mpsc::Receiver<Order>) {
        let mut rng = Rng::new(self.seed);
        let mut manager = self.manager(&watch, None);
        let mut prober = self.prober(&watch, rng.next_u64());
        let seen = manager.observe().await;
        self.say_order(&watch, &mut manager).await;
        self.say(&watch, &manager, &mut prober, seen).await;
        let mut watch = watch;
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                seen = manager.changed() => {
                    self.say(&watch, &manager, &mut prober, seen).await;
                    continue;
                }
            };
            let mut next = order;
            // An order that comes during an action ends the action and is taken up here.
            while let Some(order) = next.take() {
                match order {
                    Order::Watch(newer) => {
                        watch = *newer;
                        manager = self.manager(&watch, Some(manager));
                        prober = self.prober(&watch, rng.next_u64());
                        let seen = manager.observe().await;
                        self.say_order(&watch, &mut manager).await;
                        self.say(&watch, &manager, &mut prober, seen).await;
                    }
                    Order::Act(act) => {
                        next = self
                            .act(&act, &watch, &mut manager, &mut prober, &mut orders)
                            .await;
                    }
                }
            }
            if orders.is_closed() && orders.is_empty() {
                return;
            }
        }
    }

    fn prober(&self, watch: &Watch, seed: u64) -> Prober {
        let subject = subject_of(watch, &self.door.targets, &self.places.logs);
        let around = Around {
            targets: self.door.targets.clone(),
            unit_name: subject.unit_name,
            log: subject.log,
            cgroup_root: self.cgroup_root.clone(),
            bus: Arc::clone(&self.bus),
        };
        Prober::new(watch, around, seed, self.inputs.clone())
    }

    /// A manager for this watch; the present one stays when it can be used on.
    fn manager(&self, watch: &Watch, present: Option<Manager>) -> Manager {
        match (&watch.run, present) {
            (Run::Systemd { unit }, Some(Manager::Systemd(present)))
                if present.is_of(&watch.unit, unit) =>
            {
                Manager::Systemd(present)
            }
            (Run::Systemd { unit }, _) => Manager::Systemd(SystemdUnit::new(
                &watch.unit,
                unit,
                Arc::clone(&self.bus),
                self.environment_files.clone(),
                self.cgroup_root.clone(),
                self.door.clone(),
                self.helper.clone(),
            )),
            (
                Run::Command {
                    start,
                    stop,
                    environment,
                },
                Some(Manager::Command(mut present)),
            ) => {
                present.replace(start, stop, environment);
                Manager::Command(present)
            }
            (
                Run::Command {
                    start,
                    stop,
                    environment,
                },
                _,
            ) => Manager::Command(CommandUnit::new(
                watch.unit.clone(),
                start,
                stop,
                environment,
                self.places.clone(),
                self.door.clone(),
            )),
        }
    }

    /// Where a unit of systemd stands among others; read once for each watch.
    async fn say_order(&self, watch: &Watch, manager: &mut Manager) {
        if let Manager::Systemd(unit) = manager
            && let Some((after, requires)) = unit.ordering().await
        {
            let ordering = Input::Ordering {
                unit: watch.unit.clone(),
                after,
                requires,
            };
            let _agent_ends = self.inputs.send(ordering).await;
        }
    }

    async fn say(&self, watch: &Watch, manager: &Manager, prober: &mut Prober, seen: Seen) {
        self.aim(&watch.unit, manager, &seen);
        prober.follow(&seen);
        let observed = Input::Observed {
            unit: watch.unit.clone(),
            seen,
            started: manager.started(),
        };
        let _agent_ends = self.inputs.send(observed).await;
    }

    /// What runs is a target. It stays one until it is proved that nothing of it runs: a main
    /// process that ended may have left others.
    fn aim(&self, unit: &UnitKey, manager: &Manager, seen: &Seen) {
        if let (Seen::Running { .. }, Some(target)) = (seen, manager.target()) {
            self.door.targets.set(unit, target);
        }
    }

    /// Does it; gives back the order that broke it off, if one did.
    async fn act(
        &self,
        act: &Act,
        watch: &Watch,
        manager: &mut Manager,
        prober: &mut Prober,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Option<Order> {
        if is_late(act) {
            self.not_begun(act).await;
            return None;
        }
        // Between the first step of a stop and the end of a start a probe would only tell what is
        // known.
        if act.verb != Verb::Unfence {
            prober.pause();
        }
        let command = command_of(&act.unit, &act.run, act.verb);
        let mut began = clock::boottime();
        let mut hooks = Vec::new();
        let doing = async {
            let logs = &self.places.logs;
            let subject = || subject_of(watch, &self.door.targets, logs);
            self.diagnostics.before(act.verb, subject).await;
            if is_late(act) {
                return None;
            }
            began = clock::boottime();
            let done = with_hooks(act, manager, &mut hooks);
            let outcome = timeout(act.timeout.to_duration(), done).await;
            Some(outcome.unwrap_or(Outcome::TimedOut))
        };
        let (outcome, next) = tokio::select! {
            outcome = doing => (outcome, None),
            order = next_act(orders) => (Some(Outcome::Interrupted), order),
        };
        let took = clock::boottime().since(began);
        let seen = manager.observe().await;
        if outcome == Some(Outcome::Done) && matches!(act.verb, Verb::Stop | Verb::Fence) {
            self.door.targets.clear(&act.unit);
        }
        self.aim(&act.unit, manager, &seen);
        prober.follow(&seen);
        let Some(outcome) = outcome else {
            self.not_begun(act).await;
            return next;
        };
        let input = ended(act, outcome, command, took, hooks, seen);
        let _agent_ends = self.inputs.send(input).await;
        next
    }

    async fn not_begun(&self, act: &Act) {
        let not_begun = Input::NotBegun {
            action: act.action,
            why: "its time to begin was over".to_owned(),
        };
        let _agent_ends = self.inputs.send(not_begun).await;
    }
}

/// After a slow disk, a pause of the agent, or a bundle that took long. The core counts on it that
/// such an act is not begun.
fn is_late(act: &Act) -> bool {
    act.begin_by.is_some_and(|by| by < clock::boottime())
}

/// Does it between its hooks, if it has any. A hook that fails holds nothing up.
async fn with_hooks(act: &Act, manager: &mut Manager, ran: &mut Vec<HookRecord>) -> Outcome {
    let Some(hooks) = &act.hooks else {
        return manager.act(act).await;
    };
    ran.extend(hooks::run(Hook::BeforeRestart, &hooks.before, act, hooks.timeout).await);
    let outcome = manager.act(act).await;
    if outcome == Outcome::Done {
        ran.extend(hooks::run(Hook::AfterRestart, &hooks.after, act, hooks.timeout).await);
    }
    outcome
}

/// Waits for an order. When nobody gives orders any more the action is let run to its end.
async fn next_act(orders: &mut mpsc::Receiver<Order>) -> Option<Order> {
    match orders.recv().await {
        Some(order) => Some(order),
        None => std::future::pending().await,
    }
}
