//! What a unit is, what it is to do, and where it stands: the words of the ladder.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use nodemedic_protocol::event::Verb;
use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::work::{Check, ProbeSpec, Run};
use nodemedic_protocol::{Boottime, Generation, Millis};

use crate::config::{Hooks, Ladder, RestartPolicy, Retry, WhenSpent};
use crate::effect::{ActionId, Gate, Watch};
use crate::unit::UnitKey;

/// Everything about a unit that its configuration or assignment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub run: Run,
    pub probes: Vec<ProbeSpec>,
    pub restart: RestartPolicy,
    pub when_spent: WhenSpent,
    pub start_grace: Millis,
    /// So long after a boot no failing answer of a probe counts.
    pub boot_grace: Millis,
    pub stop_grace: Millis,
    pub generation: Option<Generation>,
    pub environment: BTreeMap<String, String>,
    pub ladder: Ladder,
    pub hooks: Option<Hooks>,
    /// Of service and host the one that goes less far.
    pub mode: Mode,
    pub group: Option<String>,
    /// Whether it is tried again by itself once it is fenced.
    pub retry: Option<Retry>,
}

impl Plan {
    pub(crate) fn watch(&self, key: &UnitKey) -> Watch {
        Watch {
            unit: key.clone(),
            run: self.run.clone(),
            probes: self.asked(),
            generation: self.generation,
        }
    }

    /// The probes that ask more than what the manager sees anyway.
    pub(super) fn asked(&self) -> Vec<ProbeSpec> {
        let asks = |probe: &&ProbeSpec| probe.check != Check::Process;
        self.probes.iter().filter(asks).cloned().collect()
    }

    pub(crate) fn is_probed(&self) -> bool {
        self.probes.iter().any(|p| p.check != Check::Process)
    }
}

/// What a unit is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Run well.
    Run,
    /// Be proved stopped. With a moment at which it must be over, whatever its stop grace says.
    Stop { over_by: Option<Boottime> },
    /// Be proved stopped and stay out, because its budget is spent.
    Fence,
}

/// Whether a unit may start now, and what must still stand at the moment of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Not now, and what it waits for.
    No(&'static str),
    /// Anybody may hold it.
    Free,
    /// Under a lease.
    Gated(Gate),
}

impl Permit {
    pub(crate) const fn may_start(self) -> bool {
        !matches!(self, Permit::No(_))
    }

    pub(crate) const fn gate(self) -> Option<Gate> {
        match self {
            Permit::Gated(gate) => Some(gate),
            Permit::No(_) | Permit::Free => None,
        }
    }
}

/// What is to be done to a unit that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Start it for the first time on this boot.
    Start,
    /// Answer its newest failure: by its rung, or by a fence when the budget is spent.
    Heal,
    /// Fence it.
    Fence,
    /// Try a fenced one again.
    Retry,
}

/// What comes before what is to be done to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing; it has just fallen due.
    Looked,
    /// As many acts are under way as may be.
    Turn { at_once: u32 },
    /// Another one of its group is being acted on, or comes up.
    Group { busy: UnitKey },
    /// One that it requires is not up; without an end where only a person brings that one back.
    Requires {
        unit: UnitKey,
        until: Option<Boottime>,
    },
    /// One that starts before it comes up.
    After { unit: UnitKey, until: Boottime },
    /// Packages are being installed or removed.
    Packages { until: Boottime },
    /// A person holds it.
    Paused { until: Boottime, reason: String },
    /// Its mode does not go so far.
    Mode(Mode),
}

impl Hold {
    /// True for what is over by itself within moments, most times.
    pub(super) const fn is_short(&self) -> bool {
        matches!(self, Hold::Looked | Hold::Turn { .. } | Hold::Group { .. })
    }

    /// When it is over, if time ends it.
    pub(super) const fn until(&self) -> Option<Boottime> {
        match self {
            Hold::Requires { until, .. } => *until,
            Hold::After { until, .. } | Hold::Packages { until } | Hold::Paused { until, .. } => {
                Some(*until)
            }
            Hold::Looked | Hold::Turn { .. } | Hold::Group { .. } | Hold::Mode(_) => None,
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Looked => f.write_str("is due"),
            Hold::Turn { at_once } => {
                write!(f, "waits for its turn, {at_once} acts are under way")
            }
            Hold::Group { busy } => write!(f, "waits for {busy} of its group"),
            Hold::Requires { unit, .. } => write!(f, "waits for {unit}, which it requires"),
            Hold::After { unit, .. } => write!(f, "starts after {unit}, which is not up yet"),
            Hold::Packages { .. } => f.write_str("waits for the package manager"),
            Hold::Paused { reason, .. } => write!(f, "paused: {reason}"),
            Hold::Mode(Mode::Off) => f.write_str("its mode is off: nothing is done"),
            Hold::Mode(_) => f.write_str("its mode is advise: nothing is done"),
        }
    }
}

/// Where a unit stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Watched, and nothing was seen of it yet.
    Unseen,
    /// Cannot be seen. Nothing is done.
    Unknown { why: String },
    /// Does not run, and may not start yet: its lease, or the watchdog, is awaited.
    Idle,
    /// Runs, and its probe has not passed yet; `last` is the newest failure since the last answer
    /// of another kind.
    Starting {
        until: Boottime,
        last: Option<String>,
    },
    /// Runs well.
    Running { since: Boottime },
    /// Runs, but its probe fails without a break since then.
    Suspect { since: Boottime, why: String },
    /// Failed; waits for its next restart.
    Backoff { retry_at: Boottime, cause: String },
    /// Something is to be done to it since then, and something else comes first.
    Waiting {
        wish: Wish,
        cause: String,
        since: Boottime,
        hold: Hold,
    },
    /// Something is being done to it.
    Acting {
        action: ActionId,
        verb: Verb,
        until: Boottime,
    },
    /// Somebody else stopped it; that is respected.
    Held,
    /// A stop or fence could not be proved; tried again then.
    Unproved { verb: Verb, retry_at: Boottime },
    /// Proved not to run, and kept out; with a moment at which it is tried again by itself.
    Fenced { retry_at: Option<Boottime> },
    /// Proved not to run.
    Stopped,
}

impl Stage {
    /// In one word, for people.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Stage::Unseen | Stage::Unknown { .. } => "unknown",
            Stage::Idle => "waiting",
            Stage::Starting { .. } => "starting",
            Stage::Running { .. } => "running",
            Stage::Suspect { .. } => "suspect",
            Stage::Backoff { .. } => "backoff",
            Stage::Waiting { wish, hold, .. } => match (wish, hold) {
                (Wish::Retry, _) => "fenced",
                (Wish::Fence, _) => "not proved stopped",
                (_, Hold::Mode(_)) => "failing",
                (_, Hold::Paused { .. }) => "paused",
                _ => "waiting",
            },
            Stage::Acting { verb, .. } => match verb {
                Verb::Start => "starting",
                Verb::Restart | Verb::Kill => "restarting",
                Verb::Stop => "stopping",
                Verb::Fence => "fencing",
                Verb::Unfence => "unfencing",
            },
            Stage::Held => "stopped by somebody else",
            Stage::Unproved { .. } => "not proved stopped",
            Stage::Fenced { .. } => "fenced",
            Stage::Stopped => "stopped",
        }
    }
}
