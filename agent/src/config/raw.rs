//! The configuration file word for word: every key optional, unknown keys refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nodemedic_edge::config::{span, span_opt};
use nodemedic_edge::works::Probe;
use nodemedic_protocol::Millis;
use serde::Deserialize;

use super::remedy::RawRemedy;

/// `agent.toml` and the files of `agent.d`, merged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// Name of this host in the fleet; its host name when absent.
    pub node: Option<String>,
    /// The data centre.
    pub site: Option<String>,
    /// Failure domain.
    pub zone: Option<String>,
    /// For placement.
    pub labels: BTreeMap<String, String>,
    /// What `{vars.KEY}` stands for.
    pub vars: BTreeMap<String, String>,
    /// How to reach the coordinator; without it the host works alone.
    pub broker: Option<RawBroker>,
    /// Directories.
    pub paths: RawPaths,
    /// The sampler.
    pub sampling: RawSampling,
    /// The heartbeat.
    pub heartbeat: RawHeartbeat,
    /// What the coordinator may do here.
    pub work: RawWork,
    /// What holds for the healing of all services.
    pub healing: RawHealing,
    /// Services of this host.
    pub service: BTreeMap<String, RawService>,
    /// Plugins.
    pub plugin: BTreeMap<String, RawPlugin>,
    /// What the host may do about itself.
    pub remedy: BTreeMap<String, RawRemedy>,
    /// When a measured value is a condition.
    pub rules: RawRules,
    /// Faults on purpose.
    pub inject: RawInject,
}

/// `[inject]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawInject {
    /// May people of this host break it on purpose.
    pub allow: bool,
    /// Directories that may be filled.
    pub fill_paths: Vec<PathBuf>,
}

/// `[broker]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBroker {
    /// `mqtts://host:port`, or `mqtt://` to this host itself.
    pub url: String,
    /// Certificate of the authority.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Allows `mqtt://` over a network.
    #[serde(default)]
    pub allow_plaintext: bool,
}

/// `[paths]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPaths {
    /// Survives a reboot.
    pub state: Option<PathBuf>,
    /// Is empty after a reboot.
    pub run: Option<PathBuf>,
    /// The watchdog's last words.
    pub last_words: Option<PathBuf>,
    /// The watchdog's socket.
    pub watchdog: Option<PathBuf>,
}

/// `[sampling]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSampling {
    /// How often.
    #[serde(with = "span")]
    pub interval: Millis,
    /// How often a sample goes to the coordinator.
    #[serde(with = "span")]
    pub report_every: Millis,
    /// Length of the two lists of processes.
    pub top: usize,
    /// Where proc is.
    pub proc_root: PathBuf,
    /// Where sysfs is.
    pub sys_root: PathBuf,
}

impl Default for RawSampling {
    fn default() -> RawSampling {
        RawSampling {
            interval: Millis::from_secs(1),
            report_every: Millis::from_secs(10),
            top: 5,
            proc_root: "/proc".into(),
            sys_root: "/sys".into(),
        }
    }
}

/// `[heartbeat]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHeartbeat {
    /// How often.
    #[serde(with = "span")]
    pub interval: Millis,
}

impl Default for RawHeartbeat {
    fn default() -> RawHeartbeat {
        RawHeartbeat {
            interval: Millis::from_secs(5),
        }
    }
}

/// `[work]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWork {
    /// May the coordinator start plain commands here.
    pub allow_command: bool,
    /// Templates that works may be instances of.
    pub units: BTreeSet<String>,
    /// How works are restarted.
    pub restart: RawRestart,
}

/// `[service.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawService {
    /// A systemd unit.
    pub unit: Option<String>,
    /// Ports of the unit that are closed while it is fenced.
    pub block_ports: BTreeSet<String>,
    /// Or a program with its arguments.
    pub command: Option<Vec<String>>,
    /// What asks the program to stop, instead of SIGTERM.
    pub stop_command: Vec<String>,
    /// More environment of the program.
    pub environment: BTreeMap<String, String>,
    /// How to see that it works.
    pub probe: Option<Probe>,
    /// The same, of several.
    pub probes: Option<Vec<Probe>>,
    /// When and how often it is restarted.
    pub restart: RawRestart,
    /// What follows a spent budget.
    pub when_spent: RawWhenSpent,
    /// How its failures in a row are answered.
    pub ladder: RawLadder,
    /// Program and arguments before a restart of the second rung.
    pub before_restart: Vec<String>,
    /// Program and arguments after it.
    pub after_restart: Vec<String>,
    /// How long each of them may take.
    #[serde(with = "span_opt")]
    pub hook_timeout: Option<Millis>,
    /// How far healing goes.
    pub mode: RawMode,
    /// Of a group one service at a time is acted on.
    pub group: Option<String>,
    /// How long a start may take.
    #[serde(with = "span_opt")]
    pub start_grace: Option<Millis>,
    /// How long a stop may take.
    #[serde(with = "span_opt")]
    pub stop_grace: Option<Millis>,
}

/// `when_spent`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawWhenSpent {
    /// Keep it out.
    Fence,
    /// And ask for a drain.
    #[default]
    FenceAndDrain,
}

/// `restart`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRestart {
    /// At most so many ...
    pub max: Option<u32>,
    /// ... in this time.
    #[serde(with = "span_opt")]
    pub window: Option<Millis>,
    /// Wait before the second in a row.
    #[serde(with = "span_opt")]
    pub backoff: Option<Millis>,
    /// Longest wait.
    #[serde(with = "span_opt")]
    pub backoff_max: Option<Millis>,
    /// Well for so long: the next one is a first one.
    #[serde(with = "span_opt")]
    pub healthy_after: Option<Millis>,
}

/// `mode`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawMode {
    /// Heal.
    #[default]
    Act,
    /// Say what would be done.
    Advise,
    /// Watch.
    Off,
}

/// `ladder`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLadder {
    /// Plain restarts.
    pub restarts: Option<u32>,
    /// Restarts between the hooks.
    pub with_hook: Option<u32>,
}

/// `[healing]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHealing {
    /// No service goes further.
    pub mode: RawMode,
    /// Wait while packages are installed or removed.
    pub respect_package_manager: Option<bool>,
    /// So long after a boot no failing answer of a probe counts.
    #[serde(with = "span_opt")]
    pub boot_grace: Option<Millis>,
    /// Most acts under way.
    pub at_once: Option<u32>,
    /// `off`, or how long a fenced service is left alone before it is tried again.
    pub retry_after: Option<String>,
    /// How often, at most.
    pub retries: Option<u32>,
}

/// `[plugin.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPlugin {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How often.
    #[serde(default = "minute", with = "span")]
    pub interval: Millis,
    /// How long one run may take.
    #[serde(default = "ten_seconds", with = "span")]
    pub timeout: Millis,
}

const fn minute() -> Millis {
    Millis::from_secs(60)
}

const fn ten_seconds() -> Millis {
    Millis::from_secs(10)
}

/// `[rules]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRules {
    /// Processors.
    pub cpu: RawCpuRules,
    /// Memory and pressure.
    pub memory: RawMemoryRules,
    /// Filesystems.
    pub filesystem: RawFilesystemRules,
    /// Network interfaces.
    pub nic: RawNicRules,
}

/// `[rules.cpu]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCpuRules {
    /// False switches them off.
    pub enabled: Option<bool>,
    /// Busy share, at least.
    pub busy_warning_percent: Option<u32>,
    /// Five-minute load for each processor, at least.
    pub load_per_cpu_warning: Option<u32>,
    /// Bad for so long.
    #[serde(rename = "for", with = "span_opt")]
    pub bad_for: Option<Millis>,
    /// Good for so long.
    #[serde(with = "span_opt")]
    pub clear_for: Option<Millis>,
}

/// `[rules.memory]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMemoryRules {
    /// False switches them off.
    pub enabled: Option<bool>,
    /// Available share, at most.
    pub available_warning_percent: Option<u32>,
    /// Available share, at most.
    pub available_critical_percent: Option<u32>,
    /// Stalls for memory, at least.
    pub pressure_warning_percent: Option<u32>,
    /// Stalls for storage, at least.
    pub io_pressure_warning_percent: Option<u32>,
    /// Bad for so long.
    #[serde(rename = "for", with = "span_opt")]
    pub bad_for: Option<Millis>,
    /// Good for so long.
    #[serde(with = "span_opt")]
    pub clear_for: Option<Millis>,
}

/// `[rules.filesystem]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFilesystemRules {
    /// False switches them off.
    pub enabled: Option<bool>,
    /// Space left, at most.
    pub space_warning_percent: Option<u32>,
    /// Space left, at most.
    pub space_critical_percent: Option<u32>,
    /// Inodes left, at most.
    pub inodes_warning_percent: Option<u32>,
    /// Bad for so long.
    #[serde(rename = "for", with = "span_opt")]
    pub bad_for: Option<Millis>,
    /// Good for so long.
    #[serde(with = "span_opt")]
    pub clear_for: Option<Millis>,
}

/// `[rules.nic]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNicRules {
    /// False switches them off.
    pub enabled: Option<bool>,
    /// Whether a lost carrier is a condition.
    pub link_down: Option<bool>,
    /// Errors a minute, at least.
    pub errors_per_minute: Option<u64>,
    /// Bad for so long.
    #[serde(rename = "for", with = "span_opt")]
    pub bad_for: Option<Millis>,
    /// Good for so long.
    #[serde(with = "span_opt")]
    pub clear_for: Option<Millis>,
}
