//! What the shell knows when it starts the core: this run, this boot, this machine.

use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::event::Event;
use nodemedic_protocol::inventory::{Capacity, Inventory};
use nodemedic_protocol::message::Session;
use nodemedic_protocol::{Seq, StreamId};

use crate::memory::LeaseMemory;

/// Facts of one run of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// This boot and this run.
    pub session: Session,
    /// The agent's version.
    pub version: String,
    /// What the host is made of.
    pub inventory: Inventory,
    /// What it offers to work.
    pub capacity: Capacity,
    /// The event spool as found on disk.
    pub spool: Spooled,
    /// The leases file as found; `None` when there is none, then every lease is over.
    pub leases: Option<LeaseMemory>,
}

/// An event spool as found on disk. A lost spool is a fresh one with a new stream id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// The life of this spool.
    pub stream: StreamId,
    /// Every event up to this one was trimmed; zero in a fresh spool.
    pub trimmed: Seq,
    /// What is left, oldest first.
    pub events: Vec<Event>,
}
