//! What the agent keeps over restarts: its memory (over reboots too) and its leases (this boot).
//!
//! Both are small JSON files that are replaced whole. A file that cannot be understood is set aside
//! with a loud word, never a reason not to start: a host without an agent heals nothing.

use std::path::{Path, PathBuf};

use nodemedic_agent_core::memory::{LeaseMemory, Memory, VERSION};
use nodemedic_edge::files::{self, FileError};
use nodemedic_protocol::BootId;
use serde::de::DeserializeOwned;

/// Far above what a thousand works and conditions need.
const FILE_MAX_BYTES: usize = 16 << 20;

/// Only the agent's own user and group read it.
const FILE_MODE: u32 = 0o640;

/// The two files.
#[derive(Clone, Debug)]
pub struct Store {
    memory: PathBuf,
    leases: PathBuf,
}

/// What was found, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// What was wrong with the file, and where it is now.
    pub complaint: Option<String>,
}

impl Store {
    /// Memory in the state directory; leases in the run directory, which a reboot empties.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(state: &Path, run: &Path) -> Result<Store, FileError> {
        files::ensure_dir(state, 0o750)?;
        files::ensure_dir(run, 0o755)?;
        Ok(Store {
            memory: state.join("memory.json"),
            leases: run.join("leases.json"),
        })
    }

    /// The memory, or a fresh one.
    ///
    /// # Errors
    /// When the file is there but the disk gives it not.
    pub fn memory(&self) -> Result<Found<Memory>, FileError> {
        let found = load::<Memory>(
            &self.memory,
            "restart budgets, fenced services and works held",
        )?;
        Ok(match found {
            Found {
                value: Some(memory),
                ..
            } if memory.version != VERSION => {
                let aside = set_aside(&self.memory)?;
                Found {
                    value: Memory::default(),
                    complaint: Some(format!(
                        "{} is of version {}, this agent reads version {VERSION}: it is now {}; \
                         install the version that wrote it to use it",
                        self.memory.display(),
                        memory.version,
                        aside.display()
                    )),
                }
            }
            found => Found {
                value: found.value.unwrap_or_default(),
                complaint: found.complaint,
            },
        })
    }

    /// Keeps the memory; durable when this returns. May wait for the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_memory(&self, memory: &Memory) -> Result<(), FileError> {
        keep(&self.memory, memory)
    }

    /// The leases of this boot; none means that all are over.
    ///
    /// # Errors
    /// When the file is there but the disk gives it not.
    pub fn leases(&self, boot: &BootId) -> Result<Found<Option<LeaseMemory>>, FileError> {
        let mut found = load::<LeaseMemory>(&self.leases, "leases, which all count as over now")?;
        found.value = found.value.filter(|leases| leases.boot_id == *boot);
        Ok(found)
    }

    /// Keeps the leases.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_leases(&self, leases: &LeaseMemory) -> Result<(), FileError> {
        keep(&self.leases, leases).inspect_err(|_| {
            // What it says may be over by now. No file means that everything is.
            let _ = std::fs::remove_file(&self.leases);
        })
    }
}

fn keep<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let bytes = serde_json::to_vec(value).map_err(|error| FileError {
        action: "encode",
        path: path.to_owned(),
        cause: std::io::Error::other(error.to_string()),
        remedy: "report this as a defect of nodemedic".to_owned(),
    })?;
    files::write_atomic(path, &bytes, FILE_MODE)
}

fn load<T: DeserializeOwned>(path: &Path, lost: &str) -> Result<Found<Option<T>>, FileError> {
    let Some(bytes) = files::read_capped(path, FILE_MAX_BYTES)? else {
        return Ok(Found {
            value: None,
            complaint: None,
        });
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Found {
            value: Some(value),
            complaint: None,
        }),
        Err(error) => {
            let aside = set_aside(path)?;
            Ok(Found {
                value: None,
                complaint: Some(format!(
                    "{} cannot be understood ({error}): it is now {}; lost are {lost}",
                    path.display(),
                    aside.display()
                )),
            })
        }
    }
}

fn set_aside(path: &Path) -> Result<PathBuf, FileError> {
    let aside = path.with_extension("damaged");
    std::fs::rename(path, &aside).map_err(|cause| FileError {
        action: "set aside",
        path: path.to_owned(),
        cause,
        remedy: "make its directory writable for the agent".to_owned(),
    })?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_agent_core::ActionId;
    use nodemedic_protocol::Epoch;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state"), &dir.path().join("run")).unwrap();
        (dir, store)
    }

    #[test]
    fn a_fresh_host_remembers_nothing_and_then_what_it_was_told() {
        let (_dir, store) = store();
        let found = store.memory().unwrap();
        assert_eq!((found.value, found.complaint), (Memory::default(), None));
        let memory = Memory {
            last_action: ActionId(7),
            epoch_seen: Epoch(3),
            ..Memory::default()
        };
        store.keep_memory(&memory).unwrap();
        assert_eq!(store.memory().unwrap().value, memory);
    }

    #[test]
    fn a_damaged_memory_is_set_aside_and_told() {
        let (dir, store) = store();
        let path = dir.path().join("state/memory.json");
        files::write_atomic(&path, b"{\"version\": 1, torn", 0o640).unwrap();
        let found = store.memory().unwrap();
        assert_eq!(found.value, Memory::default());
        let complaint = found.complaint.unwrap();
        assert!(complaint.contains("memory.damaged"), "{complaint}");
        assert!(complaint.contains("restart budgets"), "{complaint}");
        assert!(dir.path().join("state/memory.damaged").exists());
        assert_eq!(store.memory().unwrap().complaint, None);
    }

    #[test]
    fn a_memory_of_another_version_is_not_guessed_at() {
        let (dir, store) = store();
        let memory = Memory {
            version: VERSION + 1,
            ..Memory::default()
        };
        store.keep_memory(&memory).unwrap();
        let found = store.memory().unwrap();
        assert_eq!(found.value, Memory::default());
        assert!(found.complaint.unwrap().contains("version 2"));
        assert!(dir.path().join("state/memory.damaged").exists());
    }

    #[test]
    fn leases_of_another_boot_are_over() {
        let (_dir, store) = store();
        let (one, two) = (BootId::new("one").unwrap(), BootId::new("two").unwrap());
        assert_eq!(store.leases(&one).unwrap().value, None);
        let leases = LeaseMemory {
            boot_id: one.clone(),
            leases: Vec::new(),
            epoch_seen: Epoch(3),
            declared: true,
        };
        store.keep_leases(&leases).unwrap();
        assert_eq!(store.leases(&one).unwrap().value, Some(leases));
        assert_eq!(store.leases(&two).unwrap().value, None);
    }
}
