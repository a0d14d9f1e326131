//! What a host is made of and what it can carry.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Facts about the hardware and the system that seldom change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The kernel's name for the host.
    pub hostname: String,
    /// `Debian GNU/Linux 12`; absent where os-release says nothing.
    pub os: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Maker and model of the machine, where the firmware says.
    pub machine: Option<String>,
    /// Model of the processors.
    pub cpu_model: Option<String>,
    /// Processors online.
    pub cpus: u32,
    /// Usable memory.
    pub memory_bytes: u64,
    /// Block devices.
    pub disks: Vec<InventoryDisk>,
    /// Network interfaces.
    pub nics: Vec<InventoryNic>,
}

/// A block device of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryDisk {
    /// Kernel name.
    pub name: String,
    /// Size; absent where the kernel does not say.
    pub size_bytes: Option<u64>,
    /// Maker's model text.
    pub model: Option<String>,
    /// Spinning or not.
    pub rotational: Option<bool>,
}

/// A network interface of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryNic {
    /// Kernel name.
    pub name: String,
    /// Hardware address.
    pub mac: Option<String>,
}

/// What a node offers to work, after what the host keeps for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
}

impl Capacity {
    /// True when `self` covers `wanted` in every resource.
    #[must_use]
    pub const fn covers(self, wanted: Capacity) -> bool {
        self.cpu_milli >= wanted.cpu_milli && self.memory_bytes >= wanted.memory_bytes
    }

    /// What is left after `used`, at least nothing.
    #[must_use]
    pub const fn minus(self, used: Capacity) -> Capacity {
        Capacity {
            cpu_milli: self.cpu_milli.saturating_sub(used.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(used.memory_bytes),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, more: Capacity) -> Capacity {
        Capacity {
            cpu_milli: self.cpu_milli.saturating_add(more.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(more.memory_bytes),
        }
    }
}
