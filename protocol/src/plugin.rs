//! What a plugin of contract `nodemedic` writes to its standard output: one JSON object, once.
//!
//! A plugin is a program. It gets nothing on its standard input, looks at one thing, writes one
//! [`Report`], and exits with status 0. Anything else (another status, a signal, no answer in time,
//! no such object) means that it could not look: its part becomes unknown, never unhealthy.
//! docs/reference/plugin.md has the contract in full.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::health::Severity;

/// Version of [`Report`]. A reader ignores fields that it does not know.
pub const VERSION: u32 = 1;

/// Longest output that is read; what is longer is not understood.
pub const OUTPUT_MAX_BYTES: usize = 64 << 10;

/// Most findings of one run. A host with more wrong in one place has one thing wrong.
pub const FINDINGS_MAX: usize = 100;

/// What one run found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// See [`VERSION`].
    pub version: u32,
    /// All that is wrong; what is not named is well.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Set when it could not look, and why; then `findings` means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// One thing that is wrong. Its identity is `part` with `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The plugin's own name for the part: `clock`, `psu 2`.
    pub part: String,
    /// What, in a few words that stay the same from run to run: `not synchronised`.
    pub reason: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence for people.
    pub message: String,
    /// What was measured: name (with its unit) to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub evidence: BTreeMap<String, String>,
}

impl Report {
    /// Looked, and all of this is wrong.
    #[must_use]
    pub const fn of(findings: Vec<Finding>) -> Report {
        Report {
            version: VERSION,
            findings,
            unknown: None,
        }
    }

    /// Could not look.
    #[must_use]
    pub const fn unknown(why: String) -> Report {
        Report {
            version: VERSION,
            findings: Vec::new(),
            unknown: Some(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_report_means_all_is_well() {
        let report: Report = serde_json::from_str(r#"{"version":1,"later":true}"#).unwrap();
        assert_eq!(report, Report::of(Vec::new()));
    }
}
