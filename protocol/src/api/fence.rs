//! Fence devices in the API: what is asked of them, what they said, and how a fence stands.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceName, NodeId};
use crate::time::{Millis, WallTime};

/// What a fence device can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceVerb {
    /// Take the power away.
    Off,
    /// Is there power?
    Status,
    /// Give the power back.
    On,
    /// Is the device itself well? About no host.
    Monitor,
}

impl fmt::Display for FenceVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FenceVerb::Off => "off",
            FenceVerb::Status => "status",
            FenceVerb::On => "on",
            FenceVerb::Monitor => "monitor",
        })
    }
}

/// What a fence device answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceAnswer {
    /// To `off`, `on` and `monitor`: it says that it is done. For `off` this proves nothing yet.
    Done,
    /// To `status`: there is power.
    PowerOn,
    /// To `status`: there is none.
    PowerOff,
    /// Anything else: an error, a signal, no answer in time. Nothing is known.
    Failed(String),
}

impl fmt::Display for FenceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FenceAnswer::Done => f.write_str("done"),
            FenceAnswer::PowerOn => f.write_str("the power is ON"),
            FenceAnswer::PowerOff => f.write_str("the power is OFF"),
            FenceAnswer::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// One question to a device and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSaid {
    /// Which.
    pub device: DeviceName,
    /// To what.
    pub verb: FenceVerb,
    /// What it said.
    pub answer: FenceAnswer,
}

impl fmt::Display for DeviceSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.verb, self.device, self.answer)
    }
}

/// Who wants a fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceBy {
    /// The coordinator: exclusive work waits for a proof.
    Coordinator,
    /// A person.
    Person(String),
}

impl fmt::Display for FenceBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FenceBy::Coordinator => f.write_str("the coordinator"),
            FenceBy::Person(name) => f.write_str(name),
        }
    }
}

/// What becomes of a host after it is confirmed off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceThen {
    /// Its power comes back once the proof is stored.
    #[default]
    On,
    /// It stays off until a person gives the power back.
    StayOff,
}

/// A step of a fence, or news of a device, for the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceStep {
    /// A fence is wanted; it begins when there is room for it.
    Wanted {
        /// By whom.
        by: FenceBy,
        /// Why.
        because: String,
    },
    /// A device is asked.
    Asked {
        /// Which.
        device: DeviceName,
        /// What.
        verb: FenceVerb,
    },
    /// A device answered, or did not.
    Said(DeviceSaid),
    /// All devices of a level read OFF: the host is off.
    Confirmed {
        /// Which devices.
        devices: Vec<DeviceName>,
    },
    /// No level could confirm it.
    Failed {
        /// So many times by now.
        attempts: u32,
        /// It is tried again after this.
        retry_in: Millis,
    },
    /// It is not wanted any more.
    Dropped {
        /// Why.
        because: String,
    },
    /// A device confirmed OFF, and yet the same boot of the host speaks: it is not believed any
    /// more until a person says so.
    DeviceLied {
        /// Which.
        device: DeviceName,
        /// How it is known.
        evidence: String,
    },
    /// A person says that a device may be believed again.
    DeviceTrusted {
        /// Which.
        device: DeviceName,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for FenceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FenceStep::Wanted { by, because } => write!(f, "to be fenced, says {by}: {because}"),
            FenceStep::Asked { device, verb } => write!(f, "{device} is asked: {verb}"),
            FenceStep::Said(said) => write!(f, "{said}"),
            FenceStep::Confirmed { devices } => {
                f.write_str("confirmed off by ")?;
                list(f, devices)
            }
            FenceStep::Failed { attempts, retry_in } => write!(
                f,
                "not confirmed off (attempt {attempts}); tried again in {retry_in}"
            ),
            FenceStep::Dropped { because } => write!(f, "the fence is dropped: {because}"),
            FenceStep::DeviceLied { device, evidence } => {
                write!(f, "{device} is not believed any more: {evidence}")
            }
            FenceStep::DeviceTrusted { device, by, reason } => {
                write!(f, "{device} is believed again, says {by}: {reason}")
            }
        }
    }
}

/// Names with commas between.
fn list(f: &mut fmt::Formatter<'_>, devices: &[DeviceName]) -> fmt::Result {
    for (index, device) in devices.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{device}")?;
    }
    Ok(())
}

/// `GET /api/v1/fences`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencesView {
    /// Every configured device, and every one that is not believed.
    pub devices: Vec<FenceDeviceView>,
    /// Every fence that is under way.
    pub fences: Vec<FenceView>,
}

/// A fence device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceDeviceView {
    /// Which.
    pub device: DeviceName,
    /// The nodes that it can fence.
    pub nodes: Vec<NodeId>,
    /// Set when it confirmed OFF and was wrong: how that is known.
    pub lied: Option<String>,
    /// What it is asked at the moment.
    pub asked: Option<FenceVerb>,
    /// What its newest monitor said, or `done` after it did anything else well; absent until then.
    pub monitor: Option<FenceAnswer>,
    /// When that was.
    pub monitored: Option<WallTime>,
}

/// A fence that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceView {
    /// Of which node.
    pub node: NodeId,
    /// Who wants it.
    pub by: FenceBy,
    /// Why.
    pub because: String,
    /// Since when.
    pub since: WallTime,
    /// How it stands, one sentence.
    pub state: String,
    /// Attempts that failed.
    pub attempts: u32,
    /// What the devices said in the newest attempt, in order.
    pub said: Vec<DeviceSaid>,
}

/// How a node can be fenced, in its view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFencingView {
    /// The devices of each level; all of one level must confirm, the next is tried when one fails.
    pub levels: Vec<Vec<DeviceName>>,
    /// Whether the coordinator may begin a fence by itself.
    pub automatic: bool,
    /// What becomes of the host afterwards.
    pub then: FenceThen,
    /// The fence that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<FenceView>,
    /// Set while it is confirmed off: since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_since: Option<WallTime>,
    /// What the devices said to the newest `on` that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failed: Vec<DeviceSaid>,
}
