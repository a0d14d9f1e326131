//! What a host does about itself: remedies that its configuration declares, and its own reboots, as
//! they are told.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::event::{BudgetUse, Outcome};
use crate::ids::{CommandId, RemedyName};
use crate::time::Millis;

/// One use of a remedy, or why it was none, with everything that a reader needs to judge it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemedyRecord {
    /// Which.
    pub remedy: RemedyName,
    /// How it ended, or why it did not begin.
    pub step: RemedyStep,
    /// The condition that asked for it, in one sentence.
    pub cause: String,
    /// What was done, or would be.
    pub command: String,
    /// How long it took.
    pub took: Millis,
    /// What was measured when it was decided: name to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
    /// Which use this was within the budget, and the budget; absent for what took none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetUse>,
}

/// How a remedy ended, or why it did not begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemedyStep {
    /// It may only be advised: nothing was done.
    Advised,
    /// It was left out, for this reason, and the next one had its turn.
    LeftOut(String),
    /// It was done, or tried.
    Ended(Outcome),
}

/// What became of a reboot that a host wanted for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostReboot {
    /// It asks for a permit.
    Wanted {
        /// Why.
        why: String,
    },
    /// It asks no more.
    Dropped {
        /// Why not.
        because: String,
    },
    /// It goes down.
    Begun {
        /// The coordinator's permit; absent when the host's own policy allowed it while it was cut
        /// off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permit: Option<CommandId>,
        /// Why.
        why: String,
        /// Which reboot this was within the budget, and the budget.
        budget: BudgetUse,
    },
    /// The host is still on the same boot.
    Failed {
        /// What was seen.
        error: String,
    },
    /// It is back, and takes no work yet.
    Back {
        /// Why it was rebooted.
        why: String,
    },
    /// It has been well for long enough, and takes work again.
    Well {
        /// For so long.
        well_for: Millis,
    },
}

impl core::fmt::Display for HostReboot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            HostReboot::Wanted { why } => write!(f, "reboot wanted: {why}"),
            HostReboot::Dropped { because } => write!(f, "no reboot: {because}"),
            HostReboot::Begun {
                permit,
                why,
                budget,
            } => {
                let (used, of, window) = (budget.used, budget.of, budget.window);
                match permit {
                    Some(permit) => write!(f, "reboots under permit {permit}")?,
                    None => f.write_str("reboots by its own policy, cut off")?,
                }
                write!(f, " ({used} of {of} in {window}): {why}")
            }
            HostReboot::Failed { error } => write!(f, "did not reboot: {error}"),
            HostReboot::Back { why } => write!(f, "back from a reboot, takes no work yet: {why}"),
            HostReboot::Well { well_for } => write!(f, "well for {well_for}, takes work again"),
        }
    }
}

impl core::fmt::Display for RemedyRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (remedy, command, took) = (&self.remedy, &self.command, self.took);
        match &self.step {
            RemedyStep::Advised => write!(f, "remedy {remedy} is advised: {command}")?,
            RemedyStep::LeftOut(why) => write!(f, "remedy {remedy} is left out: {why}")?,
            RemedyStep::Ended(Outcome::Done) => {
                write!(f, "remedy {remedy}: done in {took}: {command}")?;
            }
            RemedyStep::Ended(Outcome::Failed(why)) => {
                write!(f, "remedy {remedy}: failed after {took}: {why}")?;
            }
            RemedyStep::Ended(Outcome::TimedOut) => {
                write!(f, "remedy {remedy}: no answer within {took}: {command}")?;
            }
            RemedyStep::Ended(Outcome::Interrupted) => {
                write!(f, "remedy {remedy}: interrupted, nobody knows how it ended")?;
            }
        }
        if let Some(b) = self.budget {
            write!(f, ", {} of {} within {}", b.used, b.of, b.window)?;
        }
        write!(f, " (because {})", self.cause)
    }
}
