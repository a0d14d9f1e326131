//! What the planner sees: one immutable picture of the fleet.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use nodemedic_protocol::api::Liveness;
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::WorkSpec;
use nodemedic_protocol::{Generation, Level, NodeId, WorkName};

use crate::lease::LeaseEnd;
use crate::mutation::Mutations;

/// Everything that a plan depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanInput {
    /// All declared works; shared, because a picture is drawn often and they change rarely.
    pub works: Arc<BTreeMap<WorkName, WorkSpec>>,
    /// All nodes.
    pub nodes: BTreeMap<NodeId, PlanNode>,
    /// All grants that have not ended, by work and generation.
    pub holders: Vec<Holder>,
    /// A deliberate fault of the simulation.
    #[doc(hidden)]
    pub mutation: Mutations,
}

impl PlanInput {
    /// The holders of one work.
    pub fn holders_of<'a>(&'a self, work: &WorkName) -> impl Iterator<Item = &'a Holder> {
        self.holders.iter().filter(move |h| h.work == *work)
    }
}

/// A node, as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNode {
    /// Set while it takes no new work at all.
    pub closed: Option<NoNewWork>,
    /// Whether what it holds should go.
    pub evict: Evict,
    /// Whether what it holds still counts.
    pub presence: Presence,
    /// Failure domain.
    pub zone: Option<String>,
    /// For placement.
    pub labels: BTreeMap<String, String>,
    /// What it offers.
    pub capacity: Capacity,
    /// How well it is.
    pub level: Level,
    /// Work that must not come back here for a while.
    pub barred: BTreeSet<WorkName>,
}

/// Why a node takes no new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoNewWork {
    /// It is not Alive.
    Liveness(Liveness),
    /// The coordinator has just begun and still listens who is there.
    Gathering,
    /// It has not yet said what it offers.
    Undescribed,
    /// It is about to be switched off.
    BeingFenced,
    /// It is about to be rebooted.
    ToBeRebooted,
    /// It was rebooted, and must be well for a while first.
    Rebooted,
    /// A person closed it.
    Cordoned,
    /// It is being emptied.
    Draining,
    /// It was emptied.
    Drained,
}

/// Whether what a node holds should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evict {
    /// It stays.
    No,
    /// It moves as soon as it has another place.
    Move,
    /// It stops now: the deadline has passed.
    Force,
}

/// Whether what a node holds still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It may well serve.
    Here,
    /// It is lost.
    Gone,
}

/// A grant that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The work.
    pub work: WorkName,
    /// The generation.
    pub generation: Generation,
    /// Where.
    pub node: NodeId,
    /// True when it was granted as exclusive.
    pub exclusive: bool,
    /// What it takes.
    pub needs: Capacity,
    /// Its priority now.
    pub priority: i32,
    /// Whether it serves.
    pub serving: Serving,
    /// True while it is being taken away.
    pub releasing: bool,
    /// True when the work's declaration has changed in what the node was given.
    pub outdated: bool,
    /// Until when its promise holds, for the report.
    pub lease: LeaseEnd,
}

/// Whether a holder serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Serving {
    /// Its node says so.
    Yes,
    /// Its node says that it does not, or was never told of it.
    No,
    /// Nobody knows: its node has not been heard since this coordinator began.
    Unknown,
}
