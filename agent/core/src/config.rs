//! The agent's settings as the core uses them: validated, complete, without a word of TOML.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::sample::PerMille;
use nodemedic_protocol::work::{ProbeSpec, Run};
use nodemedic_protocol::{Millis, NodeId, ServiceName};

use crate::mutation::Mutations;
use crate::remedy::Remedies;

/// Live settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this host in the fleet. Does not change while the agent runs.
    pub node: NodeId,
    /// Failure domain.
    pub zone: Option<String>,
    /// For placement.
    pub labels: BTreeMap<String, String>,
    /// What `{vars.KEY}` stands for.
    pub vars: BTreeMap<String, String>,
    /// How often a heartbeat leaves while the link is up.
    pub heartbeat_every: Millis,
    /// How often a sample is published while the link is up.
    pub report_every: Millis,
    /// How often samples come; without one for three times as long, nothing is known.
    pub sample_every: Millis,
    /// May the coordinator start plain commands here.
    pub allow_command: bool,
    /// Services of this host.
    pub services: BTreeMap<ServiceName, Service>,
    /// How works are restarted.
    pub work_restart: RestartPolicy,
    /// What holds for the healing of all services.
    pub healing: Healing,
    /// What the host may do about itself.
    pub remedies: Remedies,
    /// When a measured value is a condition.
    pub rules: Rules,
    /// Most events that wait to be stored by the coordinator; then the drop rule applies.
    pub spool_events_max: usize,
    /// A deliberate fault; none outside of the simulation.
    #[doc(hidden)]
    pub mutation: Mutations,
}

/// Four days of one event a minute: longer than a weekend without a coordinator, and below 8 MiB
/// on disk.
pub const SPOOL_EVENTS_MAX: usize = 6000;

impl Config {
    /// The settings of a host with an empty configuration file.
    #[must_use]
    pub fn of_node(node: NodeId) -> Config {
        Config {
            node,
            zone: None,
            labels: BTreeMap::new(),
            vars: BTreeMap::new(),
            heartbeat_every: Millis::from_secs(5),
            report_every: Millis::from_secs(10),
            sample_every: Millis::from_secs(1),
            allow_command: false,
            services: BTreeMap::new(),
            work_restart: RestartPolicy::default(),
            healing: Healing::default(),
            remedies: Remedies::new(),
            rules: Rules::default(),
            spool_events_max: SPOOL_EVENTS_MAX,
            mutation: Mutations::NONE,
        }
    }
}

/// One service of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// How it runs.
    pub run: Run,
    /// How to see that it works; without one, running is well. It fails when any one does.
    pub probes: Vec<ProbeSpec>,
    /// When and how often it is restarted.
    pub restart: RestartPolicy,
    /// What follows a spent budget.
    pub when_spent: WhenSpent,
    /// How long a start may take before it counts as failed.
    pub start_grace: Millis,
    /// How long a stop may take before it is forced.
    pub stop_grace: Millis,
    /// How the failures in a row are answered.
    pub ladder: Ladder,
    /// What runs beside a restart of the second rung.
    pub hooks: Option<Hooks>,
    /// How far healing goes here; the host's own mode may hold it further back.
    pub mode: Mode,
    /// Of a group one unit at a time is acted on.
    pub group: Option<String>,
}

impl Service {
    /// A service with all settings but how it runs as they are without a word of configuration.
    #[must_use]
    pub fn of_run(run: Run) -> Service {
        Service {
            run,
            probes: Vec::new(),
            restart: RestartPolicy::default(),
            when_spent: WhenSpent::FenceAndDrain,
            start_grace: Millis::from_secs(30),
            stop_grace: Millis::from_secs(10),
            ladder: Ladder::default(),
            hooks: None,
            mode: Mode::Act,
            group: None,
        }
    }
}

/// What holds for the healing of all services of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healing {
    /// No service goes further than this.
    pub mode: Mode,
    /// Whether healing waits while packages are installed or removed.
    pub respect_package_manager: bool,
    /// So long after a boot no failing answer of a probe counts: everything comes up at once, and
    /// late.
    pub boot_grace: Millis,
    /// Most acts on units that are under way on this host.
    pub at_once: u32,
    /// Whether a fenced service is tried again by itself.
    pub retry: Option<Retry>,
}

impl Default for Healing {
    /// Ten acts at once: one start loads a disk for about a second, and ten keep a host usable
    /// that has five hundred to do.
    fn default() -> Healing {
        Healing {
            mode: Mode::Act,
            respect_package_manager: true,
            boot_grace: Millis::ZERO,
            at_once: 10,
            retry: None,
        }
    }
}

/// A fenced service is tried again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// So long after it was fenced. At least the longest window of a budget, so that the budget
    /// has come back by itself and is never exceeded by this.
    pub after: Millis,
    /// At most so many times; then a person must let it back.
    pub times: u32,
}

/// How the failures in a row are answered: so many on each rung, then the next one. The kill rung
/// goes on until the budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Plain restarts.
    pub restarts: u32,
    /// Restarts between the hooks, where there are hooks.
    pub with_hook: u32,
}

impl Default for Ladder {
    /// Most failures are gone after one restart; a second is cheap. What two did not help may hang
    /// in its own end, so the third does not ask it any more.
    fn default() -> Ladder {
        Ladder {
            restarts: 2,
            with_hook: 1,
        }
    }
}

/// Programs that run beside a restart, such as one that clears a spool. No shell reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Before it; empty for none. If it fails, the restart goes on.
    pub before: Vec<String>,
    /// After the start; empty for none.
    pub after: Vec<String>,
    /// Each of them is killed after so long.
    pub timeout: Millis,
}

/// How often, and how fast, something is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// At most so many restarts ...
    pub max: u32,
    /// ... within this much real time, over restarts of the agent and of the host.
    pub window: Millis,
    /// Wait before the second restart in a row; the first is immediate. Doubles each time.
    pub backoff: Millis,
    /// The wait does not grow beyond this.
    pub backoff_max: Millis,
    /// After having run well for so long, the next failure is a first one again: first rung, no
    /// wait. Uses of the budget come back by age alone.
    pub healthy_after: Millis,
}

impl Default for RestartPolicy {
    /// Five in ten minutes: a crash loop is over within two minutes of back-off, and a service
    /// that dies once an hour is healed for ever.
    fn default() -> RestartPolicy {
        RestartPolicy {
            max: 5,
            window: Millis::from_secs(600),
            backoff: Millis(500),
            backoff_max: Millis::from_secs(60),
            healthy_after: Millis::from_secs(60),
        }
    }
}

/// What follows a spent budget of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenSpent {
    /// Prove that it is not running, and keep it out until a person lets it back.
    Fence,
    /// The same, and ask the coordinator to drain this host.
    FenceAndDrain,
}

/// How long a measured value must be bad to begin a condition, and good to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Bad for so long without a break.
    pub bad_for: Millis,
    /// Good for so long without a break.
    pub clear_for: Millis,
}

/// When a measured value is a condition. `None` switches a rule off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Busy share of all processors, at least.
    pub cpu_busy: Option<PerMille>,
    /// Five-minute load for each processor, at least, in thousandths of a task.
    pub load_per_cpu_milli: Option<u64>,
    /// Windows of both.
    pub cpu_windows: Windows,
    /// Available share of memory, at most: a warning.
    pub memory_warning: Option<PerMille>,
    /// Available share of memory, at most: critical.
    pub memory_critical: Option<PerMille>,
    /// Share of time in which some task stalls for memory, at least.
    pub memory_pressure: Option<PerMille>,
    /// Share of time in which all tasks stall for storage, at least.
    pub io_pressure: Option<PerMille>,
    /// Windows of memory and pressure.
    pub memory_windows: Windows,
    /// Available share of a filesystem's space, at most: a warning.
    pub space_warning: Option<PerMille>,
    /// Available share of a filesystem's space, at most: critical.
    pub space_critical: Option<PerMille>,
    /// Free share of a filesystem's inodes, at most.
    pub inodes_warning: Option<PerMille>,
    /// Windows of space, inodes and read-only.
    pub filesystem_windows: Windows,
    /// Whether a lost carrier is a condition, on an interface that had one.
    pub link_down: bool,
    /// Interface errors a minute, at least.
    pub nic_errors_per_minute: Option<u64>,
    /// Windows of both.
    pub nic_windows: Windows,
}

impl Default for Rules {
    /// Chosen so that a healthy, busy host raises nothing: a batch node at full load for a quarter
    /// of an hour is at work, not ill, hence only Warning and long windows.
    fn default() -> Rules {
        Rules {
            cpu_busy: Some(PerMille(980)),
            load_per_cpu_milli: Some(8000),
            cpu_windows: Windows {
                bad_for: Millis::from_secs(900),
                clear_for: Millis::from_secs(120),
            },
            memory_warning: Some(PerMille(50)),
            memory_critical: Some(PerMille(20)),
            memory_pressure: Some(PerMille(400)),
            io_pressure: Some(PerMille(600)),
            memory_windows: Windows {
                bad_for: Millis::from_secs(60),
                clear_for: Millis::from_secs(60),
            },
            space_warning: Some(PerMille(100)),
            space_critical: Some(PerMille(30)),
            inodes_warning: Some(PerMille(100)),
            filesystem_windows: Windows {
                bad_for: Millis::from_secs(10),
                clear_for: Millis::from_secs(30),
            },
            link_down: true,
            nic_errors_per_minute: Some(60),
            nic_windows: Windows {
                bad_for: Millis::from_secs(5),
                clear_for: Millis::from_secs(30),
            },
        }
    }
}
