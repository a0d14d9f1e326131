//! What was to be seen of a service or work before it was killed or fenced: one bundle of plain
//! text, kept on its host.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::health::Component;
use crate::ids::BootId;
use crate::time::{Boottime, Millis, WallTime};

/// Version of the stored form.
pub const VERSION: u32 = 1;

/// Asked about bundles over the agent's local socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DiagnoseRequest {
    /// Which there are, oldest first.
    List {
        /// Of one service or work only.
        #[serde(default)]
        of: Option<String>,
    },
    /// One bundle.
    Show {
        /// Its name, or the name of a service or work: then its newest one.
        name: String,
    },
    /// Take one now, and give it.
    Take {
        /// The service or work.
        of: String,
    },
}

/// One bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// See [`VERSION`].
    pub version: u32,
    /// Its name on this host: `web-17`. The number rises with each bundle.
    pub name: String,
    /// About what.
    pub component: Component,
    /// Before what it was taken: `fence`, `asked for by a person`.
    pub why: String,
    /// The host, as it names itself.
    pub host: String,
    /// In which boot.
    pub boot_id: BootId,
    /// When it was begun, on that boot's clock.
    pub at: Boottime,
    /// When it was begun, for people.
    pub wall: WallTime,
    /// How long it took.
    pub took: Millis,
    /// What was looked at, in the order of reading.
    pub sections: Vec<Section>,
}

impl Bundle {
    /// The sections that are missing or not whole.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        let missing = |s: &&Section| s.left_out.is_some();
        let name = |s: &Section| s.name.clone();
        self.sections.iter().filter(missing).map(name).collect()
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// One word: `journal`.
    pub name: String,
    /// What it is, for people.
    pub title: String,
    /// What was seen.
    pub text: String,
    /// Why it is missing or not whole; absent when it is all there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// One row of the list of bundles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleInfo {
    /// Its name.
    pub name: String,
    /// About what.
    pub component: Component,
    /// Before what it was taken.
    pub why: String,
    /// When, for people.
    pub wall: WallTime,
    /// Size on disk.
    pub bytes: u64,
    /// Sections that are missing or not whole.
    pub left_out: Vec<String>,
}
