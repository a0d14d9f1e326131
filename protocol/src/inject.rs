//! Faults that a person injects into a host on purpose, to see what happens. The agent keeps the
//! time and takes each one back by itself.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::health::{Component, Severity};
use crate::time::{Millis, WallTime};

/// How long a fault lasts unless a person says otherwise.
pub const SPAN_DEFAULT: Millis = Millis::from_secs(60);

/// The longest: a fault that is forgotten is over before the working day is.
pub const SPAN_MAX: Millis = Millis::from_secs(3600);

/// The shortest: below it nothing is there to be seen.
pub const SPAN_MIN: Millis = Millis::from_secs(1);

/// Size of the scratch filesystem that is filled: large enough to be seen, and no load on memory.
pub const SCRATCH_BYTES: u64 = 16 << 20;

/// Asked about faults over the agent's local socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InjectRequest {
    /// Which there are now.
    List,
    /// Begin one.
    Begin {
        /// What.
        fault: Fault,
        /// For how long.
        span: Millis,
    },
    /// Take one back now, or all of them.
    Undo {
        /// Which; absent for all.
        #[serde(default)]
        id: Option<u64>,
    },
}

/// What can be broken on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// SIGKILL to every process of a service or work. Over at once: its healing is the undoing.
    Kill {
        /// The service or work.
        of: String,
    },
    /// SIGSTOP to every process of a service or work; SIGCONT takes it back.
    Hang {
        /// The service or work.
        of: String,
    },
    /// A filesystem runs full.
    FillDisk {
        /// How much is written.
        bytes: u64,
        /// Into a directory that the configuration allows; absent for a scratch filesystem of the
        /// agent's own, which is filled to its last byte.
        #[serde(default)]
        path: Option<String>,
    },
    /// A dummy interface of the agent's own loses and finds its carrier.
    FlapNic {
        /// So much time between one change and the next.
        every: Millis,
    },
    /// A condition that nobody measured.
    Condition {
        /// On what.
        component: Component,
        /// How much it matters.
        severity: Severity,
        /// One sentence.
        message: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Fault::Kill { of } => format!("kill {of}"),
            Fault::Hang { of } => format!("hang {of}"),
            Fault::FillDisk { bytes, path: None } => {
                format!("fill a scratch filesystem of {} KiB", bytes / 1024)
            }
            Fault::FillDisk {
                bytes,
                path: Some(path),
            } => format!("fill {path} with {} KiB", bytes / 1024),
            Fault::FlapNic { every } => format!("flap a dummy interface every {every}"),
            Fault::Condition {
                component,
                severity,
                message,
            } => format!("{severity} condition on {component}: {message}"),
        })
    }
}

impl Fault {
    /// One word for it.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::Hang { .. } => "hang",
            Fault::FillDisk { .. } => "fill-disk",
            Fault::FlapNic { .. } => "flap-nic",
            Fault::Condition { .. } => "condition",
        }
        .to_string()
    }
}

/// A fault that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    /// Names it.
    pub id: u64,
    /// What.
    pub fault: Fault,
    /// When it began, for people.
    pub since: WallTime,
    /// After so long it is taken back; zero for one that is over already or overdue.
    pub left: Millis,
    /// What was done: `stopped processes 12, 13`.
    pub detail: String,
    /// Why it could not be taken back yet; it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
}
