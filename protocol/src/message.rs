//! Every message that crosses MQTT. [`crate::topic`] says where each goes, [`crate::codec`] how it
//! becomes bytes.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::EventBatch;
use crate::health::{Condition, Level};
use crate::ids::{BootId, CommandId, Epoch, NodeId, Revision, Seq, SessionId, StreamId};
use crate::inventory::{Capacity, Inventory};
use crate::reboot::RebootWord;
use crate::sample::Sample;
use crate::time::{Boottime, Millis, WallTime};
use crate::work::{Assignment, Enforcement, GrantRef, WorkStatus};

/// One run of one agent on one boot. A will of another session than the current one means nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Session {
    /// The boot.
    pub boot_id: BootId,
    /// The run.
    pub session_id: SessionId,
}

/// Retained; also the last will (then `online` is false). A hint, never a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Whose.
    pub session: Session,
    /// There or gone.
    pub online: bool,
    /// When this was written, for people; a will is written at connect time.
    pub wall: WallTime,
    /// Set when the agent ends on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub going_down: Option<GoingDown>,
}

/// A planned end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoingDown {
    /// Why: `agent stop`, `agent upgrade`, `host shutdown`.
    pub reason: String,
    /// For how long it is expected to be away.
    pub back_within: Millis,
}

/// First message of a session, and again on demand: everything that the coordinator needs to know
/// of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// Of which session.
    pub session: Session,
    /// Position among the ordered messages of the session.
    pub seq: Seq,
    /// The agent's version.
    pub version: String,
    /// When it was sent, on the node's boot clock.
    pub at: Boottime,
    /// When it was sent, for people.
    pub wall: WallTime,
    /// What the host is made of.
    pub inventory: Inventory,
    /// What it offers to work.
    pub capacity: Capacity,
    /// For placement.
    pub labels: BTreeMap<String, String>,
    /// Failure domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Who keeps its promises when the agent cannot.
    pub enforcement: Enforcement,
    /// Highest epoch it has obeyed.
    pub epoch_seen: Epoch,
    /// Assignment that it has taken.
    pub revision: Revision,
    /// The life of its event spool.
    pub stream: StreamId,
    /// What it says of its reboots; nothing from agents that know of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootWord>,
    /// All works it knows of.
    pub works: Vec<WorkStatus>,
}

/// Every few seconds, never retained, delivered at most once. Carries the state that a lost message
/// would leave wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Of which session.
    pub session: Session,
    /// Rises with each heartbeat of the session.
    pub n: u64,
    /// When it left, on the node's boot clock: a lease runs from here.
    pub sent_at: Boottime,
    /// Last ordered message that was sent; a receiver that has seen less asks for a rebirth.
    pub seq_sent: Seq,
    /// Assignment that it has taken.
    pub revision: Revision,
    /// Highest epoch it has obeyed.
    pub epoch_seen: Epoch,
    /// How well the host is.
    pub level: Level,
    /// Set while the host asks to be drained, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_wanted: Option<String>,
    /// What it says of its reboots; nothing from agents that know of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<RebootWord>,
    /// All works it knows of.
    pub works: Vec<WorkStatus>,
}

/// Retained: how well a host is, sent on change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Of which session.
    pub session: Session,
    /// Position among the ordered messages of the session.
    pub seq: Seq,
    /// Over all.
    pub level: Level,
    /// What is wrong, ordered by component and reason.
    pub conditions: Vec<Condition>,
    /// Set while the host asks to be drained, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_wanted: Option<String>,
}

/// All works that a node knows of, sent on change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkReport {
    /// Of which session.
    pub session: Session,
    /// Position among the ordered messages of the session.
    pub seq: Seq,
    /// When, on the node's boot clock: of two reports of one boot the later one counts.
    pub at: Boottime,
    /// Assignment that it has taken.
    pub revision: Revision,
    /// Each work at most once.
    pub works: Vec<WorkStatus>,
}

/// From the coordinator to one node. Never retained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Names it, for the answer.
    pub id: CommandId,
    /// For whom; a node refuses another's.
    pub node: NodeId,
    /// For which boot; a rebooted host refuses it.
    pub boot_id: BootId,
    /// Of which leadership; an older one is refused.
    pub epoch: Epoch,
    /// After this moment of the node's boot clock it is void.
    pub not_after: Boottime,
    /// What to do.
    pub body: CommandBody,
}

/// What a command asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandBody {
    /// Run this and nothing else.
    Assign(Assignment),
    /// Send the birth again.
    Rebirth,
    /// The permit for the reboot that the host asks for. Sent to nobody who does not ask.
    Reboot,
}

/// Answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Of which session.
    pub session: Session,
    /// The command.
    pub id: CommandId,
    /// Taken or refused.
    pub answer: Answer,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Taken; its effects are reported as work and events.
    Taken,
    /// Not taken.
    Refused(Refusal),
}

/// Why a command is refused. Each is safe to repeat: a refused command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It names another node.
    ForeignNode,
    /// It names another boot.
    ForeignBoot,
    /// Its time is over.
    Expired,
    /// It was kept by the broker and delivered to a new subscriber; commands never are.
    Retained,
    /// A newer coordinator has been obeyed.
    OlderEpoch {
        /// The newest one.
        seen: Epoch,
    },
    /// A newer assignment has been taken.
    OlderRevision {
        /// The newest one.
        seen: Revision,
    },
    /// The same revision with other content: somebody numbers wrongly.
    SameRevisionOtherContent,
    /// It permits what the host does not want, or may not do itself now.
    NotNow {
        /// What is in the way.
        why: String,
    },
}

/// Answer to a heartbeat: renews the leases of exactly these grants, until the heartbeat's own send
/// time plus term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAck {
    /// Of which leadership.
    pub epoch: Epoch,
    /// Whose heartbeat.
    pub session: Session,
    /// Which heartbeat.
    pub n: u64,
    /// How long a lease runs from the heartbeat's send time.
    pub term: Millis,
    /// What it renews; what is not named is not renewed.
    pub grants: Vec<GrantRef>,
    /// The event stream that `events_stored` counts in; absent until the coordinator knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// Every event up to this one is stored; the agent may forget them.
    pub events_stored: Seq,
}

/// Retained: who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorState {
    /// Of which leadership.
    pub epoch: Epoch,
    /// There or gone (then it is the last will).
    pub online: bool,
    /// When, for people.
    pub wall: WallTime,
    /// Its version.
    pub version: String,
}

/// Any message, as decoded from its topic's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// See [`Presence`].
    Presence(Presence),
    /// See [`Birth`].
    Birth(alloc::boxed::Box<Birth>),
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// See [`Health`].
    Health(Health),
    /// See [`Sample`].
    Sample(alloc::boxed::Box<Sample>),
    /// See [`EventBatch`].
    Event(EventBatch),
    /// See [`WorkReport`].
    Work(WorkReport),
    /// See [`Command`].
    Command(Command),
    /// See [`Ack`].
    Ack(Ack),
    /// See [`LeaseAck`].
    Lease(LeaseAck),
    /// See [`CoordinatorState`].
    Coordinator(CoordinatorState),
}
