//! Real processes are ended and seen gone. The device is tested in tests/system, on a fake.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nodemedic_watchdog::args::Args;
use nodemedic_watchdog::beat::Promise;
use nodemedic_watchdog::clock::boottime_ms;
use nodemedic_watchdog::device;
use nodemedic_watchdog::hands::Hands;
use nodemedic_watchdog::verdict::Host;

use super::bytes::one;
use super::common::{Named, Target, cgroup};

const PATIENCE_MS: u64 = 10_000;

fn hands(proc_root: &Path) -> Result<Hands, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let proc = proc_root.to_str().unwrap();
    Hands::open(proc, &format!("{path}/w.sock"), path).map(|(hands, _)| hands)
}

fn host() -> Hands {
    hands(Path::new("/proc")).unwrap()
}

fn look(host: &mut Hands, target: &Promise) -> nix::Result<usize> {
    host.strike(target, None)
}

fn strike(host: &mut Hands, target: &Promise) -> nix::Result<usize> {
    host.strike(target, Some(Signal::SIGKILL))
}

fn session(leader: u32, start: u64) -> Promise {
    one(Named { deadline: 0, grace: 0, target: Target::Session(leader, start) })
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
    let target = one(cgroup(&format!("/{name}"), 0, 0));
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
    let error = hands(Path::new("/nonexistent")).err().unwrap();
    assert!(error.contains("cannot see processes in /nonexistent"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("7/stat")).unwrap();
    let mut blind = hands(dir.path()).unwrap();
    assert_eq!(look(&mut blind, &session(500, 1)).unwrap_err(), Errno::EISDIR);
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
    assert_eq!(look(&mut host, &target).unwrap_err(), Errno::EINVAL, "it cannot be read");
}

#[test]
fn the_own_session_and_cgroups_are_known() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("self")).unwrap();
    let mut file = File::create(dir.path().join("self/cgroup")).unwrap();
    file.write_all(b"2:cpuset:/web\n0::/system.slice/nodemedic-watchdog.service\n").unwrap();
    // Not the real one: in a container the session may be one from outside, which is 0 in it.
    let since = fs::read_to_string("/proc/self/stat").unwrap();
    let rest = since.rsplit_once(") ").unwrap().1.splitn(5, ' ').nth(4).unwrap();
    let mut file = File::create(dir.path().join("self/stat")).unwrap();
    write!(file, "700 (own) R 1 700 700 {rest}").unwrap();
    assert!(hands(dir.path()).unwrap().is_self(&session(700, 1)));
    assert!(!hands(dir.path()).unwrap().is_self(&session(701, 1)));
    let host = hands(dir.path()).unwrap();
    let is_self = |path: &str| host.is_self(&one(cgroup(path, 0, 0)));
    assert!(is_self("/system.slice"));
    assert!(is_self("/system.slice/nodemedic-watchdog.service"));
    assert!(!is_self("/system.slice/nodemedic-watchdog.service2"));
    assert!(!is_self("/system.slice/web.service"));
    assert!(!is_self("/web"), "a controller of its own names no unit");
}

#[test]
fn what_is_no_watchdog_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = |path: &str| {
        let words = ["--device", path].map(str::to_owned);
        device::open(&mut Args::parse(words.to_vec()).unwrap()).unwrap_err()
    };
    let error = open(file.path().to_str().unwrap());
    assert!(error.contains("is no watchdog device"), "{error}");
    let error = open("/nonexistent/watchdog0");
    assert!(error.contains("cannot open /nonexistent/watchdog0"), "{error}");
}

fn wait_for_words(file: &Path, verdict: &str) -> String {
    let (_keep, wait) = std::sync::mpsc::channel::<()>();
    let began = boottime_ms();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.contains(&format!("\nverdict={verdict}\n")) {
            return text;
        }
        assert!(boottime_ms() - began < PATIENCE_MS, "no verdict={verdict}: {text}");
        let _ = wait.recv_timeout(Duration::from_millis(5));
    }
}

#[test]
fn words_of_a_reset_right_after_those_of_a_kill_are_the_ones_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (mut hands, _) = Hands::open("/proc", &format!("{path}/w.sock"), path).unwrap();
    let file = dir.path().join("last-words");
    for round in 1..5 {
        hands.last_words(round, "killed", &session(4242, 9), "a test");
        hands.last_words(round, "reset", &session(4243, 9), "a test");
        let mut text = wait_for_words(&file, "reset");
        while !text.contains(&format!("\nboottime_ms={round}\n")) {
            text = wait_for_words(&file, "reset");
        }
        assert!(text.contains("\ntarget=session 4243\n"), "{text}");
    }
}

#[test]
fn last_words_are_written_when_their_watchdog_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (mut hands, _) = Hands::open("/proc", &format!("{path}/w.sock"), path).unwrap();
    hands.last_words(5, "killed", &session(4242, 9), "a test");
    drop(hands);
    wait_for_words(&dir.path().join("last-words"), "killed");
}
