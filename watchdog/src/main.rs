//! The program: arguments in, exit code out; the life of the process between them.

use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::{env, fs};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::{errno::Errno, unistd::geteuid};
use nodemedic_watchdog::args::{Args, HELP};
use nodemedic_watchdog::clock::boottime_ms;
use nodemedic_watchdog::edge::{ALERT, INFO, Socket, WARNING, say};
use nodemedic_watchdog::hands::{Hands, poke};
use nodemedic_watchdog::verdict::{Guard, TURN_MAX_MS};
use nodemedic_watchdog::{device, sys};

/// Beats taken in one turn: more are a flood, and what is due must not wait for it.
const BEATS_PER_TURN: usize = 16;
/// Above every program without real time, below those that an administrator put high.
const PRIORITY: i32 = 10;
/// The deepest that the stack goes, touched at the start so that no page of it is missing later.
const STACK: usize = 512 * 1024;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "--version") {
        return ExitCode::from(u8::from(stdout().write_all(HELP.as_bytes()).is_err()));
    }
    let (ended, failure) = match Args::parse(words) {
        Ok(args) => (run(args), 1),
        Err(wrong) => (Err(wrong), 64),
    };
    if let Err(error) = &ended {
        say(ALERT, format_args!("{error}"));
    }
    ExitCode::from(if ended == Ok(true) { 0 } else { failure })
}

fn run(mut args: Args) -> Result<bool, String> {
    let mask = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    let signals = mask.thread_block();
    let signals = signals.and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK));
    let signals = signals.map_err(|e| format!("cannot receive signals: {e}"))?;
    let mut socket = Socket::bind(&args.socket, args.settings.uids[0] != 0)?;
    let (mut hands, earlier) = Hands::open("/proc", &args.socket, &args.state)?;
    args.settings.flags |= harden();
    args.settings.uids[1] = geteuid().as_raw();
    if args.settings.hardware && !args.settings.dry_run {
        hands.device = Some(device::open(&mut args)?);
    }
    let mut guard = Guard::new(boottime_ms(), hands, args.settings, &earlier);
    let (mut told_at, mut stopping) = (0, "");
    guard.turn(boottime_ms());
    socket.tell(format_args!("READY=1"));
    say(INFO, format_args!("ready; {} promises of the last run", guard.table.count().0));
    let ended = loop {
        let wait = PollTimeout::try_from(guard.wait_ms(boottime_ms())).unwrap_or(PollTimeout::ZERO);
        let fds = [socket.inner.as_fd(), signals.as_fd()];
        match poll(&mut fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)), wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(format!("cannot wait for beats: {e}")),
        }
        if signals.read_signal().is_ok_and(|signal| signal.is_some()) {
            // A stop may take as long as the longest promise: each turn asks for ten seconds more.
            stopping = "\nSTOPPING=1\nEXTEND_TIMEOUT_USEC=10000000";
            guard.stopping = true;
        }
        for _ in 0..BEATS_PER_TURN {
            let answer = |pid, uid, bytes: &[u8]| guard.receive(boottime_ms(), pid, uid, bytes);
            if !socket.receive(answer).map_err(|e| format!("cannot receive: {e}"))? {
                break;
            }
        }
        let now = boottime_ms();
        guard.turn(now);
        // Only a loop that turns says so. WatchdogSec= has to be three seconds at least.
        if now >= told_at + TURN_MAX_MS || guard.stopping {
            told_at = now;
            let (held, broken) = guard.table.count();
            let status = format_args!("STATUS=promises: {held}, broken: {broken}");
            socket.tell(format_args!("WATCHDOG=1\n{status}{stopping}"));
        }
        if let Some(is_well) = guard.end(now) {
            break is_well;
        }
    };
    let _gone_already = fs::remove_file(&args.socket);
    Ok(ended)
}

/// Makes it harder for a starved host to starve this process. Each refusal is said once and lived
/// with. Gives bits 0 (memory locked) and 1 (real time) of an answer's flags.
fn harden() -> u32 {
    std::hint::black_box([0_u8; STACK]);
    // Without privilege later allocations would count against RLIMIT_MEMLOCK and could fail.
    let all = MlockAllFlags::all();
    let pages = if geteuid().is_root() { all } else { MlockAllFlags::MCL_CURRENT };
    let spared = poke(format_args!("/proc/self/oom_score_adj"), b"-1000");
    let mut flags = 0;
    for (flag, what, needs, done) in [
        (1, "memory is not locked", "CAP_IPC_LOCK", mlockall(pages)),
        (2, "no real time, FIFO or RR", "CAP_SYS_NICE", sys::real_time(PRIORITY)),
        (0, "not spared when memory runs out", "CAP_SYS_RESOURCE", spared),
    ] {
        match done {
            Ok(()) => flags |= flag,
            Err(e) => say(WARNING, format_args!("{what}: {e}; needs {needs}")),
        }
    }
    flags
}
