//! Process 1 of a played host: starts and signals what a test tells it to, and reaps the dead.
//!
//! One order a line on standard input, its words parted by tabs; one line of answer to each:
//! - `start NAME LOG PROGRAM ARGUMENT...`: starts a program, its output appended to the log;
//! - `signal NAME SIGNAL`, `signal-pid PID SIGNAL`: `ok`, or `gone`;
//! - `runs NAME`: `yes`, or `no` once it is reaped.
//!
//! It ends when standard input does, and with it, as process 1, everything in its namespace: a test
//! that is killed leaves nothing behind.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::str::FromStr;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

type Started = BTreeMap<String, Pid>;

fn main() {
    let mut deaths = SigSet::empty();
    deaths.add(Signal::SIGCHLD);
    deaths.thread_block().expect("block SIGCHLD");
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let died = SignalFd::with_flags(&deaths, flags).expect("a signalfd");
    let mut started = Started::new();
    let mut orders = std::io::stdin().lock();
    loop {
        let mut ready = [
            PollFd::new(died.as_fd(), PollFlags::POLLIN),
            PollFd::new(orders.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut ready, PollTimeout::NONE).expect("poll");
        let ordered = ready[1].any() != Some(false);
        while matches!(died.read_signal(), Ok(Some(_))) {}
        reap(&mut started);
        if ordered {
            // The test waits for each answer, so no second order hides in the buffer.
            let mut line = String::new();
            if orders.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let words: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
            println!("{}", obey(&words, &mut started));
            std::io::stdout().flush().expect("answer");
        }
    }
}

fn reap(started: &mut Started) {
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
        started.retain(|_, pid| Some(*pid) != status.pid());
    }
}

fn obey(words: &[&str], started: &mut Started) -> String {
    match words {
        ["start", name, log, program, arguments @ ..] => match start(log, program, arguments) {
            Ok(pid) => {
                started.insert((*name).to_owned(), pid);
                "ok".to_owned()
            }
            Err(error) => format!("start {program}: {error}"),
        },
        ["signal", name, signal] => started
            .get(*name)
            .map_or_else(|| "gone".to_owned(), |pid| send(*pid, signal)),
        ["signal-pid", pid, signal] => pid.parse().map_or_else(
            |error| format!("{pid}: {error}"),
            |pid| send(Pid::from_raw(pid), signal),
        ),
        ["runs", name] if started.contains_key(*name) => "yes".to_owned(),
        ["runs", _] => "no".to_owned(),
        other => format!("an order that nobody knows: {other:?}"),
    }
}

fn start(log: &str, program: &str, arguments: &[&str]) -> std::io::Result<Pid> {
    let out = OpenOptions::new().create(true).append(true).open(log)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

fn send(pid: Pid, signal: &str) -> String {
    match Signal::from_str(signal).map(|signal| kill(pid, signal)) {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(_)) => "gone".to_owned(),
        Err(error) => format!("{signal}: {error}"),
    }
}
