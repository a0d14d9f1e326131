//! One sample of a host: what the kernel said, and `None` where it did not say.
//!
//! Counters are as the kernel keeps them (rising since boot); the `*_per_*` values are rates over
//! the span since the sample before, absent in the first one and after a counter went backwards.
//! Sources: `proc(5)` and the kernel's Documentation/accounting/psi.rst, admin-guide/iostats.rst.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::time::{Boottime, Millis, WallTime};

/// A share of a whole, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PerMille(pub u32);

/// Everything that one tick read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, on the host's boot clock.
    pub at: Boottime,
    /// When, for people.
    pub wall: WallTime,
    /// How long the sampling took, in microseconds.
    pub took_us: u64,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Memory and swap.
    pub memory: Option<Memory>,
    /// Pressure stall information; absent where the kernel has none.
    pub pressure: Option<Pressure>,
    /// Load averages.
    pub load: Option<Load>,
    /// Whole block devices (no partitions), by name.
    pub disks: Vec<Disk>,
    /// Mounted filesystems with storage behind them, by mount point.
    pub filesystems: Vec<Filesystem>,
    /// Network interfaces without loopback, by name.
    pub nics: Vec<Nic>,
    /// The processes that use the most processor time, most first.
    pub top_cpu: Vec<Process>,
    /// The processes that use the most memory, most first.
    pub top_memory: Vec<Process>,
    /// The processes of watched services and works.
    pub watched: Vec<WatchedProcess>,
    /// How many processes there are.
    pub process_count: Option<u32>,
    /// What could not be read this time, and why. Bounded by the number of sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
}

/// A source that gave nothing this time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// Which: `cpu`, `filesystem /mnt/nfs`, ...
    pub source: String,
    /// Why, in one line.
    pub error: String,
}

/// All processors together, as shares of the time since the sample before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Processors that are online.
    pub online: u32,
    /// Everything but idle and iowait.
    pub busy: Option<PerMille>,
    /// User and nice.
    pub user: Option<PerMille>,
    /// Kernel, interrupts and soft interrupts.
    pub system: Option<PerMille>,
    /// Idle while storage was awaited.
    pub iowait: Option<PerMille>,
    /// Taken by the hypervisor.
    pub steal: Option<PerMille>,
    /// Busy share of each online processor, in kernel order.
    pub per_core_busy: Vec<PerMille>,
    /// Total processor time spent busy since boot, in milliseconds.
    pub busy_ms: u64,
}

/// Memory and swap, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Usable memory.
    pub total_bytes: u64,
    /// What new work could get without swapping; the kernel's own estimate.
    pub available_bytes: Option<u64>,
    /// Unused.
    pub free_bytes: Option<u64>,
    /// Page cache.
    pub cached_bytes: Option<u64>,
    /// Waiting to be written back.
    pub dirty_bytes: Option<u64>,
    /// Swap there is.
    pub swap_total_bytes: Option<u64>,
    /// Swap unused.
    pub swap_free_bytes: Option<u64>,
}

/// Pressure stall information: the share of wall time in which some (or all) tasks stalled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// Waiting for a processor.
    pub cpu: Option<Stall>,
    /// Waiting for memory.
    pub memory: Option<Stall>,
    /// Waiting for storage.
    pub io: Option<Stall>,
}

/// One line pair of `/proc/pressure/*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Some task stalled, over ten seconds.
    pub some_avg10: PerMille,
    /// All tasks stalled, over ten seconds; the kernel gives none for `cpu` on older versions.
    pub full_avg10: Option<PerMille>,
    /// Total time in which some task stalled, in microseconds.
    pub some_total_us: u64,
}

/// `/proc/loadavg`, in thousandths of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Over one minute.
    pub one_milli: u64,
    /// Over five minutes.
    pub five_milli: u64,
    /// Over fifteen minutes.
    pub fifteen_milli: u64,
    /// Tasks that run or could run now.
    pub runnable: u32,
}

/// One block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Kernel name: `sda`, `nvme0n1`.
    pub name: String,
    /// Bytes read since boot.
    pub read_bytes: u64,
    /// Bytes written since boot.
    pub written_bytes: u64,
    /// Read rate.
    pub read_bytes_per_s: Option<u64>,
    /// Write rate.
    pub written_bytes_per_s: Option<u64>,
    /// Completed operations per second.
    pub ops_per_s: Option<u64>,
    /// Mean time of the operations that completed, in microseconds; absent when none did.
    pub latency_us: Option<u64>,
    /// Share of time with at least one operation under way.
    pub busy: Option<PerMille>,
    /// Operations under way now.
    pub in_flight: u64,
}

/// One mounted filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount_point: String,
    /// What is mounted: device or remote name.
    pub source: String,
    /// Its type: `ext4`, `nfs4`.
    pub kind: String,
    /// False when the mount table says `ro`.
    pub writable: bool,
    /// Size; absent while it does not answer.
    pub total_bytes: Option<u64>,
    /// What an unprivileged user may still write.
    pub available_bytes: Option<u64>,
    /// Inodes; absent where the type has no fixed number.
    pub inodes_total: Option<u64>,
    /// Inodes unused.
    pub inodes_free: Option<u64>,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Kernel name.
    pub name: String,
    /// Has a carrier; absent while the interface is administratively down.
    pub carrier: Option<bool>,
    /// Times the carrier changed.
    pub carrier_changes: Option<u64>,
    /// Speed; absent for virtual interfaces.
    pub speed_mbit_per_s: Option<u64>,
    /// Bytes received since boot.
    pub rx_bytes: u64,
    /// Bytes sent since boot.
    pub tx_bytes: u64,
    /// Receive rate.
    pub rx_bytes_per_s: Option<u64>,
    /// Send rate.
    pub tx_bytes_per_s: Option<u64>,
    /// Receive and send errors since boot.
    pub errors: u64,
    /// Dropped packets since boot.
    pub drops: u64,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The kernel's short name, lossily decoded.
    pub name: String,
    /// State letter of proc_pid_stat(5): R, S, D, Z, T, ...
    pub state: char,
    /// Share of one processor since the sample before.
    pub cpu: Option<PerMille>,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u32,
}

/// The main process of a service or work that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedProcess {
    /// `service web`, `work db`: the component's text.
    pub unit: String,
    /// The process.
    pub process: Process,
    /// Open file descriptors, where they may be counted.
    pub open_fds: Option<u32>,
    /// For how long it has run.
    pub age: Option<Millis>,
}
