//! Where a fleet on one machine keeps its files, and the lock that says that it runs.
//!
//! The lock has a second use: each sample service ends when nobody holds it any more, so that even
//! `kill -9` of the starter leaves none behind.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use nodemedic_edge::files;

use crate::failure::{Failure, Kind};

/// Longest path of a unix socket (sun_path in unix(7)), its ending zero left out.
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// The directories of one fleet.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// A fleet under `dir`, which is made if need be.
    pub fn new(dir: &Path) -> Result<Layout, Failure> {
        files::ensure_dir(dir, 0o700)?;
        let dir = dir.canonicalize().map_err(|error| {
            Failure::failed(format!(
                "cannot use the directory {}: {error}",
                dir.display()
            ))
        })?;
        let layout = Layout { dir };
        let longest = layout.watchdog_socket(usize::from(u8::MAX));
        if longest.as_os_str().len() > SOCKET_PATH_MAX_BYTES {
            return Err(Failure::usage(
                format!(
                    "{} is too long a path: a unix socket's may have {SOCKET_PATH_MAX_BYTES} bytes",
                    longest.display()
                ),
                "give a shorter --dir (for a story: TMPDIR)",
            ));
        }
        if layout
            .dir
            .as_os_str()
            .to_str()
            .is_none_or(|text| text.contains(['{', '}', '"', '\\']))
        {
            return Err(Failure::usage(
                format!(
                    "{} cannot stand in a configuration file",
                    layout.dir.display()
                ),
                "give a --dir of plain characters",
            ));
        }
        for part in ["log", "records", "coordinator"] {
            files::ensure_dir(&layout.dir.join(part), 0o700)?;
        }
        Ok(layout)
    }

    /// The directory of all.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file whose lock says that this fleet runs.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("up.lock")
    }

    /// What a daemon prints.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }

    /// The record of a work's instances on all nodes.
    pub fn record(&self, work: &str) -> PathBuf {
        self.dir.join("records").join(format!("{work}.jsonl"))
    }

    /// The coordinator's state.
    pub fn coordinator_state(&self) -> PathBuf {
        self.dir.join("coordinator")
    }

    /// The coordinator's configuration.
    pub fn coordinator_config(&self) -> PathBuf {
        self.dir.join("coordinator.toml")
    }

    /// The directory of node `n`, counted from 1.
    pub fn node(&self, n: usize) -> PathBuf {
        self.dir.join(format!("node-{n}"))
    }

    /// An agent's configuration.
    pub fn agent_config(&self, n: usize) -> PathBuf {
        self.node(n).join("agent.toml")
    }

    /// An agent's local socket.
    pub fn agent_socket(&self, n: usize) -> PathBuf {
        self.node(n).join("run").join("agent.sock")
    }

    /// A watchdog's socket.
    pub fn watchdog_socket(&self, n: usize) -> PathBuf {
        self.node(n).join("run").join("watchdog.sock")
    }

    /// Where a watchdog keeps its last words; the agent of the node reads them.
    pub fn watchdog_state(&self, n: usize) -> PathBuf {
        self.node(n).join("watchdog")
    }

    /// While this exists, a work refuses to start on a node. `node` may be `{node}`.
    pub fn break_file(&self, node: &str, work: &str) -> PathBuf {
        self.dir.join(node).join(format!("break-{work}"))
    }

    /// Forgets all of an earlier run. Only what a fleet itself makes is removed, so a wrong --dir
    /// loses nothing else. The lock must be held.
    pub fn wipe(&self, _held: &Lock) -> Result<(), Failure> {
        let entries =
            std::fs::read_dir(&self.dir).map_err(|error| self.cannot("read", &self.dir, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.cannot("read", &self.dir, &error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            let ours = matches!(
                &*name,
                "log" | "records" | "coordinator" | "coordinator.toml"
            ) || name
                .strip_prefix("node-")
                .is_some_and(|n| n.parse::<u8>().is_ok());
            if !ours {
                continue;
            }
            let gone = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            gone.map_err(|error| self.cannot("remove", &path, &error))?;
        }
        Layout::new(&self.dir).map(drop)
    }

    fn cannot(&self, what: &str, path: &Path, error: &std::io::Error) -> Failure {
        Failure::failed(format!("cannot {what} {}: {error}", path.display()))
    }

    /// Takes the lock, or says that another fleet runs here.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let path = self.lock_file();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| self.cannot("open", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Kind::Failed,
                format!("a fleet already runs in {}", self.dir.display()),
                "use that one, stop it with Ctrl-C where it was started, or give another --dir, \
                 --api, --broker-port and --service-port",
            )),
            Err(TryLockError::Error(error)) => Err(self.cannot("lock", &path, &error)),
        }
    }
}

/// Held while a fleet runs.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_holds_one_running_fleet() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let held = layout.lock().unwrap();
        let second = layout.lock().unwrap_err();
        assert!(second.message.contains("already runs in"), "{second}");
        assert!(second.remedy.contains("--dir"), "{second}");
        drop(held);
        assert!(layout.lock().is_ok());
    }

    #[test]
    fn a_wipe_takes_what_a_fleet_makes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        files::ensure_dir(&layout.node(2), 0o700).unwrap();
        files::write_atomic(&layout.agent_config(2), b"x", 0o600).unwrap();
        files::write_atomic(&dir.path().join("thesis.txt"), b"x", 0o600).unwrap();
        files::ensure_dir(&dir.path().join("node-photos"), 0o700).unwrap();
        layout.wipe(&layout.lock().unwrap()).unwrap();
        assert!(!layout.node(2).exists());
        assert!(dir.path().join("thesis.txt").exists());
        assert!(dir.path().join("node-photos").exists());
        assert!(dir.path().join("records").exists());
    }

    #[test]
    fn a_directory_too_deep_for_a_socket_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let failure = Layout::new(&dir.path().join("d".repeat(120))).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.remedy.contains("shorter --dir"), "{failure}");
    }
}
