//! Everything that the agent wants done, as one closed enum, and when it wants to be woken.
//!
//! Effects are done in the order in which they come. Before an `Act` or a `Promise` is done, every
//! earlier `Remember` and `RememberLeases` is durable; before a `Publish`, everything earlier is.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use nodemedic_protocol::event::{Event, Verb};
use nodemedic_protocol::message::Message;
use nodemedic_protocol::work::{ProbeSpec, Run};
use nodemedic_protocol::{Boottime, Generation, Millis, RemedyName, Seq, WorkName};
use serde::{Deserialize, Serialize};

use crate::config::Hooks;
use crate::memory::{LeaseMemory, Memory};
use crate::unit::UnitKey;

/// One action; rises over restarts of the agent too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(pub u64);

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One message whose delivery to the broker the core wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Look after this unit from now on: adopt what runs of it, say at once what is seen, then say
    /// every change, and run its probe while it runs. A second `Watch` of a unit replaces the
    /// first and is answered by a fresh observation too.
    Watch(Watch),
    /// Forget this unit. What runs of it keeps running.
    Unwatch {
        /// Which.
        unit: UnitKey,
    },
    /// Do this to a unit. An act for a unit that has one under way ends that one first
    /// (`ActionEnded` with `Interrupted`), whatever it was.
    Act(Act),
    /// Send this when the link is up; drop it otherwise. Topic and delivery follow from its kind.
    Publish {
        /// What.
        message: Message,
        /// Set when the core wants `Delivered`.
        token: Option<Token>,
    },
    /// Append this to the event spool on disk.
    SpoolAppend(Event),
    /// Put one event in the place of all spooled events from `first` to `last`, both included.
    SpoolReplace {
        /// First one to go.
        first: Seq,
        /// Last one to go.
        last: Seq,
        /// What stands for them; its `seq` is `last`.
        with: Event,
    },
    /// Forget all spooled events up to this one; the spool remembers the number itself.
    SpoolTrim {
        /// The last one to go.
        through: Seq,
    },
    /// Keep this over restarts and reboots, and a copy of it on a tmpfs over restarts on this boot:
    /// the next run takes [`Memory::newest`] of the two.
    Remember(Box<Memory>),
    /// Keep this over restarts of the agent on this boot; it need not survive a crash of the host,
    /// so it belongs on a tmpfs.
    RememberLeases(LeaseMemory),
    /// Have a remedy of the host done; answered by `Input::TreatmentEnded`.
    Treat(Treatment),
    /// All promises that the watchdog is to enforce, replacing those before.
    Promise(Vec<Promise>),
    /// One line for the log.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line.
        message: String,
    },
}

/// What the host needs to look after a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Which.
    pub unit: UnitKey,
    /// How it runs; everything in braces is replaced already.
    pub run: Run,
    /// How to see that it works. Answers name a probe by its place in this list.
    pub probes: Vec<ProbeSpec>,
    /// For work: the grant under which it is (to be) held.
    pub generation: Option<Generation>,
}

/// One action on a unit. The unit was watched before, with its `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Names it, for its end.
    pub action: ActionId,
    /// On what.
    pub unit: UnitKey,
    /// What to do. `Start` of what runs already and `Stop` of what does not run are `Done`.
    pub verb: Verb,
    /// How it runs; the same as in its newest [`Watch`].
    pub run: Run,
    /// For work: the grant, handed to it as NODEMEDIC_GENERATION.
    pub generation: Option<Generation>,
    /// More environment for a command: what the agent says to all works.
    pub environment: BTreeMap<String, String>,
    /// How long the asking part of a stop may take; what is left then is killed. Holds for the
    /// stopping half of a restart too.
    pub stop_grace: Millis,
    /// After so long the action is over: `TimedOut`.
    pub timeout: Millis,
    /// After this moment it is not begun any more but answered with
    /// [`NotBegun`](crate::Input::NotBegun). The use that a `Restart` takes of its budget counts
    /// from here. Absent for what ends something: that is never too late.
    pub begin_by: Option<Boottime>,
    /// What must stand at the very moment of a `Start`, or of the starting half of a `Restart`;
    /// absent for what anybody may hold. An act whose gate stays shut ends as `Failed` with
    /// [`DownCause::TurnedAway`](crate::DownCause), and nothing of the unit has run.
    pub gate: Option<Gate>,
    /// What runs before and after a restart of that rung.
    pub hooks: Option<Hooks>,
}

/// One use of a remedy of the host. The edge knows from the configuration what the remedy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// Names it, for its end.
    pub id: u64,
    /// Which remedy.
    pub remedy: RemedyName,
    /// Whether it reboots the host: never without its memory on the disk.
    pub reboots: bool,
    /// After so long it is over: `TimedOut`.
    pub timeout: Millis,
    /// After this moment it is not begun any more: the use that it took counts from here.
    pub begin_by: Boottime,
}

/// What must stand when exclusive work starts. The core looked when it made the act; between that
/// and the start there may be a slow disk, a frozen agent or a suspended host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The end of the lease as the core knew it; a later one in the newest `Promise` counts.
    pub deadline: Boottime,
    /// Whether the watchdog must know it first.
    pub promise: GatePromise,
}

/// Whether a start waits for the watchdog's word that it took the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatePromise {
    /// Never: nothing is promised for work with `on_lease_loss = "keep"`.
    No,
    /// If anybody enforces promises. Nobody was told so on this boot, so nobody counts on it.
    IfEnforced,
    /// In any case: the coordinator may count on it.
    Required,
}

/// A promise to the coordinator: this work is over at `deadline + grace` unless the deadline is
/// moved before. Of the exclusive works that chose `on_lease_loss = "stop"` only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Promise {
    /// Which work.
    pub work: WorkName,
    /// Under which grant.
    pub generation: Generation,
    /// When its lease ends.
    pub deadline: Boottime,
    /// How long its stop may take.
    pub grace: Millis,
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For somebody who debugs.
    Debug,
    /// What happened.
    Info,
    /// Somebody should look.
    Warn,
    /// Something that should work does not.
    Error,
}

/// Why the core wants to be woken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A lease ends.
    Lease(WorkName),
    /// A unit's wait is over: back-off, start grace, an action's deadline.
    Unit(UnitKey),
    /// A pause ends.
    Pause,
    /// A remedy has had its time to help, or a host its time to be well after a reboot.
    Remedy,
    /// The next heartbeat is due.
    Heartbeat,
    /// Events wait for too long to be stored.
    Outbox,
    /// Samples stopped coming.
    SampleStale,
    /// The watchdog's last words wait for what the device says.
    LastWords,
}
