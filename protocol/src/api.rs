//! The coordinator's HTTP API as types; docs/reference/api.md has the paths.
//!
//! Times are wall times (milliseconds since 1970 UTC), because this is what people read; spans are
//! milliseconds.

pub mod blast;
pub mod fence;
pub mod journal;
pub mod reboot;
pub mod requests;

pub use blast::{
    BrakeChange, BrakeReleaseRequest, BrakeState, BrakeView, BudgetView, OutView, Purpose,
    ReleaseView, SilentView,
};
pub use fence::{
    DeviceSaid, FenceAnswer, FenceBy, FenceDeviceView, FenceStep, FenceThen, FenceVerb, FenceView,
    FencesView, NodeFencingView,
};
pub use journal::{Decision, EventsPage, JournalEntry, JournalWhat, Proof};
pub use reboot::{RebootStage, RebootStep, RebootView};
pub use requests::{
    Accepted, ApiError, CancelFenceRequest, ConfirmDownRequest, CordonRequest, DrainRequest,
    FenceRequest, ForgetRequest, PutWork, TrustDeviceRequest,
};

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

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
    /// How many hosts are out, and how many may be.
    pub budget: BudgetView,
    /// The storm brake.
    pub brake: BrakeView,
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
    /// Confirmed off by its fence devices, and not heard of a new boot since.
    Fenced,
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
            Liveness::Fenced => "fenced",
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
    /// Why it counts as out, for the budget; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// How it can be fenced; absent when no device is configured for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing: Option<NodeFencingView>,
    /// Its reboot, while one is wanted or not yet over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootView>,
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
    /// To be emptied once there is room for it among the hosts that are out; takes work until then.
    DrainWaits(DrainView),
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
    /// Since when: asked for while it waits for room, then begun.
    pub since: WallTime,
    /// Until when it should be done, once it has begun; then what is left is stopped. Without one
    /// nothing is forced.
    pub deadline: Option<WallTime>,
    /// What keeps it from beginning; once it has begun, what is still there, and why.
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
