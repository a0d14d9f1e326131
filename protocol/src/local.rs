//! The agent's local socket: one JSON request in a line, one JSON answer in a line.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::diagnose::{Bundle, BundleInfo, DiagnoseRequest};
use crate::event::Event;
use crate::healing::{HealingStatus, Mode, PauseStatus, Rung};
use crate::health::{Condition, Level};
use crate::ids::{Epoch, NodeId, Revision, ServiceName};
use crate::inject::{InjectRequest, Injection};
use crate::inventory::Inventory;
use crate::message::Session;
use crate::sample::Sample;
use crate::time::{Boottime, Millis};
use crate::work::{Enforcement, WorkStatus};

/// Longest request line. A request is a word and a name.
pub const REQUEST_MAX_BYTES: usize = 4096;

/// What a local client may ask. The socket's file mode says who may connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LocalRequest {
    /// Everything there is to see now.
    Status,
    /// The newest events, oldest first.
    Events {
        /// At most so many.
        last: u32,
    },
    /// Let a fenced service back with a fresh budget.
    Unfence {
        /// Which.
        service: ServiceName,
    },
    /// About bundles of diagnostics.
    Diagnose(DiagnoseRequest),
    /// About faults on purpose.
    Inject(InjectRequest),
    /// Hold all healing of one service, or of all of them, for a while. A second pause of the same
    /// replaces the first.
    Pause {
        /// Which; absent: the whole host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceName>,
        /// It ends by itself after so long; at most [`PAUSE_MAX`](crate::healing::PAUSE_MAX).
        span: Millis,
        /// Why; people will ask.
        reason: String,
    },
    /// End such a pause now.
    Resume {
        /// Of which; absent: that of the whole host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceName>,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalResponse {
    /// To `Status`.
    Status(alloc::boxed::Box<LocalStatus>),
    /// To `Events`.
    Events(Vec<Event>),
    /// To `Diagnose(List)`.
    Bundles(Vec<BundleInfo>),
    /// To `Diagnose(Show)` and `Diagnose(Take)`.
    Bundle(alloc::boxed::Box<Bundle>),
    /// To every `Inject`: the faults that stand, or what was begun or taken back.
    Injections(Vec<Injection>),
    /// Taken.
    Done,
    /// Not taken: what was wrong and what to do.
    Error(String),
}

/// The agent as it sees itself and its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStatus {
    /// Name of the host in the fleet.
    pub node: NodeId,
    /// The agent's version.
    pub version: String,
    /// This run.
    pub session: Session,
    /// When this was answered, on the host's boot clock.
    pub at: Boottime,
    /// How well the host is.
    pub level: Level,
    /// What is wrong.
    pub conditions: Vec<Condition>,
    /// The newest sample; absent until there is one.
    pub sample: Option<Sample>,
    /// What the host is made of.
    pub inventory: Inventory,
    /// What holds for all services.
    #[serde(default)]
    pub healing: HealingStatus,
    /// Services of this host's configuration.
    pub services: Vec<ServiceStatus>,
    /// Works that the coordinator placed here.
    pub works: Vec<WorkStatus>,
    /// The link to the broker.
    pub link: LinkStatus,
    /// Who keeps promises when the agent cannot.
    pub enforcement: Enforcement,
    /// Highest epoch obeyed.
    pub epoch_seen: Epoch,
    /// Assignment taken.
    pub revision: Revision,
    /// Set while the host asks to be drained.
    pub drain_wanted: Option<String>,
}

/// The link to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Connected now.
    pub up: bool,
    /// Since when.
    pub since: Boottime,
    /// Why not, while not connected.
    pub last_error: Option<String>,
    /// Events that wait to be stored by the coordinator.
    pub spooled_events: u64,
    /// Events that were dropped because the spool was full, ever.
    pub dropped_events: u64,
}

/// One service of the host's own configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Which.
    pub service: ServiceName,
    /// Where it stands on the ladder, in one word: `running`, `starting`, `backoff`, `fenced`, ...
    pub state: String,
    /// How far healing goes here, the host's mode included.
    #[serde(default)]
    pub mode: Mode,
    /// Set while this service is paused by itself; the host's pause is in [`HealingStatus`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseStatus>,
    /// Failures in a row: since it last ran well for long enough.
    #[serde(default)]
    pub failures: u32,
    /// What its next failure leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Rung>,
    /// Since when.
    pub since: Boottime,
    /// Main process, where there is one.
    pub pid: Option<u32>,
    /// Restarts in the budget's window.
    pub restarts_used: u32,
    /// Restarts that the window allows.
    pub restarts_allowed: u32,
    /// The window.
    pub window: Millis,
    /// One line for people.
    pub detail: String,
}
