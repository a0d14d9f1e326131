//! The built watchdog on a faithful fake device: it arms, feeds, disarms, and lets go of the host
//! exactly when a promise cannot be kept in any other way.

// Formatted by its owner.
#[rustfmt::skip]
#[path = "../../../watchdog/tests/watchdog/common.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Agent, Beat, Named, Work, cgroup};
use nix::sys::signal::Signal;
use nodemedic_edge::clock;
use nodemedic_system_tests::binary;
use nodemedic_system_tests::fake_watchdog::{CARDRESET, FakeWatchdog, Make, Seen};
use nodemedic_system_tests::process::Process;
use nodemedic_system_tests::wait::{stays, wait_for};
use tempfile::TempDir;

/// What the watchdog answers with a device of 2 s: timeout, verification, one late turn.
const ANSWERED_MS: u64 = 2000 + 3000 + 3000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A host with a device; its watchdog and its agent come and go.
struct Host {
    dir: TempDir,
    device: FakeWatchdog,
}

impl Host {
    fn new(make: Make) -> Host {
        let dir = tempfile::tempdir().expect("a folder");
        let device = FakeWatchdog::start(&dir.path().join("watchdog0"), make);
        device.describe(dir.path());
        Host { dir, device }
    }

    fn watchdog(&self, more: &[&str]) -> Process {
        let dir = self.dir.path();
        let mut command = Command::new(binary("nodemedic-watchdog"));
        command
            .arg("--device")
            .arg(self.device.path())
            .args(["--timeout", "2s"]);
        command
            .arg("--socket")
            .arg(dir.join("w.sock"))
            .arg("--state")
            .arg(dir);
        command.arg("--sys-root").arg(dir).args(more);
        Process::start("watchdog", command, &dir.join("log"))
    }

    fn ready(&self, more: &[&str]) -> Process {
        let process = self.watchdog(more);
        says(&process, "ready");
        process
    }

    fn agent(&self) -> Agent {
        Agent::start(&self.dir.path().join("w.sock"))
    }

    fn sees(&self, what: &str, level: impl Fn(&Seen) -> bool) -> Seen {
        let look = || {
            let seen = self.device.seen();
            if level(&seen) {
                Ok(seen)
            } else {
                Err(format!("{seen:?}"))
            }
        };
        wait_for(what, PATIENCE, look).0
    }

    fn is_spared_for(&self, span: Duration) {
        stays("the host is spared", span, || {
            match self.device.seen().expired.len() {
                0 => Ok(()),
                _ => Err(String::from("the device has run out")),
            }
        });
    }

    fn last_words(&self) -> String {
        let path = self.dir.path().join("last-words");
        wait_for("last words", PATIENCE, || {
            fs::read_to_string(&path).map_err(|e| e.to_string())
        })
        .0
    }
}

fn says(process: &Process, what: &str) {
    wait_for(what, PATIENCE, || {
        let text = process.output();
        if text.contains(what) {
            Ok(())
        } else {
            Err(text)
        }
    });
}

fn now_ms() -> u64 {
    clock::boottime().0
}

fn beat(sequence: u64, promises: Vec<Named>) -> Vec<u8> {
    Beat {
        session: 7,
        sequence,
        sent: now_ms(),
        next: 500,
        leaving: false,
        promises,
    }
    .encode()
}

#[test]
fn it_arms_reads_the_timeout_back_feeds_at_a_quarter_and_a_clean_stop_disarms() {
    let make = Make {
        step_s: 4,
        boot_status: CARDRESET,
        ..Make::default()
    };
    let host = Host::new(make);
    let process = host.ready(&["--pretimeout", "1s"]);
    let seen = host.sees("armed", |seen| seen.armed && seen.open);
    assert_eq!(
        (seen.timeout_s, seen.pretimeout_s),
        (4, 1),
        "the driver rounds 2 s up to 4 s"
    );
    let mut agent = host.agent();
    let answer = agent.ask(&beat(1, vec![]));
    assert_eq!(
        (answer.status, answer.enforcement, answer.boot_status),
        (0, 1, CARDRESET)
    );
    assert_eq!((answer.timeout, answer.flags & 8), (ANSWERED_MS + 2000, 0));
    let seen = host.sees("fed five times", |seen| seen.fed.len() >= 8);
    assert!(
        (900..1333).contains(&seen.max_gap_ms()),
        "a quarter of 4 s, at most a third: {:?}",
        seen.fed
    );
    assert_eq!(process.terminate(PATIENCE), Some(0));
    let seen = host.sees("disarmed", |seen| !seen.armed && !seen.open);
    assert!(seen.expired.is_empty());
}

#[test]
fn without_a_way_out_that_is_said_at_the_start_and_at_the_stop() {
    let host = Host::new(Make {
        nowayout: true,
        ..Make::default()
    });
    let process = host.ready(&[]);
    assert_eq!(host.agent().ask(&beat(1, vec![])).flags & 8, 8);
    says(&process, "can be disarmed: false");
    process.signal(Signal::SIGTERM);
    says(&process, "cannot disarm the device");
    let seen = host.sees("run out", |seen| !seen.expired.is_empty());
    assert_eq!(seen.boot_status, CARDRESET);
}

#[test]
fn a_driver_that_refuses_the_timeout_is_not_run_on_and_is_left_disarmed() {
    let host = Host::new(Make {
        timeout_max_s: 0,
        ..Make::default()
    });
    let mut process = host.watchdog(&[]);
    assert_eq!(process.exit_code(PATIENCE), Some(1));
    assert!(
        process.output().contains("refuses a timeout of 2000 ms"),
        "{}",
        process.output()
    );
    let seen = host.sees("disarmed again", |seen| !seen.armed && !seen.open);
    assert_eq!(seen.opened, 1);
}

#[test]
fn one_watchdog_holds_it_at_a_time() {
    let host = Host::new(Make::default());
    let _first = host.ready(&[]);
    let mut command = Command::new(binary("nodemedic-watchdog"));
    command.arg("--device").arg(host.device.path());
    command
        .arg("--socket")
        .arg(host.dir.path().join("other.sock"));
    let mut second = Process::start("second", command, &host.dir.path().join("log2"));
    assert_eq!(second.exit_code(PATIENCE), Some(1));
    assert!(second.output().contains("EBUSY") || second.output().contains("busy"));
}

#[test]
fn a_watchdog_that_is_killed_or_frozen_takes_the_host_with_it() {
    for frozen in [false, true] {
        let host = Host::new(Make::default());
        let process = host.ready(&[]);
        let at = now_ms();
        let _frozen = if frozen {
            process.signal(Signal::SIGSTOP);
            Some(process)
        } else {
            process.kill9();
            None
        };
        let seen = host.sees("run out", |seen| !seen.expired.is_empty());
        let took = seen.expired[0] - at;
        assert!((1000..2700).contains(&took), "run out after {took} ms");
    }
}

#[test]
fn a_watchdog_that_comes_back_in_time_saves_the_host() {
    let host = Host::new(Make {
        timeout_s: 10,
        ..Make::default()
    });
    host.ready(&[]).kill9();
    host.sees("closed and still armed", |seen| seen.armed && !seen.open);
    let _second = host.ready(&[]);
    host.sees("held again", |seen| seen.opened == 2 && seen.open);
    host.is_spared_for(Duration::from_secs(3));
}

#[test]
fn a_frozen_agent_with_a_running_work_is_a_reset_within_the_answered_time_with_last_words() {
    let cut = tempfile::tempdir().expect("a folder");
    let power_cut = cut.path().join("power-cut").display().to_string();
    let host = Host::new(Make {
        on_expiry: vec!["touch".into(), power_cut],
        ..Make::default()
    });
    let process = host.ready(&[]);
    let (mut agent, mut work) = (host.agent(), Work::start());
    let due = now_ms() + 3000;
    assert_eq!(
        agent
            .ask(&beat(1, vec![work.promise(due - 500, 500)]))
            .timeout,
        ANSWERED_MS
    );
    agent.signal(Signal::SIGSTOP);
    let seen = host.sees("the reset", |seen| !seen.expired.is_empty());
    let at = seen.expired[0];
    assert!(
        (due + 500..due + 2700).contains(&at),
        "{} ms after it was due",
        at - due
    );
    assert!(at <= due + ANSWERED_MS);
    assert!(
        work.runs() && agent.runs(),
        "the reset ends both, not the watchdog"
    );
    wait_for("the power cut", PATIENCE, || {
        cut.path()
            .join("power-cut")
            .exists()
            .then_some(())
            .ok_or("no".to_owned())
    });
    let words = host.last_words();
    assert!(
        words.contains("\nverdict=reset\ntarget=session "),
        "{words}"
    );
    assert!(
        words.contains("\nwhy=the agent lives and is silent"),
        "{words}"
    );
    says(&process, "the device is starved");
}

#[test]
fn a_frozen_agent_that_thaws_and_withdraws_before_it_is_due_is_no_reset() {
    let host = Host::new(Make::default());
    let _process = host.ready(&[]);
    let (mut agent, work) = (host.agent(), Work::start());
    agent.ask(&beat(1, vec![work.promise(now_ms() + 2500, 500)]));
    agent.signal(Signal::SIGSTOP);
    host.is_spared_for(Duration::from_millis(1800));
    agent.signal(Signal::SIGCONT);
    assert_eq!(agent.ask(&beat(2, vec![])).live, 0);
    host.is_spared_for(Duration::from_secs(5));
}

#[test]
fn the_work_of_a_dead_agent_is_killed_and_the_host_is_spared() {
    let host = Host::new(Make::default());
    let process = host.ready(&[]);
    let (mut agent, mut work) = (
        host.agent(),
        Work::running("trap '' TERM; echo up; sleep 600"),
    );
    let due = now_ms() + 2000;
    agent.ask(&beat(1, vec![work.promise(due - 500, 500)]));
    agent.die();
    wait_for("the work is killed", PATIENCE, || {
        if work.runs() {
            Err("runs".into())
        } else {
            Ok(())
        }
    });
    assert!((due..due + 1000).contains(&now_ms()));
    host.is_spared_for(Duration::from_secs(5));
    assert!(host.last_words().contains("verdict=killed"));
    assert_eq!(process.terminate(PATIENCE), Some(0));
    host.sees("disarmed", |seen| !seen.armed);
}

#[test]
fn a_dead_or_frozen_agent_without_promises_is_no_reset() {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let host = Host::new(Make::default());
        let process = host.ready(&[]);
        let mut agent = host.agent();
        agent.ask(&beat(1, vec![]));
        agent.signal(signal);
        says(&process, "promises: 0");
        host.is_spared_for(Duration::from_secs(5));
        assert_eq!(agent.runs(), signal == Signal::SIGSTOP);
    }
}

#[test]
fn a_dry_run_never_opens_the_device() {
    let host = Host::new(Make::default());
    let process = host.ready(&["--dry-run"]);
    let (mut agent, mut work) = (host.agent(), Work::start());
    let answer = agent.ask(&beat(1, vec![work.promise(now_ms() + 500, 0)]));
    assert_eq!((answer.status, answer.enforcement), (0, 3));
    agent.signal(Signal::SIGSTOP);
    says(&process, "would reset this host");
    assert!(host.last_words().contains("verdict=would-reset"));
    assert!(work.runs() && agent.runs());
    assert_eq!(host.device.seen().opened, 0);
}

#[test]
fn a_cgroup_is_promised_before_anything_runs_in_it() {
    let host = Host::new(Make::default());
    let _process = host.ready(&[]);
    let mut agent = host.agent();
    let root = Path::new("/sys/fs/cgroup");
    let root = if root.join("cgroup.controllers").exists() {
        root.into()
    } else {
        root.join("unified")
    };
    let name = format!("nodemedic-watchdog-device-{}", std::process::id());
    let due = now_ms() + 3000;
    let answer = agent.ask(&beat(1, vec![cgroup(&format!("/{name}"), due - 500, 500)]));
    assert_eq!((answer.status, answer.live, answer.broken), (0, 1, 0));
    let group = root.join(name);
    fs::create_dir(&group).expect("root may make a cgroup");
    let mut work = Work::start();
    fs::write(group.join("cgroup.procs"), work.pid().to_string()).expect("moved");
    agent.die();
    wait_for("the work is killed", PATIENCE, || {
        if work.runs() {
            Err("runs".into())
        } else {
            Ok(())
        }
    });
    host.is_spared_for(Duration::from_secs(3));
    fs::remove_dir(&group).expect("empty");
}
