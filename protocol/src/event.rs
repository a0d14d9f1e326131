//! What happened on a host, in order, kept until the coordinator has stored it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::health::{Component, Reason, Severity};
use crate::ids::{BootId, Generation, Seq, StreamId};
use crate::remedy::{HostReboot, RemedyRecord};
use crate::time::{Boottime, Millis, WallTime};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the node's stream; rises by one, over restarts too.
    pub seq: Seq,
    /// In which boot.
    pub boot_id: BootId,
    /// When, on that boot's clock.
    pub at: Boottime,
    /// When, for people.
    pub wall: WallTime,
    /// About what.
    pub component: Component,
    /// What.
    pub kind: EventKind,
}

/// Kinds of events. A reader refuses a batch with a kind that it does not know, and the writer
/// keeps it until a newer reader stores it: so coordinators are upgraded before agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The agent began.
    AgentStarted {
        /// Its version.
        version: String,
        /// True when this is a new boot of the host.
        new_boot: bool,
    },
    /// The agent ends on request.
    AgentStopping {
        /// Why.
        reason: String,
    },
    /// A service or work stopped running, or stopped answering.
    Down {
        /// How that was noticed and what was seen: `exited with status 1`, `http probe: connection
        /// refused`.
        cause: String,
    },
    /// It works again.
    Up {
        /// For how long it did not.
        after: Millis,
    },
    /// Something was done.
    Action(ActionRecord),
    /// Something would have been done now; by its mode this service is only advised on. Told once
    /// for each failure.
    Advised {
        /// What.
        verb: Verb,
        /// Why.
        cause: String,
        /// The program or the bus call, as it would be made.
        command: String,
    },
    /// A condition began.
    ConditionRaised {
        /// What.
        reason: Reason,
        /// How much it matters.
        severity: Severity,
        /// One sentence.
        message: String,
        /// What was measured.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        evidence: BTreeMap<String, String>,
    },
    /// A condition ended.
    ConditionCleared {
        /// What.
        reason: Reason,
        /// How long it stood.
        after: Millis,
        /// The evidence that ended it, or who did.
        because: String,
    },
    /// Exclusive work lost its lease.
    LeaseLost {
        /// Under which grant.
        generation: Generation,
    },
    /// The configuration was read again.
    ConfigReloaded,
    /// The configuration on disk was refused; the old one stays in force.
    ConfigRefused {
        /// The whole message: file, line, key, remedy.
        error: String,
    },
    /// A message to this host was refused.
    MessageRefused {
        /// Which and why.
        error: String,
    },
    /// A remedy of the host was done, or advised, or left out.
    Remedy(RemedyRecord),
    /// What became of a reboot that the host wanted for itself.
    Reboot(HostReboot),
    /// The watchdog acted: what the device says of this boot, and what was written down before.
    /// Told once.
    WatchdogActed {
        /// True when the device says that this boot follows a reset by it.
        device_reset: bool,
        /// What the watchdog wrote down, where it could.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        words: Option<LastWords>,
    },
    /// What was to be seen of it was written down: `nodemedic diagnose NAME` on the host.
    BundleTaken {
        /// Its name.
        name: String,
        /// Before what: `fence`, `asked for by a person`.
        why: String,
        /// Sections that are missing or not whole.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_out: Vec<String>,
    },
    /// A person broke something on purpose.
    FaultInjected {
        /// Names it on this host.
        id: u64,
        /// What.
        fault: String,
        /// For how long; zero for what is over at once.
        span: Millis,
    },
    /// What was broken on purpose was taken back.
    FaultUndone {
        /// Names it on this host.
        id: u64,
        /// What.
        fault: String,
        /// Why now: `its time is over`, `a person says so`, `the agent began again`.
        because: String,
    },
    /// The spool was full: these events are gone.
    Dropped {
        /// The first one.
        first: Seq,
        /// The last one.
        last: Seq,
    },
}

/// What the watchdog wrote down when it decided to end something that was promised to be over:
/// docs/reference/watchdog-beat.md, "Last words".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords {
    /// In which boot.
    pub boot_id: BootId,
    /// When, on that boot's clock.
    pub at: Boottime,
    /// When, for people.
    pub wall: WallTime,
    /// What it did.
    pub verdict: WatchdogVerdict,
    /// To what: `session 4242`, `cgroup /system.slice/web.service`.
    pub target: String,
    /// Why, in one sentence.
    pub why: String,
}

/// What the watchdog did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchdogVerdict {
    /// It starved the device, which resets the host.
    Reset,
    /// It rebooted the host: its last resort without a device.
    Reboot,
    /// A dry run: it would have had the host reset.
    WouldReset,
    /// It killed what was overdue.
    Killed,
}

impl core::fmt::Display for WatchdogVerdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            WatchdogVerdict::Reset => "reset the host",
            WatchdogVerdict::Reboot => "rebooted the host",
            WatchdogVerdict::WouldReset => "would have reset the host",
            WatchdogVerdict::Killed => "killed what was overdue",
        })
    }
}

/// One action with everything that a reader needs to judge it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// What was done.
    pub verb: Verb,
    /// Why.
    pub cause: String,
    /// The program or the bus call, as it was made.
    pub command: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Millis,
    /// Which restart this was within the budget, and the budget; absent for what no budget limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetUse>,
    /// What was known when it was decided: name to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
    /// What ran before and after it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRecord>,
}

/// One program that ran beside a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRecord {
    /// Which.
    pub hook: Hook,
    /// The program and its arguments.
    pub command: String,
    /// How it ended. Whatever it was, the restart went on.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Millis,
}

/// When a program runs beside a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before it.
    BeforeRestart,
    /// After it, once the service was started.
    AfterRestart,
}

impl core::fmt::Display for Hook {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Hook::BeforeRestart => "before_restart",
            Hook::AfterRestart => "after_restart",
        })
    }
}

/// How much of a budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUse {
    /// Uses within the window, this one included.
    pub used: u32,
    /// Uses that the window allows.
    pub of: u32,
    /// The window.
    pub window: Millis,
}

/// What the agent can do to a service or work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Begin it.
    Start,
    /// End what is left of it and begin it again.
    Restart,
    /// Kill all of it without asking, see that nothing is left, and begin it again.
    Kill,
    /// Ask it to end, and see that it did.
    Stop,
    /// Stop it, kill what is left, and prove that nothing runs; keep it out.
    Fence,
    /// Let a fenced one back.
    Unfence,
}

impl Verb {
    /// True for what begins something, and so counts as a start of it.
    #[must_use]
    pub const fn starts(self) -> bool {
        matches!(self, Verb::Start | Verb::Restart | Verb::Kill)
    }

    /// True for what takes a use of the restart budget.
    #[must_use]
    pub const fn restarts(self) -> bool {
        matches!(self, Verb::Restart | Verb::Kill)
    }
}

impl core::fmt::Display for Verb {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Verb::Start => "start",
            Verb::Restart => "restart",
            Verb::Kill => "kill and restart",
            Verb::Stop => "stop",
            Verb::Fence => "fence",
            Verb::Unfence => "unfence",
        })
    }
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As wanted, and seen to be so.
    Done,
    /// Not as wanted; the text says what was seen.
    Failed(String),
    /// No answer within the deadline: nobody knows.
    TimedOut,
    /// The agent ended in between: nobody knows.
    Interrupted,
}

/// Events on their way, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBatch {
    /// The life of the spool that numbers them.
    pub stream: StreamId,
    /// Rising by one.
    pub events: Vec<Event>,
}
