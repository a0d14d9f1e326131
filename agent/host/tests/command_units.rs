//! The manager `command` with real processes: what dies is seen, what is stopped is gone, and what
//! runs is found again by the next agent.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the error message of a test, in its helpers too"
)]

mod common;

use std::path::Path;
use std::time::Duration;

use nodemedic_agent_core::effect::ActionId;
use nodemedic_agent_core::{DownCause, Input, Seen, Verdict};
use nodemedic_agent_host::manager::target::Target;
use nodemedic_agent_host::sampler::pid_stat::of_session;
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::work::{Check, ProbeSpec, Run};
use nodemedic_protocol::{Boottime, Generation, Millis};
use tokio::time::timeout;

use common::{GENERATION, Hands, Order, command, lives, sh, stat, unit};

struct World(Hands);

impl World {
    fn new() -> World {
        World::on(tempfile::tempdir().unwrap(), "boot-1")
    }

    /// Nothing here has a gate: agent/tests/gate.rs has.
    fn on(dir: tempfile::TempDir, boot: &str) -> World {
        World(Hands::on(dir, boot, "/proc/self/exe").0)
    }

    /// The agent dies, and a new one begins on the same boot.
    fn restart(self) -> World {
        self.restart_on("boot-1")
    }

    fn restart_on(self, boot: &str) -> World {
        let Hands { dir, units, .. } = self.0;
        drop(units);
        World::on(dir, boot)
    }

    async fn watch(&mut self, run: &Run) -> Seen {
        self.0.watch(run, Vec::new()).await
    }

    fn order(&mut self, verb: Verb, run: &Run, grace: u64) -> ActionId {
        self.order_by(verb, run, grace, None)
    }

    fn order_by(
        &mut self,
        verb: Verb,
        run: &Run,
        grace: u64,
        begin_by: Option<Boottime>,
    ) -> ActionId {
        self.0.order(Order {
            verb,
            run,
            generation: GENERATION,
            stop_grace: Millis(grace),
            begin_by,
            gate: None,
        })
    }

    async fn act(&mut self, verb: Verb, run: &Run, grace: u64) -> (Outcome, Seen) {
        let action = self.order(verb, run, grace);
        self.0.ended(action).await
    }

    async fn start(&mut self, run: &Run) -> u32 {
        assert_eq!(self.watch(run).await, down(DownCause::NotStarted));
        let (outcome, seen) = self.act(Verb::Start, run, 1000).await;
        assert_eq!(outcome, Outcome::Done);
        pid_of(&seen)
    }
}

fn down(cause: DownCause) -> Seen {
    Seen::NotRunning { cause }
}

fn pid_of(seen: &Seen) -> u32 {
    match seen {
        Seen::Running {
            pid: Some(pid),
            generation: Some(GENERATION),
        } => *pid,
        other => panic!("not running under generation 7: {other:?}"),
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_unit_that_is_killed_is_noticed_by_its_pidfd_and_restarted() {
    let mut world = World::new();
    let run = sh("exec sleep 1000");
    let pid = world.start(&run).await;
    // No probe and no poll is there to notice it.
    let killed_us = nodemedic_edge::clock::boottime_us();
    kill(pid);
    assert_eq!(world.0.observed().await, down(DownCause::Killed(9)));
    // Measured and told (--nocapture), not asserted: a loaded machine may take its time.
    let noticed_us = nodemedic_edge::clock::boottime_us();
    println!("noticed after {} us", noticed_us - killed_us);
    let (outcome, seen) = world.act(Verb::Restart, &run, 1000).await;
    let restarted_us = nodemedic_edge::clock::boottime_us();
    println!("restarted after {} us", restarted_us - noticed_us);
    assert_eq!(outcome, Outcome::Done);
    assert_ne!(pid_of(&seen), pid);
    world.act(Verb::Stop, &run, 1000).await;
}

/// The kill rung: a unit that would take its time to end, and would say so, is not asked.
#[tokio::test]
async fn what_is_killed_hard_is_not_asked_and_runs_again() {
    let mut world = World::new();
    let run = sh("trap 'echo > asked; exit' TERM; echo > ready; while :; do sleep 0.01; done");
    let pid = world.start(&run).await;
    world.0.file("ready").await;
    let (outcome, seen) = world.act(Verb::Kill, &run, 60_000).await;
    assert_eq!(outcome, Outcome::Done);
    assert_ne!(pid_of(&seen), pid);
    assert!(!lives(pid));
    assert!(!world.0.path("asked").exists(), "it was asked to end");
    world.act(Verb::Stop, &run, 1000).await;
}

#[tokio::test]
async fn the_exit_status_is_told() {
    let mut world = World::new();
    let run = sh("exit 3");
    world.watch(&run).await;
    let (outcome, mut seen) = world.act(Verb::Start, &run, 1000).await;
    if matches!(seen, Seen::Running { .. }) {
        assert_eq!(outcome, Outcome::Done);
        seen = world.0.observed().await;
    }
    assert_eq!(seen, down(DownCause::Exited(3)));
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_with_the_reason() {
    let mut world = World::new();
    let run = command(&["/nonexistent/thing"]);
    world.watch(&run).await;
    let (outcome, seen) = world.act(Verb::Start, &run, 1000).await;
    let Outcome::Failed(text) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(text.contains("cannot start /nonexistent/thing"), "{text}");
    assert!(matches!(seen, Seen::NotRunning { .. }), "{seen:?}");
}

#[tokio::test]
async fn a_work_is_told_who_it_is_and_leads_a_session_of_its_own() {
    let mut world = World::new();
    let run = sh(
        "echo $NODEMEDIC_NODE $NODEMEDIC_WORK $NODEMEDIC_GENERATION $NODEMEDIC_DIR > who; \
         echo said; exec sleep 1000",
    );
    let pid = world.start(&run).await;
    let directory = world.0.dir.path().join("state/work/db");
    let wanted = format!("node-1 db 7 {}", directory.display());
    assert_eq!(world.0.file("who").await, wanted);
    assert_eq!(world.0.file("generation").await, "7");
    let stat = stat(pid).unwrap();
    assert_eq!(stat.session, pid);
    let log = std::fs::read_to_string(world.0.dir.path().join("state/log/work.db.log")).unwrap();
    assert_eq!(log, "said\n");
    let target = Target::Session {
        leader: pid,
        start_ticks: stat.start_ticks,
    };
    assert_eq!(world.0.units.targets().of(&unit()), Some(target));
    world.act(Verb::Stop, &run, 1000).await;
    assert_eq!(world.0.units.targets().of(&unit()), None);
}

#[tokio::test]
async fn the_next_agent_finds_what_runs_and_sees_its_end() {
    let mut world = World::new();
    let run = sh("exec sleep 1000");
    let pid = world.start(&run).await;
    let mut world = world.restart();
    assert!(lives(pid), "a unit outlives its agent");
    assert_eq!(pid_of(&world.watch(&run).await), pid);
    // A start of what runs already starts nothing.
    let (outcome, seen) = world.act(Verb::Start, &run, 1000).await;
    assert_eq!((outcome, pid_of(&seen)), (Outcome::Done, pid));
    kill(pid);
    let seen = world.0.observed().await;
    assert!(matches!(seen, Seen::NotRunning { .. }), "{seen:?}");
    let mut world = world.restart();
    assert_eq!(world.watch(&run).await, down(DownCause::Gone));
    let mut world = world.restart_on("boot-2");
    assert_eq!(world.watch(&run).await, down(DownCause::NotStarted));
}

#[tokio::test]
async fn an_agent_killed_between_the_start_and_its_record_still_finds_the_unit() {
    let mut world = World::new();
    let run = sh("exec sleep 1000");
    let pid = world.start(&run).await;
    // Back to the record as it is before the new process is known.
    let path = world.0.dir.path().join("run/command/boot-1/work.db.json");
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["pid"] = serde_json::Value::Null;
    record["start_ticks"] = serde_json::Value::Null;
    nodemedic_edge::files::write_atomic(&path, record.to_string().as_bytes(), 0o644).unwrap();
    let mut world = world.restart();
    assert_eq!(pid_of(&world.watch(&run).await), pid);
    let (outcome, _) = world.act(Verb::Stop, &run, 1000).await;
    assert_eq!(outcome, Outcome::Done);
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_unit_that_ignores_sigterm_is_killed_after_its_grace() {
    let mut world = World::new();
    let run = sh("trap '' TERM; echo yes > deaf; while :; do sleep 1; done");
    let pid = world.start(&run).await;
    world.0.file("deaf").await;
    let (outcome, seen) = world.act(Verb::Stop, &run, 100).await;
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(seen, down(DownCause::NotStarted));
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_stop_takes_children_and_grandchildren_and_those_that_left_the_session() {
    let mut world = World::new();
    let run = sh("sh -c 'sleep 1000 & sleep 1001 & wait' & \
         setsid sh -c 'trap \"\" TERM; echo $$ > escaped; exec sleep 1000' & wait");
    let pid = world.start(&run).await;
    let escaped: u32 = world.0.file("escaped").await.parse().unwrap();
    let (outcome, _) = world.act(Verb::Fence, &run, 200).await;
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(of_session(Path::new("/proc"), pid).unwrap(), [0_u32; 0]);
    assert!(!lives(escaped), "what left the session carries the mark");
}

#[tokio::test]
async fn what_a_dead_main_process_left_behind_is_ended_before_the_next_start() {
    let mut world = World::new();
    let run = sh("sleep 1000 & echo $! > left; exec sleep 1001");
    let pid = world.start(&run).await;
    let left: u32 = world.0.file("left").await.parse().unwrap();
    kill(pid);
    assert_eq!(world.0.observed().await, down(DownCause::Killed(9)));
    assert!(lives(left));
    let (outcome, _) = world.act(Verb::Start, &run, 100).await;
    assert_eq!(outcome, Outcome::Done);
    assert!(!lives(left));
    world.act(Verb::Stop, &run, 1000).await;
}

#[tokio::test]
async fn the_stop_command_is_asked_first() {
    let mut world = World::new();
    let mut run = sh("trap '' TERM; echo yes > deaf; until [ -e please ]; do sleep 0.05; done");
    if let Run::Command { stop, .. } = &mut run {
        let script =
            "touch $NODEMEDIC_DIR/please; echo $NODEMEDIC_GENERATION > $NODEMEDIC_DIR/asked";
        *stop = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    }
    let pid = world.start(&run).await;
    world.0.file("deaf").await;
    let (outcome, _) = world.act(Verb::Stop, &run, 200).await;
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(world.0.file("asked").await, "7");
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_newer_action_interrupts_the_one_under_way() {
    let mut world = World::new();
    let run = sh("trap '' TERM; echo yes > deaf; while :; do sleep 1; done");
    let pid = world.start(&run).await;
    world.0.file("deaf").await;
    let slow = world.order(Verb::Stop, &run, 15_000);
    let quick = world.order(Verb::Fence, &run, 50);
    assert_eq!(world.0.ended(slow).await.0, Outcome::Interrupted);
    assert_eq!(world.0.ended(quick).await.0, Outcome::Done);
    assert!(!lives(pid));
}

#[tokio::test]
async fn another_generation_is_never_started_beside_the_one_that_runs() {
    let mut world = World::new();
    let run = sh("exec sleep 1000");
    let pid = world.start(&run).await;
    let action = world.0.order(Order {
        verb: Verb::Start,
        run: &run,
        generation: Generation(8),
        begin_by: None,
        stop_grace: Millis(100),
        gate: None,
    });
    let (outcome, seen) = world.0.ended(action).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    assert_eq!(pid_of(&seen), pid);
    world.act(Verb::Stop, &run, 1000).await;
}

#[tokio::test]
async fn an_action_for_a_unit_that_nobody_watches_is_answered() {
    let mut world = World::new();
    let (outcome, seen) = world.act(Verb::Start, &sh("exit 0"), 100).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    assert!(matches!(seen, Seen::Unknown { .. }), "{seen:?}");
}

#[tokio::test]
async fn the_probe_runs_while_the_unit_runs() {
    let mut world = World::new();
    let run = sh("exec sleep 1000");
    let probe = ProbeSpec {
        check: Check::Process,
        interval: Millis(10),
        timeout: Millis(1000),
        fail_for: Millis::ZERO,
        within: None,
    };
    let seen = world.0.watch(&run, vec![probe]).await;
    assert_eq!(seen, down(DownCause::NotStarted));
    world.act(Verb::Start, &run, 1000).await;
    for _ in 0..3 {
        let Input::Probed { verdict, .. } = world.0.next().await else {
            panic!("something else than the probe spoke");
        };
        assert_eq!(verdict, Verdict::Pass);
    }
    world.act(Verb::Stop, &run, 1000).await;
    // One that was under way may still arrive; after it there is silence.
    let after = timeout(Duration::from_millis(200), async {
        let mut verdicts = 0;
        while let Some(Input::Probed { .. }) = world.0.inputs.recv().await {
            verdicts += 1;
            assert!(verdicts < 3, "the probe goes on");
        }
    });
    assert!(after.await.is_err());
}

#[tokio::test]
async fn without_systemd_a_unit_is_unknown_with_the_reason() {
    let mut world = World::new();
    let run = Run::Systemd {
        unit: "web.service".into(),
    };
    let Seen::Unknown { why } = world.watch(&run).await else {
        panic!("seen without a bus");
    };
    assert!(
        why.contains("cannot reach systemd over unix:path=/nonexistent"),
        "{why}"
    );
    let (outcome, _) = world.act(Verb::Start, &run, 100).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_state_that_is_set_back_loses_sight_of_nothing_that_runs() {
    let mut world = World::new();
    let run = sh("exec sleep 1000");
    let pid = world.start(&run).await;
    // As far back as it goes.
    std::fs::remove_dir_all(world.0.dir.path().join("state")).unwrap();
    let mut world = world.restart();
    assert_eq!(pid_of(&world.watch(&run).await), pid);
    let (outcome, _) = world.act(Verb::Stop, &run, 1000).await;
    assert_eq!(outcome, Outcome::Done);
    assert!(!lives(pid));
}

#[tokio::test]
async fn an_act_whose_time_to_begin_is_over_is_not_begun_and_says_so() {
    let mut world = World::new();
    let run = sh("exec sleep 1000");
    let pid = world.start(&run).await;
    let late = world.order_by(Verb::Restart, &run, 1000, Some(Boottime(1)));
    let why = loop {
        match world.0.next().await {
            Input::NotBegun { action, why } if action == late => break why,
            Input::ActionEnded { action, .. } if action == late => panic!("it was begun"),
            _ => {}
        }
    };
    assert!(why.contains("over"), "{why}");
    assert!(lives(pid), "nothing was done to it");
    let (outcome, seen) = world.act(Verb::Restart, &run, 1000).await;
    assert_eq!(outcome, Outcome::Done, "the next one is");
    assert_ne!(pid_of(&seen), pid);
    world.act(Verb::Stop, &run, 1000).await;
}
