//! Ends everything that belongs to one start, and proves that it ended.

use std::path::Path;
use std::time::Duration;

use nodemedic_protocol::Millis;
use rustix::process::Signal;
use tokio::time::timeout;

use super::blocking;
use super::spawn::MARK;
use crate::manager::process::{PROC, Process};
use crate::sampler::pid_stat::{of_session, pids, stat_of};

/// How long what was sent SIGKILL may take to go. The kernel ends it at once, unless it hangs in
/// a system call that cannot be interrupted; then nobody can end it.
const KILL_ROUNDS: u32 = 50;

/// One round of killing.
const KILL_ROUND: Duration = Duration::from_millis(100);

/// An environment is read up to here; the mark stands within, or the unit's own is absurd.
const ENVIRONMENT_MAX_BYTES: u64 = 256 << 10;

/// Names of processes in one message; more would only be longer.
const LISTED_MAX: usize = 8;

/// Which processes belong to one start.
#[derive(Clone, Debug)]
pub struct Members {
    /// The number of its session, which is that of its main process.
    pub session: Option<u32>,
    /// When the main process started; tells the session from a later one of the same number.
    pub leader_start_ticks: Option<u64>,
    /// What they carry in their environment.
    pub mark: String,
    /// When the start began, in ticks since boot: what is older belongs to somebody else.
    pub since_ticks: u64,
}

impl Members {
    /// Those that live.
    ///
    /// # Errors
    /// When /proc cannot be read: then nobody may say that there are none.
    pub async fn find(&self) -> Result<Vec<u32>, String> {
        let members = self.clone();
        blocking(move || members.find_now()).await
    }

    fn find_now(&self) -> Result<Vec<u32>, String> {
        let root = Path::new(PROC);
        let mut found = match self.session {
            Some(session) if self.is_ours(root, session)? => {
                of_session(root, session).map_err(|error| error.to_string())?
            }
            _ => Vec::new(),
        };
        for pid in pids(root).map_err(|error| error.to_string())? {
            if !found.contains(&pid) && self.is_marked(root, pid)? {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// A number is free for another session only after the last process of ours ended; then its
    /// leader started later.
    fn is_ours(&self, root: &Path, session: u32) -> Result<bool, String> {
        let leader = stat_of(root, session).map_err(|error| error.to_string())?;
        Ok(match (leader, self.leader_start_ticks) {
            (Some(leader), Some(ticks)) => leader.start_ticks == ticks,
            (Some(leader), None) => leader.start_ticks >= self.since_ticks,
            (None, _) => true,
        })
    }

    fn is_marked(&self, root: &Path, pid: u32) -> Result<bool, String> {
        let stat = stat_of(root, pid).map_err(|error| error.to_string())?;
        let Some(stat) = stat else { return Ok(false) };
        if stat.start_ticks < self.since_ticks || stat.is_over() {
            return Ok(false);
        }
        // One whose environment may not be read runs as another user: not started by this agent,
        // or by a program that changed its user, which keeps its session.
        let Ok(file) = std::fs::File::open(root.join(pid.to_string()).join("environ")) else {
            return Ok(false);
        };
        let mut environment = Vec::new();
        let mut capped = std::io::Read::take(file, ENVIRONMENT_MAX_BYTES);
        if std::io::Read::read_to_end(&mut capped, &mut environment).is_err() {
            return Ok(false);
        }
        let wanted = format!("{MARK}={}", self.mark);
        Ok(environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes()))
    }

    /// Asks (when `ask`) by SIGTERM, waits, then kills until nothing is left.
    ///
    /// # Errors
    /// When something is left, or cannot be seen or signalled.
    pub async fn end(&self, ask: bool, grace: Millis) -> Result<(), String> {
        if ask {
            self.signal_all(Signal::TERM).await?;
        }
        if self.wait_until_gone(grace.to_duration()).await?.is_empty() {
            return Ok(());
        }
        let mut left = Vec::new();
        for _ in 0..KILL_ROUNDS {
            // Again and again: what is killed may have made others meanwhile.
            self.signal_all(Signal::KILL).await?;
            left = self.wait_until_gone(KILL_ROUND).await?;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(format!("still there after SIGKILL: {}", list(&left)))
    }

    async fn signal_all(&self, signal: Signal) -> Result<(), String> {
        for pid in self.find().await? {
            let process = Process::open(pid, None).map_err(|error| error.to_string())?;
            let Some(process) = process else { continue };
            // Between the look and the pidfd the number may have become another's.
            let members = self.clone();
            if !blocking(move || members.is_member_now(pid)).await? {
                continue;
            }
            process
                .signal(signal)
                .map_err(|error| format!("cannot signal process {pid}: {error}"))?;
        }
        Ok(())
    }

    fn is_member_now(&self, pid: u32) -> Result<bool, String> {
        let root = Path::new(PROC);
        let stat = stat_of(root, pid).map_err(|error| error.to_string())?;
        let in_session = stat.is_some_and(|stat| Some(stat.session) == self.session);
        Ok(in_session || self.is_marked(root, pid)?)
    }

    /// Waits for the ends of those that live, as events; gives who is left after `within`.
    async fn wait_until_gone(&self, within: Duration) -> Result<Vec<u32>, String> {
        match timeout(within, self.gone()).await {
            Ok(gone) => gone.map(|()| Vec::new()),
            Err(_) => self.find().await,
        }
    }

    async fn gone(&self) -> Result<(), String> {
        while let Some(first) = self.find().await?.first() {
            let held = Process::open(*first, None).map_err(|error| error.to_string())?;
            if let Some(held) = held {
                held.ended().await.map_err(|error| error.to_string())?;
                // Collects it when it was ours, or it would stay as a zombie.
                let _how_we_ended_it = held.collect();
            }
        }
        Ok(())
    }
}

/// The first few, for people.
pub fn list(pids: &[u32]) -> String {
    let mut text = pids
        .iter()
        .take(LISTED_MAX)
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if pids.len() > LISTED_MAX {
        text.push_str(", ...");
    }
    format!("process {text}")
}
