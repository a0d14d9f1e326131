//! Which devices there are and which nodes they can fence: validated, without a secret. The
//! executor has the rest.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nodemedic_protocol::api::{FenceThen, FenceVerb};
use nodemedic_protocol::{DeviceName, Millis, NodeId};

/// Everything about fencing that the core must know. Empty: no host is ever fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FencingSettings {
    /// By name.
    pub devices: BTreeMap<DeviceName, DeviceSettings>,
    /// The nodes that can be fenced.
    pub nodes: BTreeMap<NodeId, NodeFencing>,
    /// A fence that failed is tried again after so long, twice as long each further time.
    pub retry_first: Millis,
    /// At most so long between two attempts.
    pub retry_max: Millis,
    /// Each device is asked this often whether it is well, with jitter.
    pub monitor_every: Millis,
}

/// How long a device may take, by what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceSettings {
    /// To switch off.
    pub off: Millis,
    /// To read the state.
    pub status: Millis,
    /// To switch on.
    pub on: Millis,
    /// To say whether it is well.
    pub monitor: Millis,
}

/// How one node is fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFencing {
    /// Tried in order; all devices of one level must confirm. No level is empty.
    pub levels: Vec<Vec<DeviceName>>,
    /// Whether the coordinator may begin a fence by itself.
    pub automatic: bool,
    /// What becomes of the host afterwards.
    pub then: FenceThen,
}

impl DeviceSettings {
    /// How long it may take for this.
    #[must_use]
    pub const fn timeout(&self, verb: FenceVerb) -> Millis {
        match verb {
            FenceVerb::Off => self.off,
            FenceVerb::Status => self.status,
            FenceVerb::On => self.on,
            FenceVerb::Monitor => self.monitor,
        }
    }
}

impl Default for DeviceSettings {
    fn default() -> Self {
        // Pacemaker's default for every action: agents wait up to 20 s for the power to change and
        // log in twice.
        let timeout = Millis::from_secs(60);
        DeviceSettings {
            off: timeout,
            status: timeout,
            on: timeout,
            monitor: timeout,
        }
    }
}

impl Default for FencingSettings {
    fn default() -> Self {
        FencingSettings {
            devices: BTreeMap::new(),
            nodes: BTreeMap::new(),
            // A controller that restarts is back within this.
            retry_first: Millis::from_secs(10),
            // A device that a person has just repaired is asked soon enough.
            retry_max: Millis::from_secs(300),
            // Management controllers are small computers: often enough to be repaired before it
            // is needed, seldom enough to wear none out.
            monitor_every: Millis::from_secs(600),
        }
    }
}
