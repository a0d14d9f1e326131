//! What the agent must know again after a restart or a reboot, as plain data.
//!
//! Stored as JSON by agent/host. Fields may be added with `#[serde(default)]`; anything else needs
//! a new [`VERSION`].

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::event::Verb;
use nodemedic_protocol::work::{Assigned, Assignment, Run, StopCause};
use nodemedic_protocol::{
    BootId, Boottime, Condition, Epoch, Generation, Millis, Now, ServiceName, WallTime, WorkName,
};
use serde::{Deserialize, Serialize};

use crate::effect::ActionId;
use crate::remedy::memory::RemedyMemory;
use crate::unit::UnitKey;

/// Version of the stored form.
pub const VERSION: u32 = 1;

/// Kept over restarts and reboots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// See [`VERSION`].
    pub version: u32,
    /// Counts what was remembered, over restarts and reboots: of two the higher one is the newer.
    #[serde(default)]
    pub writes: u64,
    /// The boot that wrote it; absent only in a fresh one.
    pub boot_id: Option<BootId>,
    /// The newest action that was begun.
    pub last_action: ActionId,
    /// Highest epoch obeyed.
    pub epoch_seen: Epoch,
    /// The assignment that was taken last.
    pub assignment: Assignment,
    /// Works that are known here.
    pub works: Vec<WorkMemory>,
    /// Uses of restart budgets that still count.
    pub uses: Vec<Use>,
    /// Actions that were begun and whose end was not recorded.
    pub intents: Vec<Intent>,
    /// Units that were started on the boot of `boot_id`: their next start is a restart.
    pub started: Vec<Started>,
    /// Services that are fenced, until a person lets them back.
    pub fenced: Vec<Fenced>,
    /// Fenced services that were tried again by themselves.
    #[serde(default)]
    pub tried: Vec<Tried>,
    /// Units that have failed lately, as far as a new run must know of it.
    #[serde(default)]
    pub ailing: Vec<Ailing>,
    /// Holds of persons on healing.
    #[serde(default)]
    pub pauses: Vec<Pause>,
    /// What was wrong.
    pub conditions: Vec<Condition>,
    /// Events dropped because the spool was full, ever.
    pub dropped_events: u64,
    /// What was already told of the watchdog's last words and resets.
    #[serde(default)]
    pub watchdog_told: WatchdogTold,
    /// Remedies of the host, and its own reboots.
    #[serde(default)]
    pub remedies: RemedyMemory,
    /// The newest boot on which it was declared that promises are enforced; for when the file of
    /// leases, which says it too, is lost.
    #[serde(default)]
    pub declared_on: Option<BootId>,
}

/// What was already told of the watchdog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchdogTold {
    /// Boot and time of the newest last words that were told.
    pub words: Option<(BootId, Boottime)>,
    /// The newest boot of which it was told that it follows a reset.
    pub reset: Option<BootId>,
}

impl Default for Memory {
    /// Of an agent that never ran.
    fn default() -> Memory {
        Memory {
            version: VERSION,
            writes: 0,
            boot_id: None,
            last_action: ActionId(0),
            epoch_seen: Epoch(0),
            assignment: Assignment::default(),
            works: Vec::new(),
            uses: Vec::new(),
            intents: Vec::new(),
            started: Vec::new(),
            fenced: Vec::new(),
            tried: Vec::new(),
            ailing: Vec::new(),
            pauses: Vec::new(),
            conditions: Vec::new(),
            dropped_events: 0,
            watchdog_told: WatchdogTold::default(),
            remedies: RemedyMemory::default(),
            declared_on: None,
        }
    }
}

impl Memory {
    /// What is known on this boot: what the disk says, or the copy that was kept beside the leases,
    /// on a tmpfs, where that is newer. What runs on this boot was begun by an agent that wrote
    /// both; so a disk that is set back under a running host makes nobody forget it.
    #[must_use]
    pub fn newest(disk: Memory, of_boot: Option<Memory>, boot: &BootId) -> Memory {
        let newer = of_boot.filter(|copy| {
            copy.version == VERSION
                && copy.boot_id.as_ref() == Some(boot)
                && copy.writes > disk.writes
        });
        newer.unwrap_or(disk)
    }
}

/// One work that is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkMemory {
    /// Which.
    pub work: WorkName,
    /// As it is held now: the spec under which it may run, which the assignment may have replaced.
    pub held: Assigned,
    /// How it runs here, with everything in braces replaced; absent until it was made.
    pub run: Option<Run>,
    /// Set once this generation is on its way out, and why; it never runs again.
    pub ending: Option<StopCause>,
    /// When it must be over, on the clock of the boot that wrote this.
    pub over_by: Option<Boottime>,
    /// True once it is proved stopped.
    pub stopped: bool,
    /// One line for people.
    pub detail: String,
}

/// One use of a restart budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use<K = UnitKey> {
    /// Whose.
    pub unit: K,
    /// On which boot.
    pub boot_id: BootId,
    /// The latest moment at which it may have begun, on that boot's clock.
    pub at: Boottime,
    /// When it was decided, for people.
    pub wall: WallTime,
}

/// An action that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Which.
    pub action: ActionId,
    /// On what.
    pub unit: UnitKey,
    /// What.
    pub verb: Verb,
    /// Why.
    pub cause: String,
    /// On which boot.
    pub boot_id: BootId,
    /// When.
    pub at: Now,
    /// The program or the bus call, as it would be made.
    #[serde(default)]
    pub command: String,
    /// What was known.
    #[serde(default)]
    pub evidence: BTreeMap<String, String>,
    /// True once it was told that a run ended before it did; then it is only kept until it is seen
    /// whether it was begun.
    #[serde(default)]
    pub told: bool,
}

/// A unit that has failed lately. Times are of the boot that wrote them, and after another one all
/// of this is forgotten: a boot is a beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailing {
    /// Which.
    pub unit: UnitKey,
    /// Under which grant, for work.
    pub generation: Option<Generation>,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it is down, once that was told.
    pub down_since: Option<Boottime>,
    /// The answer to its newest failure, while nothing was done yet.
    pub due: Option<Due>,
}

/// Something that is to be done to a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Not before.
    pub at: Boottime,
    /// It was known to be down then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_at: Option<Boottime>,
    /// Why.
    pub cause: String,
}

/// A person's hold on healing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Of which service; absent: of all.
    pub service: Option<ServiceName>,
    /// On which boot the time counts.
    pub boot_id: BootId,
    /// Since when.
    pub since: Boottime,
    /// How long on this boot.
    pub span: Millis,
    /// Spans on boots before, each as a whole: how much of them passed is not known.
    pub spent: Millis,
    /// Why.
    pub reason: String,
}

/// A unit that was started on this boot (for work: under this generation).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Started {
    /// Which.
    pub unit: UnitKey,
    /// Under which grant, for work.
    pub generation: Option<Generation>,
}

/// A fenced service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// Which.
    pub service: ServiceName,
    /// Why.
    pub cause: String,
    /// False while it is not yet proved that nothing of it runs.
    pub proved: bool,
    /// Since when, on which boot; `None` in what an older version wrote: then from now on.
    #[serde(default)]
    pub since: Option<(BootId, Boottime)>,
    /// True while it is tried again and was not yet seen well.
    #[serde(default)]
    pub trying: bool,
}

/// How often a fenced service was tried again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which.
    pub service: ServiceName,
    /// So often, since it last ran well for long enough or a person let it back.
    pub times: u32,
}

/// Leases of this boot. A missing file, or one of another boot, means that every lease is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseMemory {
    /// Of which boot.
    pub boot_id: BootId,
    /// Each work at most once.
    pub leases: Vec<LeaseRecord>,
    /// Highest epoch obeyed on this boot: this file is on a tmpfs, so no restored disk image turns
    /// it back.
    #[serde(default)]
    pub epoch_seen: Epoch,
    /// Whether the coordinator was told on this boot that promises are enforced. It may count on
    /// that until it hears otherwise, so a file that does not say counts as yes.
    #[serde(default = "yes")]
    pub declared: bool,
}

const fn yes() -> bool {
    true
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The work.
    pub work: WorkName,
    /// Under which grant.
    pub generation: Generation,
    /// When it ends.
    pub deadline: Boottime,
}
