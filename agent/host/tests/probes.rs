//! Probes of a unit that runs: a real process that hangs, is silent, or takes too much, and what
//! the core is told of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is a test: a panic is its error message"
)]

#[expect(dead_code, reason = "other tests use more of it")]
mod common;

use std::collections::BTreeSet;

use nodemedic_agent_core::effect::ActionId;
use nodemedic_agent_core::{Input, Seen, Verdict};
use nodemedic_edge::clock;
use nodemedic_protocol::Millis;
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::work::{Check, Limits, ProbeSpec, Run};
use rustix::process::{Pid, Signal, kill_process};

use common::{GENERATION, Hands, Order, command, sh};

/// Answers PONG to whoever says something, one after the other.
const SERVER: &str = "$SIG{PIPE} = 'IGNORE'; use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); \
    bind(S, sockaddr_un($ARGV[0])) or die; listen(S, 16); \
    while (accept(C, S)) { sysread(C, $_, 100); syswrite(C, \"PONG\"); close(C) }";

struct World(Hands);

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        World(Hands::on(dir, "boot-1", "/proc/self/exe").0)
    }

    fn path(&self, name: &str) -> String {
        self.0.dir.path().join(name).display().to_string()
    }

    fn order(&mut self, verb: Verb, run: &Run) -> ActionId {
        self.0.order(Order {
            verb,
            run,
            generation: GENERATION,
            stop_grace: Millis(1_000),
            begin_by: None,
            gate: None,
        })
    }

    /// Runs it, with these probes; its process.
    async fn start(&mut self, run: &Run, probes: Vec<ProbeSpec>) -> u32 {
        self.0.watch(run, probes).await;
        let action = self.order(Verb::Start, run);
        match self.0.ended(action).await {
            (Outcome::Done, Seen::Running { pid: Some(pid), .. }) => pid,
            other => panic!("{other:?}"),
        }
    }

    /// The next answer of this probe that is wanted.
    async fn until(&mut self, number: usize, wanted: impl Fn(&Verdict) -> bool) -> Verdict {
        loop {
            if let Input::Probed { probe, verdict, .. } = self.0.next().await
                && probe == number
                && wanted(&verdict)
            {
                return verdict;
            }
        }
    }
}

fn probe(check: Check, interval: u64, timeout: u64) -> ProbeSpec {
    ProbeSpec {
        check,
        interval: Millis(interval),
        timeout: Millis(timeout),
        fail_for: Millis::ZERO,
        within: None,
    }
}

fn passes(verdict: &Verdict) -> bool {
    *verdict == Verdict::Pass
}

fn fails(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail(_))
}

/// What systemd cannot see: it runs, and does not answer.
#[tokio::test]
async fn a_process_that_hangs_is_told_within_an_interval_and_a_timeout() {
    let mut world = World::new();
    let path = world.path("s");
    let run = command(&["/usr/bin/perl", "-e", SERVER, &path]);
    let connects = Check::Unix {
        path: path.clone(),
        send: None,
        expect: None,
    };
    let answers = Check::Unix {
        path,
        send: Some("PING".to_owned()),
        expect: Some("PONG".to_owned()),
    };
    let probes = vec![probe(answers, 500, 400), probe(connects, 500, 400)];
    let pid = world.start(&run, probes).await;
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    world.until(0, passes).await;
    kill_process(pid, Signal::STOP).unwrap();
    let began = clock::boottime();
    let hung = world.until(0, fails).await;
    let took = clock::boottime().since(began);
    let text = format!("{hung:?}");
    assert!(text.contains("no answer within 400ms"), "{text}");
    // 900 ms and little more; the bound leaves room for a loaded machine.
    assert!(took < Millis(900 + 3_000), "{took}");
    // The kernel accepts for it, so who only connects learns nothing.
    world.until(1, passes).await;
    kill_process(pid, Signal::CONT).unwrap();
    world.until(0, passes).await;
    let action = world.order(Verb::Stop, &run);
    world.0.ended(action).await;
}

/// LESSONS, want 12 and failure mode 14: one that hangs blocks nobody else.
#[tokio::test]
async fn a_probe_that_hangs_holds_up_no_other_one() {
    let mut world = World::new();
    let command = ["/bin/sleep", "1000"].map(str::to_owned).into();
    let probes = vec![
        probe(Check::Exec { command }, 60_000, 60_000),
        probe(Check::Process, 20, 1_000),
    ];
    let run = sh("exec sleep 1000");
    world.start(&run, probes).await;
    for _ in 0..20 {
        let Input::Probed { probe, verdict, .. } = world.0.next().await else {
            continue;
        };
        assert_eq!((probe, verdict), (1, Verdict::Pass));
    }
    let action = world.order(Verb::Stop, &run);
    world.0.ended(action).await;
}

#[tokio::test]
async fn silence_of_a_command_is_told_from_its_own_log() {
    let mut world = World::new();
    let go = world.path("go");
    let script = format!("echo up; while [ ! -e {go} ]; do echo on; sleep 0.1; done; sleep 1000");
    let run = sh(&script);
    let max_age = Millis(1_000);
    let log = Check::Log {
        max_age,
        file: None,
    };
    let nobody = Check::Watchdog { max_age };
    world
        .start(
            &run,
            vec![probe(log, 200, 5_000), probe(nobody, 200, 5_000)],
        )
        .await;
    for _ in 0..10 {
        assert_eq!(world.until(0, |_| true).await, Verdict::Pass);
    }
    nodemedic_edge::files::write_atomic(go.as_ref(), b"", 0o600).unwrap();
    let text = format!("{:?}", world.until(0, fails).await);
    assert!(text.contains("at most 1.0s are well"), "{text}");
    let unknown = world.until(1, |_| true).await;
    assert!(matches!(unknown, Verdict::Unknown(_)), "{unknown:?}");
    let action = world.order(Verb::Stop, &run);
    world.0.ended(action).await;
}

/// Of a unit every process is looked at, not only its first.
#[tokio::test]
async fn a_child_that_takes_too_much_is_found() {
    let mut world = World::new();
    let script = "(ulimit -n 64; i=20; while [ $i -lt 60 ]; do eval \"exec $i</dev/null\"; \
                  i=$((i+1)); done; while :; do :; done) & exec sleep 1000";
    let run = command(&["/bin/bash", "-c", script]);
    let fds = Limits {
        fds_percent: Some(50),
        ..Limits::default()
    };
    let spin = Limits {
        cpu_spin: Some(Millis(600)),
        // Other tests want the processors as well.
        cpu_percent: Some(5),
        ..Limits::default()
    };
    let well = Limits {
        rss_bytes: Some(1 << 40),
        d_state: Some(Millis(60_000)),
        ..Limits::default()
    };
    let all = [fds, spin, well].map(|limits| probe(Check::Limits(limits), 200, 5_000));
    world.start(&run, all.into()).await;
    let mut failed = BTreeSet::new();
    while failed.len() < 2 {
        if let Input::Probed { probe, verdict, .. } = world.0.next().await {
            assert!(probe < 2 || verdict == Verdict::Pass, "{verdict:?}");
            if fails(&verdict) {
                failed.insert(probe);
            }
        }
    }
    assert_eq!(failed, BTreeSet::from([0, 1]));
    let action = world.order(Verb::Stop, &run);
    world.0.ended(action).await;
}
