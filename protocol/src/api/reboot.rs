//! Reboots of hosts under a permit of the coordinator, as people see them.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::CommandId;
use crate::time::{Millis, WallTime};

/// A reboot that a host wants, or that it comes back from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootView {
    /// Where it is.
    pub stage: RebootStage,
    /// Why it is wanted.
    pub why: String,
    /// Since when it is wanted.
    pub since: WallTime,
    /// What it waits for, one sentence each.
    pub waiting: Vec<String>,
}

/// Where a reboot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebootStage {
    /// It has no place yet among the hosts that are out.
    Waits,
    /// Its place is reserved, and its work leaves.
    Emptying,
    /// It may reboot now.
    Permitted,
    /// It has rebooted, and takes no work until it has been well for a while.
    Returning,
}

impl core::fmt::Display for RebootStage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            RebootStage::Waits => "wanted",
            RebootStage::Emptying => "its work leaves",
            RebootStage::Permitted => "permitted",
            RebootStage::Returning => "rebooted, takes no work yet",
        })
    }
}

/// A step of a reboot, for the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebootStep {
    /// A host wants one.
    Wanted {
        /// Why.
        why: String,
    },
    /// It is not wanted any more, or not needed.
    Dropped {
        /// Why not.
        because: String,
    },
    /// Its place is reserved, and its work leaves.
    Emptying,
    /// Nothing exclusive is left on it: it may reboot.
    Permitted {
        /// The permit.
        permit: CommandId,
    },
    /// Its time was over before the host took it.
    Lapsed {
        /// The permit.
        permit: CommandId,
    },
    /// Another boot of it has proved itself.
    Back,
    /// It has been well for long enough, and takes work again.
    Well {
        /// For so long.
        well_for: Millis,
    },
}

impl core::fmt::Display for RebootStep {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RebootStep::Wanted { why } => write!(f, "wanted: {why}"),
            RebootStep::Dropped { because } => write!(f, "dropped: {because}"),
            RebootStep::Emptying => f.write_str("its place is reserved, its work leaves"),
            RebootStep::Permitted { permit } => write!(f, "permitted ({permit})"),
            RebootStep::Lapsed { permit } => write!(f, "the permit {permit} was not taken in time"),
            RebootStep::Back => f.write_str("done: it is back, and takes no work yet"),
            RebootStep::Well { well_for } => {
                write!(f, "it has been well for {well_for} and takes work again")
            }
        }
    }
}
