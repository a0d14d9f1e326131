//! A child process that a test may kill at any time, and that never outlives the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// A running program with its output in a file.
pub struct Process {
    child: Child,
    /// What it is called in messages.
    pub name: String,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Process {
    /// Starts a program with its output appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Process {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("log file");
        let err = out.try_clone().expect("log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|e| panic!("start {name} ({command:?}): {e}"));
        Process {
            child,
            name: name.to_owned(),
            log: log.to_owned(),
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).unwrap_or_else(|e| panic!("{signal} to {}: {e}", self.name));
    }

    /// kill -9, and waits until it is reaped.
    pub fn kill9(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the exit code within the bound.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(mut self, bound: Duration) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.exit_code(bound)
    }

    /// The exit code, once it ends by itself within the bound; `None` when a signal ended it.
    ///
    /// # Panics
    /// When it does not end.
    pub fn exit_code(&mut self, bound: Duration) -> Option<i32> {
        let (status, _) = wait_for(&format!("{} ends", self.name), bound, || {
            match self.child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("still runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        status.code()
    }

    /// Everything it has said.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// kill -9 of the process that gave an answer; one that is gone already is as good.
///
/// # Panics
/// When the answer names no process.
pub fn kill9_answering(answer: &serde_json::Value) {
    let pid = answer["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok())
        .expect("a pid");
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Kills every process whose command line names a path under `dir`: works outlive agents by design,
/// but not a test.
pub fn kill_all_under(dir: &Path) {
    let Some(marker) = dir.to_str() else { return };
    // Twice, because a process may fork between the listing and its death.
    for _ in 0..2 {
        for pid in processes_naming(marker) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The end of each log, for the reader of a failed test.
pub fn print_tails(logs: &[PathBuf]) {
    for log in logs {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.len().saturating_sub(40);
        eprintln!("--- {} (last 40 of {} lines)", log.display(), lines.len());
        for line in &lines[tail..] {
            eprintln!("{line}");
        }
    }
}

/// Processes, other than this one, whose command line holds a text.
#[must_use]
pub fn processes_naming(marker: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| pid.unsigned_abs() != std::process::id())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker))
        })
        .collect()
}
