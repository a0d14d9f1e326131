//! What a coordinator keeps for ever: the records, and the writes that change them.
//!
//! The store is dumb: it applies writes by key and reads everything back at start. Each record is
//! one JSON value; a record whose fields change is a new version for readers
//! (docs/howto/change-a-message.md).

mod blast;

pub use blast::{BrakeRecord, KnownDown, ReleaseRecord, Reservation};

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::{AlertState, DeviceSaid, DrainBy, JournalEntry, Purpose};
use nodemedic_protocol::inventory::{Capacity, Inventory};
use nodemedic_protocol::message::Session;
use nodemedic_protocol::work::{Enforcement, StopCause, WorkSpec};
use nodemedic_protocol::{
    BootId, Boottime, DeviceName, Epoch, Generation, Millis, NodeId, Revision, Seq, Severity,
    StreamId, WallTime, WorkName,
};
use serde::{Deserialize, Serialize};

use crate::fencing::record::{FenceDeviceRecord, FenceRecord, FencedRecord};
use crate::reboot::RebootRecord;

/// Everything, as read at start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Of this leadership: raised and committed by the edge before the core begins.
    pub epoch: Epoch,
    /// By [`Write::Node`] and [`Write::RemoveNode`].
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// By [`Write::Work`] and [`Write::RemoveWork`].
    pub works: BTreeMap<WorkName, WorkSpec>,
    /// By [`Write::Grant`] and [`Write::EndGrant`]: only those that have not ended.
    pub grants: BTreeMap<GrantKey, GrantRecord>,
    /// By [`Write::HighestGeneration`].
    pub generations: BTreeMap<WorkName, Generation>,
    /// By [`Write::EventMark`] and [`Write::RemoveNode`].
    pub marks: BTreeMap<NodeId, EventMark>,
    /// By [`Write::Alert`] and [`Write::ForgetAlert`].
    pub alerts: BTreeMap<String, AlertRecord>,
    /// By [`Write::Brake`] and [`Write::ForgetBrake`]: only while there is a storm.
    #[serde(default)]
    pub brake: Option<BrakeRecord>,
    /// By [`Write::FenceDevice`].
    #[serde(default)]
    pub fence_devices: BTreeMap<DeviceName, FenceDeviceRecord>,
    /// Number of the newest [`Write::Journal`] entry; 0 when there is none.
    pub journal_last: u64,
}

/// Identity of a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct GrantKey {
    /// The work.
    pub work: WorkName,
    /// Rises with each grant of it.
    pub generation: Generation,
}

impl From<GrantKey> for String {
    fn from(key: GrantKey) -> String {
        alloc::format!("{}/{}", key.work, key.generation)
    }
}

impl TryFrom<String> for GrantKey {
    type Error = String;
    fn try_from(text: String) -> Result<GrantKey, String> {
        let bad = || alloc::format!("{text:?} is not WORK/GENERATION");
        let (work, generation) = text.rsplit_once('/').ok_or_else(bad)?;
        Ok(GrantKey {
            work: WorkName::new(work).map_err(|_| bad())?,
            generation: Generation(generation.parse().map_err(|_| bad())?),
        })
    }
}

/// One change. All but the journal replace what stood under the same key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a write is boxed in its effect")]
pub enum Write {
    /// Put a node under its name.
    Node(NodeRecord),
    /// Remove a node and its event mark.
    RemoveNode(NodeId),
    /// Put a work under its name.
    Work(WorkSpec),
    /// Remove a work; its highest generation stays.
    RemoveWork(WorkName),
    /// Put a grant under its key.
    Grant(GrantRecord),
    /// Remove a grant that has ended.
    EndGrant(GrantKey),
    /// Put the highest generation that was ever given for a work.
    HighestGeneration {
        /// The work.
        work: WorkName,
        /// Its highest one.
        generation: Generation,
    },
    /// Append to the journal; the number is one above the last.
    Journal(JournalEntry),
    /// Put up to where the events of a node are in the journal.
    EventMark {
        /// Whose.
        node: NodeId,
        /// Up to where.
        mark: EventMark,
    },
    /// Put an alert under its key.
    Alert(AlertRecord),
    /// Remove an alert that is over and has been told.
    ForgetAlert(String),
    /// Put the storm brake; there is one.
    Brake(BrakeRecord),
    /// The storm is over: remove it.
    ForgetBrake,
    /// Put a fence device under its name.
    FenceDevice(FenceDeviceRecord),
}

impl Stored {
    /// Does what a store does with one write; tests and the simulation use it as their store.
    pub fn apply(&mut self, write: Write) {
        match write {
            Write::Node(node) => {
                self.nodes.insert(node.node.clone(), node);
            }
            Write::RemoveNode(name) => {
                self.nodes.remove(&name);
                self.marks.remove(&name);
            }
            Write::Work(spec) => {
                self.works.insert(spec.name.clone(), spec);
            }
            Write::RemoveWork(name) => {
                self.works.remove(&name);
            }
            Write::Grant(grant) => {
                self.grants.insert(grant.key.clone(), grant);
            }
            Write::EndGrant(key) => {
                self.grants.remove(&key);
            }
            Write::HighestGeneration { work, generation } => {
                self.generations.insert(work, generation);
            }
            Write::Journal(entry) => self.journal_last = entry.number,
            Write::EventMark { node, mark } => {
                self.marks.insert(node, mark);
            }
            Write::Alert(alert) => {
                self.alerts.insert(alert.key.clone(), alert);
            }
            Write::ForgetAlert(key) => {
                self.alerts.remove(&key);
            }
            Write::Brake(brake) => self.brake = Some(brake),
            Write::ForgetBrake => self.brake = None,
            Write::FenceDevice(device) => {
                self.fence_devices.insert(device.device.clone(), device);
            }
        }
    }
}

/// What is kept of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Which.
    pub node: NodeId,
    /// Its newest proved session.
    pub session: Session,
    /// First moment of the node's boot clock at which that session was heard: what another session
    /// of the same boot said before is old, also for a coordinator that has just begun.
    pub session_since: Boottime,
    /// From its newest birth; absent until one arrived.
    pub birth: Option<BirthFacts>,
    /// Newest assignment that may have been sent to it.
    pub revision: Revision,
    /// Set while it takes no new work.
    pub cordon: Option<CordonRecord>,
    /// Set while it is being emptied or is empty.
    pub drain: Option<DrainRecord>,
    /// True when a person took back a drain that the agent still wants; forgotten when the agent
    /// wants it no more.
    pub wish_overruled: bool,
    /// Work that must not come back here for a while.
    pub barred: BTreeMap<WorkName, Barred>,
    /// The place that it holds among those that are out by choice, by what for. Stored before
    /// anything is done to it.
    #[serde(default)]
    pub reservations: BTreeMap<Purpose, Reservation>,
    /// Set when it is known why it is silent; forgotten when it is heard again.
    #[serde(default)]
    pub known_down: Option<KnownDown>,
    /// A reboot of it that is wanted or not yet over.
    #[serde(default)]
    pub reboot: Option<RebootRecord>,
    /// A fence of it that is under way.
    #[serde(default)]
    pub fence: Option<FenceRecord>,
    /// Set from the moment that it is confirmed off until another boot of it is proved.
    #[serde(default)]
    pub fenced: Option<FencedRecord>,
    /// Fence devices that are still to be asked to give it its power back.
    #[serde(default)]
    pub power_on: Vec<DeviceName>,
    /// Those that are to be asked once more, when what they were asked to switch off without a
    /// good answer is certainly over.
    #[serde(default)]
    pub power_on_late: Vec<DeviceName>,
    /// What devices said that could not.
    #[serde(default)]
    pub on_failed: Vec<DeviceSaid>,
}

/// Facts of a birth that outlive a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BirthFacts {
    /// When it was sent, on the node's boot clock: an older birth of the same boot counts no more.
    pub at: Boottime,
    /// The agent's version.
    pub version: String,
    /// What the host is made of.
    pub inventory: Inventory,
    /// What it offers.
    pub capacity: Capacity,
    /// For placement.
    pub labels: BTreeMap<String, String>,
    /// Failure domain.
    pub zone: Option<String>,
    /// Who keeps its promises.
    pub enforcement: Enforcement,
    /// The life of its event spool.
    pub stream: StreamId,
}

/// A cordon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonRecord {
    /// Why.
    pub reason: String,
}

/// A drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRecord {
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: DrainBy,
    /// Since when it stands so: asked for while it waits, then begun.
    pub since: WallTime,
    /// True until there is a place for the node among those that are out by choice; until then
    /// nothing is done.
    #[serde(default)]
    pub waits: bool,
    /// Orders the ones that wait: number of the journal entry before it was asked for.
    #[serde(default)]
    pub order: u64,
    /// After so long what is left is stopped.
    pub within: Option<Millis>,
    /// True once everything is proved gone.
    pub done: bool,
}

/// Why a work must not come back to a node for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barred {
    /// How it ended there.
    pub cause: StopCause,
    /// Under which grant.
    pub generation: Generation,
    /// Since when.
    pub since: WallTime,
    /// The node's words.
    pub detail: String,
}

/// One grant that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Which.
    pub key: GrantKey,
    /// To whom.
    pub node: NodeId,
    /// On which boot of it: another boot runs nothing of this grant.
    pub boot_id: BootId,
    /// As it was when granted; the node holds it like this until the grant ends.
    pub spec: WorkSpec,
    /// Since when.
    pub granted: WallTime,
    /// Longest term under which its lease may have been renewed, by any coordinator: a shorter one
    /// in a later configuration shortens no promise that was given.
    pub term: Millis,
    /// Set from the moment that it is being taken away; never unset.
    pub releasing: Option<ReleaseWhy>,
}

/// Why a grant is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseWhy {
    /// The work is not declared any more.
    WorkRemoved,
    /// The work's declaration changed in what the node was given.
    WorkChanged,
    /// More hold it than are wanted.
    Surplus,
    /// The node is being drained.
    Drain,
    /// The node is being drained and its deadline has passed.
    DrainDeadline,
    /// The node does not have the labels that the work wants now.
    Labels,
    /// Work of higher priority needs the room.
    Preempted,
    /// Its holder was lost.
    NodeLost,
}

impl core::fmt::Display for ReleaseWhy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            ReleaseWhy::WorkRemoved => "the work was removed",
            ReleaseWhy::WorkChanged => "the work was changed",
            ReleaseWhy::Surplus => "more hold it than are wanted",
            ReleaseWhy::Drain => "the node is being drained",
            ReleaseWhy::DrainDeadline => "the deadline of the drain has passed",
            ReleaseWhy::Labels => "the node lacks labels that the work wants",
            ReleaseWhy::Preempted => "work of higher priority needs the room",
            ReleaseWhy::NodeLost => "the node is lost",
        })
    }
}

/// Up to where the events of a node are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMark {
    /// The life of its spool.
    pub stream: StreamId,
    /// The last one that is stored.
    pub seq: Seq,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Identity.
    pub key: String,
    /// Open or resolved.
    pub state: AlertState,
    /// How much it matters.
    pub severity: Severity,
    /// About which node, if one.
    pub node: Option<NodeId>,
    /// About which work, if one.
    pub work: Option<WorkName>,
    /// One sentence.
    pub summary: String,
    /// What was seen, what was tried, what is next.
    pub detail: String,
    /// Since when.
    pub since: WallTime,
    /// Until when.
    pub resolved: Option<WallTime>,
    /// Which state each receiver has heard.
    pub told: BTreeMap<String, AlertState>,
}
