//! The start gate with real processes and a watchdog that is played: exclusive work runs only after
//! the watchdog took its promise, and whatever goes wrong before leaves nothing that ever ran.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the error message of a test, in its helpers too"
)]

// The hands are those of the host layer's own tests.
#[path = "../host/tests/common/mod.rs"]
mod common;
// The same watchdog is played in the tests of the whole system.
#[path = "../../tests/system/src/played.rs"]
#[expect(
    dead_code,
    reason = "there they look whether it was named, here they wait"
)]
mod played;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nodemedic_agent_core::{ActionId, DownCause, Gate, GatePromise, Input, Promise, Seen};
use nodemedic_agent_host::manager::command::gate;
use nodemedic_agent_host::watchdog::WatchdogClient;
use nodemedic_edge::clock;
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::work::{Enforcement, Run};
use nodemedic_protocol::{Boottime, Millis, WorkName};
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::process::Command;
use tokio::time::timeout;

use common::{BOUND, GENERATION, Hands, Order, command, lives, readable, sh, stat, unit};
use played::{Mode, Played};

const AGENT: &str = env!("CARGO_BIN_EXE_nodemedic-agent");

const LONG: Millis = Millis::from_secs(600);

struct World {
    hands: Hands,
    client: WatchdogClient,
}

/// A start that waits at its gate.
struct Waiting {
    played: Played,
    world: World,
    start: ActionId,
    gate: u32,
}

impl World {
    /// An agent's hands beside this watchdog, and what was heard of it; they look after the work.
    async fn beside(played: &Played, run: &Run) -> World {
        let mut world = World::on(tempfile::tempdir().unwrap(), played.path());
        let timeout = Millis(7000);
        world.enforced(Enforcement::Software { timeout }).await;
        world.watch(run).await;
        world
    }

    fn on(dir: tempfile::TempDir, socket: PathBuf) -> World {
        let (hands, questions, outbox) = Hands::on(dir, "boot-1", AGENT);
        let targets = hands.units.targets();
        let client = WatchdogClient::start(socket, targets, questions, outbox).unwrap();
        World { hands, client }
    }

    /// Starts the work beside a watchdog in this mode, and waits until it names the gate.
    async fn waiting(mode: Mode, promise: GatePromise, lease: Millis) -> Waiting {
        let played = Played::new();
        let mut world = World::beside(&played, &script()).await;
        played.set(mode);
        let start = world.order(Verb::Start, &script(), promise, lease);
        let gate = tokio::task::spawn_blocking(played.until_named(BOUND)).await;
        let gate = gate.unwrap().expect("no beat named a target");
        assert!(lives(gate));
        Waiting {
            played,
            world,
            start,
            gate,
        }
    }

    async fn enforced(&mut self, wanted: Enforcement) {
        loop {
            if let Input::Enforcement(enforcement) = self.hands.next().await
                && enforcement == wanted
            {
                return;
            }
        }
    }

    async fn watch(&mut self, run: &Run) -> Seen {
        self.hands.watch(run, Vec::new()).await
    }

    fn promise(&self, deadline: Boottime) {
        self.client.promise(vec![Promise {
            work: WorkName::new("db").unwrap(),
            generation: GENERATION,
            deadline,
            grace: Millis(1000),
        }]);
    }

    /// As the core does it: the promise first, then the act.
    fn order(&mut self, verb: Verb, run: &Run, promise: GatePromise, lease: Millis) -> ActionId {
        let deadline = clock::boottime() + lease;
        self.promise(deadline);
        self.hands.order(Order {
            verb,
            run,
            generation: GENERATION,
            stop_grace: Millis(1000),
            begin_by: None,
            gate: verb.starts().then_some(Gate { deadline, promise }),
        })
    }

    async fn act(&mut self, verb: Verb, run: &Run, promise: GatePromise) -> (Outcome, Seen) {
        let action = self.order(verb, run, promise, LONG);
        self.hands.ended(action).await
    }

    async fn does(&mut self, verb: Verb, promise: GatePromise) {
        assert_eq!(self.act(verb, &script(), promise).await.0, Outcome::Done);
    }

    async fn stops(&mut self) {
        self.does(Verb::Stop, GatePromise::No).await;
    }

    /// Nothing ran, nothing waits, and nothing is left to kill.
    fn nothing_ran(&self, gate: u32) {
        assert!(!self.hands.path("ran").exists(), "the work ran");
        assert!(!lives(gate), "the gate is still there");
        assert_eq!(self.hands.units.targets().of(&unit()), None);
        let run = self.hands.dir.path().join("run");
        let record = run.join("command/boot-1/work.db.json");
        assert!(!record.exists(), "its record is still there");
    }
}

/// Says that it ran, and goes on.
fn script() -> Run {
    sh("echo $NODEMEDIC_GENERATION > ran; exec sleep 1000")
}

/// Waits until this process has ended.
async fn over(pid: u32) {
    let number = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    if let Ok(pidfd) = pidfd_open(number, PidfdFlags::empty()) {
        readable(pidfd, "the process does not end").await;
    }
    assert!(!lives(pid));
}

/// Waits for a moment of the clock.
async fn passed(moment: Boottime) {
    while clock::boottime() <= moment {
        let left = moment.since(clock::boottime()) + Millis(1);
        tokio::time::sleep(left.to_duration()).await;
    }
}

fn turned_away(outcome: &Outcome, seen: &Seen, why: &str) {
    let Seen::NotRunning {
        cause: DownCause::TurnedAway(text),
    } = seen
    else {
        panic!("{seen:?}");
    };
    assert!(text.contains(why), "{text}");
    assert_eq!(*outcome, Outcome::Failed(text.clone()));
}

#[tokio::test]
async fn nothing_runs_until_the_promise_is_taken_and_then_the_very_process_that_was_named() {
    let Waiting {
        played,
        mut world,
        start,
        gate,
    } = World::waiting(Mode::SilentToPromises, GatePromise::Required, LONG).await;
    let before = stat(gate).unwrap();
    assert_eq!(before.session, gate, "a session of its own");
    assert!(!world.hands.path("ran").exists());
    played.set(Mode::Taken);
    played.release();
    let (outcome, seen) = world.hands.ended(start).await;
    assert_eq!(outcome, Outcome::Done);
    let wanted = Seen::Running {
        pid: Some(gate),
        generation: Some(GENERATION),
    };
    assert_eq!(seen, wanted);
    assert_eq!(world.hands.file("ran").await, "7");
    let after = stat(gate).unwrap();
    assert_eq!(after.start_ticks, before.start_ticks);
    let stdin = std::fs::read_link(format!("/proc/{gate}/fd/0")).unwrap();
    assert_eq!(stdin, Path::new("/dev/null"));
    // A restart passes its gate too, as another process, also one that asks nobody to end.
    for verb in [Verb::Restart, Verb::Kill] {
        world.does(verb, GatePromise::Required).await;
    }
    assert!(!lives(gate));
    world.stops().await;
}

#[tokio::test]
async fn a_promise_that_nobody_takes_starts_nothing_and_the_next_try_does() {
    for (mode, why) in [
        (Mode::SilentToPromises, "no answer from"),
        (Mode::Refused, "no room for so many promises"),
        (Mode::Broken, "1 broken promises"),
        (Mode::DryRun, "dry run"),
    ] {
        let waiting = World::waiting(mode, GatePromise::IfEnforced, LONG).await;
        let mut world = waiting.world;
        let (outcome, seen) = world.hands.ended(waiting.start).await;
        turned_away(&outcome, &seen, why);
        world.nothing_ran(waiting.gate);
        waiting.played.set(Mode::Taken);
        world.does(Verb::Start, GatePromise::Required).await;
        world.stops().await;
    }
}

#[tokio::test]
async fn a_lease_that_ends_at_the_gate_starts_nothing() {
    let lease = Millis(500);
    let waiting = World::waiting(Mode::SilentToPromises, GatePromise::Required, lease).await;
    let mut world = waiting.world;
    passed(clock::boottime() + lease).await;
    waiting.played.set(Mode::Taken);
    let (outcome, seen) = world.hands.ended(waiting.start).await;
    turned_away(&outcome, &seen, "its lease ended");
    world.nothing_ran(waiting.gate);
    // The same for work that is kept, for which nothing is promised.
    let start = world.order(Verb::Start, &script(), GatePromise::No, Millis::ZERO);
    let (outcome, seen) = world.hands.ended(start).await;
    turned_away(&outcome, &seen, "its lease ended");
    world.nothing_ran(waiting.gate);
}

#[tokio::test]
async fn a_lease_that_was_renewed_meanwhile_counts() {
    let lease = Millis(500);
    let waiting = World::waiting(Mode::SilentToPromises, GatePromise::Required, lease).await;
    let mut world = waiting.world;
    let end = clock::boottime() + lease;
    world.promise(clock::boottime() + LONG);
    passed(end).await;
    waiting.played.set(Mode::Taken);
    assert_eq!(world.hands.ended(waiting.start).await.0, Outcome::Done);
    world.stops().await;
}

#[tokio::test]
async fn without_a_watchdog_it_starts_only_where_nobody_counts_on_one() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = dir.path().join("watchdog.sock");
    let mut world = World::on(dir, nobody);
    world.enforced(Enforcement::None).await;
    world.watch(&script()).await;
    let (outcome, seen) = world
        .act(Verb::Start, &script(), GatePromise::Required)
        .await;
    turned_away(&outcome, &seen, "no watchdog at");
    assert!(!world.hands.path("ran").exists());
    world.does(Verb::Start, GatePromise::IfEnforced).await;
    world.stops().await;
}

#[tokio::test]
async fn a_stop_that_comes_meanwhile_sends_the_gate_away() {
    let waiting = World::waiting(Mode::SilentToPromises, GatePromise::Required, LONG).await;
    let mut world = waiting.world;
    let stop = world.order(Verb::Stop, &script(), GatePromise::No, LONG);
    let (outcome, seen) = world.hands.ended(waiting.start).await;
    assert_eq!(outcome, Outcome::Interrupted);
    assert!(matches!(seen, Seen::NotRunning { .. }), "{seen:?}");
    assert_eq!(world.hands.ended(stop).await.0, Outcome::Done);
    world.nothing_ran(waiting.gate);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_through_the_gate() {
    let played = Played::new();
    let run = command(&["/nonexistent/thing"]);
    let mut world = World::beside(&played, &run).await;
    let (outcome, seen) = world.act(Verb::Start, &run, GatePromise::Required).await;
    let Outcome::Failed(text) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(text.contains("cannot start /nonexistent/thing"), "{text}");
    assert!(
        !matches!(
            seen,
            Seen::NotRunning {
                cause: DownCause::TurnedAway(_)
            }
        ),
        "a failure of the work counts"
    );
}

/// The agent is gone: by a gate that ends by itself, and by one that cannot.
#[tokio::test]
async fn the_next_agent_finds_nothing_of_a_gate_that_was_not_opened() {
    for stopped in [false, true] {
        let waiting = World::waiting(Mode::SilentToPromises, GatePromise::Required, LONG).await;
        let Waiting { played, gate, .. } = waiting;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(gate).unwrap());
        if stopped {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        }
        let World { hands, .. } = waiting.world;
        let Hands { dir, units, .. } = hands;
        drop(units);
        if !stopped {
            over(gate).await;
        }
        let mut world = World::on(dir, played.path());
        let seen = world.watch(&script()).await;
        assert!(matches!(seen, Seen::NotRunning { .. }), "{seen:?}");
        world.nothing_ran(gate);
        played.set(Mode::Taken);
        world.does(Verb::Start, GatePromise::Required).await;
        world.stops().await;
    }
}

/// The gate alone: only the right word opens it.
#[tokio::test]
async fn a_gate_opens_at_the_word_and_at_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for (word, opens) in [("", false), ("x", false), ("o", true)] {
        let ran = dir.path().join(format!("ran{word}"));
        let (mut agent, stdin) = UnixStream::pair().unwrap();
        let mut child = Command::new(AGENT)
            .arg(gate::ARGUMENT)
            .args(["/usr/bin/touch", ran.to_str().unwrap()])
            .stdin(Stdio::from(OwnedFd::from(stdin)))
            .spawn()
            .unwrap();
        assert!(child.try_wait().unwrap().is_none());
        agent.write_all(word.as_bytes()).unwrap();
        drop(agent);
        let ended = timeout(BOUND, child.wait()).await;
        let ended = ended.expect("it does not end").unwrap();
        assert_eq!(ended.code(), Some(0));
        assert_eq!(ran.exists(), opens, "{word:?}");
    }
}
