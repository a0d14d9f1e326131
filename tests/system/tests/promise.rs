//! One host: the real agent beside the real watchdog, and beside one that is played. Whatever is
//! frozen or killed, the promise is kept and no generation begins twice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nodemedic_system_tests::fleet::{Carrier, Fleet, Plan};
use nodemedic_system_tests::played::{Mode, Played};
use nodemedic_system_tests::process::kill9_answering;
use nodemedic_system_tests::wait::{stays, wait_for};

const NODE: &str = "node-1";

/// A cold start of everything, and several terms, on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// Term 3 s, stop grace 1 s, the watchdog's timeout 1 s, drift 10 per mille, margin 2 s: what the
/// coordinator of this fleet waits at least.
const SAFE_TIME: Duration = Duration::from_millis(7_050);

/// One node with one exclusive work, which writes a line when it begins: generation and pid. It has
/// begun, as this process.
fn start() -> (Fleet, u32) {
    let script = "echo $NODEMEDIC_GENERATION $$ >> {vars.dir}/ran; while sleep 1; do :; done";
    let work = format!(
        "[work.db]\nexclusive = {{ on_lease_loss = \"stop\" }}\n\
         command = [\"/bin/sh\", \"-c\", \"{script}\"]\nstop_grace = \"1s\"\n"
    );
    let fleet = Fleet::start(&Plan {
        nodes: 1,
        carrier: Carrier::Embedded,
        coordinator_toml: work,
        ..Plan::default()
    });
    let work = began(&fleet, 1)[0].1;
    (fleet, work)
}

/// Generation and pid of each start so far.
fn starts(fleet: &Fleet) -> Vec<(u64, u32)> {
    let path = fleet.node_dir(NODE).join("ran");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (generation, pid) = line.split_once(' ')?;
            Some((generation.parse().ok()?, pid.parse().ok()?))
        })
        .collect()
}

fn began(fleet: &Fleet, count: usize) -> Vec<(u64, u32)> {
    let (starts, _) = wait_for("the work begins", BOUND, || {
        let starts = starts(fleet);
        match starts.len() >= count {
            true => Ok(starts),
            false => Err(format!("{starts:?}")),
        }
    });
    starts
}

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
    state.is_some_and(|rest| !rest.starts_with('Z') && !rest.starts_with('X'))
}

fn gone(what: &str, pid: u32, bound: Duration) -> Duration {
    let (_, took) = wait_for(what, bound, || match lives(pid) {
        true => Err(format!("process {pid} lives")),
        false => Ok(()),
    });
    took
}

fn no_generation_begins_twice_but_by_restart(starts: &[(u64, u32)]) {
    let rises = starts.windows(2).all(|pair| pair[0].0 < pair[1].0);
    assert!(rises, "{starts:?}");
}

/// The agent's own watchdog gives way to one that is played, at the same socket.
fn play(fleet: &mut Fleet) -> Played {
    fleet.kill9_watchdog(NODE);
    let socket: PathBuf = fleet.node_dir(NODE).join("run/watchdog.sock");
    std::fs::remove_file(&socket).expect("the socket of the killed watchdog");
    let played = Played::at(&socket);
    wait_for("the agent beats again", BOUND, || {
        played
            .named()
            .map(drop)
            .ok_or("no promise was named")
            .map_err(str::to_owned)
    });
    played
}

/// Beside a watchdog that is played, the work is killed, and the agent's restart of it waits at its
/// gate.
fn at_the_gate() -> (Fleet, Played, u32) {
    let (mut fleet, work) = start();
    let played = play(&mut fleet);
    played.set(Mode::SilentToPromises);
    kill9_answering(&serde_json::json!({ "pid": work }));
    let (gate, _) = wait_for("the restart waits at its gate", BOUND, || {
        match played.named() {
            Some(named) if named != work => Ok(named),
            other => Err(format!("named: {other:?}")),
        }
    });
    let begun = starts(&fleet).len();
    assert_eq!(begun, 1, "it began before its promise was taken");
    (fleet, played, gate)
}

/// The agent is killed while the restart waits; before that, this happens.
fn killed_at_the_gate(before: impl FnOnce(&mut Fleet, &Played)) {
    let (mut fleet, played, gate) = at_the_gate();
    before(&mut fleet, &played);
    fleet.kill9_agent(NODE);
    gone("the gate ends by itself", gate, BOUND);
    assert_eq!(starts(&fleet).len(), 1);
}

fn stays_alive(what: &str, span: Duration, work: u32) {
    stays(what, span, || match lives(work) {
        true => Ok(()),
        false => Err("the work is gone".to_owned()),
    });
}

#[test]
fn a_frozen_agent_and_its_work_are_ended_within_the_time_that_was_answered() {
    let (mut fleet, work) = start();
    let agent = fleet.agent(NODE).pid();
    fleet.agent(NODE).signal(Signal::SIGSTOP);
    let frozen = Instant::now();
    gone("the watchdog ends the work", work, BOUND);
    let took = frozen.elapsed();
    gone("the watchdog ends the agent", agent, BOUND);
    println!(
        "work gone after {took:?}, agent after {:?}",
        frozen.elapsed()
    );
    assert!(took < SAFE_TIME, "{took:?}");
    // The next agent takes over, and the work comes back under another grant.
    fleet.kill9_agent(NODE);
    fleet.start_agent(NODE);
    fleet.wait_all_alive();
    let starts = began(&fleet, 2);
    no_generation_begins_twice_but_by_restart(&starts);
}

#[test]
fn an_agent_that_is_frozen_for_less_than_its_promise_goes_on() {
    let (fleet, work) = start();
    fleet.agent(NODE).signal(Signal::SIGSTOP);
    stays_alive("frozen for a moment", Duration::from_millis(1500), work);
    fleet.agent(NODE).signal(Signal::SIGCONT);
    stays_alive("thawed", Duration::from_secs(6), work);
    assert_eq!(starts(&fleet).len(), 1);
}

#[test]
fn an_agent_killed_before_the_answer_leaves_nothing_that_ran() {
    killed_at_the_gate(|_, _| {});
}

#[test]
fn an_agent_killed_between_the_answer_and_the_gate_leaves_nothing_that_ran() {
    killed_at_the_gate(|fleet, played| {
        // The answer lies in its socket when it dies.
        fleet.agent(NODE).signal(Signal::SIGSTOP);
        played.release();
    });
}

#[test]
fn an_agent_that_thaws_after_its_lease_opens_no_gate() {
    let (fleet, played, gate) = at_the_gate();
    fleet.agent(NODE).signal(Signal::SIGSTOP);
    played.release();
    // Longer than the term of 3 s; the played watchdog ends nobody.
    stays("frozen at the gate", Duration::from_secs(4), || {
        match (lives(gate), starts(&fleet).len()) {
            (true, 1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    played.set(Mode::Taken);
    fleet.agent(NODE).signal(Signal::SIGCONT);
    gone("the gate is shut", gate, BOUND);
    let starts = began(&fleet, 2);
    no_generation_begins_twice_but_by_restart(&starts);
}
