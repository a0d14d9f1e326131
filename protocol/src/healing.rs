//! How far an agent goes with the services of its host, and what holds it back: modes, rungs and
//! pauses, as they are told.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::time::{Boottime, Millis};

/// How far healing goes; what goes least far comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Watched; what is wrong is told, and nothing else.
    Off,
    /// Judged as ever; what would be done is told, and nothing is done.
    Advise,
    /// Healed.
    #[default]
    Act,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mode::Off => "off",
            Mode::Advise => "advise",
            Mode::Act => "act",
        })
    }
}

/// One rung of the ladder, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Ask it to end, then start it.
    Restart,
    /// The same, between the hooks.
    RestartWithHook,
    /// Kill all of it, then start it.
    Kill,
    /// Prove that it does not run, and keep it out.
    Fence,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Rung::Restart => "restart",
            Rung::RestartWithHook => "restart with hook",
            Rung::Kill => "kill and restart",
            Rung::Fence => "fence",
        })
    }
}

/// A person's hold on the healing of one service or of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseStatus {
    /// Since when on this boot.
    pub since: Boottime,
    /// When it ends by itself.
    pub until: Boottime,
    /// Why, in the person's words.
    pub reason: String,
}

/// What holds for all services of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealingStatus {
    /// No service goes further than this.
    pub mode: Mode,
    /// Set while the whole host is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseStatus>,
    /// Since when the package manager is at work, as long as healing waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_manager_since: Option<Boottime>,
    /// Actions that are under way.
    pub under_way: u32,
    /// Most actions that may be.
    pub at_once: u32,
}

/// A pause cannot be longer: what is forgotten must not stay unhealed over a weekend.
pub const PAUSE_MAX: Millis = Millis::from_secs(24 * 3600);

/// Longest reason of a pause.
pub const REASON_MAX_CHARS: usize = 500;
