//! Reboots that a host wants: what it says of them in each heartbeat.
//!
//! A wish is answered by [`crate::message::CommandBody::Reboot`], the permit: bound to one boot and
//! void after a moment of that boot's clock. Why: docs/adr/0019-reboots-and-remedies.md.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::ids::CommandId;
use crate::time::{Millis, WallTime};

/// What a host says of its reboots; nothing when it neither wants nor had one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebootWord {
    /// It asks for a permit: what it may do itself did not help.
    Wanted(RebootWanted),
    /// It goes down for a reboot, under this permit; absent when its own policy allowed it while it
    /// was cut off.
    Going {
        /// Which.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permit: Option<CommandId>,
    },
    /// It is back from a reboot of its own, and takes no work until it has been well for so long.
    StaysOut {
        /// Why it was rebooted.
        why: String,
        /// For so long without a break.
        well_for: Millis,
    },
}

/// A wish for a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootWanted {
    /// Why, with what was tried before.
    pub why: String,
    /// Since when, for people.
    pub since: WallTime,
    /// Afterwards it takes no work until it has been well for so long.
    pub stay_out: Millis,
}
