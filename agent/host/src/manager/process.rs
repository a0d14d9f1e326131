//! One process held by its pidfd: its end is an event, and a signal can reach nobody else.

use std::io;
use std::path::Path;

use nodemedic_agent_core::DownCause;
use nodemedic_edge::files::read_capped;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sampler::pid_stat::stat_of;

/// Where processes are named in this agent's own pid namespace. Not the configurable root of the
/// samplers: a pid read elsewhere may be another process here.
pub const PROC: &str = "/proc";

/// A process.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    start_ticks: u64,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Holds a process by its number. With `start_ticks` it must be the one that started then.
    ///
    /// # Errors
    /// When the kernel gives no pidfd, or the process cannot be read; `Ok(None)` when it is gone
    /// or only waits to be collected, or its number belongs to another one now.
    pub fn open(pid: u32, start_ticks: Option<u64>) -> io::Result<Option<Process>> {
        let Some(number) = as_pid(pid) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(number, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            // The number was given to a thread since. Linux says ENOENT for that since 6.9, and
            // EINVAL, which may mean something else, before.
            Err(_) if is_thread(pid) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Read after the pidfd was taken: what has the number now is what the pidfd holds, or the
        // pidfd's process is gone, and then signals reach nobody.
        let stat = stat_of(Path::new(PROC), pid).map_err(io::Error::other)?;
        let Some(stat) = stat else { return Ok(None) };
        if start_ticks.is_some_and(|ticks| ticks != stat.start_ticks) {
            return Ok(None);
        }
        Ok(Some(Process {
            pid,
            start_ticks: stat.start_ticks,
            pidfd: watchable(pidfd)?,
        }))
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, in ticks since boot.
    #[must_use]
    pub fn start_ticks(&self) -> u64 {
        self.start_ticks
    }

    /// Waits for its end. May be dropped and called again.
    ///
    /// # Errors
    /// When the runtime cannot wait.
    pub async fn ended(&self) -> io::Result<()> {
        // A pidfd stays readable, so the readiness is never cleared.
        self.pidfd.readable().await.map(drop)
    }

    /// How it ended, and collects it when it was our child.
    #[must_use]
    pub fn collect(&self) -> DownCause {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), options) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => DownCause::Exited(code),
                (None, Some(signal)) => DownCause::Killed(signal),
                (None, None) => DownCause::Gone,
            },
            // Adopted: another process collects it and knows how it ended.
            Ok(None) | Err(_) => DownCause::Gone,
        }
    }

    /// Sends a signal; one that is gone already is no error.
    ///
    /// # Errors
    /// When the right is missing.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn watchable(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        unsafe_code,
        reason = "tokio wants the promise that the descriptor stays the same and open until it is \
                  deregistered: an OwnedFd that is moved in and never taken out keeps it"
    )]
    // SAFETY: see the reason.
    let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    Ok(registered?)
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Whether a number is that of a thread other than the first of its process. Such a number is not
/// listed in /proc, but can be read there: Tgid in proc_pid_status(5).
fn is_thread(pid: u32) -> bool {
    const STATUS_MAX_BYTES: usize = 64 * 1024;
    let path = Path::new(PROC).join(pid.to_string()).join("status");
    let Ok(Some(bytes)) = read_capped(&path, STATUS_MAX_BYTES) else {
        return false;
    };
    let text = String::from_utf8_lossy(&bytes);
    let leader = text.lines().find_map(|line| line.strip_prefix("Tgid:"));
    leader.is_some_and(|leader| leader.trim() != pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_a_thread_has_now_is_a_process_that_is_gone() {
        let of_a_thread = || std::fs::read_link("/proc/thread-self").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(of_a_thread()).unwrap();
            let _ = ended.recv();
        });
        let link = told.recv().unwrap();
        let number = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert!(Process::open(number, Some(1)).unwrap().is_none());
        drop(end);
        thread.join().unwrap();
    }
}
