//! The start gate with real processes and a watchdog that is played: exclusive work runs only after
//! the watchdog took its promise, and whatever goes wrong before leaves nothing that ever ran.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is the error message of a test, in its helpers too"
)]

// The same watchdog is played in the tests of the whole system.
#[path = "../../tests/system/src/played.rs"]
mod played;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nodemedic_agent_core::effect::Watch;
use nodemedic_agent_core::{
    Act, ActionId, DownCause, Gate, GatePromise, Input, Promise, Seen, UnitKey,
};
use nodemedic_agent_host::manager::command::gate;
use nodemedic_agent_host::manager::{UnitSettings, Units};
use nodemedic_agent_host::sampler::pid_stat::{Stat, stat_of};
use nodemedic_agent_host::watchdog::{WatchdogClient, confirm};
use nodemedic_edge::clock;
use nodemedic_protocol::event::{Outcome, Verb};
use nodemedic_protocol::work::{Enforcement, Run};
use nodemedic_protocol::{BootId, Generation, Millis, WorkName};
use tokio::sync::mpsc;
use tokio::time::timeout;

use played::{Mode, Played};

/// Far beyond what a loaded machine needs; a test that gets here has failed.
const BOUND: Duration = Duration::from_secs(60);

const AGENT: &str = env!("CARGO_BIN_EXE_nodemedic-agent");

const LONG: Millis = Millis::from_secs(600);

struct World {
    dir: tempfile::TempDir,
    units: Units,
    client: WatchdogClient,
    inputs: mpsc::Receiver<Input>,
    actions: u64,
}

impl World {
    /// An agent's hands beside this watchdog, and what was heard of it.
    async fn beside(played: &Played) -> World {
        let mut world = World::on(tempfile::tempdir().unwrap(), played.path());
        let timeout = Millis(7000);
        world.enforced(Enforcement::Software { timeout }).await;
        world
    }

    fn on(dir: tempfile::TempDir, socket: PathBuf) -> World {
        let (outbox, inputs) = mpsc::channel(64);
        let (confirmer, questions) = confirm::questions();
        let settings = UnitSettings {
            state: dir.path().join("state"),
            run: dir.path().join("run"),
            boot_id: BootId::new("boot-1").unwrap(),
            bus_address: Some("unix:path=/nonexistent".into()),
            cgroup_root: "/sys/fs/cgroup".into(),
            seed: 1,
            gate_program: AGENT.into(),
        };
        let units = Units::new(settings, confirmer, outbox.clone());
        let client = WatchdogClient::start(socket, units.targets(), questions, outbox).unwrap();
        World {
            dir,
            units,
            client,
            inputs,
            actions: 0,
        }
    }

    async fn next(&mut self) -> Input {
        timeout(BOUND, self.inputs.recv())
            .await
            .expect("nothing came within the bound")
            .expect("the queue ended")
    }

    async fn enforced(&mut self, wanted: Enforcement) {
        loop {
            if let Input::Enforcement(enforcement) = self.next().await
                && enforcement == wanted
            {
                return;
            }
        }
    }

    async fn observed(&mut self) -> Seen {
        loop {
            if let Input::Observed { seen, .. } = self.next().await {
                return seen;
            }
        }
    }

    async fn watch(&mut self, run: &Run) -> Seen {
        self.units.watch(Watch {
            unit: unit(),
            run: run.clone(),
            probe: None,
            generation: Some(Generation(7)),
        });
        self.observed().await
    }

    /// As the core does it: the promise first, then the act.
    fn order(&mut self, verb: Verb, run: &Run, promise: GatePromise, lease: Millis) -> ActionId {
        self.actions += 1;
        let action = ActionId(self.actions);
        let deadline = clock::boottime() + lease;
        self.client.promise(vec![Promise {
            work: WorkName::new("db").unwrap(),
            generation: Generation(7),
            deadline,
            grace: Millis(1000),
        }]);
        let starts = matches!(verb, Verb::Start | Verb::Restart);
        self.units.act(Act {
            action,
            unit: unit(),
            verb,
            run: run.clone(),
            generation: Some(Generation(7)),
            environment: BTreeMap::new(),
            stop_grace: Millis(1000),
            timeout: Millis(40_000),
            gate: starts.then_some(Gate { deadline, promise }),
        });
        action
    }

    async fn ended(&mut self, wanted: ActionId) -> (Outcome, Seen) {
        loop {
            if let Input::ActionEnded {
                action,
                outcome,
                seen,
                ..
            } = self.next().await
                && action == wanted
            {
                return (outcome, seen);
            }
        }
    }

    async fn act(&mut self, verb: Verb, run: &Run, promise: GatePromise) -> (Outcome, Seen) {
        let action = self.order(verb, run, promise, LONG);
        self.ended(action).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("state/work/db").join(name)
    }

    /// Nothing ran, nothing waits, and nothing is left to kill.
    fn nothing_ran(&self, gate: u32) {
        assert!(!self.path("ran").exists(), "the work ran");
        assert!(!lives(gate), "the gate is still there");
        assert_eq!(self.units.targets().of(&unit()), None);
        let record = self.dir.path().join("state/command/boot-1/work.db.json");
        assert!(!record.exists(), "its record is still there");
    }
}

fn unit() -> UnitKey {
    UnitKey::Work(WorkName::new("db").unwrap())
}

/// Says that it ran, and goes on.
fn script() -> Run {
    let words = [
        "/bin/sh",
        "-c",
        "echo $NODEMEDIC_GENERATION > ran; exec sleep 1000",
    ];
    command(&words)
}

fn command(words: &[&str]) -> Run {
    Run::Command {
        start: words.iter().map(|word| (*word).to_owned()).collect(),
        stop: Vec::new(),
        environment: BTreeMap::new(),
    }
}

fn stat(pid: u32) -> Option<Stat> {
    stat_of(Path::new("/proc"), pid).unwrap()
}

fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.is_over())
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

/// The gate that a beat has named.
async fn named(played: &Played) -> u32 {
    until("no beat named a target", || played.named().is_some()).await;
    let gate = played.named().unwrap();
    assert!(lives(gate));
    gate
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
    let played = Played::new();
    let mut world = World::beside(&played).await;
    world.watch(&script()).await;
    played.set(Mode::SilentToPromises);
    let start = world.order(Verb::Start, &script(), GatePromise::Required, LONG);
    let gate = named(&played).await;
    let before = stat(gate).unwrap();
    assert_eq!(before.session, gate, "a session of its own");
    assert!(!world.path("ran").exists());
    played.set(Mode::Taken);
    played.release();
    let (outcome, seen) = world.ended(start).await;
    assert_eq!(outcome, Outcome::Done);
    let wanted = Seen::Running {
        pid: Some(gate),
        generation: Some(Generation(7)),
    };
    assert_eq!(seen, wanted);
    until("it did not run", || world.path("ran").exists()).await;
    let after = stat(gate).unwrap();
    assert_eq!(after.start_ticks, before.start_ticks);
    let stdin = std::fs::read_link(format!("/proc/{gate}/fd/0")).unwrap();
    assert_eq!(stdin, Path::new("/dev/null"));
    until("no generation", || {
        std::fs::read_to_string(world.path("ran")).is_ok_and(|text| text == "7\n")
    })
    .await;
    // A restart passes its gate too, as another process.
    let (outcome, _) = world
        .act(Verb::Restart, &script(), GatePromise::Required)
        .await;
    assert_eq!(outcome, Outcome::Done);
    assert!(!lives(gate));
    let (outcome, _) = world.act(Verb::Stop, &script(), GatePromise::No).await;
    assert_eq!(outcome, Outcome::Done);
}

#[tokio::test]
async fn a_promise_that_nobody_takes_starts_nothing_and_the_next_try_does() {
    for (mode, why) in [
        (Mode::SilentToPromises, "no answer from"),
        (Mode::Refused, "no room for so many promises"),
        (Mode::Broken, "1 broken promises"),
        (Mode::DryRun, "dry run"),
    ] {
        let played = Played::new();
        let mut world = World::beside(&played).await;
        world.watch(&script()).await;
        played.set(mode);
        let start = world.order(Verb::Start, &script(), GatePromise::IfEnforced, LONG);
        let gate = named(&played).await;
        let (outcome, seen) = world.ended(start).await;
        turned_away(&outcome, &seen, why);
        world.nothing_ran(gate);
        played.set(Mode::Taken);
        let (outcome, _) = world
            .act(Verb::Start, &script(), GatePromise::Required)
            .await;
        assert_eq!(outcome, Outcome::Done, "after {mode:?}");
        world.act(Verb::Stop, &script(), GatePromise::No).await;
    }
}

#[tokio::test]
async fn a_lease_that_ends_at_the_gate_starts_nothing() {
    let played = Played::new();
    let mut world = World::beside(&played).await;
    world.watch(&script()).await;
    played.set(Mode::SilentToPromises);
    let lease = Millis(500);
    let start = world.order(Verb::Start, &script(), GatePromise::Required, lease);
    let over = clock::boottime() + lease;
    let gate = named(&played).await;
    until("the clock stands", || clock::boottime() > over).await;
    played.set(Mode::Taken);
    let (outcome, seen) = world.ended(start).await;
    turned_away(&outcome, &seen, "its lease ended");
    world.nothing_ran(gate);
    // The same for work that is kept, for which nothing is promised.
    let start = world.order(Verb::Start, &script(), GatePromise::No, Millis::ZERO);
    let (outcome, seen) = world.ended(start).await;
    turned_away(&outcome, &seen, "its lease ended");
    world.nothing_ran(gate);
}

#[tokio::test]
async fn a_lease_that_was_renewed_meanwhile_counts() {
    let played = Played::new();
    let mut world = World::beside(&played).await;
    world.watch(&script()).await;
    played.set(Mode::SilentToPromises);
    let start = world.order(Verb::Start, &script(), GatePromise::Required, Millis(500));
    named(&played).await;
    let over = clock::boottime() + Millis(500);
    world.client.promise(vec![Promise {
        work: WorkName::new("db").unwrap(),
        generation: Generation(7),
        deadline: clock::boottime() + LONG,
        grace: Millis(1000),
    }]);
    until("the clock stands", || clock::boottime() > over).await;
    played.set(Mode::Taken);
    assert_eq!(world.ended(start).await.0, Outcome::Done);
    world.act(Verb::Stop, &script(), GatePromise::No).await;
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
    assert!(!world.path("ran").exists());
    let (outcome, _) = world
        .act(Verb::Start, &script(), GatePromise::IfEnforced)
        .await;
    assert_eq!(outcome, Outcome::Done);
    world.act(Verb::Stop, &script(), GatePromise::No).await;
}

#[tokio::test]
async fn a_stop_that_comes_meanwhile_sends_the_gate_away() {
    let played = Played::new();
    let mut world = World::beside(&played).await;
    world.watch(&script()).await;
    played.set(Mode::SilentToPromises);
    let start = world.order(Verb::Start, &script(), GatePromise::Required, LONG);
    let gate = named(&played).await;
    let stop = world.order(Verb::Stop, &script(), GatePromise::No, LONG);
    let (outcome, seen) = world.ended(start).await;
    assert_eq!(outcome, Outcome::Interrupted);
    assert!(matches!(seen, Seen::NotRunning { .. }), "{seen:?}");
    assert_eq!(world.ended(stop).await.0, Outcome::Done);
    world.nothing_ran(gate);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_through_the_gate() {
    let played = Played::new();
    let mut world = World::beside(&played).await;
    let run = command(&["/nonexistent/thing"]);
    world.watch(&run).await;
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
        let played = Played::new();
        let mut world = World::beside(&played).await;
        world.watch(&script()).await;
        played.set(Mode::SilentToPromises);
        world.order(Verb::Start, &script(), GatePromise::Required, LONG);
        let gate = named(&played).await;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(gate).unwrap());
        if stopped {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        }
        let World { dir, units, .. } = world;
        drop(units);
        if !stopped {
            until("the gate outlives its agent", || !lives(gate)).await;
        }
        let mut world = World::on(dir, played.path());
        let seen = world.watch(&script()).await;
        assert!(matches!(seen, Seen::NotRunning { .. }), "{seen:?}");
        world.nothing_ran(gate);
        played.set(Mode::Taken);
        let (outcome, _) = world
            .act(Verb::Start, &script(), GatePromise::Required)
            .await;
        assert_eq!(outcome, Outcome::Done);
        world.act(Verb::Stop, &script(), GatePromise::No).await;
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
        until("it does not end", || child.try_wait().unwrap().is_some()).await;
        assert_eq!(ran.exists(), opens, "{word:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
