//! What the agent keeps over restarts: its memory (over reboots too) and its leases (this boot).
//!
//! They are small JSON files that are replaced whole. The memory lies twice: on disk, and for this
//! boot in the run directory, on a tmpfs. The newer of the two is taken, so a disk that is set back
//! under a running host, or that was full, makes no agent forget what it started. A file that
//! cannot be understood is set aside with a loud word, never a reason not to start: a host without
//! an agent heals nothing.

use std::path::{Path, PathBuf};

use nodemedic_agent_core::memory::{LeaseMemory, Memory, VERSION};
use nodemedic_edge::files::{self, FileError};
use nodemedic_protocol::BootId;
use serde::de::DeserializeOwned;

/// Far above what a thousand works and conditions need.
const FILE_MAX_BYTES: usize = 16 << 20;

/// Only the agent's own user and group read it.
const FILE_MODE: u32 = 0o640;

/// The files.
#[derive(Clone, Debug)]
pub struct Store {
    memory: PathBuf,
    copy: PathBuf,
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
            copy: run.join("memory.json"),
            leases: run.join("leases.json"),
        })
    }

    /// The newest memory, or a fresh one; and what is to be said about its files.
    ///
    /// # Errors
    /// When a file is there but is not given.
    pub fn memory(&self, boot: &BootId) -> Result<(Memory, Vec<String>), FileError> {
        let lost = "restart budgets, fenced services and works held";
        let on_disk = memory_in(&self.memory, lost)?;
        let copy = memory_in(&self.copy, "nothing that is not on disk too")?;
        let mut complaints: Vec<String> = [on_disk.complaint, copy.complaint]
            .into_iter()
            .flatten()
            .collect();
        let on_disk = on_disk.value.unwrap_or_default();
        let known = on_disk.writes;
        let newest = Memory::newest(on_disk, copy.value, boot);
        if newest.writes > known {
            complaints.push(format!(
                "{} is older than what this boot knows (set back, lost, or on a disk that took \
                 nothing): {} is used",
                self.memory.display(),
                self.copy.display()
            ));
        }
        Ok((newest, complaints))
    }

    /// Keeps the memory; durable when this returns. May wait for the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep_memory(&self, memory: &Memory) -> Result<(), FileError> {
        let bytes = encode(&self.memory, memory)?;
        // An old copy does no harm: the disk is newer then.
        if let Err(error) = files::replace(&self.copy, &bytes, FILE_MODE) {
            tracing::warn!("{error}; a state that is set back would be believed");
        }
        files::write_atomic(&self.memory, &bytes, FILE_MODE)
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
    files::write_atomic(path, &encode(path, value)?, FILE_MODE)
}

fn encode<T: serde::Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, FileError> {
    serde_json::to_vec(value).map_err(|error| FileError {
        action: "encode",
        path: path.to_owned(),
        cause: std::io::Error::other(error.to_string()),
        remedy: "report this as a defect of nodemedic".to_owned(),
    })
}

/// A memory of this version, if the file holds one.
fn memory_in(path: &Path, lost: &str) -> Result<Found<Option<Memory>>, FileError> {
    let found = load::<Memory>(path, lost)?;
    let Some(memory) = found.value.as_ref().filter(|m| m.version != VERSION) else {
        return Ok(found);
    };
    let aside = set_aside(path)?;
    Ok(Found {
        value: None,
        complaint: Some(format!(
            "{} is of version {}, this agent reads version {VERSION}: it is now {}; install the \
             version that wrote it to use it",
            path.display(),
            memory.version,
            aside.display()
        )),
    })
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

    fn boot() -> BootId {
        BootId::new("one").unwrap()
    }

    fn written(writes: u64) -> Memory {
        Memory {
            writes,
            boot_id: Some(boot()),
            last_action: ActionId(writes),
            ..Memory::default()
        }
    }

    /// What is found, and what is said; each only once.
    fn found(store: &Store, boot: &BootId) -> (Memory, String) {
        let (memory, complaints) = store.memory(boot).unwrap();
        (memory, complaints.join("\n"))
    }

    #[test]
    fn a_fresh_host_remembers_nothing_and_then_what_it_was_told() {
        let (_dir, store) = store();
        assert_eq!(found(&store, &boot()), (Memory::default(), String::new()));
        store.keep_memory(&written(7)).unwrap();
        assert_eq!(found(&store, &boot()), (written(7), String::new()));
    }

    #[test]
    fn a_disk_that_is_set_back_or_emptied_is_corrected_by_the_copy_of_this_boot() {
        let (dir, store) = store();
        let path = dir.path().join("state/memory.json");
        store.keep_memory(&written(5)).unwrap();
        let image = std::fs::read(&path).unwrap();
        store.keep_memory(&written(7)).unwrap();
        files::write_atomic(&path, &image, 0o640).unwrap();
        let (memory, said) = found(&store, &boot());
        assert_eq!(memory, written(7));
        assert!(said.contains("older than what this boot knows"), "{said}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found(&store, &boot()).0, written(7));
        // Nothing of another boot runs, and a run directory need not be a tmpfs.
        let other = BootId::new("two").unwrap();
        assert_eq!(found(&store, &other), (Memory::default(), String::new()));
    }

    #[test]
    fn a_copy_that_could_not_be_written_does_not_hide_the_disk() {
        let (dir, store) = store();
        store.keep_memory(&written(5)).unwrap();
        std::fs::rename(dir.path().join("run"), dir.path().join("away")).unwrap();
        store.keep_memory(&written(6)).unwrap();
        std::fs::rename(dir.path().join("away"), dir.path().join("run")).unwrap();
        assert_eq!(found(&store, &boot()), (written(6), String::new()));
    }

    #[test]
    fn a_damaged_memory_is_set_aside_and_told() {
        let (dir, store) = store();
        let path = dir.path().join("state/memory.json");
        files::write_atomic(&path, b"{\"version\": 1, torn", 0o640).unwrap();
        let (memory, said) = found(&store, &boot());
        assert_eq!(memory, Memory::default());
        assert!(said.contains("memory.damaged"), "{said}");
        assert!(said.contains("restart budgets"), "{said}");
        assert!(dir.path().join("state/memory.damaged").exists());
        assert_eq!(found(&store, &boot()).1, "");
    }

    #[test]
    fn a_memory_of_another_version_is_not_guessed_at() {
        let (dir, store) = store();
        let version = VERSION + 1;
        store
            .keep_memory(&Memory {
                version,
                ..written(1)
            })
            .unwrap();
        let (memory, said) = found(&store, &boot());
        assert_eq!(memory, Memory::default());
        assert!(said.contains("version 2"), "{said}");
        assert!(dir.path().join("state/memory.damaged").exists());
        assert!(dir.path().join("run/memory.damaged").exists());
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
