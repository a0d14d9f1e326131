//! What a guard knows of its host before it starts, and all that it sees and does there.

use std::fmt::Arguments;

use nix::sys::signal::Signal;

use crate::beat::Promise;

/// With a device: how long killing may take before the device is starved. SIGKILL takes effect in
/// microseconds; the rest is the kernel freeing the memory of a large process.
pub const VERIFY_MS: u64 = 3000;
/// One turn of the loop, late by as much as a loaded host makes it, or a restart of this program.
pub const SLACK_MS: u64 = 3000;

/// What a guard may do besides striking at targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Feed the device.
    Feed,
    /// Stop the device.
    Disarm,
    /// Kill the process that is held as the agent.
    KillAgent,
    /// Reboot the host. It may come back from that.
    Reboot,
}

/// All that a guard sees and does.
pub trait Host {
    /// Sends a signal to all of the target, or only looks, and says how many processes it found.
    /// Zero is proof that the target is gone.
    ///
    /// # Errors
    /// When it cannot be seen, or not be signalled.
    fn strike(&mut self, target: &Promise, signal: Option<Signal>) -> nix::Result<usize>;
    /// True when the target holds this program itself.
    fn is_self(&self, target: &Promise) -> bool;
    /// Holds this process as the agent, if it began in that time, and says when that was, in clock
    /// ticks. If it did not, nobody is held.
    ///
    /// # Errors
    /// When there is no such process.
    fn hold(&mut self, pid: u64, began: [u64; 2]) -> nix::Result<u64>;
    /// The held process has not ended.
    fn agent_lives(&self) -> bool;
    /// Does this.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn act(&mut self, act: Act) -> nix::Result<()>;
    /// Keeps the whole table for the next guard.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn keep(&mut self, table: &[u8]) -> nix::Result<()>;
    /// Keeps what a person asks for after a reset.
    fn last_words(&mut self, now: u64, verdict: &str, target: &Promise, why: &str);
    /// Says a line.
    fn say(&mut self, level: u8, line: Arguments<'_>);
}

/// Flag of an answer: the device cannot be disarmed.
pub const NO_WAY_OUT: u32 = 1 << 3;
/// Flag of an answer: without a device, the last resort is to reboot.
pub const LAST_RESORT: u32 = 1 << 4;

/// How the program was started, and where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// There is a device.
    pub hardware: bool,
    /// Of the device; without one: the time to make a promise good.
    pub timeout_ms: u64,
    /// Everything is judged and said, nothing is done.
    pub dry_run: bool,
    /// Who may send besides root: the agent's uid and our own.
    pub uids: [u32; 2],
    /// Of an answer.
    pub flags: u32,
    /// What the device said about the last boot.
    pub boot_status: u32,
}

impl Settings {
    /// How long a target may take to be seen gone. Half of it, when the rest is for a reboot.
    pub(crate) fn verify_ms(&self) -> u64 {
        let share = if self.flags & LAST_RESORT > 0 { 2 } else { 1 };
        if self.hardware { VERIFY_MS } else { self.timeout_ms / share }
    }

    /// Within so long after a promise is broken it is made good, one way or the other.
    pub fn answered_ms(&self) -> u64 {
        self.timeout_ms + u64::from(self.hardware) * (VERIFY_MS + SLACK_MS)
    }
}
