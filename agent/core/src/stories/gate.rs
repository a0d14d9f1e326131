//! Exclusive work starts behind its promise: what the core asks of the gate, and what follows when
//! it stays shut.

use super::*;
use crate::{Gate, GatePromise};
use nodemedic_protocol::work::Enforcement;

const TERM: Millis = Millis::from_secs(15);

const SOFTWARE: Enforcement = Enforcement::Software {
    timeout: Millis(1000),
};

fn world() -> World {
    let mut config = config();
    config.services.clear();
    let mut world = World::new(config);
    world.acks = Some(TERM);
    world.input(Input::LinkUp);
    world
}

fn gates(world: &World, key: &UnitKey) -> Vec<Option<Gate>> {
    world
        .acts
        .iter()
        .filter(|(_, act)| act.unit == *key)
        .map(|(_, act)| act.gate)
        .collect()
}

fn detail(world: &World) -> String {
    world.agent.status(world.now).works[0].detail.clone()
}

#[test]
fn a_gate_asks_for_what_somebody_may_count_on() {
    for (heard, wanted) in [
        (Enforcement::None, GatePromise::IfEnforced),
        (SOFTWARE, GatePromise::Required),
    ] {
        let mut world = world();
        world.input(Input::Enforcement(heard));
        world.assign(vec![
            run("db", exclusive(OnLeaseLoss::Stop), 3),
            run("kept", exclusive(OnLeaseLoss::Keep), 3),
            run("shop", Sharing::Replicated { replicas: 2 }, 3),
        ]);
        world.pass(Millis::from_secs(1));
        let deadline = world.promises[0].deadline;
        let gate = |promise| Some(Gate { deadline, promise });
        assert_eq!(gates(&world, &work("db")), [gate(wanted)]);
        assert_eq!(gates(&world, &work("kept")), [gate(GatePromise::No)]);
        assert_eq!(gates(&world, &work("shop")), [None]);
        world.kill(&work("db"));
        world.pass(Millis(1));
        let restart = gates(&world, &work("db"))[1].unwrap();
        assert_eq!(restart.promise, wanted, "a restart is a start too");
        world.assign(vec![]);
        assert_eq!(
            gates(&world, &work("db"))[2],
            None,
            "a stop needs no promise"
        );
    }
}

#[test]
fn a_gate_that_stays_shut_costs_nothing_and_is_tried_again() {
    let mut world = world();
    world.input(Input::Enforcement(SOFTWARE));
    world.thing(&work("db")).shut = true;
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 3)]);
    world.pass(Millis::from_secs(300));
    let tried = world.count(&work("db"), Verb::Start);
    assert!((10..30).contains(&tried), "{tried} tries in 300 s");
    assert_eq!(world.memory.uses, []);
    assert_eq!(world.memory.started, [], "nothing of it ever ran");
    assert!(
        detail(&world).contains("did not answer"),
        "{}",
        detail(&world)
    );
    world.thing(&work("db")).shut = false;
    world.pass(Millis::from_secs(40));
    assert_eq!(world.state(&work("db")), "Running");
    // The same for what ran already: it comes back with its whole budget.
    world.thing(&work("db")).shut = true;
    world.kill(&work("db"));
    world.pass(Millis::from_secs(300));
    assert!(world.count(&work("db"), Verb::Restart) > 5);
    assert_eq!(world.memory.uses, []);
    assert_eq!(world.state(&work("db")), "Failing");
    world.thing(&work("db")).shut = false;
    world.pass(Millis::from_secs(40));
    assert_eq!(world.state(&work("db")), "Running");
    assert_eq!(world.memory.uses.len(), 1);
}

#[test]
fn a_watchdog_that_was_there_and_went_is_waited_for() {
    let mut world = world();
    world.input(Input::Enforcement(SOFTWARE));
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 3)]);
    world.pass(Millis::from_secs(1));
    world.input(Input::Enforcement(Enforcement::None));
    world.pass(Millis::from_secs(60));
    assert_eq!(
        world.state(&work("db")),
        "Running",
        "what runs is left alone"
    );
    world.kill(&work("db"));
    world.pass(Millis::from_secs(60));
    assert_eq!(world.verbs(&work("db")), [Verb::Start]);
    assert!(
        detail(&world).contains("waits for the watchdog"),
        "{}",
        detail(&world)
    );
    // The coordinator may count on it for as long as the host is up, whoever is its agent.
    for leases_are_lost in [false, true] {
        if leases_are_lost {
            world.leases = None;
            world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 4)]);
        }
        world.restart_agent();
        world.input(Input::LinkUp);
        world.pass(Millis::from_secs(60));
        let restarts = world.count(&work("db"), Verb::Restart);
        assert_eq!((world.count(&work("db"), Verb::Start), restarts), (1, 0));
        assert_ne!(world.state(&work("db")), "Running");
    }
    world.input(Input::Enforcement(SOFTWARE));
    world.pass(Millis::from_secs(60));
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 5)]);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.state(&work("db")), "Running");
}

#[test]
fn after_a_reboot_nobody_counts_on_the_watchdog_of_before() {
    let mut world = world();
    world.input(Input::Enforcement(SOFTWARE));
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 3)]);
    world.pass(Millis::from_secs(1));
    world.reboot(1);
    world.input(Input::LinkUp);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.state(&work("db")), "Running");
    let last = gates(&world, &work("db")).pop().flatten().unwrap();
    assert_eq!(last.promise, GatePromise::IfEnforced);
}

#[test]
fn a_lost_lease_file_does_not_make_a_host_wait_for_a_watchdog_that_never_was() {
    let mut world = world();
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 3)]);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("db")), "Running");
    world.leases = None;
    world.restart_agent();
    world.input(Input::LinkUp);
    world.input(Input::Enforcement(Enforcement::None));
    world.pass(Millis::from_secs(10));
    assert_eq!(
        world.state(&work("db")),
        "Stopped(LeaseLost)",
        "without the file its lease counts as over"
    );
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 4)]);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.state(&work("db")), "Running", "{}", detail(&world));
    let last = gates(&world, &work("db")).pop().flatten().unwrap();
    assert_eq!(last.promise, GatePromise::IfEnforced);
}

/// The watchdog withdraws what a session named and then left out. So the first word of a new run is
/// all that the run before promised, before anything is done.
#[test]
fn a_new_run_promises_all_of_its_predecessor_before_it_does_anything() {
    for one_is_down in [true, false] {
        let mut world = world();
        world.input(Input::Enforcement(SOFTWARE));
        world.assign(vec![
            run("db", exclusive(OnLeaseLoss::Stop), 3),
            run("log", exclusive(OnLeaseLoss::Stop), 7),
        ]);
        world.pass(Millis::from_secs(5));
        let before = world.promises.clone();
        assert_eq!(before.len(), 2);
        if one_is_down {
            // One that runs no more is there to be started anew.
            world.thing(&work("log")).runs = None;
        }
        let facts = facts(&world.session, &world.spool, world.leases.clone());
        let memory = world.memory.clone();
        let mut agent = Agent::new(world.config.clone(), memory, facts, world.now, 9);
        let mut effects = Vec::new();
        let look = |agent: &mut Agent, effects: &mut Vec<Effect>| {
            while let Some(effect) = agent.poll_effect() {
                effects.push(effect);
            }
        };
        look(&mut agent, &mut effects);
        for name in ["db", "log"] {
            let seen = match world.things[&work(name)].runs {
                Some(generation) => Seen::Running {
                    pid: Some(42),
                    generation,
                },
                None => Seen::NotRunning {
                    cause: DownCause::Gone,
                },
            };
            let unit = work(name);
            agent.handle(
                world.now,
                Input::Observed {
                    unit,
                    seen,
                    started: None,
                },
            );
            look(&mut agent, &mut effects);
        }
        let acts = effects.iter().position(|e| matches!(e, Effect::Act(_)));
        let mut promised = effects.iter().enumerate().filter_map(|(at, e)| match e {
            Effect::Promise(promises) => Some((at, promises.clone())),
            _ => None,
        });
        let (at, first) = promised.next().unwrap();
        assert_eq!(first, before);
        assert!(acts.is_none_or(|act| at < act), "{effects:?}");
        assert_eq!(promised.next(), None, "and nothing is left out");
    }
}
