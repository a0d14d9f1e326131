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
