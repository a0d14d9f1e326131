//! The coordinator's HTTP API as types; docs/reference/api.md has the paths.
//!
//! Times are wall times (milliseconds since 1970 UTC), because this is what people read; spans are
//! milliseconds.

pub mod requests;

pub use requests::{
    Accepted, ApiError, ConfirmDownRequest, CordonRequest, DrainRequest, ForgetRequest, PutWork,
};

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::health::{Condition, Level, Severity};
use crate::ids::{Epoch, Generation, NodeId, Revision, SiteId, WorkName};
use crate::inventory::{Capacity, Inventory};
use crate::time::{Millis, WallTime};
use crate::work::{Enforcement, WorkSpec, WorkState};

/// `GET /api/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The site.
    pub site: SiteId,
    /// The coordinator's version.
    pub version: String,
    /// Its leadership.
    pub epoch: Epoch,
    /// Since when it runs.
    pub started: WallTime,
    /// Time until which nothing is taken out on silence alone, because this coordinator has not
    /// seen the fleet for long enough; zero when that is over.
    pub resume_grace_left: Millis,
    /// Set when agents obey a newer epoch than ours, so that nothing is decided here.
    pub superseded_by: Option<Epoch>,
    /// Nodes by liveness.
    pub nodes: BTreeMap<Liveness, u32>,
    /// Open alerts.
    pub alerts_open: u32,
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// Known from the store, not heard since this coordinator began.
    Unheard,
    /// Heard in time.
    Alive,
    /// Late, or its will arrived.
    Suspect,
    /// Silent for long.
    Lost,
    /// Heard again after having been lost; must stay so for a while before it gets work.
    Returning,
    /// It said that it goes, and until when.
    Away,
}

impl core::fmt::Display for Liveness {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Liveness::Unheard => "unheard",
            Liveness::Alive => "alive",
            Liveness::Suspect => "suspect",
            Liveness::Lost => "lost",
            Liveness::Returning => "returning",
            Liveness::Away => "away",
        })
    }
}

/// One row of `GET /api/v1/nodes`, and `GET /api/v1/nodes/{node}` with its details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Which.
    pub node: NodeId,
    /// Whether it is there.
    pub liveness: Liveness,
    /// Since when it stands so.
    pub liveness_since: WallTime,
    /// How long ago it was heard; absent when never by this coordinator.
    pub heard_ago: Option<Millis>,
    /// How well it is, by its own last word.
    pub level: Level,
    /// What is wrong.
    pub conditions: Vec<Condition>,
    /// Whether it takes new work, and why not.
    pub scheduling: Scheduling,
    /// Failure domain.
    pub zone: Option<String>,
    /// For placement.
    pub labels: BTreeMap<String, String>,
    /// What it offers.
    pub capacity: Capacity,
    /// What its grants take of that.
    pub used: Capacity,
    /// Who keeps its promises.
    pub enforcement: Enforcement,
    /// Its grants.
    pub works: Vec<HolderView>,
    /// The agent's version.
    pub version: Option<String>,
    /// What it should run.
    pub revision_wanted: Revision,
    /// What it has taken.
    pub revision_taken: Revision,
    /// What it is made of; only in the single view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// Its newest sample; only in the single view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<crate::sample::Sample>,
}

/// Whether a node takes new work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheduling {
    /// Yes.
    Open,
    /// No new work; what runs stays.
    Cordoned {
        /// Why.
        reason: String,
    },
    /// Being emptied.
    Draining(DrainView),
    /// Emptied; stays so until undrained.
    Drained(DrainView),
}

/// A drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainView {
    /// Why.
    pub reason: String,
    /// Who asked.
    pub by: DrainBy,
    /// Since when.
    pub since: WallTime,
    /// Until when it should be done; then what is left is stopped. Without one nothing is forced.
    pub deadline: Option<WallTime>,
    /// What is still there, and why.
    pub waiting: Vec<String>,
}

/// Who asked for a drain. Only the same one takes it back; a person may take back any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainBy {
    /// An operator.
    Person,
    /// The host's agent.
    Agent,
}

/// One row of `GET /api/v1/work`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkView {
    /// As declared.
    pub spec: WorkSpec,
    /// Its holders.
    pub holders: Vec<HolderView>,
    /// How many are wanted.
    pub wanted: u32,
    /// How many are seen to run.
    pub running: u32,
    /// What keeps it from being as wanted, one sentence each; empty when it is.
    pub waiting: Vec<String>,
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// The work.
    pub work: WorkName,
    /// Where.
    pub node: NodeId,
    /// Under which grant.
    pub generation: Generation,
    /// As the node last said; absent until it has.
    pub state: Option<WorkState>,
    /// Since when it stands so.
    pub since: WallTime,
    /// True while it is being taken away.
    pub releasing: bool,
    /// One line for people.
    pub detail: String,
}

/// `GET /api/v1/events?after=N&limit=N&wait_ms=N&node=X`: the fleet's journal, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsPage {
    /// In order.
    pub entries: Vec<JournalEntry>,
    /// Ask with `after` set to this for what follows.
    pub last: u64,
}

/// One line of the fleet's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Position; rises by one.
    pub number: u64,
    /// When the coordinator stored it.
    pub stored: WallTime,
    /// From where.
    pub node: Option<NodeId>,
    /// What.
    pub what: JournalWhat,
}

/// Contents of a journal entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalWhat {
    /// Reported by a node.
    Node(Event),
    /// Decided or seen by the coordinator.
    Coordinator(Decision),
}

/// What a coordinator decided or saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A coordinator took the lead.
    Started {
        /// Its epoch.
        epoch: Epoch,
    },
    /// A node's liveness changed.
    Liveness {
        /// From.
        from: Liveness,
        /// To.
        to: Liveness,
        /// On which evidence.
        because: String,
    },
    /// A grant was made.
    Granted {
        /// The work.
        work: WorkName,
        /// The generation.
        generation: Generation,
        /// Why here.
        because: String,
    },
    /// A grant is being taken away.
    Releasing {
        /// The work.
        work: WorkName,
        /// The generation.
        generation: Generation,
        /// Why.
        because: String,
    },
    /// A grant ended.
    Ended {
        /// The work.
        work: WorkName,
        /// The generation.
        generation: Generation,
        /// On which proof.
        proof: Proof,
    },
    /// Whether a node takes new work changed.
    Scheduling {
        /// To what, in words.
        to: String,
        /// Why.
        because: String,
    },
    /// An alert began.
    AlertRaised {
        /// Its identity.
        key: String,
        /// One sentence.
        summary: String,
    },
    /// An alert ended.
    AlertResolved {
        /// Its identity.
        key: String,
    },
    /// Works were declared, changed or removed.
    WorkChanged {
        /// Which.
        works: Vec<WorkName>,
        /// How: `declared`, `removed`.
        how: String,
    },
}

/// Why nobody holds a grant any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The node proved that it is stopped.
    StopConfirmed,
    /// The node rebooted, and nodemedic's work does not start by itself at boot.
    Rebooted,
    /// The promise of its lease has provably ended.
    LeaseEnded,
    /// A person said so.
    PersonsWord {
        /// Who.
        by: String,
        /// How they know.
        reason: String,
    },
    /// Not exclusive: no proof is needed.
    NotNeeded,
}

/// One row of `GET /api/v1/alerts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertView {
    /// Identity: the same trouble has the same key.
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
    /// Until when; absent while open.
    pub resolved: Option<WallTime>,
    /// Whether each receiver has heard the present state.
    pub delivered: bool,
    /// Which receivers did not take the present state, and why. In a webhook's body always empty:
    /// a receiver need not know of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelivered: Vec<Undelivered>,
}

/// A receiver that did not take an alert when it was last tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// Its name in the configuration.
    pub receiver: String,
    /// True when it refused for good: until its configuration or ours changes, trying again does
    /// not help, and it is tried only at the longest pause.
    pub permanent: bool,
    /// How the last try ended.
    pub error: String,
}

/// Open or resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Still true.
    Firing,
    /// Over.
    Resolved,
}

/// The body posted to a webhook receiver; `state` tells firing from resolved, `key` is the same in
/// both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookBody {
    /// Version of this body.
    pub version: u32,
    /// Which site.
    pub site: SiteId,
    /// The alert.
    pub alert: AlertView,
}
