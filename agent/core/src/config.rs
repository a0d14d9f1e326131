//! The agent's settings as the core uses them: validated, complete, without a word of TOML.

use alloc::collections::BTreeMap;
use alloc::string::String;

use nodemedic_protocol::sample::PerMille;
use nodemedic_protocol::work::{ProbeSpec, Run};
use nodemedic_protocol::{Millis, NodeId, ServiceName};

use crate::mutation::Mutations;

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
    /// How to see that it works; without one, running is well.
    pub probe: Option<ProbeSpec>,
    /// When and how often it is restarted.
    pub restart: RestartPolicy,
    /// What follows a spent budget.
    pub when_spent: WhenSpent,
    /// How long a start may take before it counts as failed.
    pub start_grace: Millis,
    /// How long a stop may take before it is forced.
    pub stop_grace: Millis,
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
    /// After having run well for so long, the next restart counts as a first one.
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
