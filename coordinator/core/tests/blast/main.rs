//! How much goes out at once: the budget and the storm brake as stories of small and large fleets,
//! as a sweep of crashes, and as a property of whatever may happen.
#![cfg(test)]

mod always;
mod brake;
#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use common::{STEP_MS, World, exclusive, id, replicated, settings};
use nodemedic_coordinator_core::{Input, Refused, Request};
use nodemedic_protocol::api::{
    AlertState, BrakeChange, BrakeState, Decision, Liveness, Proof, Scheduling,
};
use nodemedic_protocol::work::{OnLeaseLoss, Sharing};
use nodemedic_protocol::{Millis, Severity};
use proptest::prelude::*;

fn names(many: usize) -> Vec<String> {
    (1..=many).map(|n| format!("node-{n}")).collect()
}

fn fleet(many: usize) -> World {
    let names = names(many);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    world.run(5);
    world
}

/// Ten hosts in each zone.
fn zones(many: usize) -> World {
    let mut world = fleet(many);
    for (n, node) in world.nodes.values_mut().enumerate() {
        node.zone = Some(format!("rack-{}", n / 10));
        node.say_birth(world.now);
    }
    world.run(5);
    world
}

/// With an exclusive work that serves; which node holds it.
fn with_db(many: usize) -> (World, String) {
    let mut world = fleet(many);
    world.put(&[exclusive("db")]);
    world.until("db serves", 30, |w| w.serving("db") == 1);
    let holder = world.holders("db")[0].to_string();
    (world, holder)
}

fn others(world: &World, than: &str) -> Vec<String> {
    let names = world.nodes.keys().filter(|name| *name != than);
    names.cloned().collect()
}

fn connect(world: &mut World, name: &str, connected: bool) {
    world.nodes.get_mut(name).unwrap().connected = connected;
}

fn drain(name: &str, override_budget: bool) -> Request {
    Request::Drain {
        node: id(name),
        reason: "new memory".into(),
        deadline: None,
        override_budget,
    }
}

fn undrain(world: &mut World, name: &str) {
    world.ask(Request::Undrain { node: id(name) }).unwrap();
}

fn release(seconds: u64) -> Request {
    Request::ReleaseBrake {
        span: Millis::from_secs(seconds),
        reason: "the rack burns".into(),
    }
}

fn scheduling(world: &World, name: &str) -> Scheduling {
    world
        .core()
        .node_view(world.now, &id(name))
        .unwrap()
        .scheduling
}

/// Begun, done or not.
fn is_out_by_drain(world: &World, name: &str) -> bool {
    matches!(
        scheduling(world, name),
        Scheduling::Draining(_) | Scheduling::Drained(_)
    )
}

fn waits_for(world: &World, name: &str) -> Vec<String> {
    match scheduling(world, name) {
        Scheduling::DrainWaits(drain) => drain.waiting,
        other => panic!("{name} is {other:?}"),
    }
}

fn brake(world: &World) -> BrakeState {
    world.core().status_view(world.now).brake.state
}

fn by_time(world: &World) -> usize {
    let ends = world.decisions().filter(|d| {
        matches!(
            d,
            Decision::Ended {
                proof: Proof::LeaseEnded,
                ..
            }
        )
    });
    ends.count()
}

fn brakes(world: &World) -> Vec<&'static str> {
    let changes = world.decisions().filter_map(|d| match d {
        Decision::Brake(BrakeChange::Engaged { .. }) => Some("engaged"),
        Decision::Brake(BrakeChange::Lifted) => Some("lifted"),
        Decision::Brake(BrakeChange::Released { .. }) => Some("released"),
        Decision::Brake(BrakeChange::ReleaseEnded) => Some("ended"),
        _ => None,
    });
    changes.collect()
}

fn told(world: &World, state: AlertState) -> Vec<&str> {
    let told = world.told.iter().filter(|(_, s)| *s == state);
    told.map(|(key, _)| key.as_str()).collect()
}

#[test]
fn of_two_drains_in_the_same_moment_one_waits_until_the_other_is_given_back() {
    let mut world = fleet(3);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    world.ask(drain("node-1", false)).unwrap();
    let answer = world.ask(drain("node-2", false)).unwrap().message;
    assert!(
        answer.contains("node-2 waits to be drained: 1 of at most 1 hosts are out: node-1"),
        "{answer}"
    );
    assert_eq!(
        waits_for(&world, "node-2"),
        ["1 of at most 1 hosts are out: node-1"]
    );
    let status = world.core().status_view(world.now);
    assert_eq!(status.budget.limit, 1);
    assert_eq!(status.budget.waiting, [id("node-2")]);
    assert_eq!(status.budget.out[0].node, id("node-1"));
    assert_eq!(status.budget.out[0].why, "drain");
    world.run(120);
    assert!(
        matches!(scheduling(&world, "node-1"), Scheduling::Drained(_)),
        "{}",
        world.tell()
    );
    waits_for(&world, "node-2");
    assert_eq!(world.serving("web"), 2);
    undrain(&mut world, "node-1");
    assert_eq!(scheduling(&world, "node-1"), Scheduling::Open);
    assert!(is_out_by_drain(&world, "node-2"), "it begins by itself");
    undrain(&mut world, "node-2");
    world.until("all open", 10, |w| {
        w.core().status_view(w.now).budget.out.is_empty()
    });
}

#[test]
fn a_wait_that_is_taken_back_leaves_no_trace() {
    let mut world = fleet(3);
    world.ask(drain("node-1", false)).unwrap();
    world.ask(drain("node-2", false)).unwrap();
    undrain(&mut world, "node-2");
    undrain(&mut world, "node-1");
    world.run(5);
    assert!(
        world
            .store
            .nodes
            .values()
            .all(|n| n.reservations.is_empty())
    );
    assert_eq!(scheduling(&world, "node-2"), Scheduling::Open);
}

#[test]
fn a_host_that_waits_to_be_drained_still_takes_work() {
    let mut world = fleet(2);
    world.ask(drain("node-1", false)).unwrap();
    world.ask(drain("node-2", false)).unwrap();
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    assert_eq!(world.holders("db"), ["node-2"]);
}

#[test]
fn persons_come_first_and_else_the_order_of_asking_decides() {
    let mut world = fleet(5);
    world.ask(drain("node-1", false)).unwrap();
    for name in ["node-2", "node-3"] {
        world.nodes.get_mut(name).unwrap().drain_wanted = Some("disk dies".into());
        world.run(3);
    }
    world.ask(drain("node-5", false)).unwrap();
    world.ask(drain("node-4", false)).unwrap();
    let mut order = Vec::new();
    let mut last = "node-1".to_string();
    for _ in 0..4 {
        world.nodes.get_mut(&last).unwrap().drain_wanted = None;
        undrain(&mut world, &last);
        world.run(5);
        let out: Vec<String> = names(5)
            .into_iter()
            .filter(|name| is_out_by_drain(&world, name))
            .collect();
        assert_eq!(out.len(), 1, "{out:?}");
        last = out[0].clone();
        order.push(last.clone());
    }
    assert_eq!(order, ["node-5", "node-4", "node-2", "node-3"]);
}

#[test]
fn a_zone_has_its_own_budget_and_holds_up_no_other_zone() {
    let mut world = zones(30);
    let rack = |world: &World, zone: &str| -> Vec<String> {
        let nodes = world.nodes.values();
        let within = nodes.filter(|n| n.zone.as_deref() == Some(zone));
        within.map(|n| n.name.to_string()).collect()
    };
    let racks = ["rack-0", "rack-1", "rack-2"].map(|zone| rack(&world, zone));
    world.ask(drain(&racks[0][0], false)).unwrap();
    world.ask(drain(&racks[0][1], false)).unwrap();
    world.ask(drain(&racks[1][0], false)).unwrap();
    let full = format!(
        "1 of at most 1 hosts are out in zone rack-0: {}",
        racks[0][0]
    );
    assert_eq!(waits_for(&world, &racks[0][1]), [full]);
    assert!(is_out_by_drain(&world, &racks[1][0]));
    world.ask(drain(&racks[2][0], false)).unwrap();
    let why = waits_for(&world, &racks[0][1]);
    assert_eq!(why.len(), 2, "fleet and zone: {why:?}");
}

#[test]
fn the_only_host_and_the_last_of_two_wait_unless_a_person_overrides_the_budget() {
    let mut world = fleet(1);
    world.ask(drain("node-1", false)).unwrap();
    assert_eq!(
        waits_for(&world, "node-1"),
        ["it is the only host, and none would be left"]
    );
    world.ask(drain("node-1", true)).unwrap();
    assert!(is_out_by_drain(&world, "node-1"));

    let mut world = fleet(2);
    world.ask(drain("node-1", false)).unwrap();
    world.ask(drain("node-2", false)).unwrap();
    world.run(60);
    waits_for(&world, "node-2");
    world.ask(drain("node-2", true)).unwrap();
    assert!(is_out_by_drain(&world, "node-2"));
    let overridden = world.decisions().filter_map(|d| match d {
        Decision::Reserved {
            out,
            limit,
            overridden,
            ..
        } => Some((*out, *limit, overridden.len())),
        _ => None,
    });
    assert_eq!(overridden.collect::<Vec<_>>(), [(1, 1, 0), (2, 1, 1)]);
}

#[test]
fn hosts_that_ask_for_a_drain_together_go_one_by_one_and_somebody_is_told() {
    let mut world = fleet(4);
    for node in world.nodes.values_mut() {
        node.drain_wanted = Some("a check fails everywhere".into());
    }
    for _ in 0..240 {
        world.step();
        let out = names(4).into_iter().filter(|n| is_out_by_drain(&world, n));
        assert!(out.count() <= 1);
    }
    let waits = world.open_alerts();
    let waits = waits
        .iter()
        .filter(|(key, severity)| key.ends_with("/drain-waits") && *severity == Severity::Warning);
    assert_eq!(waits.count(), 3);
    for node in world.nodes.values_mut() {
        node.drain_wanted = None;
    }
    world.until("all open", 20, |w| {
        names(4)
            .iter()
            .all(|n| scheduling(w, n) == Scheduling::Open)
            && w.open_alerts().is_empty()
    });
}

#[test]
fn a_lost_host_uses_the_budget_up_and_frees_it_when_it_is_back_for_a_while() {
    let mut world = fleet(4);
    connect(&mut world, "node-4", false);
    world.until("lost", 60, |w| w.liveness("node-4") == Liveness::Lost);
    world.ask(drain("node-1", false)).unwrap();
    world.run(30);
    assert_eq!(
        waits_for(&world, "node-1"),
        ["1 of at most 1 hosts are out: node-4"]
    );
    connect(&mut world, "node-4", true);
    world.until("heard", 10, |w| w.liveness("node-4") == Liveness::Returning);
    waits_for(&world, "node-1");
    world.until("begun", 30, |w| is_out_by_drain(w, "node-1"));
    assert_eq!(world.liveness("node-4"), Liveness::Alive);
}

#[test]
fn a_host_that_is_suspect_from_this_moment_on_counts_for_what_is_asked_in_it() {
    let cut = || {
        let mut world = fleet(4);
        connect(&mut world, "node-4", false);
        world
    };
    let mut world = cut();
    world.until("suspect", 60, |w| w.liveness("node-4") == Liveness::Suspect);
    let moment = world.now;
    // The same again, and the request comes before the timer of that moment does.
    let mut world = cut();
    while world.now.boot + Millis(STEP_MS) < moment.boot {
        world.step();
    }
    assert_eq!(world.liveness("node-4"), Liveness::Alive);
    world.now = moment;
    world.ask(drain("node-1", false)).unwrap();
    assert_eq!(
        waits_for(&world, "node-1"),
        ["1 of at most 1 hosts are out: node-4"]
    );
}

#[test]
fn a_place_is_free_only_when_the_host_is_back_and_well() {
    let mut world = fleet(3);
    world.ask(drain("node-1", false)).unwrap();
    world.ask(drain("node-2", false)).unwrap();
    world.run(5);
    world.nodes.get_mut("node-1").unwrap().up = false;
    world.run(60);
    undrain(&mut world, "node-1");
    world.run(60);
    assert_eq!(
        waits_for(&world, "node-2"),
        ["1 of at most 1 hosts are out: node-1"]
    );
    let now = world.now;
    world.nodes.get_mut("node-1").unwrap().reboot(now);
    world.until("begun", 60, |w| is_out_by_drain(w, "node-2"));
    assert_eq!(world.liveness("node-1"), Liveness::Alive);
    let given = |d: &&Decision| matches!(d, Decision::GivenBack { .. });
    assert_eq!(world.decisions().filter(given).count(), 1);
}

#[test]
fn a_drain_that_an_older_version_began_holds_a_place() {
    let mut world = fleet(3);
    world.ask(drain("node-1", false)).unwrap();
    world.run(5);
    world.kill();
    let record = world.store.nodes.get_mut(&id("node-1")).unwrap();
    record.reservations.clear();
    world.start();
    world.run(20);
    world.ask(drain("node-2", false)).unwrap();
    waits_for(&world, "node-2");
}
