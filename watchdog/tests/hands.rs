//! Real processes are ended and seen gone; a device is a FIFO here, because this machine has none.
#![cfg(test)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nodemedic_watchdog::beat::Target;
use nodemedic_watchdog::clock::boottime_ms;
use nodemedic_watchdog::device::{Device, Watchdog};
use nodemedic_watchdog::enforce::{Enforce, Host};

const PATIENCE_MS: u64 = 10_000;

fn host() -> Host {
    Host {
        proc_root: PathBuf::from("/proc"),
        cgroup_root: PathBuf::from("/sys/fs/cgroup"),
    }
}

/// A session of four processes, all of which ignore SIGTERM. Ends with the test in any case.
struct Family {
    setsid: Child,
    leader: u32,
    target: Target,
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
        BufReader::new(setsid.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "up\n");
        // `setsid` forked, because it led a group: the session's leader is its only child.
        let leader = children(setsid.id())[0];
        let target = Target::Session {
            leader,
            start: start_of(leader),
        };
        Family {
            setsid,
            leader,
            target,
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        until_gone(&host(), &self.target);
        let _ = self.setsid.kill();
        let _ = self.setsid.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn start_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(19)
        .unwrap()
        .parse()
        .unwrap()
}

/// Strikes until nothing is seen, as the loop does.
fn until_gone(host: &Host, target: &Target) -> u64 {
    let (_keep, wait) = std::sync::mpsc::channel::<()>();
    let began = boottime_ms();
    while host.strike(target).unwrap() > 0 {
        assert!(
            boottime_ms() - began < PATIENCE_MS,
            "{target} is still there"
        );
        let _ = wait.recv_timeout(Duration::from_millis(5));
    }
    boottime_ms() - began
}

#[test]
fn a_session_that_ignores_sigterm_is_ended_with_all_its_children() {
    let family = Family::start();
    let target = family.target.clone();
    assert!(host().look(&target).unwrap() >= 3);
    until_gone(&host(), &target);
    assert_eq!(host().look(&target), Ok(0));
}

#[test]
fn a_pid_that_names_another_process_by_now_is_not_touched() {
    let family = Family::start();
    let start = start_of(family.leader) - 1;
    let earlier = Target::Session {
        leader: family.leader,
        start,
    };
    assert_eq!(host().strike(&earlier), Ok(0));
    assert!(host().look(&family.target).unwrap() >= 3, "all are alive");
}

#[test]
fn a_cgroup_is_ended_with_all_that_is_below_it() {
    let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .map(PathBuf::from)
        .into_iter()
        .find(|root| {
            root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists()
        });
    let root = root.expect("this machine has a cgroup2 hierarchy");
    let name = format!("nodemedic-watchdog-test-{}", std::process::id());
    let (top, below) = (root.join(&name), root.join(&name).join("below"));
    fs::create_dir_all(&below).expect("this test needs root to make a cgroup");
    let families = [Family::start(), Family::start()];
    for (family, dir) in families.iter().zip([&top, &below]) {
        for pid in children(family.leader) {
            let mut procs = File::options()
                .write(true)
                .open(dir.join("cgroup.procs"))
                .unwrap();
            procs.write_all(pid.to_string().as_bytes()).unwrap();
        }
    }
    let target = Target::Cgroup(format!("/{name}"));
    assert!(host().look(&target).unwrap() >= 4);
    until_gone(&host(), &target);
    let events = fs::read_to_string(top.join("cgroup.events")).unwrap();
    fs::remove_dir(&below).unwrap();
    fs::remove_dir(&top).unwrap();
    assert!(events.contains("populated 0"), "{events}");
    assert_eq!(
        host().look(&target),
        Ok(0),
        "a cgroup that is no more is gone"
    );
}

#[test]
fn what_cannot_be_seen_is_an_error_and_not_gone() {
    let nowhere = PathBuf::from("/nonexistent");
    let blind = Host {
        proc_root: nowhere.clone(),
        cgroup_root: nowhere,
    };
    let error = blind
        .strike(&Target::Session {
            leader: 7,
            start: 7,
        })
        .unwrap_err();
    assert!(error.contains("cannot list /nonexistent"), "{error}");
    let error = blind
        .strike(&Target::Cgroup(String::from("/x")))
        .unwrap_err();
    assert!(
        error.contains("no cgroup hierarchy is mounted at /nonexistent"),
        "{error}"
    );
}

/// A recorded `/proc` of sleeping, dead and half dead processes in session 500.
#[test]
fn a_zombie_is_gone_unless_threads_of_it_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let process = |pid: u32, stat: &str, threads: u32| {
        for thread in 0..threads {
            fs::create_dir_all(dir.path().join(format!("{pid}/task/{}", pid + thread))).unwrap();
        }
        let rest = "0 0 0 0 0 0 0 0 0 0 0 20 0 1 0";
        let start = 1000 + u64::from(pid);
        let line = stat.replace("REST", &format!("{rest} {start}"));
        let mut file = File::create(dir.path().join(format!("{pid}/stat"))).unwrap();
        file.write_all(format!("{pid} {line} 0 0\n").as_bytes())
            .unwrap();
    };
    let host = Host {
        proc_root: dir.path().to_path_buf(),
        ..host()
    };
    let target = Target::Session {
        leader: 500,
        start: 1500,
    };
    assert_eq!(host.look(&target), Ok(0));
    process(500, "(sh) Z 1 500 500 REST", 1);
    assert_eq!(host.look(&target), Ok(0), "a zombie runs nothing");
    process(501, "(evil ) S 1 9) S 500 500 500 REST", 1);
    assert_eq!(
        host.look(&target),
        Ok(1),
        "a name with a parenthesis hides nothing"
    );
    process(502, "(pool) Z 500 500 500 REST", 2);
    assert_eq!(
        host.look(&target),
        Ok(2),
        "its first thread ended, the other runs"
    );
    process(503, "(other) S 1 503 503 REST", 1);
    process(400, "(older) S 1 500 500 REST", 1);
    assert_eq!(
        host.look(&target),
        Ok(2),
        "other and older sessions do not count"
    );
    process(504, "garbage", 1);
    assert!(
        host.look(&target)
            .unwrap_err()
            .contains("not as proc(5) says")
    );
}

#[test]
fn the_own_session_and_cgroups_are_known() {
    let own = nix::unistd::getsid(None).unwrap().as_raw();
    let target = Target::Session {
        leader: u32::try_from(own).unwrap(),
        start: 1,
    };
    assert!(host().is_self(&target));
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("self")).unwrap();
    let mut file = File::create(dir.path().join("self/cgroup")).unwrap();
    file.write_all(b"0::/system.slice/nodemedic-watchdog.service\n")
        .unwrap();
    let host = Host {
        proc_root: dir.path().to_path_buf(),
        ..host()
    };
    let is_self = |path: &str| host.is_self(&Target::Cgroup(String::from(path)));
    assert!(is_self("/system.slice"));
    assert!(is_self("/system.slice/nodemedic-watchdog.service"));
    assert!(!is_self("/system.slice/nodemedic-watchdog.service2"));
    assert!(!is_self("/system.slice/web.service"));
}

#[test]
fn what_is_no_watchdog_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Watchdog::open(file.path(), 10_000).unwrap_err();
    assert!(error.contains("is no watchdog device"), "{error}");
    let error = Watchdog::open(Path::new("/nonexistent/watchdog0"), 10_000).unwrap_err();
    assert!(
        error.contains("cannot open /nonexistent/watchdog0"),
        "{error}"
    );
}

#[test]
fn food_never_disarms_and_disarming_is_the_magic_letter() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    let mut device = Watchdog::from_file(file, 10_000);
    for _ in 0..3 {
        device.ping().unwrap();
    }
    let mut bytes = [0; 3];
    reader.read_exact(&mut bytes).unwrap();
    assert!(!bytes.contains(&b'V'));
    device.disarm().unwrap();
    drop(device);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"V");
}
