//! How much may be taken out at once: the budget and the storm brake, as people see them.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::time::{Millis, WallTime};

/// For what a host is taken out by choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// It is emptied and kept empty.
    Drain,
    /// It is cut off from power or storage.
    Fence,
    /// It is rebooted, and stays out until it has been well for a while.
    Reboot,
}

impl core::fmt::Display for Purpose {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Purpose::Drain => "drain",
            Purpose::Fence => "fence",
            Purpose::Reboot => "reboot",
        })
    }
}

/// How many hosts are out, and how many may be by choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    /// All hosts that are known.
    pub hosts: u32,
    /// How many may be out at once before no further one is taken out by choice.
    pub limit: u32,
    /// Which are out, for whatever reason, by name.
    pub out: Vec<OutView>,
    /// Drains that wait for room, in the order in which they begin.
    pub waiting: Vec<NodeId>,
}

/// One host that is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutView {
    /// Which.
    pub node: NodeId,
    /// Why it counts, in a few words.
    pub why: String,
}

/// `GET /api/v1/brake`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeView {
    /// Whether it holds.
    pub state: BrakeState,
    /// Since when many hosts are silent at once; absent while they are not.
    pub since: Option<WallTime>,
    /// So many silent hosts engage it (B).
    pub threshold: u32,
    /// All hosts that are known.
    pub hosts: u32,
    /// The hosts that are counted: silent without having said that they go.
    pub silent: Vec<SilentView>,
    /// It lifts once fewer than the threshold have been silent for so long.
    pub hold: Millis,
    /// A person's release, while it lasts.
    pub release: Option<ReleaseView>,
}

/// Whether the storm brake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrakeState {
    /// Few enough hosts are silent.
    Off,
    /// Many hosts are silent at once: nothing is taken out on silence.
    Engaged,
    /// Many are, and a person has said that this is real.
    Released,
}

impl core::fmt::Display for BrakeState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            BrakeState::Off => "off",
            BrakeState::Engaged => "engaged",
            BrakeState::Released => "released",
        })
    }
}

/// One host that the storm brake counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentView {
    /// Which.
    pub node: NodeId,
    /// For how long.
    pub silent_for: Millis,
}

/// A person's release of the storm brake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseView {
    /// When it ends by itself.
    pub until: WallTime,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/brake/release`: a person's word that the silent hosts are really gone. Refused
/// while the brake is off. A second one replaces the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrakeReleaseRequest {
    /// It ends by itself after so long, and with the storm.
    pub span: Millis,
    /// How the person knows; people will ask.
    pub reason: String,
}

/// What became of the storm brake, for the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrakeChange {
    /// So many hosts were silent at once.
    Engaged {
        /// How many.
        silent: u32,
        /// How many engage it.
        threshold: u32,
        /// Of how many.
        hosts: u32,
    },
    /// Fewer than the threshold were silent for long enough.
    Lifted,
    /// A person released it.
    Released {
        /// For so long.
        span: Millis,
        /// Why.
        reason: String,
    },
    /// The time of a release is over; the brake holds again if as many are still silent.
    ReleaseEnded,
}
