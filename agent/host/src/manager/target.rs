//! What the watchdog has to kill when the agent cannot: for each unit its session or its cgroup.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nodemedic_agent_core::UnitKey;
use tokio::sync::Notify;

use super::process::PROC;
use crate::sampler::pid_stat::of_session;

/// One thing to kill.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Everything with this session.
    Session {
        /// Its leader, which is its number.
        leader: u32,
        /// When the leader started, in ticks since boot.
        start_ticks: u64,
    },
    /// Everything in this cgroup and below, as /proc/PID/cgroup names it.
    Cgroup {
        /// Its path below the cgroup root.
        path: String,
    },
}

impl Target {
    /// The processes in it that live.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn members(&self, cgroup_root: &Path) -> Result<Vec<u32>, String> {
        match self {
            Target::Session { leader, .. } => {
                of_session(Path::new(PROC), *leader).map_err(|error| error.to_string())
            }
            Target::Cgroup { path } => nodemedic_helper::cgroup::members(cgroup_root, path),
        }
    }
}

/// Targets of all units; shared between their tasks and the client of the watchdog.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    map: Mutex<BTreeMap<UnitKey, Target>>,
    released: Mutex<BTreeSet<String>>,
    changed: Notify,
}

impl Targets {
    /// Of one unit; absent when nothing of it may run.
    #[must_use]
    pub fn of(&self, unit: &UnitKey) -> Option<Target> {
        // A holder that panicked leaves a whole map behind: each change is one call.
        let map = self.0.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(unit).cloned()
    }

    /// Something of it runs.
    pub fn set(&self, unit: &UnitKey, target: Target) {
        let mut map = self.0.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.insert(unit.clone(), target.clone()) != Some(target) {
            self.0.changed.notify_one();
        }
    }

    /// It was proved that nothing of it runs.
    pub fn clear(&self, unit: &UnitKey) {
        let mut map = self.0.map.lock().unwrap_or_else(PoisonError::into_inner);
        if map.remove(unit).is_some() {
            self.0.changed.notify_one();
        }
    }

    /// Nothing is promised of this cgroup any more: it was proved empty, or what is about to run in
    /// it is not exclusive. What an earlier run of the agent may have promised of it is to be taken
    /// back, or the watchdog strikes whatever appears there until the host reboots.
    pub fn release(&self, path: String) {
        let mut released = self.released();
        if released.insert(path) {
            self.0.changed.notify_one();
        }
    }

    /// What is to be taken back, but for what is a target again.
    #[must_use]
    pub fn to_take_back(&self) -> Vec<Target> {
        let cgroup = |path: &String| Target::Cgroup { path: path.clone() };
        let released: Vec<Target> = self.released().iter().map(cgroup).collect();
        let map = self.0.map.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = |target: &Target| map.values().all(|used| used != target);
        released.into_iter().filter(is_free).collect()
    }

    /// It is taken back, or this run has promised of it itself: then leaving it out is enough.
    pub fn taken_back(&self, target: &Target) {
        if let Target::Cgroup { path } = target {
            self.released().remove(path);
        }
    }

    /// One path for each unit that was ever looked after.
    fn released(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0
            .released
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a target is set, changed, cleared or released. For one waiter: the client of the
    /// watchdog.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
