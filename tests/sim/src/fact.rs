//! What really happened in the world, as checkers see it and as the trace records it.

use nodemedic_agent_core::UnitKey;
use nodemedic_coordinator_core::Write;
use nodemedic_protocol::event::{Event, Verb};
use nodemedic_protocol::work::Desired;
use nodemedic_protocol::{Generation, Revision, StreamId, WorkName};

use crate::clock::True;

/// Number of a host; its name is `host-N`.
pub type Host = usize;

/// One thing that really happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A process of a unit began to run.
    Began {
        /// Where.
        host: Host,
        /// Of what.
        unit: UnitKey,
        /// Under which grant; absent for a service.
        generation: Option<Generation>,
    },
    /// It runs no more.
    Ended {
        /// Where.
        host: Host,
        /// Of what.
        unit: UnitKey,
        /// Under which grant.
        generation: Option<Generation>,
        /// How.
        how: &'static str,
    },
    /// The agent had something done to a unit.
    Acted {
        /// Where.
        host: Host,
        /// To what.
        unit: UnitKey,
        /// What.
        verb: Verb,
    },
    /// The agent was shown something about a unit.
    Shown {
        /// Where.
        host: Host,
        /// Of what.
        unit: UnitKey,
        /// What it was.
        sign: Sign,
    },
    /// An assignment reached an agent.
    Told {
        /// Which.
        host: Host,
        /// Its number.
        revision: Revision,
        /// What it says.
        works: Vec<(WorkName, Generation, Desired)>,
    },
    /// An agent process began, with nothing seen yet.
    AgentBegan {
        /// Where.
        host: Host,
    },
    /// An event was put in a spool.
    Spooled {
        /// Where.
        host: Host,
        /// In which life of it.
        stream: StreamId,
        /// What.
        event: Event,
    },
    /// A spool was lost with what was in it.
    SpoolLost {
        /// Where.
        host: Host,
    },
    /// The coordinator's store took a write.
    Committed(Box<Write>),
    /// Something was broken or repaired on purpose.
    Fault(String),
    /// All is repaired; from here on the world must come to rest.
    Calm,
    /// The end.
    End,
}

/// What a sign says of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It runs, and no probe could know better.
    Well,
    /// It runs; whether it works its probe must say.
    Runs,
    /// It does not run.
    Down,
    /// Its probe passes.
    Passes,
    /// Its probe fails, or what was done to it did.
    Fails,
    /// Nothing.
    Nothing,
}

/// A broken property.
#[derive(Clone, Debug)]
pub struct Violation {
    /// When.
    pub at: True,
    /// Which property.
    pub property: &'static str,
    /// What was seen.
    pub what: String,
}
