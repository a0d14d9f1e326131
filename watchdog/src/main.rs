//! The program: arguments in, exit code out; the life of the process between them.

use std::fs::{self, File};
use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::libc::{SCHED_FIFO, SCHED_RR};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::geteuid;
use nodemedic_watchdog::args::Args;
use nodemedic_watchdog::clock::boottime_ms;
use nodemedic_watchdog::device::Device;
use nodemedic_watchdog::edge::{Manager, Socket, say};
use nodemedic_watchdog::hands::Hands;
use nodemedic_watchdog::sys;
use nodemedic_watchdog::verdict::{ALERT, End, Guard, INFO, Settings, TURN_MAX_MS, WARNING};

/// Beats taken in one turn: more are a flood, and what is due must not wait for it.
const BEATS_PER_TURN: usize = 16;
/// Above every program without real time, below those that an administrator put high.
const PRIORITY: i32 = 10;
/// The deepest that the stack goes, touched at the start so that no page of it is missing later.
const STACK: usize = 512 * 1024;

fn main() -> ExitCode {
    let args = Args::parse(std::env::args().skip(1));
    let ended = match &args {
        Ok(Args { print: Some(text), .. }) => {
            stdout().write_all(text.as_bytes()).map(|()| End::Clean).map_err(|e| e.to_string())
        }
        Ok(args) => run(args),
        Err(wrong) => Err(wrong.clone()),
    };
    match ended {
        Ok(End::Clean | End::HandOver) => return ExitCode::SUCCESS,
        Ok(End::Unverified) => {}
        Err(error) => say(ALERT, format_args!("{error}")),
    }
    if args.is_err() { ExitCode::from(64) } else { ExitCode::FAILURE }
}

fn run(args: &Args) -> Result<End, String> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    let no_signals = |e| format!("cannot receive signals: {e}");
    mask.thread_block().map_err(no_signals)?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK).map_err(no_signals)?;
    let socket = Socket::bind(&args.socket, args.settings.agent_uid.is_some())?;
    let (flags, own_uid) = (harden(), geteuid().as_raw());
    let mut settings = Settings { flags, own_uid, ..args.settings };
    let device = match args.device.as_ref().filter(|_| !settings.dry_run) {
        Some(path) => Some(Device::open(path, &mut settings, args.pretimeout_ms, &args.sys_root)?),
        None => None,
    };
    let roots = [Path::new("/proc"), Path::new("/sys/fs/cgroup")];
    let (hands, earlier) = Hands::open(roots, device, &args.socket, &args.state)?;
    let ended = watch(Guard::new(boottime_ms(), hands, settings, &earlier), socket, &signals);
    let _gone_already = fs::remove_file(&args.socket);
    ended
}

fn watch(mut guard: Guard<Hands>, mut socket: Socket, signals: &SignalFd) -> Result<End, String> {
    let (manager, mut told_at, mut stopping) = (Manager::from_env(), 0, "");
    guard.turn(boottime_ms());
    manager.tell(format_args!("READY=1"));
    say(INFO, format_args!("ready; {} promises of the last run", guard.count().0));
    loop {
        let wait = PollTimeout::try_from(guard.wait_ms(boottime_ms())).unwrap_or(PollTimeout::ZERO);
        let fds = [socket.inner.as_fd(), signals.as_fd()];
        match poll(&mut fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)), wait) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(e) => return Err(format!("cannot wait for beats: {e}")),
        }
        if signals.read_signal().is_ok_and(|signal| signal.is_some()) {
            // A stop may take as long as the longest promise: each turn asks for ten seconds more.
            stopping = "\nSTOPPING=1\nEXTEND_TIMEOUT_USEC=10000000";
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
        // Only a loop that turns says so. WatchdogSec= has to be three seconds at least.
        if now >= told_at + TURN_MAX_MS || !stopping.is_empty() {
            told_at = now;
            let (held, broken) = guard.count();
            let status = format_args!("STATUS=promises: {held}, broken: {broken}");
            manager.tell(format_args!("WATCHDOG=1\n{status}{stopping}"));
        }
        if let Some(end) = guard.end(now) {
            return Ok(end);
        }
    }
}

/// Makes it harder for a starved host to starve this process. Each refusal is said once and lived
/// with. Gives bits 0 (memory locked) and 1 (real time) of an answer's flags.
fn harden() -> u32 {
    std::hint::black_box([0_u8; STACK]);
    // Without privilege later allocations would count against RLIMIT_MEMLOCK and could fail.
    let later =
        if geteuid().is_root() { MlockAllFlags::MCL_FUTURE } else { MlockAllFlags::empty() };
    let locked = mlockall(MlockAllFlags::MCL_CURRENT | later);
    if let Err(e) = locked {
        say(WARNING, format_args!("memory is not locked: {e}; needs CAP_IPC_LOCK"));
    }
    let real_time = |policy| sys::real_time(policy, PRIORITY);
    let timely = real_time(SCHED_FIFO).or_else(|_| real_time(SCHED_RR));
    if let Err(e) = timely {
        say(WARNING, format_args!("neither SCHED_FIFO nor SCHED_RR: {e}; needs CAP_SYS_NICE"));
    }
    let adjust = File::options().write(true).open("/proc/self/oom_score_adj");
    if let Err(e) = adjust.and_then(|mut file| file.write_all(b"-1000")) {
        say(WARNING, format_args!("not spared when memory runs out: {e}; needs CAP_SYS_RESOURCE"));
    }
    u32::from(locked.is_ok()) | u32::from(timely.is_ok()) << 1
}
