//! What must be known again of remedies after a restart or a reboot, as plain data.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::event::BudgetUse;
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::{BootId, CommandId, Component, Millis, Now, RemedyName};
use serde::{Deserialize, Serialize};

use crate::memory::Use;

/// Kept over restarts and reboots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemedyMemory {
    /// The newest treatment that was begun.
    pub last: u64,
    /// Uses of budgets that still count.
    pub uses: Vec<Use<RemedyName>>,
    /// A treatment that was begun and whose end was not recorded.
    #[serde(default)]
    pub intent: Option<RemedyIntent>,
    /// What was tried for conditions that still stand.
    #[serde(default)]
    pub tried: Vec<Tried>,
    /// The newest reboot, until the host has been well for long enough after it.
    #[serde(default)]
    pub reboot: Option<RebootMemory>,
}

/// A treatment that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemedyIntent {
    /// Names it.
    pub id: u64,
    /// Which remedy.
    pub remedy: RemedyName,
    /// For the condition of this component ...
    pub component: Component,
    /// ... and reason.
    pub reason: Reason,
    /// The condition, in one sentence.
    pub cause: String,
    /// What was measured.
    pub evidence: BTreeMap<String, String>,
    /// Which use of its budget.
    pub budget: BudgetUse,
    /// On which boot.
    pub boot_id: BootId,
    /// When.
    pub at: Now,
}

/// What was tried for one condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The condition's component.
    pub component: Component,
    /// The condition's reason.
    pub reason: Reason,
    /// In any order.
    pub remedies: Vec<RemedyName>,
    /// True once a person was told that none of them helped.
    #[serde(default)]
    pub spent: bool,
}

/// A reboot that was begun: written down before systemd was asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootMemory {
    /// Why.
    pub why: String,
    /// The boot that it ends. On another one it is done.
    pub boot_id: BootId,
    /// When it was begun, on that boot.
    pub at: Now,
    /// The permit; absent when the host's own policy allowed it.
    #[serde(default)]
    pub permit: Option<CommandId>,
    /// Afterwards the host takes no work until it has been well for so long.
    pub stay_out: Millis,
    /// True once it was told that the host is still on the same boot.
    #[serde(default)]
    pub failed: bool,
}
