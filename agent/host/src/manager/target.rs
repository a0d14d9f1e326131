//! What the watchdog has to kill when the agent cannot: for each unit its session or its cgroup.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nodemedic_agent_core::UnitKey;
use tokio::sync::Notify;

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

/// Targets of all units; shared between their tasks and the client of the watchdog.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    map: Mutex<BTreeMap<UnitKey, Target>>,
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

    /// Waits until a target is set, changed or cleared. For one waiter: the client of the watchdog.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
