//! Real processes are ended and seen gone. The device is tested in tests/system, on a fake.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nodemedic_watchdog::beat::Promise;
use nodemedic_watchdog::clock::boottime_ms;
use nodemedic_watchdog::device::Device;
use nodemedic_watchdog::hands::Hands;
use nodemedic_watchdog::verdict::{Fault, Host, Settings};

const PATIENCE_MS: u64 = 10_000;

fn hands(proc_root: &Path) -> Result<Hands, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let roots = [proc_root, Path::new("/sys/fs/cgroup")];
    Hands::open(roots, None, &format!("{path}/w.sock"), path).map(|(hands, _)| hands)
}

fn host() -> Hands {
    hands(Path::new("/proc")).unwrap()
}

fn look(host: &mut Hands, target: &Promise) -> Result<usize, Fault> {
    host.strike(target, None)
}

fn strike(host: &mut Hands, target: &Promise) -> Result<usize, Fault> {
    host.strike(target, Some(Signal::SIGKILL))
}

fn session(leader: u32, start: u64) -> Promise {
    Promise::session(0, 0, leader, start)
}

/// A session of four processes, all of which ignore SIGTERM. Ends with the test in any case.
struct Family {
    setsid: Child,
    leader: u32,
    target: Promise,
}

impl Family {
    fn start() -> Family {
        let script = "trap '' TERM; sleep 600 & (trap '' TERM; sleep 600 & wait) & echo up; wait";
        let mut setsid = Command::new("setsid")
            .args(["--wait", "sh", "-c", script])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(setsid.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        // `setsid` forked, because it led a group: the session's leader is its only child.
        let leader = children(setsid.id())[0];
        let target = session(leader, start_of(leader));
        Family { setsid, leader, target }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        until_gone(&mut host(), &self.target);
        let _ = self.setsid.kill();
        let _ = self.setsid.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn start_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// Strikes until nothing is seen, as the loop does.
fn until_gone(host: &mut Hands, target: &Promise) -> u64 {
    let (_keep, wait) = std::sync::mpsc::channel::<()>();
    let began = boottime_ms();
    while strike(host, target).unwrap() > 0 {
        assert!(boottime_ms() - began < PATIENCE_MS, "{target} is still there");
        let _ = wait.recv_timeout(Duration::from_millis(5));
    }
    boottime_ms() - began
}

#[test]
fn a_session_that_ignores_sigterm_is_ended_with_all_its_children() {
    let family = Family::start();
    let target = family.target;
    assert!(look(&mut host(), &target).unwrap() >= 3);
    until_gone(&mut host(), &target);
    assert_eq!(look(&mut host(), &target), Ok(0));
}

#[test]
fn a_pid_that_names_another_process_by_now_is_not_touched() {
    let family = Family::start();
    let start = start_of(family.leader) - 1;
    let earlier = session(family.leader, start);
    assert_eq!(strike(&mut host(), &earlier), Ok(0));
    assert!(look(&mut host(), &family.target).unwrap() >= 3, "all are alive");
}

#[test]
fn a_cgroup_is_ended_with_all_that_is_below_it() {
    let root =
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from).into_iter().find(|root| {
            root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists()
        });
    let root = root.expect("this machine has a cgroup2 hierarchy");
    let name = format!("nodemedic-watchdog-test-{}", std::process::id());
    let (top, below) = (root.join(&name), root.join(&name).join("below"));
    fs::create_dir_all(&below).expect("this test needs root to make a cgroup");
    let families = [Family::start(), Family::start()];
    for (family, dir) in families.iter().zip([&top, &below]) {
        for pid in children(family.leader) {
            let mut procs = File::options().write(true).open(dir.join("cgroup.procs")).unwrap();
            procs.write_all(pid.to_string().as_bytes()).unwrap();
        }
    }
    let target = Promise::cgroup(0, 0, &format!("/{name}")).unwrap();
    assert!(look(&mut host(), &target).unwrap() >= 4);
    until_gone(&mut host(), &target);
    let events = fs::read_to_string(top.join("cgroup.events")).unwrap();
    fs::remove_dir(&below).unwrap();
    fs::remove_dir(&top).unwrap();
    assert!(events.contains("populated 0"), "{events}");
    assert_eq!(look(&mut host(), &target), Ok(0), "a cgroup that is no more is gone");
}

#[test]
fn what_cannot_be_seen_is_an_error_and_not_gone() {
    let error = hands(Path::new("/nonexistent")).unwrap_err();
    assert!(error.contains("cannot see processes in /nonexistent"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("7/stat")).unwrap();
    let mut blind = hands(dir.path()).unwrap();
    assert_eq!(look(&mut blind, &session(500, 1)).unwrap_err().1, Errno::EISDIR);
}

/// A recorded `/proc` of sleeping, dead and half dead processes in session 500.
#[test]
fn a_zombie_is_gone_unless_threads_of_it_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let process = |pid: u32, stat: &str, threads: u32| {
        fs::create_dir(dir.path().join(pid.to_string())).unwrap();
        let rest = format!("0 0 0 0 0 0 0 0 0 0 0 20 0 {threads} 0");
        let start = 1000 + u64::from(pid);
        let line = stat.replace("REST", &format!("{rest} {start}"));
        let mut file = File::create(dir.path().join(format!("{pid}/stat"))).unwrap();
        file.write_all(format!("{pid} {line} 0 0\n").as_bytes()).unwrap();
    };
    let mut host = hands(dir.path()).unwrap();
    let target = session(500, 1500);
    assert_eq!(look(&mut host, &target), Ok(0));
    process(500, "(sh) Z 1 500 500 REST", 1);
    assert_eq!(look(&mut host, &target), Ok(0), "a zombie runs nothing");
    process(501, "(evil ) S 1 9) S 500 500 500 REST", 1);
    assert_eq!(look(&mut host, &target), Ok(1), "a name with a parenthesis hides nothing");
    process(502, "(pool) Z 500 500 500 REST", 2);
    assert_eq!(look(&mut host, &target), Ok(2), "its first thread ended, the other runs");
    process(503, "(other) S 1 503 503 REST", 1);
    process(400, "(older) S 1 500 500 REST", 1);
    assert_eq!(look(&mut host, &target), Ok(2), "other and older sessions do not count");
    process(504, "garbage", 1);
    assert_eq!(look(&mut host, &target).unwrap_err().1, Errno::EINVAL, "it cannot be read");
}

#[test]
fn the_own_session_and_cgroups_are_known() {
    let own = nix::unistd::getsid(None).unwrap().as_raw();
    let target = session(u32::try_from(own).unwrap(), 1);
    assert!(host().is_self(&target));
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("self")).unwrap();
    let mut file = File::create(dir.path().join("self/cgroup")).unwrap();
    file.write_all(b"2:cpuset:/web\n0::/system.slice/nodemedic-watchdog.service\n").unwrap();
    fs::copy("/proc/self/stat", dir.path().join("self/stat")).unwrap();
    let host = hands(dir.path()).unwrap();
    let is_self = |path: &str| host.is_self(&Promise::cgroup(0, 0, path).unwrap());
    assert!(is_self("/system.slice"));
    assert!(is_self("/system.slice/nodemedic-watchdog.service"));
    assert!(!is_self("/system.slice/nodemedic-watchdog.service2"));
    assert!(!is_self("/system.slice/web.service"));
    assert!(!is_self("/web"), "a controller of its own names no unit");
}

#[test]
fn what_is_no_watchdog_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut settings = Settings { timeout_ms: 10_000, ..Settings::default() };
    let mut open = |path: &str| Device::open(path, &mut settings, 0, "/sys").unwrap_err();
    let error = open(file.path().to_str().unwrap());
    assert!(error.contains("is no watchdog device"), "{error}");
    let error = open("/nonexistent/watchdog0");
    assert!(error.contains("cannot open /nonexistent/watchdog0"), "{error}");
}

#[test]
fn later_last_words_replace_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let roots = [Path::new("/proc"), Path::new("/sys/fs/cgroup")];
    let (mut hands, _) = Hands::open(roots, None, &format!("{path}/w.sock"), path).unwrap();
    let target = session(4242, 9);
    let file = dir.path().join("last-words");
    // A reset waits for nobody, and is on the disk when the call returns.
    for verdict in ["killed", "reset"] {
        hands.last_words(5, verdict, &target, "a test");
        let told = format!("verdict={verdict}");
        let began = Instant::now();
        while !fs::read_to_string(&file).is_ok_and(|text| text.contains(&told)) {
            assert!(began.elapsed() < Duration::from_secs(20), "no {told}");
            std::thread::yield_now();
        }
    }
}
