//! Reboots that hosts ask for: a place in the budget first, then its work leaves, then a permit,
//! then it stays out until it has been well for a while.
//!
//! Each stage is stored before what follows from it. A permit is bound to one boot, and a boot ends
//! once: so one permit is one reboot at most, whatever is sent twice or heard late.
//! docs/adr/0019-reboots-and-remedies.md has the argument.

mod alerts;
mod drive;
mod views;

use alloc::string::String;

use nodemedic_protocol::{BootId, Boottime, CommandId, Millis, WallTime};
use serde::{Deserialize, Serialize};

/// How long the parts of a reboot may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebootSettings {
    /// A host that was permitted to reboot and is not back after so long is an alert.
    pub back_within: Millis,
    /// A permit is void so long after the host was last heard. Short, because nothing calls it
    /// back: what engages the storm brake meanwhile comes too late for it.
    pub permit_for: Millis,
    /// Replicated work gets so long to move before the permit; exclusive work as long as it needs.
    pub leave_within: Millis,
}

impl Default for RebootSettings {
    fn default() -> Self {
        RebootSettings {
            // Large servers test their memory for minutes before they boot.
            back_within: Millis::from_secs(15 * 60),
            // Several heartbeats: each brings the permit once more.
            permit_for: Millis::from_secs(30),
            // What starts slowly elsewhere has started by then; more of it serves elsewhere anyway.
            leave_within: Millis::from_secs(60),
        }
    }
}

/// A reboot that is wanted, or not yet over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootRecord {
    /// Why.
    pub why: String,
    /// Since when it is wanted.
    pub since: WallTime,
    /// The boot that it ends.
    pub boot_id: BootId,
    /// Afterwards the host takes no work until it has been well for so long.
    pub stay_out: Millis,
    /// Where it is.
    pub stage: Stage,
}

/// Where a reboot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It has no place yet among the hosts that are out.
    Waits,
    /// Its place is reserved, and its work leaves.
    Emptying,
    /// A permit was given.
    Permitted(Permit),
    /// Another boot has proved itself; it takes no work until it has been well for a while.
    Returning,
}

/// A permit, stored before it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Its name: that of the command which brings it.
    pub id: CommandId,
    /// When it was given.
    pub at: WallTime,
    /// Void after this moment of the boot clock of the host.
    pub not_after: Boottime,
    /// True once the host said that it goes.
    pub taken: bool,
}

impl RebootRecord {
    /// True from when its place is reserved until it has rebooted.
    pub(crate) const fn empties(&self) -> bool {
        matches!(self.stage, Stage::Emptying | Stage::Permitted(_))
    }
}

/// Of a reboot, what a coordinator forgets when it ends: waits then begin anew, and never too soon.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RebootWaits {
    /// Since when its work leaves.
    pub(crate) emptying: Option<Boottime>,
    /// When the permit was last sent.
    pub(crate) sent: Option<Boottime>,
    /// Since when it is well again.
    pub(crate) well: Option<Boottime>,
}
