//! What must be taken back, on disk before it is done: one file for each fault.

use std::path::PathBuf;

use nodemedic_edge::files;
use nodemedic_protocol::inject::Fault;
use nodemedic_protocol::{BootId, Component, WallTime};
use serde::{Deserialize, Serialize};

/// A unit with thousands of processes fits.
const RECORD_MAX_BYTES: usize = 1 << 20;

const MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Names it.
    pub id: u64,
    /// On which boot it was begun.
    pub boot_id: BootId,
    /// What.
    pub fault: Fault,
    /// When, for people.
    pub since: WallTime,
    /// How it is taken back.
    pub undo: Undo,
    /// What was done, for people.
    pub detail: String,
}

/// How a fault is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// It is over by itself.
    Nothing,
    /// SIGCONT to those of these processes that still are the same.
    Continue {
        /// Whose they are.
        of: Component,
        /// Number, and start in ticks since boot.
        processes: Vec<(u32, u64)>,
    },
    /// Unmount it and remove the directory.
    Unmount {
        /// Where.
        path: PathBuf,
    },
    /// Remove the file.
    Remove {
        /// Which.
        path: PathBuf,
    },
    /// Delete the interface.
    DeleteLink {
        /// Which.
        name: String,
    },
    /// End the condition.
    Clear {
        /// On what.
        component: Component,
    },
}

/// The directory of records.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

impl Records {
    pub const fn new(directory: PathBuf) -> Records {
        Records { directory }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("fault-{id}.json"))
    }

    /// Writes it durably, before the fault. Small and rare, and nothing may come before it: so the
    /// one task that this is all about waits for the disk.
    pub fn keep(&self, record: &Record) -> Result<(), String> {
        files::ensure_dir(&self.directory, DIRECTORY_MODE).map_err(|e| e.to_string())?;
        let bytes = serde_json::to_vec(record).map_err(|e| e.to_string())?;
        files::write_atomic(&self.path(record.id), &bytes, MODE).map_err(|e| e.to_string())
    }

    /// It was taken back.
    pub fn remove(&self, record: &Record) -> Result<(), String> {
        let path = self.path(record.id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("cannot remove {}: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// All that were not taken back yet.
    pub fn all(&self) -> Result<Vec<Record>, String> {
        let failed = |e: std::io::Error| format!("cannot list {}: {e}", self.directory.display());
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("fault-") || !name.ends_with(".json") {
                continue;
            }
            let bytes = files::read_capped(&path, RECORD_MAX_BYTES).map_err(|e| e.to_string())?;
            match serde_json::from_slice(&bytes.unwrap_or_default()) {
                Ok(record) => found.push(record),
                Err(error) => tracing::error!(
                    "cannot read {}: {error}; see whether what was injected still stands, then \
                     remove the file",
                    path.display()
                ),
            }
        }
        found.sort_by_key(|record: &Record| record.id);
        Ok(found)
    }
}
