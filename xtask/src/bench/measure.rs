//! What a process has cost so far, and a timer.

use std::fs;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// What a process has cost.
pub struct Reading {
    /// Processor time of all its threads, those that ended too. The kernel counts it in
    /// nanoseconds; /proc/PID/stat would round it to hundredths of a second.
    pub cpu_us: u64,
    /// Resident memory, shared pages too.
    pub rss_kib: u64,
    /// Its own memory.
    pub anonymous_kib: u64,
}

/// Reads one process.
///
/// # Errors
/// When it is gone.
pub fn read(pid: u32) -> Result<Reading> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
        .with_context(|| format!("finding the processor clock of process {pid}"))?;
    let cpu = clock_gettime(clock)
        .with_context(|| format!("reading the processor clock of process {pid}"))?;
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    Ok(Reading {
        cpu_us: u64::try_from(Duration::from(cpu).as_micros())?,
        rss_kib: field(&text, "VmRSS:").with_context(|| format!("{path} has no VmRSS"))?,
        anonymous_kib: field(&text, "RssAnon:")
            .with_context(|| format!("{path} has no RssAnon"))?,
    })
}

/// Memory that programs could still get, as the kernel estimates it.
///
/// # Errors
/// When the kernel does not tell.
pub fn available_kib() -> Result<u64> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    field(&text, "MemAvailable:").with_context(|| format!("{path} has no MemAvailable"))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Waits for so long: a timer, not a guess at when something is ready.
pub fn pause(span: Duration) {
    let (keep, never) = channel::<()>();
    // Nothing is ever sent, so this is the time-out and carries no news.
    let _ = never.recv_timeout(span);
    drop(keep);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_as_processor_time_and_memory() {
        let before = read(std::process::id()).unwrap();
        let block = vec![1_u8; 32 << 20];
        let mut sum = 0_u64;
        // Work first and look afterwards: filling the block may have cost enough already.
        loop {
            sum += block.iter().map(|b| u64::from(*b)).sum::<u64>();
            if read(std::process::id()).unwrap().cpu_us >= before.cpu_us + 20_000 {
                break;
            }
        }
        let after = read(std::process::id()).unwrap();
        assert!(sum > 0);
        assert!(after.anonymous_kib >= before.anonymous_kib + (30 << 10));
        assert!(after.rss_kib >= after.anonymous_kib);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error_and_not_zero() {
        assert!(read(u32::MAX >> 1).is_err());
    }
}
