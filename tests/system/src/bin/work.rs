//! A work that writes down when it runs, in a log that nodemedic neither reads nor writes.
//!
//! `nodemedic-test-work LOG ADDRESS`: appends one line at its start, one about every 20 ms while it
//! lives, and one when it is asked to stop; answers any HTTP request at the address. A second
//! instance of the same work that is alive at the same time is met by a lock, so that not even an
//! overlap between two lines stays unseen: the kernel lets the lock go when its holder is dead, and
//! not before.
//!
//! A line: work, node, generation, instance, word (`start`, `alive`, `met`, `stop`), microseconds
//! of CLOCK_BOOTTIME. The instance is the process's number and start time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};

/// Between two signs of life.
const TICK_MS: u8 = 20;

fn main() {
    let mut words = std::env::args().skip(1);
    let log = words.next().expect("the log's path");
    let address = words.next().expect("an address");
    let mut witness = Witness::open(&log);
    witness.say("start");

    let mut asked = SigSet::empty();
    asked.add(Signal::SIGTERM);
    asked.thread_block().expect("block SIGTERM");
    let stop = SignalFd::with_flags(&asked, SfdFlags::SFD_CLOEXEC).expect("a signalfd");
    let listener = TcpListener::bind(&address).expect("listen");
    listener
        .set_nonblocking(true)
        .expect("a listener that never blocks");
    loop {
        let mut ready = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::from(TICK_MS)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        let [stopped, called] = ready.map(|fd| fd.any() == Some(true));
        if stopped {
            witness.say("stop");
            return;
        }
        witness.live();
        if called {
            answer(&listener);
        }
    }
}

/// A caller that misbehaves loses its own answer, and holds the work up for a moment at most.
fn answer(listener: &TcpListener) {
    let Ok((mut caller, _)) = listener.accept() else {
        return;
    };
    let _ = caller.set_read_timeout(Some(Duration::from_millis(200)));
    let _ = caller.read(&mut [0; 1024]);
    let _ =
        caller.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes");
}

struct Witness {
    log: File,
    lock: File,
    holds: bool,
    who: String,
    last_us: i64,
}

impl Witness {
    fn open(path: &str) -> Witness {
        let told = |key: &str| std::env::var(key).unwrap_or_else(|_| panic!("{key} is not set"));
        let work = told("NODEMEDIC_WORK");
        let append = |path: &str| {
            let mut options = OpenOptions::new();
            options.create(true).append(true);
            options.open(path).unwrap_or_else(|e| panic!("{path}: {e}"))
        };
        let who = format!(
            "{work} {} {} {}.{}",
            told("NODEMEDIC_NODE"),
            told("NODEMEDIC_GENERATION"),
            std::process::id(),
            start_ticks(),
        );
        Witness {
            log: append(path),
            lock: append(&format!("{path}.{work}.holder")),
            holds: false,
            who,
            last_us: 0,
        }
    }

    fn live(&mut self) {
        if now_us() - self.last_us >= i64::from(TICK_MS) * 1000 {
            self.say("alive");
        }
    }

    fn say(&mut self, word: &str) {
        if !self.holds {
            match self.lock.try_lock() {
                Ok(()) => self.holds = true,
                Err(TryLockError::WouldBlock) => self.line("met"),
                Err(TryLockError::Error(error)) => panic!("the log's lock: {error}"),
            }
        }
        self.line(word);
    }

    /// One write to an appending handle: lines of several writers never mix.
    fn line(&mut self, word: &str) {
        self.last_us = now_us();
        let line = format!("{} {word} {}\n", self.who, self.last_us);
        let written = self.log.write(line.as_bytes()).expect("append to the log");
        assert_eq!(written, line.len(), "a torn line");
    }
}

fn now_us() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("the boot clock");
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000
}

/// Field 22 of proc_pid_stat(5). The name in parentheses is this program's and holds no space.
fn start_ticks() -> String {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    stat.split(' ').nth(21).expect("22 fields").to_owned()
}
