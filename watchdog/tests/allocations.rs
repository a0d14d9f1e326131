//! Once started the watchdog allocates nothing: it has to kill, write its last words and answer
//! when there is no memory left. Every allocation of this process is counted.
#![cfg(test)]
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::poll::{PollTimeout, poll};
use nodemedic_watchdog::clock::boottime_ms;
use nodemedic_watchdog::edge::{INFO, Socket, say};
use nodemedic_watchdog::hands::Hands;
use nodemedic_watchdog::verdict::{Guard, Settings};

struct Counting;

static ARMED: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's own allocator; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(usize::from(ARMED.load(Ordering::Relaxed)), Ordering::Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A process in a session of its own, or in ours.
fn process(words: &[&str]) -> Child {
    let mut command = Command::new(words[0]);
    let mut child = command.args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    child
}

fn start_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().to_owned();
    fields.split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// The golden beat of a session and a cgroup, of now, about this leader and this cgroup.
fn beat(leader: u32, start: u64, group: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/watchdog");
    let text = fs::read_to_string(root.join("beat-session-and-cgroup.hex")).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let mut bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let second = 64 + 512;
    for (at, value) in [(0, boottime_ms()), (8, 1500), (24, start)] {
        bytes[64 + at..64 + at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes[64 + 20..64 + 24].copy_from_slice(&leader.to_le_bytes());
    bytes[second..second + 8].copy_from_slice(&boottime_ms().to_le_bytes());
    bytes[second + 8..second + 16].copy_from_slice(&1500_u64.to_le_bytes());
    bytes[second + 18] = u8::try_from(group.len()).unwrap();
    bytes[second + 32..].fill(0);
    bytes[second + 32..second + 32 + group.len()].copy_from_slice(group.as_bytes());
    bytes[24..32].copy_from_slice(&boottime_ms().to_le_bytes());
    bytes[32..40].copy_from_slice(&100_u64.to_le_bytes());
    bytes
}

#[test]
fn nothing_is_allocated_by_beats_turns_strikes_and_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new("/sys/fs/cgroup");
    let unified =
        if root.join("cgroup.controllers").exists() { root.into() } else { root.join("unified") };
    let group = format!("/nodemedic-watchdog-memory-{}", std::process::id());
    let folder = unified.join(&group[1..]);
    fs::create_dir(&folder).expect("root may make a cgroup");
    let mut agent = process(&["sh", "-c", "echo up; exec sleep 600"]);
    let mut works = [(); 2].map(|()| process(&["setsid", "sh", "-c", "echo up; exec sleep 600"]));
    let mut procs = fs::File::options().write(true).open(folder.join("cgroup.procs")).unwrap();
    std::io::Write::write_all(&mut procs, works[1].id().to_string().as_bytes()).unwrap();
    let state = dir.path().to_str().unwrap();
    let path = format!("{state}/w.sock");
    let mut socket = Socket::bind(&path, false).unwrap();
    let (hands, earlier) = Hands::open("/proc", &path, state).unwrap();
    let settings = Settings { timeout_ms: 5000, ..Settings::default() };
    let mut guard = Guard::new(boottime_ms(), hands, settings, &earlier);
    let client = UnixDatagram::bind(dir.path().join("a.sock")).unwrap();
    let leader = works[0].id();
    let mut bytes = beat(leader, start_of(leader), &group);
    let (pid, last) = (agent.id(), dir.path().join("last-words"));
    say(INFO, format_args!("from here on every allocation counts"));

    ARMED.store(true, Ordering::Relaxed);
    for sequence in 2..50_u64 {
        bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        client.send_to(&bytes, &path).unwrap();
        let answered = socket.receive(|_, uid, bytes| {
            let answer = guard.receive(boottime_ms(), pid, uid, bytes);
            assert_eq!(answer[6], 0);
            answer
        });
        assert_eq!(answered, Ok(true));
        client.recv(&mut [0; 64]).unwrap();
        guard.turn(boottime_ms());
    }
    client.send_to(b"rubbish", &path).unwrap();
    let _refused = socket.receive(|_, uid, bytes| guard.receive(boottime_ms(), pid, uid, bytes));
    // Now it is silent: it is killed, and then its works.
    let until = boottime_ms() + 20_000;
    while guard.table.count().0 > 0 && boottime_ms() < until {
        guard.turn(boottime_ms());
        poll(&mut [], PollTimeout::try_from(guard.wait_ms(boottime_ms())).unwrap()).unwrap();
    }
    while !last.exists() && boottime_ms() < until {
        poll(&mut [], PollTimeout::from(10_u8)).unwrap();
    }
    ARMED.store(false, Ordering::Relaxed);

    assert_eq!(guard.table.count(), (0, 0));
    for child in works.iter_mut().chain([&mut agent]) {
        assert!(child.try_wait().unwrap().is_some(), "all were killed");
        let _ = child.kill();
    }
    fs::remove_dir(&folder).unwrap();
    assert!(last.exists());
    assert_eq!(COUNT.load(Ordering::Relaxed), 0, "allocations");
}
