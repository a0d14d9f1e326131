//! Everything that can happen to the agent, as one closed enum.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use nodemedic_protocol::event::{EventKind, HookRecord, LastWords, Outcome};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::message::{Command, CoordinatorState, LeaseAck};
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::work::Enforcement;
use nodemedic_protocol::{Boottime, Component, Generation, Millis, ServiceName, Severity};

use crate::config::Config;
use crate::effect::{ActionId, Token};
use crate::unit::UnitKey;

/// One thing that happened. The time comes beside it.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The moment of `poll_timeout` has come. Harmless at any other time.
    Timer,
    /// The sampler finished a tick.
    Sample(Box<Sample>),
    /// A service manager saw a unit. After each `Effect::Watch` one comes for sure, later ones
    /// come when something changes.
    Observed {
        /// Which.
        unit: UnitKey,
        /// What was seen.
        seen: Seen,
        /// When the newest start of it began on this boot, zero if none did; `None` where nobody
        /// can tell. Says whether an act was begun whose end was not seen.
        started: Option<Boottime>,
    },
    /// Before and after which units the service manager would start this one; said once for each
    /// `Effect::Watch` of a unit of systemd.
    Ordering {
        /// Which.
        unit: UnitKey,
        /// Full names of units of systemd that start before it.
        after: Vec<String>,
        /// Full names of those without which it does not run.
        requires: Vec<String>,
    },
    /// An `Effect::Treat` is over, or was not begun.
    TreatmentEnded {
        /// Which.
        id: u64,
        /// How it ended.
        outcome: Outcome,
        /// What was done.
        command: String,
        /// How long it took.
        took: Millis,
    },
    /// Packages are being installed or removed, or no longer are. Said before what may lead to an
    /// act.
    PackageManager {
        /// Whether.
        busy: bool,
    },
    /// A person holds healing. Ask `Agent::may_pause` first for the answer.
    Pause {
        /// Of which service; `None`: of all.
        service: Option<ServiceName>,
        /// For how long.
        span: Millis,
        /// Why.
        reason: String,
    },
    /// A person ends such a hold. Ask `Agent::may_resume` first for the answer.
    Resume {
        /// Of which service; `None`: that of all.
        service: Option<ServiceName>,
    },
    /// A probe answered.
    Probed {
        /// Whose.
        unit: UnitKey,
        /// Which: its place in the newest `Watch` of the unit, from 0.
        probe: usize,
        /// What it found.
        verdict: Verdict,
    },
    /// An `Effect::Act` was not begun and will not be: nothing was done. It comes in the place of
    /// `ActionEnded`, for a `Start` or `Restart` that cannot be written down, and for what could
    /// not begin in time.
    NotBegun {
        /// Which.
        action: ActionId,
        /// Why.
        why: String,
    },
    /// An `Effect::Act` is over. Exactly one comes for each act that was begun.
    ActionEnded {
        /// Which.
        action: ActionId,
        /// How it ended. For Stop and Fence `Done` means: proved that nothing of it runs.
        outcome: Outcome,
        /// The program or the bus call, as it was made.
        command: String,
        /// How long it took.
        took: Millis,
        /// What ran beside it.
        hooks: Vec<HookRecord>,
        /// The unit as it was seen right after the action, so that no observation made during the
        /// action has to be trusted.
        seen: Seen,
    },
    /// The broker accepted the connection, and the subscriptions stand.
    LinkUp,
    /// The connection is gone. What was not `Delivered` by now is lost.
    LinkDown {
        /// Why.
        error: String,
    },
    /// The broker took a message that was published with this token.
    Delivered(Token),
    /// A decoded message from the coordinator.
    Received {
        /// The message.
        message: ToNode,
        /// True when the broker had kept it for a new subscriber.
        retained: bool,
    },
    /// A message could not be decoded, or came on a topic that is not ours; for the count.
    Malformed {
        /// One line: topic and what was wrong.
        error: String,
    },
    /// The watchdog said how it keeps promises, or it does not answer (then `None`).
    Enforcement(Enforcement),
    /// What the watchdog wrote down before it had a host reset or killed; found at the start.
    LastWords(LastWords),
    /// The watchdog's device says whether this boot follows a reset by it. Comes with the first
    /// answer of a watchdog.
    BootStatus {
        /// True when it does.
        reset: bool,
    },
    /// The configuration was read again and is valid.
    Reconfigured(Box<Config>),
    /// The configuration on disk is refused; the old one stays in force.
    ConfigRefused {
        /// The whole message: file, line, key, remedy.
        error: String,
    },
    /// The agent is to end. After the effects of this input nothing more is done.
    GoingDown {
        /// Why: `agent stop`, `host shutdown`.
        reason: String,
        /// For how long it is expected to be away.
        back_within: Millis,
    },
    /// A person lets a fenced service back. Ask `Agent::may_unfence` first for the answer.
    Unfence {
        /// Which.
        service: ServiceName,
    },
    /// The host did something that belongs into the journal and needs no decision.
    Noted {
        /// About what.
        component: Component,
        /// What.
        kind: EventKind,
    },
    /// A person pretends a condition, or takes it back.
    Pretended {
        /// Names it on this host.
        id: u64,
        /// On what.
        component: Component,
        /// How much it matters and one sentence; absent: it is over.
        condition: Option<(Severity, String)>,
    },
    /// A plugin ran.
    PluginReport {
        /// Its name in the configuration.
        plugin: String,
        /// What came of it.
        report: PluginReport,
    },
}

/// What a service manager sees of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It runs.
    Running {
        /// Its main process, where there is one.
        pid: Option<u32>,
        /// For work: the grant under which it was started, as kept beside it on disk.
        generation: Option<Generation>,
    },
    /// Nothing of it runs: its main process is gone.
    NotRunning {
        /// How that came about.
        cause: DownCause,
    },
    /// It cannot be seen. On its own never a reason to do anything.
    Unknown {
        /// Why.
        why: String,
    },
}

/// How a unit came not to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownCause {
    /// Nothing says that it ever ran on this boot.
    NotStarted,
    /// An act was to start it and its gate stayed shut: nothing of it ran. Why.
    TurnedAway(String),
    /// Its main process ended by itself with this status.
    Exited(i32),
    /// Its main process was ended by this signal.
    Killed(i32),
    /// Somebody else than this agent stopped (or masked) it on purpose; that is respected.
    StoppedByOther,
    /// It ended without failure before anybody looked. Somebody may have stopped it on purpose, and
    /// is respected, unless it was down already as an act of ours began.
    FoundDown {
        /// Down since then.
        since: Boottime,
    },
    /// It ended and how is not known, for example while no agent was there.
    Gone,
    /// The manager's own word: `failed (start-limit-hit)`, `unit not found`.
    Failed(String),
}

impl fmt::Display for DownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownCause::NotStarted => f.write_str("not started on this boot"),
            DownCause::TurnedAway(why) => write!(f, "not let in: {why}"),
            DownCause::Exited(status) => write!(f, "exited with status {status}"),
            DownCause::Killed(signal) => write!(f, "killed by signal {signal}"),
            DownCause::StoppedByOther => f.write_str("stopped by somebody else"),
            DownCause::FoundDown { .. } => f.write_str("found down, without a failure"),
            DownCause::Gone => f.write_str("gone; how it ended was not seen"),
            DownCause::Failed(text) => f.write_str(text),
        }
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Pass,
    /// It does not: what was seen. A timeout of a service's probe is a failure of the service.
    Fail(String),
    /// The probe itself could not be made: why.
    Unknown(String),
}

/// Messages to a node, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToNode {
    /// See [`Command`].
    Command(Command),
    /// See [`LeaseAck`].
    Lease(LeaseAck),
    /// See [`CoordinatorState`].
    Coordinator(CoordinatorState),
}

/// What came of one run of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginReport {
    /// It looked. All that is wrong is named; what is not named is well.
    Findings(Vec<Finding>),
    /// It could not look, or did not answer. Nothing begins and nothing ends by this.
    Unknown(String),
}

/// One thing that a plugin found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The plugin's own name for the part.
    pub part: String,
    /// What.
    pub reason: Reason,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence for people.
    pub message: String,
    /// What was measured: name (with its unit) to value.
    pub evidence: BTreeMap<String, String>,
}
