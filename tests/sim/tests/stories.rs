//! Golden stories: a script that a person can read, and beside it in `stories/` what came of it.
//!
//! `NODEMEDIC_BLESS=1 cargo test -p nodemedic-sim --test stories` writes them anew; read the
//! difference before you keep it.
#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use nodemedic_sim::faults::Fault;
use nodemedic_sim::fence::Manner;
use nodemedic_sim::watchdog::Kind;
use nodemedic_sim::{Knobs, Outcome, Plot, run_on, tell};

const S: u64 = 1_000;

/// The world of a story: all hosts alike, and nothing goes wrong but what the script says.
fn world(hosts: usize, lasts: u64, script: Vec<(u64, Fault)>) -> Knobs {
    let mut knobs = Knobs::calm(1, hosts);
    knobs.zones = 0;
    knobs.watchdogs = Some(Kind::Software(10 * S));
    knobs.fault_ms = lasts;
    knobs.plot = Plot::Script(script);
    knobs
}

/// Plays a story, compares it with the one that is kept, and gives it back for what must be in it.
fn play(name: &str, about: &str, knobs: Knobs) -> (Outcome, String) {
    let script = match &knobs.plot {
        Plot::Script(script) => script.clone(),
        Plot::Everything => Vec::new(),
    };
    let outcome = run_on(knobs);
    let mut text = format!("{about}\n\nScript, in seconds:\n");
    for (at, fault) in script {
        text.push_str(&format!("{:>5}  {fault:?}\n", at / S));
    }
    text.push_str("\nWhat came of it:\n");
    text.push_str(&tell(&outcome));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("stories").join(format!("{name}.txt"));
    if std::env::var_os("NODEMEDIC_BLESS").is_some() {
        fs::create_dir_all(root.join("stories")).unwrap();
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} is another story now; NODEMEDIC_BLESS=1 writes it anew\n{text}",
        path.display()
    );
    (outcome, text)
}

/// These stand in the story, in this order.
fn in_order(text: &str, lines: &[&str]) {
    let mut rest = text;
    for line in lines {
        let at = rest.find(line);
        assert!(at.is_some(), "no {line:?} any more after that in\n{text}");
        rest = &rest[at.unwrap_or(0) + line.len()..];
    }
}

fn cut(hosts: &[usize], span: u64) -> Fault {
    Fault::Cut {
        hosts: hosts.to_vec(),
        up: true,
        down: true,
        span,
    }
}

#[test]
fn a_host_is_cut_off_and_its_exclusive_work_moves() {
    let script = vec![(60 * S, cut(&[0], 120 * S))];
    let about = "The cable of the host that holds db-0 is pulled, and put back after two \
                 minutes.";
    let (outcome, text) = play("partition", about, world(3, 240 * S, script));
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    in_order(
        &text,
        &[
            "db-0 RUNS, generation 1",
            "Cut {",
            "db-0 runs no more: stopped",
            "db-0 1 has ended on host-0: its lease has provably ended",
            "db-0 RUNS, generation 2",
            "the world has come to rest",
        ],
    );
}

#[test]
fn an_agent_freezes_and_the_watchdog_keeps_its_promise() {
    let span = 120 * S;
    let script = vec![(60 * S, Fault::AgentFreezes { host: 0, span })];
    let about = "The agent of the host that holds db-0 is frozen for two minutes. There is no \
                 device: the watchdog\nkills the work and the agent, which could thaw and start \
                 it again, and then looks once more.";
    let (outcome, text) = play("frozen-agent", about, world(3, 240 * S, script));
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    in_order(
        &text,
        &[
            "db-0 RUNS, generation 1",
            "AgentFreezes",
            "db-0 runs no more: watchdog",
            "the watchdog kills the agent of host-0",
            "seen gone",
            "db-0 RUNS, generation 2",
            "the world has come to rest",
        ],
    );
}

#[test]
fn an_agent_freezes_and_the_device_resets_the_host() {
    let span = 120 * S;
    let script = vec![(60 * S, Fault::AgentFreezes { host: 0, span })];
    let about = "The same with a device: the host is reset, because a frozen agent may thaw \
                 between any two of its steps.";
    let mut knobs = world(3, 240 * S, script);
    knobs.watchdogs = Some(Kind::Hardware(10 * S));
    let (outcome, text) = play("frozen-agent-device", about, knobs);
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    in_order(
        &text,
        &[
            "AgentFreezes",
            "last words: reset",
            "host-0         is reset by its watchdog",
            "db-0 RUNS, generation 2",
            "host-0         boots",
            "the world has come to rest",
        ],
    );
}

#[test]
fn half_of_the_fleet_falls_silent_and_the_brake_holds_until_it_is_back() {
    let hosts = [0, 1, 2, 3, 4];
    let script = vec![(60 * S, cut(&hosts, 90 * S))];
    let about = "Five of ten hosts are cut off at once, for a minute and a half: more likely a \
                 switch than five hosts.\nNothing is taken out on silence until they are back \
                 and the brake has lifted.";
    let (outcome, text) = play("mass-loss", about, world(10, 300 * S, script));
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    in_order(
        &text,
        &[
            "Cut {",
            "STORM BRAKE",
            "ALERT fleet/mass-loss",
            "the storm brake lifts",
        ],
    );
    assert!(!text.contains("provably ended"), "{text}");
}

#[test]
fn the_coordinator_is_away_for_ten_minutes() {
    let back = 600 * S;
    let script = vec![(
        60 * S,
        Fault::Boss {
            back,
            reboots: false,
        },
    )];
    let about = "The coordinator is away for ten minutes. Only db-0 stops, whose owner chose \
                 that it stops without a\nlease. A work that dies meanwhile is restarted by its \
                 agent.";
    let (outcome, text) = play("coordinator-away", about, world(3, 780 * S, script));
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    in_order(
        &text,
        &[
            "Boss {",
            "host-0         db-0 runs no more: stopped",
            "leads, epoch 2",
            "db-0 RUNS, generation 2",
        ],
    );
    let ended = text.matches("runs no more").count();
    assert_eq!(ended, 1, "{text}");
}

#[test]
fn a_fence_device_that_lies_is_believed_once() {
    let manner = Manner::Lies;
    let span = 600 * S;
    let script = vec![
        (
            50 * S,
            Fault::Devices {
                host: 0,
                manner,
                span,
            },
        ),
        (60 * S, cut(&[0], 120 * S)),
    ];
    let about = "store-0 is kept without a lease, so only a fence proves its end. The device of \
                 its host says off, reads\noff, and has done nothing: this breaks the first \
                 promise, as docs/safety.md says it does. When the host\nis heard again, the \
                 lie is found out and the device is not believed any more.";
    let mut knobs = world(3, 300 * S, script);
    knobs.fenced = 1_000;
    let (outcome, text) = play("lying-fence", about, knobs);
    in_order(
        &text,
        &[
            "store-0 RUNS, generation 1",
            "CONFIRMED off",
            "store-0 RUNS, generation 2",
            "BY A LIE       store-0 begins on host-2 and runs on host-0",
            "LIED",
            "ALERT fence-device/",
            "store-0 runs no more: stopped",
            "is trusted again",
            "the world has come to rest",
        ],
    );
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    assert!(!outcome.costs.is_empty(), "a lie has its price");
}
