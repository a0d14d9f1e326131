//! Work that the coordinator places: what it is, who may hold it, and how it stands on a node.
//!
//! A node is told its whole assignment each time (desired state, newest revision wins), never a
//! sequence of orders: a lost, repeated or reordered message then changes nothing.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, Revision, WorkName};
use crate::inventory::Capacity;
use crate::time::{Boottime, Millis};

pub use crate::probe::{Check, Limits, PROBES_MAX, ProbeSpec};

/// One piece of work, as the operator declared it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkSpec {
    /// Its name in the fleet.
    pub name: WorkName,
    /// How many may hold it at once.
    pub sharing: Sharing,
    /// How it runs on a node.
    pub run: Run,
    /// How a node sees that it works; without one, running is well. It fails when any one of them
    /// does. In JSON one probe stands for itself, several are a list.
    #[serde(
        rename = "probe",
        default,
        skip_serializing_if = "Vec::is_empty",
        with = "crate::probe::one_or_more"
    )]
    pub probes: Vec<ProbeSpec>,
    /// Higher is placed first and may take the place of lower.
    #[serde(default)]
    pub priority: i32,
    /// What it needs on a node.
    #[serde(default)]
    pub needs: Capacity,
    /// Labels that a node must have to hold it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, String>,
    /// How long a start may take before it counts as failed.
    #[serde(default = "default_start_grace")]
    pub start_grace: Millis,
    /// How long a stop may take before it is forced.
    #[serde(default = "default_stop_grace")]
    pub stop_grace: Millis,
}

/// Long enough for a database to recover its log, short enough that a hang is seen while somebody
/// still waits.
const fn default_start_grace() -> Millis {
    Millis::from_secs(30)
}

/// systemd's own default is 90 s; exclusive work pays for each second in its fail-over time, so
/// ours is shorter.
const fn default_stop_grace() -> Millis {
    Millis::from_secs(10)
}

/// How many nodes may hold one work at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sharing {
    /// One at most, ever. `on_lease_loss` has no default: it is a choice between two prices.
    Exclusive {
        /// What the node does when it cannot renew the lease.
        on_lease_loss: OnLeaseLoss,
    },
    /// So many, on different nodes; more for a moment while one moves.
    Replicated {
        /// How many are wanted.
        replicas: u16,
    },
}

/// What a node does with exclusive work whose lease it cannot renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLeaseLoss {
    /// Stop it, so that it can start elsewhere without a fence device. Price: a coordinator away
    /// for longer than the term stops this work.
    Stop,
    /// Never stop it for a partition. Price: it moves only after a confirmed stop, a confirmed
    /// fence, or a person's word.
    Keep,
}

/// How work or a service runs on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Run {
    /// A systemd unit. For work a template such as `web@.service`; the instance is the work's name.
    Systemd {
        /// The unit's name.
        unit: String,
    },
    /// A program that the agent starts in a process group of its own and holds by pidfd.
    Command {
        /// Program and arguments; no shell reads them.
        start: Vec<String>,
        /// A program that asks it to stop; without one it gets SIGTERM.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stop: Vec<String>,
        /// More environment.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        environment: BTreeMap<String, String>,
    },
}

/// What one node should run, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Rises with every change.
    pub revision: Revision,
    /// Each work at most once.
    pub works: Vec<Assigned>,
}

/// One work on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The work.
    pub spec: WorkSpec,
    /// The grant under which the node holds it.
    pub generation: Generation,
    /// What it should do.
    pub desired: Desired,
}

/// What a node should do with one work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// Hold it.
    Run,
    /// Stop it, prove that it is stopped, and say so.
    Stop,
}

/// One holder of one work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantRef {
    /// The work.
    pub work: WorkName,
    /// The grant.
    pub generation: Generation,
}

/// How one work stands on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStatus {
    /// The work.
    pub work: WorkName,
    /// The grant this is about.
    pub generation: Generation,
    /// How it stands.
    pub state: WorkState,
    /// Since when, on the node's boot clock.
    pub since: Boottime,
    /// Its main process, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// States of one work on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkState {
    /// Started, not yet seen to work.
    Starting,
    /// Runs, and its probe (if any) says well.
    Running,
    /// Runs or ran, but fails; the ladder is at it.
    Failing,
    /// Was told to stop and is not yet proved stopped.
    Stopping,
    /// Proved not running, for this cause. The only state that frees a grant.
    Stopped(StopCause),
    /// Cannot be seen. Frees nothing.
    Unknown,
}

/// Why a work is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// The assignment said so.
    Asked,
    /// Its lease ended.
    LeaseLost,
    /// Its restart budget is spent, and it is fenced here.
    Fenced,
    /// This node will not or cannot run it: the detail says why.
    Refused,
}

impl WorkState {
    /// True when the node proved that this grant runs nothing there any more.
    #[must_use]
    pub const fn is_stopped(self) -> bool {
        matches!(self, WorkState::Stopped(_))
    }
}

/// Who makes sure that a node keeps the promise of its leases when its agent cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// A hardware watchdog resets the host within `timeout` after the promise is broken.
    Hardware {
        /// What the driver accepted.
        timeout: Millis,
    },
    /// The watchdog process kills the work, and has no device behind it. It does not survive a hang
    /// of the kernel.
    Software {
        /// Within so long after the deadline.
        timeout: Millis,
    },
    /// Nobody. Exclusive work moves from here only after a confirmed stop, or a person's word.
    None,
}
