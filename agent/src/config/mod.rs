//! Configuration in three layers: `raw` is the text, [`Settings`] the validated value, and the
//! rest of this crate what lives by it.

mod allow;
mod broker;
mod healing;
mod paths;
mod raw;
mod remedy;
mod rules;
mod service;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nodemedic_agent_core::Config;
use nodemedic_agent_host::plugin::PluginSpec;
use nodemedic_agent_host::sampler::Roots;
use nodemedic_edge::config::{self, ConfigError};
use nodemedic_helper::{Allow, Deed};
use nodemedic_protocol::{Millis, RemedyName, SiteId};

pub use broker::{Broker, BrokerTls};

/// Where the configuration is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/nodemedic/agent.toml";

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the core needs.
    pub core: Config,
    /// The data centre.
    pub site: SiteId,
    /// How to reach the coordinator; without it the host works alone.
    pub broker: Option<Broker>,
    /// Survives a reboot.
    pub state: PathBuf,
    /// Is empty after a reboot.
    pub run: PathBuf,
    /// The watchdog's socket.
    pub watchdog: PathBuf,
    /// What of this host may be acted on.
    pub allow: Allow,
    /// What keeps fenced services out over reboots; for an agent that is root itself.
    pub fenced: PathBuf,
    /// Where the watchdog keeps its last words.
    pub last_words: PathBuf,
    /// The sampler.
    pub sampling: Sampling,
    /// What each remedy of the host does.
    pub deeds: BTreeMap<RemedyName, Deed>,
    /// Plugins.
    pub plugins: BTreeMap<String, PluginSpec>,
    /// Faults on purpose.
    pub inject: Inject,
}

/// Whether a person may break this host on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inject {
    /// Refused unless this is true.
    pub allow: bool,
    /// Directories of somebody that may be filled.
    pub fill_paths: Vec<PathBuf>,
}

/// How the sampler runs.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// How often.
    pub interval: Millis,
    /// Length of the two lists of processes.
    pub top: usize,
    /// What is read.
    pub roots: Roots,
}

/// One mistake: the key it is about, and what is wrong and what to write instead.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub key: Vec<String>,
    pub message: String,
}

impl Mistake {
    pub(crate) fn at(key: &[&str], message: impl Into<String>) -> Mistake {
        Mistake {
            key: key.iter().map(|k| (*k).to_owned()).collect(),
            message: message.into(),
        }
    }
}

/// The directory of more files beside a main file: `agent.d` beside `agent.toml`.
#[must_use]
pub fn directory_of(main: &Path) -> PathBuf {
    main.with_extension("d")
}

/// Reads and validates the main file and the directory beside it.
///
/// # Errors
/// The first mistake, with its place.
pub fn load(main: &Path) -> Result<Settings, ConfigError> {
    let more = directory_of(main);
    let raw: raw::Raw = config::load(main, Some(&more))?;
    validate::settings(raw).map_err(|mistake| {
        let key: Vec<&str> = mistake.key.iter().map(String::as_str).collect();
        config::complain(main, Some(&more), &key, &mistake.message)
    })
}
