//! The program: arguments in, exit code out; the life of the process between them.

use std::fs::File;
use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::libc::{SCHED_FIFO, SCHED_RR};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::geteuid;
use nodemedic_watchdog::args::{Args, HELP};
use nodemedic_watchdog::clock::boottime_ms;
use nodemedic_watchdog::device::Device;
use nodemedic_watchdog::edge::{Manager, Socket, say};
use nodemedic_watchdog::hands::Hands;
use nodemedic_watchdog::processes::Processes;
use nodemedic_watchdog::sys;
use nodemedic_watchdog::verdict::{ALERT, End, Guard, INFO, Settings, TURN_MAX_MS, WARNING};

/// Beats taken in one turn: more are a flood, and what is due must not wait for it.
const BEATS_PER_TURN: usize = 16;
/// Above every program without real time, below those that an administrator put high.
const PRIORITY: i32 = 10;
/// The deepest that the stack goes, touched at the start so that no page of it is missing later.
const STACK: usize = 512 * 1024;

fn main() -> ExitCode {
    let ended = match Args::parse(std::env::args().skip(1)) {
        Ok(args) if args.has("--help") => print(HELP),
        Ok(args) if args.has("--version") => {
            print(concat!("nodemedic-watchdog ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        Ok(args) => run(&args),
        Err(error) => {
            say(ALERT, format_args!("{error}"));
            return ExitCode::from(64);
        }
    };
    match ended {
        Ok(End::Clean | End::HandOver) => ExitCode::SUCCESS,
        Ok(End::Unverified) => ExitCode::FAILURE,
        Err(error) => {
            say(ALERT, format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<End, String> {
    stdout().write_all(text.as_bytes()).map(|()| End::Clean).map_err(|e| e.to_string())
}

fn run(args: &Args) -> Result<End, String> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    let no_signals = |e| format!("cannot receive signals: {e}");
    mask.thread_block().map_err(no_signals)?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&mask, flags).map_err(no_signals)?;
    let agent_uid = args.uid()?;
    let path = args.path("--socket");
    let socket = Socket::bind(&path, agent_uid.is_some())?;
    let ended = serve(args, socket, &signals, agent_uid);
    let _gone_already = std::fs::remove_file(path);
    ended
}

fn serve(
    args: &Args,
    socket: Socket,
    signals: &SignalFd,
    agent_uid: Option<u32>,
) -> Result<End, String> {
    let (dry_run, wanted) = (args.has("--dry-run"), args.span("--timeout")?);
    let mut flags = harden();
    let processes = Processes::open(&args.path("--proc-root"), &args.path("--cgroup-root"))?;
    let device = match args.has("--device") && !dry_run {
        true => {
            let (pretimeout, sys_root) = (args.span("--pretimeout")?, args.path("--sys-root"));
            Some(Device::open(&args.path("--device"), wanted, pretimeout, &sys_root)?)
        }
        false => None,
    };
    let (timeout_ms, boot_status) = match &device {
        Some(device) => {
            say(INFO, format_args!("{}", device.words));
            flags |= u32::from(device.nowayout) << 3;
            (device.timeout_ms, device.boot_status)
        }
        None => {
            let how = if dry_run {
                "a dry run: nothing is enforced"
            } else {
                "promises are enforced by killing alone"
            };
            say(INFO, format_args!("no device is open: {how}"));
            (wanted, 0)
        }
    };
    let settings = Settings {
        hardware: args.has("--device"),
        timeout_ms,
        dry_run,
        reboot: args.text("--last-resort") == "reboot",
        release_on_stop: args.has("--release-on-stop"),
        agent_uid,
        own_uid: geteuid().as_raw(),
        flags,
        boot_status,
    };
    let promises = PathBuf::from(format!("{}.promises", args.text("--socket")));
    let (hands, earlier) = Hands::open(processes, device, &promises, &args.path("--state"))?;
    watch(Guard::new(boottime_ms(), hands, settings, &earlier), socket, signals)
}

fn watch(mut guard: Guard<Hands>, mut socket: Socket, signals: &SignalFd) -> Result<End, String> {
    let manager = Manager::from_env();
    let (mut told_at, mut stopping) = (0, false);
    guard.turn(boottime_ms());
    manager.tell(format_args!("READY=1\nSTATUS=waits for the agent"));
    say(INFO, format_args!("ready"));
    loop {
        let wait = guard.wait_ms(boottime_ms()).min(manager.every_ms.unwrap_or(TURN_MAX_MS));
        let fds = [socket.inner.as_fd(), signals.as_fd()];
        let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(e) => return Err(format!("cannot wait for beats: {e}")),
        }
        if signals.read_signal().is_ok_and(|signal| signal.is_some()) {
            stopping = true;
            manager.tell(format_args!("STOPPING=1"));
            guard.stop();
        }
        for _ in 0..BEATS_PER_TURN {
            let answer = |pid, uid, bytes: &[u8]| guard.receive(boottime_ms(), pid, uid, bytes);
            if !socket.receive(answer).map_err(|e| format!("cannot receive: {e}"))? {
                break;
            }
        }
        let now = boottime_ms();
        guard.turn(now);
        if let Some(every) = manager.every_ms
            && now >= told_at + every
        {
            told_at = now;
            let (held, broken) = guard.count();
            manager.tell(format_args!("WATCHDOG=1\nSTATUS=promises: {held}, broken: {broken}"));
        }
        if stopping {
            // A stop may take as long as the longest promise: each turn asks for ten seconds more.
            manager.tell(format_args!("EXTEND_TIMEOUT_USEC=10000000"));
        }
        if let Some(end) = guard.end(now) {
            return Ok(end);
        }
    }
}

/// Makes it harder for a starved host to starve this process. Each refusal is said once and lived
/// with. Gives bits 0 (memory locked) and 1 (real time) of an answer's flags.
fn harden() -> u32 {
    let mut flags = 3;
    std::hint::black_box([0_u8; STACK]);
    // Without privilege later allocations would count against RLIMIT_MEMLOCK and could fail.
    let later = MlockAllFlags::MCL_FUTURE;
    let which = MlockAllFlags::MCL_CURRENT
        | if geteuid().is_root() { later } else { MlockAllFlags::empty() };
    if let Err(e) = mlockall(which) {
        flags &= !1;
        say(WARNING, format_args!("memory is not locked: {e}; needs CAP_IPC_LOCK"));
    }
    for (policy, name) in [(SCHED_FIFO, "SCHED_FIFO"), (SCHED_RR, "SCHED_RR")] {
        match sys::real_time(policy, PRIORITY) {
            Ok(_) => break,
            Err(e) => say(WARNING, format_args!("no {name}: {e}; needs CAP_SYS_NICE")),
        }
        flags &= if policy == SCHED_RR { !2 } else { !0 };
    }
    let adjust = File::options().write(true).open("/proc/self/oom_score_adj");
    if let Err(e) = adjust.and_then(|mut file| file.write_all(b"-1000")) {
        say(WARNING, format_args!("not spared when memory runs out: {e}; needs CAP_SYS_RESOURCE"));
    }
    flags
}
