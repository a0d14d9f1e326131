//! One daemon of a fleet: a real process in a process group of its own, tied to this one by the
//! kernel, with its output in a file.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodemedic_protocol::Millis;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::out::clean;

/// A log above this is put aside at the next start; one older log is kept.
const LOG_MAX_BYTES: u64 = 8 << 20;

/// How much of a log is read to show its end: the lines before matter to nobody in a hurry.
const LOG_READ_MAX_BYTES: u64 = 16 << 10;

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    /// `coordinator`, `node-1 agent`, ...
    pub name: String,
    /// Its process.
    pub pid: u32,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` through `nodemedic tether` (see there).
    pub fn start(
        name: &str,
        nodemedic: &Path,
        program: &Path,
        args: &[OsString],
        log: PathBuf,
    ) -> Result<Daemon, Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!(
                "cannot start {name} ({}): {error}",
                program.display()
            ))
        };
        put_aside(&log);
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        let err = out.try_clone().map_err(failed)?;
        let child = Command::new(nodemedic)
            .arg("tether")
            .arg(std::process::id().to_string())
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C on the terminal must reach the starter alone, which stops all in order.
            .process_group(0)
            // A daemon of ours is no unit of systemd, even when the starter is.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pid = child
            .id()
            .ok_or_else(|| Failure::failed(format!("{name} ended before it was looked at")))?;
        Ok(Daemon {
            name: name.to_owned(),
            pid,
            child,
            log,
        })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(format!("cannot be waited for: {error}")),
        }
    }

    /// The failure of a daemon that ended, with the end of its log.
    pub fn failure(&self, how: &str) -> Failure {
        Failure::failed(format!(
            "{} ended: {how}; the end of its log {}:\n{}",
            self.name,
            self.log.display(),
            self.log_tail()
        ))
    }

    /// The last lines that it printed.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 8;
        let text = read_end(&self.log).unwrap_or_else(|error| format!("(cannot be read: {error})"));
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LINES);
        let shown: Vec<String> = lines[from..]
            .iter()
            .map(|line| format!("    {}", clean(line)))
            .collect();
        shown.join("\n")
    }

    /// Kills it as a power cut would, and sees that it is gone.
    pub async fn kill(&mut self, within: Millis) -> Result<(), Failure> {
        self.signal(Signal::SIGKILL);
        self.gone(within).await
    }

    /// Asks it to end.
    pub fn ask_to_end(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sees that it is gone, within a bound.
    pub async fn gone(&mut self, within: Millis) -> Result<(), Failure> {
        match timeout(within.to_duration(), self.child.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::failed(format!(
                "{} (process {}) is still there after {within}",
                self.name, self.pid
            ))),
        }
    }

    fn signal(&mut self, signal: Signal) {
        // Only a process that is not yet waited for keeps its number.
        if self.ended().is_none()
            && let Ok(pid) = i32::try_from(self.pid)
        {
            // It may end between the two lines: then there is nobody to tell.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

fn put_aside(log: &Path) {
    let long = std::fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_MAX_BYTES);
    if long {
        // A log that cannot be put aside grows on; that hurts nobody.
        let _ = std::fs::rename(log, log.with_extension("old.log"));
    }
}

fn read_end(log: &Path) -> Result<String, String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(log).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let from = length.saturating_sub(LOG_READ_MAX_BYTES);
    file.seek(SeekFrom::Start(from))
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(LOG_READ_MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Kills a process whose number was recorded, if that number still names the same process. True
/// when there was something to kill.
pub fn kill_recorded(pid: u32, start_ticks: u64) -> bool {
    if crate::sample::start_ticks(pid) != Some(start_ticks) {
        return false;
    }
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
}
