//! What really happened in the world, as checkers see it and as the trace records it.

use nodemedic_protocol::event::{Event, Verb};
use nodemedic_protocol::work::Desired;
use nodemedic_protocol::{Generation, Revision, StreamId, WorkName};
use nodemedic_sim_agent_core::UnitKey;
use nodemedic_sim_coordinator_core::Write;

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
    /// The gate of a start or restart stayed shut, and its agent hears it: nothing was started.
    TurnedAway {
        /// Where.
        host: Host,
        /// What.
        unit: UnitKey,
        /// By which verb.
        verb: Verb,
    },
    /// The process at the gate of a start ended, and nothing was started. Until then it is what the
    /// promise names.
    GateLeft {
        /// Where.
        host: Host,
        /// Of what.
        unit: UnitKey,
        /// Under which grant.
        generation: Option<Generation>,
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
    /// A host got power.
    Booted {
        /// Which.
        host: Host,
    },
    /// A host lost power.
    PoweredOff {
        /// Which.
        host: Host,
        /// By whom.
        by: Cut,
    },
    /// Somebody says of a host that runs that it is off.
    Misled {
        /// Of which.
        host: Host,
        /// Who.
        by: Liar,
    },
    /// Nothing runs on a host, and its boot clock goes on.
    Suspended {
        /// Which.
        host: Host,
    },
    /// It goes on as if nothing had been.
    Resumed {
        /// Which.
        host: Host,
        /// So long it may need to find out what ended while it slept.
        wakes_within: u64,
    },
    /// An agent process began, with nothing seen yet.
    AgentBegan {
        /// Where.
        host: Host,
    },
    /// An agent process ended.
    AgentEnded {
        /// Where.
        host: Host,
    },
    /// What an agent remembers on disk is as it was once before.
    MemoryRolledBack {
        /// Where.
        host: Host,
    },
    /// An agent begins with an older memory than that of the agent before it.
    Forgets {
        /// Where.
        host: Host,
    },
    /// An agent answered a command.
    Answered {
        /// Where.
        host: Host,
        /// True when it obeyed.
        obeyed: bool,
        /// Why it must not be obeyed, if so.
        void: Option<&'static str>,
    },
    /// An agent holds a lease and has promised its end.
    Promised {
        /// Where.
        host: Host,
        /// Of what.
        work: WorkName,
        /// Under which grant.
        generation: Generation,
        /// Then the lease is over, by the host's clock ...
        until: True,
        /// ... and then its grace is.
        due: True,
    },
    /// An agent goes on where it was frozen: what it does next was decided before.
    Thawed {
        /// Where.
        host: Host,
    },
    /// A watchdog resets its host.
    Resets {
        /// Which.
        host: Host,
        /// The works that have a process there, be it only one at its gate.
        held: Vec<(WorkName, Generation)>,
        /// True when the watchdog's process has run all the time lately.
        runs: bool,
    },
    /// The watchdog of a host fed its device.
    Fed {
        /// Where.
        host: Host,
    },
    /// A program says on a host what people should read.
    Said {
        /// Where.
        host: Host,
        /// What.
        text: String,
    },
    /// An event was put in a spool.
    Spooled {
        /// Where.
        host: Host,
        /// In which life of it.
        stream: StreamId,
        /// What.
        event: Box<Event>,
    },
    /// A spool was lost with what was in it.
    SpoolLost {
        /// Where.
        host: Host,
    },
    /// A heartbeat of a host reached the coordinator.
    Heard {
        /// Whose.
        host: Host,
    },
    /// The coordinator begins to hear.
    Listens,
    /// What the coordinator does from here on was decided then, before it was frozen; absent: what
    /// it does is decided now.
    Decided(Option<True>),
    /// The coordinator's store took a write.
    Committed(Box<Write>),
    /// That was all of one transaction.
    Transaction,
    /// Something was broken or repaired on purpose.
    Fault(String),
    /// All is repaired; from here on the world must come to rest.
    Calm,
    /// The end.
    End,
}

/// Who took a host's power away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The world.
    Failure,
    /// Its own watchdog.
    Watchdog,
    /// A fence device.
    Fence,
}

/// Who says that a host is off while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liar {
    /// A fence device that reads OFF.
    Device,
    /// A person who confirms it down.
    Person,
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
