//! The fleet's journal: what nodes reported, and what the coordinator decided or saw.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Liveness;
use super::blast::{BrakeChange, Purpose};
use super::fence::FenceStep;
use super::reboot::RebootStep;
use crate::event::Event;
use crate::ids::{DeviceName, Epoch, Generation, NodeId, WorkName};
use crate::time::WallTime;

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
    /// A place was taken among the hosts that are out by choice, before anything was done to it.
    Reserved {
        /// What for.
        purpose: Purpose,
        /// How many hosts are out with it.
        out: u32,
        /// How many may be.
        limit: u32,
        /// What was in the way and was overridden by a person.
        overridden: Vec<String>,
    },
    /// The host is back and well, and its place is free.
    GivenBack {
        /// What it had been taken out for.
        purpose: Purpose,
    },
    /// The storm brake engaged, lifted, or was released.
    Brake(BrakeChange),
    /// A step of a fence, or news of a fence device.
    Fence(FenceStep),
    /// A step of a reboot that a host asks for.
    Reboot(RebootStep),
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
    /// The host was switched off, and these devices read OFF when asked for it apart.
    Fenced {
        /// Which.
        devices: Vec<DeviceName>,
    },
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
