//! The program: arguments in, exit code out; the life of the process between them.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nodemedic_watchdog::args::{self, Args, Asked};
use nodemedic_watchdog::beat::BEAT_MAX;
use nodemedic_watchdog::device::Watchdog;
use nodemedic_watchdog::enforce::Host;
use nodemedic_watchdog::guard::{End, Guard, Standing, TURN_MAX_MS};
use nodemedic_watchdog::notify::Notify;
use nodemedic_watchdog::socket::Socket;
use nodemedic_watchdog::{clock, handover, log, sys};

/// Beats taken in one turn: more are a flood, and what is due must not wait for it.
const BEATS_PER_TURN: usize = 16;
/// Above every program without real time, below those that an administrator put high.
const PRIORITY: i32 = 10;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(args)) => args,
        Ok(Asked::Print(text)) => {
            let told = std::io::stdout().write_all(text.as_bytes());
            return if told.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
        Err(error) => {
            log::alert(&error);
            return ExitCode::from(64);
        }
    };
    match run(&args) {
        Ok(End::Clean | End::HandOver) => ExitCode::SUCCESS,
        Ok(End::Unverified) => ExitCode::FAILURE,
        Err(error) => {
            log::alert(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<End, String> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    let no_signals = |e| format!("cannot receive signals: {e}");
    mask.thread_block().map_err(no_signals)?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&mask, flags).map_err(no_signals)?;
    let socket = Socket::bind(&args.socket, args.agent_uid.is_some())?;
    let device = match &args.device {
        Some(path) => Some(Watchdog::open(path, args.timeout_ms)?),
        None => {
            log::info("no device: promises are enforced by killing alone");
            None
        }
    };
    let standing = Standing {
        timeout_ms: args.timeout_ms,
        agent_uid: args.agent_uid,
        release_on_stop: args.release_on_stop,
        own_uid: nix::unistd::geteuid().as_raw(),
        flags: harden(),
    };
    let file = handover::path(&args.socket);
    let earlier = handover::take(&file).unwrap_or_else(|error| {
        log::alert(&error);
        Vec::new()
    });
    let hands = Host {
        proc_root: args.proc_root.clone(),
        cgroup_root: args.cgroup_root.clone(),
    };
    let mut guard = Guard::new(clock::boottime_ms(), device, hands, standing, &earlier);
    let end = watch(&mut guard, &socket, &signals)?;
    if end == End::HandOver {
        handover::leave(&file, &guard.beats())?;
    }
    Ok(end)
}

fn watch(
    guard: &mut Guard<Watchdog, Host>,
    socket: &Socket,
    signals: &SignalFd,
) -> Result<End, String> {
    let notify = Notify::from_env();
    let mut notified = None;
    let mut stopping = false;
    let mut buffer = [0; BEAT_MAX + 1];
    guard.turn(clock::boottime_ms());
    notify.tell("READY=1");
    log::info("ready");
    loop {
        let wait = guard
            .wait_ms(clock::boottime_ms())
            .min(notify.every_ms().unwrap_or(TURN_MAX_MS));
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(
            &mut fds,
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO),
        ) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(e) => return Err(format!("cannot wait for beats: {e}")),
        }
        if signals.read_signal().is_ok_and(|signal| signal.is_some()) {
            stopping = true;
            notify.tell("STOPPING=1");
            guard.stop();
        }
        for _ in 0..BEATS_PER_TURN {
            let received = socket
                .receive(&mut buffer)
                .map_err(|e| format!("cannot receive: {e}"))?;
            let Some(received) = received else { break };
            let bytes = &buffer[..received.length.min(buffer.len())];
            let answer = guard.receive(clock::boottime_ms(), received.uid, bytes);
            if let Some(to) = received.from {
                socket.answer(&to, &answer.encode());
            }
        }
        let now = clock::boottime_ms();
        guard.turn(now);
        if let Some(every) = notify.every_ms()
            && notified.is_none_or(|at| now.saturating_sub(at) >= every)
        {
            notified = Some(now);
            notify.tell("WATCHDOG=1");
        }
        if stopping {
            // A stop may take as long as the longest promise: each turn asks for ten seconds more.
            notify.tell("EXTEND_TIMEOUT_USEC=10000000");
        }
        if let Some(end) = guard.end(now) {
            return Ok(end);
        }
    }
}

/// Makes it harder for a starved host to starve this process. Each refusal is said once and lived
/// with. Gives bits 0 (memory locked) and 1 (real time) of an answer's flags.
fn harden() -> u32 {
    let mut flags = 0;
    let root = nix::unistd::geteuid().is_root();
    // Without privilege later allocations would count against RLIMIT_MEMLOCK and could fail.
    let which = if root {
        MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE
    } else {
        MlockAllFlags::MCL_CURRENT
    };
    match mlockall(which) {
        Ok(()) => flags |= 1,
        Err(e) => log::warning(&format!("memory is not locked: {e}; needs CAP_IPC_LOCK")),
    }
    match sys::real_time(PRIORITY) {
        Ok(()) => flags |= 2,
        Err(e) => log::warning(&format!(
            "not scheduled in real time: {e}; needs CAP_SYS_NICE"
        )),
    }
    let adjust = File::options().write(true).open("/proc/self/oom_score_adj");
    if let Err(e) = adjust.and_then(|mut file| file.write_all(b"-1000")) {
        log::warning(&format!(
            "not spared when memory runs out: {e}; needs CAP_SYS_RESOURCE"
        ));
    }
    flags
}
