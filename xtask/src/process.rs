//! Child processes with a deadline, each in a process group of its own: when time is up, or this
//! command is interrupted, the whole group ends and nothing is left behind.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

/// Between the polite request to end and the forced end. cargo and its tests end at once on
/// SIGTERM; what needs longer is stuck.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// What a shell reports for a command that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

/// Makes Ctrl-C and SIGTERM end every group that is under way. Call once, before any thread
/// exists, for the threads must inherit the blocked signals.
pub fn end_children_with_us() -> Result<()> {
    let signals = ending_signals();
    signals
        .thread_block()
        .context("blocking SIGINT and SIGTERM")?;
    thread::spawn(move || {
        // An error here means that no signal can be waited for: then the default is to run on.
        if signals.wait().is_ok() {
            for child in own_children() {
                end(child, Signal::SIGTERM);
            }
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    Ok(())
}

fn ending_signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals
}

/// Every child of this process, as the kernel lists them; each leads a group of its own number.
fn own_children() -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers = list.split_whitespace().map(str::parse);
            numbers.flatten().collect::<Vec<i32>>()
        })
        .collect()
}

fn end(group: i32, signal: Signal) {
    // ESRCH means that it is gone already, which is what is wanted.
    let _ = killpg(Pid::from_raw(group), signal);
}

/// Runs a command to its end, with our own output and no input.
///
/// # Errors
/// When it cannot be started or does not end within `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Result<ExitStatus> {
    let child = start(command.stdin(Stdio::null()))?;
    wait(child, limit, &words(command))
}

/// Starts a command in a group of its own; [`wait`] or [`stop`] it.
///
/// # Errors
/// When the program is missing or cannot be started.
pub fn start(command: &mut Command) -> Result<Child> {
    // A child inherits the mask of the thread that starts it, and one with SIGTERM blocked could
    // not be asked to end.
    let mask = SigSet::thread_get_mask().context("reading the signal mask")?;
    let signals = ending_signals();
    signals.thread_unblock().context("unblocking signals")?;
    let started = command.process_group(0).spawn();
    mask.thread_set_mask()
        .context("restoring the signal mask")?;
    started.with_context(|| format!("starting {}", words(command)))
}

/// Replaces this process by a command; returns only when that fails.
pub fn become_it(command: &mut Command) -> anyhow::Error {
    // The new program inherits the mask too.
    if let Err(error) = ending_signals().thread_unblock() {
        return anyhow::Error::from(error).context("unblocking signals");
    }
    let error = command.exec();
    anyhow::Error::from(error).context(format!("starting {}", words(command)))
}

fn group_of(child: &Child) -> i32 {
    child.id().cast_signed()
}

/// Waits for a child with a bound, and ends its group when the bound is over.
///
/// # Errors
/// When it does not end in time, with the command in the message.
pub fn wait(mut child: Child, limit: Duration, said: &str) -> Result<ExitStatus> {
    let group = group_of(&child);
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait()));
    let ended = match receiver.recv_timeout(limit) {
        Ok(status) => Some(status),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            end(group, Signal::SIGTERM);
            let _ = receiver.recv_timeout(TERM_GRACE);
            end(group, Signal::SIGKILL);
            None
        }
    };
    match ended {
        Some(status) => status.with_context(|| format!("waiting for {said}")),
        None => bail!(
            "{said} did not end within {} s and was ended",
            limit.as_secs()
        ),
    }
}

/// Ends a child that runs until it is told, and reaps it.
///
/// # Errors
/// When it outlives SIGKILL, which only a process stuck in the kernel does.
pub fn stop(child: Child, said: &str) -> Result<()> {
    end(group_of(&child), Signal::SIGTERM);
    // It ends by our own signal, so its status tells nothing.
    wait(child, TERM_GRACE, said).map(|_| ())
}

/// A command as a person would type it.
pub fn words(command: &Command) -> String {
    let mut said = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        said.push(' ');
        said.push_str(&argument.to_string_lossy());
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a process runs; one that ended and waits to be reaped does not.
    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|text| !text.contains(") Z "))
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_all_its_children() {
        let note = std::env::temp_dir().join(format!("xtask-hang-{}", std::process::id()));
        let mut hang = Command::new("sh");
        hang.args(["-c", "sleep 61 & echo $! > \"$0\"; wait"])
            .arg(&note);
        let error = run(&mut hang, Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
        let grandchild = std::fs::read_to_string(&note).unwrap();
        std::fs::remove_file(&note).unwrap();
        assert!(!runs(&grandchild), "the sleep still runs");
    }

    #[test]
    fn a_child_can_be_ended_though_our_own_thread_blocks_the_signals() {
        ending_signals().thread_block().unwrap();
        let mut grep = Command::new("grep");
        grep.args(["-q", "^SigBlk:.0*$", "/proc/self/status"]);
        assert!(run(&mut grep, Duration::from_secs(5)).unwrap().success());
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
    }

    #[test]
    fn what_is_under_way_is_found_without_a_list_of_our_own() {
        let child = start(Command::new("sleep").arg("60")).unwrap();
        assert!(own_children().contains(&group_of(&child)));
        stop(child, "sleep").unwrap();
    }

    #[test]
    fn a_program_that_is_missing_is_named_in_the_error() {
        let missing = &mut Command::new("/no/such/program");
        let error = run(missing, Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.to_string(), "starting /no/such/program");
    }

    #[test]
    fn the_exit_status_of_a_command_is_passed_on() {
        let status = run(&mut Command::new("false"), Duration::from_secs(5)).unwrap();
        assert_eq!(status.code(), Some(1));
    }
}
