//! The health vocabulary: what can be wrong, where, how badly, and on which evidence.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ServiceName, WorkName};
use crate::time::{Boottime, WallTime};

/// How well a host or a component is, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Looked at and found well.
    Healthy,
    /// Not looked at yet, or it cannot be seen. Never healthy, and never on its own a reason to
    /// destroy anything.
    Unknown,
    /// Works, but somebody should look.
    Degraded,
    /// Does not do its job.
    Failed,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Healthy => "healthy",
            Level::Unknown => "unknown",
            Level::Degraded => "degraded",
            Level::Failed => "failed",
        })
    }
}

/// How much a condition matters, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a record.
    Info,
    /// Worth a look in working hours.
    Warning,
    /// Worth waking somebody.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        })
    }
}

/// The part of a host that a condition is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The host as a whole.
    Host,
    /// All processors together.
    Cpu,
    /// Memory and swap.
    Memory,
    /// A block device, by kernel name.
    Disk(String),
    /// A mounted filesystem, by mount point.
    Filesystem(String),
    /// A network interface, by kernel name.
    Nic(String),
    /// A service of this host's configuration.
    Service(ServiceName),
    /// Work that the coordinator placed here.
    Work(WorkName),
    /// What a plugin watches: the plugin's name, and its own name for the part.
    Plugin(String, String),
    /// nodemedic itself: its watchdog, spool, configuration.
    Agent(String),
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::Host => f.write_str("host"),
            Component::Cpu => f.write_str("cpu"),
            Component::Memory => f.write_str("memory"),
            Component::Disk(name) => write!(f, "disk {name}"),
            Component::Filesystem(path) => write!(f, "filesystem {path}"),
            Component::Nic(name) => write!(f, "nic {name}"),
            Component::Service(name) => write!(f, "service {name}"),
            Component::Work(name) => write!(f, "work {name}"),
            Component::Plugin(plugin, part) => write!(f, "{plugin} {part}"),
            Component::Agent(part) => write!(f, "agent {part}"),
        }
    }
}

/// What is wrong, in the field's standard words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Almost no processor time is left.
    CpuSaturated,
    /// The run queue is far longer than there are processors.
    LoadHigh,
    /// Little memory is available.
    MemoryLow,
    /// Tasks stall waiting for memory, by the kernel's pressure counters.
    MemoryPressure,
    /// Tasks stall waiting for storage, by the kernel's pressure counters.
    IoPressure,
    /// Space runs out.
    SpaceLow,
    /// Inodes run out.
    InodesLow,
    /// Mounted read-write, but writes are refused.
    ReadOnly,
    /// It did not answer within its deadline.
    Unresponsive,
    /// The interface has no carrier.
    LinkDown,
    /// Errors rise.
    ErrorsRising,
    /// A service or work is not running, or fails its probes.
    Down,
    /// The restart budget is spent and the service is proved not running.
    Fenced,
    /// The budget is spent but the service could not be proved stopped.
    FenceFailed,
    /// A lease ended and exclusive work was stopped.
    LeaseLost,
    /// No watchdog enforces this host's promises.
    NotEnforced,
    /// Reports were dropped because the spool was full.
    SpoolOverflow,
    /// The configuration on disk is refused; the old one stays in force.
    ConfigRefused,
    /// A person holds all healing, for a while.
    Paused,
    /// The package manager has been at work for so long that healing no longer waits for it.
    PackageManagerBusy,
    /// No declared remedy has helped: a person is needed.
    RemediesSpent,
    /// A plugin's own word.
    Other(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reason::CpuSaturated => "cpu saturated",
            Reason::LoadHigh => "load high",
            Reason::MemoryLow => "memory low",
            Reason::MemoryPressure => "memory pressure",
            Reason::IoPressure => "io pressure",
            Reason::SpaceLow => "space low",
            Reason::InodesLow => "inodes low",
            Reason::ReadOnly => "read-only",
            Reason::Unresponsive => "unresponsive",
            Reason::LinkDown => "link down",
            Reason::ErrorsRising => "errors rising",
            Reason::Down => "down",
            Reason::Fenced => "fenced",
            Reason::FenceFailed => "fence failed",
            Reason::LeaseLost => "lease lost",
            Reason::NotEnforced => "not enforced",
            Reason::SpoolOverflow => "spool overflow",
            Reason::ConfigRefused => "configuration refused",
            Reason::Paused => "paused",
            Reason::PackageManagerBusy => "package manager busy",
            Reason::RemediesSpent => "remedies spent",
            Reason::Other(text) => text,
        })
    }
}

/// Something that is wrong with one component. Its identity is `component` with `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Where.
    pub component: Component,
    /// What.
    pub reason: Reason,
    /// How much it matters.
    pub severity: Severity,
    /// Since when, on the host's boot clock.
    pub since: Boottime,
    /// Since when, for people.
    pub since_wall: WallTime,
    /// False when the evidence stopped coming: the condition stands until it is seen to be over,
    /// but nobody sees it now.
    pub seen: bool,
    /// One sentence for people.
    pub message: String,
    /// What was measured: name (with its unit) to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
}

/// The level that conditions of these severities give a host.
#[must_use]
pub fn level_of(conditions: &[Condition]) -> Level {
    match conditions.iter().map(|c| c.severity).max() {
        Some(Severity::Critical) => Level::Failed,
        Some(Severity::Warning) => Level::Degraded,
        Some(Severity::Info) | None => Level::Healthy,
    }
}
