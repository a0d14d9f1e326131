//! How much goes out at once: the budget and the storm brake as stories of small and large fleets,
//! as a sweep of crashes, and as a property of whatever may happen.
#![cfg(test)]

mod common;

use std::collections::BTreeMap;

use common::{World, exclusive, id, replicated, settings};
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

#[test]
fn two_of_three_hosts_lost_at_once_move_nothing_until_a_person_says_that_it_is_real() {
    let (mut world, holder) = with_db(3);
    let other = others(&world, &holder)[0].clone();
    for name in [&holder, &other] {
        connect(&mut world, name, false);
    }
    world.until("engaged", 20, |w| brake(w) == BrakeState::Engaged);
    world.run(600);
    assert_eq!(by_time(&world), 0, "{}", world.tell());
    assert_eq!(told(&world, AlertState::Firing)[0], "fleet/mass-loss");
    let lost = |key: &&&str| key.ends_with("/lost") || **key == "fleet/mass-loss";
    let firing = told(&world, AlertState::Firing);
    assert_eq!(firing.iter().filter(lost).count(), 1, "{firing:?}");
    let db = &world.core().works_view(world.now)[0];
    assert!(
        db.waiting.iter().any(|w| w.contains("storm brake holds")),
        "{:?}",
        db.waiting
    );
    let view = world.core().status_view(world.now).brake;
    assert_eq!((view.threshold, view.hosts), (2, 3));
    assert_eq!(view.silent.len(), 2);
    world.ask(release(120)).unwrap();
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
    assert_eq!(by_time(&world), 1);
    world.run(120);
    assert_eq!(brakes(&world), ["engaged", "released", "ended"]);
    assert_eq!(brake(&world), BrakeState::Engaged);
    // One host comes back: below B. What is still true then is told.
    connect(&mut world, &other, true);
    world.until("lifted", 120, |w| brake(w) == BrakeState::Off);
    world.run(5);
    assert!(told(&world, AlertState::Resolved).contains(&"fleet/mass-loss"));
    let still = format!("node/{holder}/lost");
    assert!(told(&world, AlertState::Firing).contains(&still.as_str()));
    assert!(
        !world
            .told
            .iter()
            .any(|(key, _)| *key == format!("node/{other}/lost"))
    );
}

#[test]
fn one_of_three_and_one_of_two_fail_over_as_ever() {
    for many in [2, 3] {
        let (mut world, holder) = with_db(many);
        connect(&mut world, &holder, false);
        let took = world.until("db elsewhere", 60, |w| {
            w.serving("db") == 1 && w.holders("db") != [holder.as_str()]
        });
        assert!(took <= 45, "took {took} s");
        assert!(brakes(&world).is_empty());
    }
}

#[test]
fn when_all_hosts_fall_silent_it_is_us_and_their_return_is_the_end_of_it() {
    let (mut world, _) = with_db(5);
    for name in names(5) {
        connect(&mut world, &name, false);
    }
    world.run(900);
    assert_eq!(by_time(&world), 0);
    for name in names(5) {
        connect(&mut world, &name, true);
    }
    world.until("db serves", 60, |w| w.serving("db") == 1);
    world.until("lifted", 120, |w| brake(w) == BrakeState::Off);
    world.run(5);
    assert_eq!(by_time(&world), 0);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    assert!(!world.told.iter().any(|(key, _)| key.ends_with("/lost")));
}

#[test]
fn hosts_that_are_lost_one_after_another_engage_the_brake_at_the_second() {
    let (mut world, first) = with_db(6);
    for name in std::iter::once(first.clone())
        .chain(others(&world, &first))
        .take(4)
    {
        connect(&mut world, &name, false);
        world.run(45);
    }
    // The first one alone failed over; from the second on nothing moved by time.
    assert_eq!(by_time(&world), 1);
    assert_eq!(brakes(&world), ["engaged"]);
    let firing = told(&world, AlertState::Firing);
    let lost = firing.iter().filter(|key| key.ends_with("/lost")).count();
    assert_eq!(lost, 1, "{firing:?}");
}

#[test]
fn a_host_that_died_alone_long_ago_does_not_stop_the_next_fail_over() {
    let (mut world, first) = with_db(3);
    connect(&mut world, &first, false);
    world.until("db elsewhere", 60, |w| {
        w.serving("db") == 1 && w.holders("db") != [first.as_str()]
    });
    world.run(600);
    let second = world.holders("db")[0].to_string();
    connect(&mut world, &second, false);
    let took = world.until("db on the last one", 60, |w| {
        w.serving("db") == 1 && w.holders("db") != [second.as_str()]
    });
    assert!(took <= 50, "took {took} s");
    assert!(brakes(&world).is_empty(), "{}", world.tell());
    // Heard again, it counts again.
    connect(&mut world, &first, true);
    world.run(30);
    connect(&mut world, &first, false);
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
}

#[test]
fn hosts_that_come_and_go_keep_the_brake_on() {
    let (mut world, holder) = with_db(4);
    let other = others(&world, &holder)[0].clone();
    connect(&mut world, &holder, false);
    for _ in 0..10 {
        connect(&mut world, &other, false);
        world.run(40);
        connect(&mut world, &other, true);
        world.run(20);
    }
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
    // It stays, and the one that is really gone fails over.
    world.until("db elsewhere", 120, |w| w.serving("db") == 1);
    assert_eq!(brakes(&world), ["engaged", "lifted"]);
}

#[test]
fn a_rack_that_loses_power_fails_over_at_once() {
    let mut world = zones(100);
    let mut db = exclusive("db");
    db.node_labels = BTreeMap::from([("first".to_string(), "rack".to_string())]);
    for node in world.nodes.values_mut() {
        let in_first = node.zone.as_deref() == Some("rack-0");
        let label = if in_first { "rack" } else { "other" };
        node.labels.insert("first".into(), label.into());
        node.say_birth(world.now);
    }
    world.run(3);
    world.put(std::slice::from_ref(&db));
    world.until("db serves", 20, |w| w.serving("db") == 1);
    for node in world.nodes.values_mut() {
        if node.zone.as_deref() == Some("rack-0") {
            node.up = false;
        }
    }
    db.node_labels.clear();
    world.put(&[db]);
    let took = world.until("db elsewhere", 60, |w| w.serving("db") == 1);
    assert!(took <= 45, "took {took} s");
    assert!(brakes(&world).is_empty());
}

#[test]
fn a_third_of_a_large_fleet_is_a_storm() {
    let mut world = zones(100);
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let holder = world.holders("db")[0].to_string();
    connect(&mut world, &holder, false);
    for name in others(&world, &holder).iter().take(32) {
        connect(&mut world, name, false);
    }
    world.run(120);
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
}

#[test]
fn a_coordinator_that_is_restarted_in_a_storm_goes_on_holding() {
    let (mut world, holder) = with_db(3);
    let other = others(&world, &holder)[0].clone();
    for name in [&holder, &other] {
        connect(&mut world, name, false);
    }
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    for _ in 0..5 {
        world.kill();
        world.run(10);
        world.start();
        assert_eq!(brake(&world), BrakeState::Engaged);
        world.run(100);
    }
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
    world.ask(release(3600)).unwrap();
    world.kill();
    world.start();
    assert_eq!(brake(&world), BrakeState::Released);
    world.until("db elsewhere", 120, |w| w.serving("db") == 1);
    assert_eq!(by_time(&world), 1);
}

#[test]
fn a_storm_that_begins_while_the_coordinator_is_away_is_one_all_the_same() {
    let (mut world, holder) = with_db(3);
    let other = others(&world, &holder)[0].clone();
    world.kill();
    for name in [&holder, &other] {
        connect(&mut world, name, false);
    }
    world.run(60);
    world.start();
    world.run(300);
    assert_eq!(by_time(&world), 0);
    assert_eq!(brakes(&world), ["engaged"]);
}

#[test]
fn who_said_that_it_goes_is_drained_or_known_to_be_down_is_not_counted() {
    let (mut world, holder) = with_db(5);
    let others = others(&world, &holder);
    let now = world.now;
    let farewell = world
        .nodes
        .get_mut(&others[0])
        .unwrap()
        .farewell(now, Millis::from_secs(3600));
    world.message(&others[0], farewell, false);
    world.ask(drain(&others[1], true)).unwrap();
    world.until("drained", 20, |w| {
        matches!(scheduling(w, &others[1]), Scheduling::Drained(_))
    });
    for name in [&others[1], &others[2]] {
        connect(&mut world, name, false);
    }
    world.run(30);
    world
        .ask(Request::ConfirmDown {
            node: id(&others[2]),
            reason: "I pulled its plug".into(),
            by: "ada".into(),
        })
        .unwrap();
    connect(&mut world, &holder, false);
    let took = world.until("db elsewhere", 60, |w| {
        w.serving("db") == 1 && w.holders("db") != [holder.as_str()]
    });
    assert!(took <= 45, "took {took} s");
    assert!(brakes(&world).is_empty(), "{}", world.tell());
    // The one that was down is heard, and falls silent again: now it counts.
    connect(&mut world, &others[2], true);
    world.run(30);
    connect(&mut world, &others[2], false);
    world.run(40);
    assert_eq!(brakes(&world), ["engaged"]);
}

#[test]
fn in_a_storm_no_drain_begins_that_a_host_asks_for_and_giving_back_goes_on() {
    let mut many = settings();
    many.budget.percent = 90;
    let names = names(6);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with(&names, many);
    world.run(5);
    world.ask(drain("node-1", false)).unwrap();
    world.nodes.get_mut("node-2").unwrap().drain_wanted = Some("disk dies".into());
    world.until("both out", 10, |w| is_out_by_drain(w, "node-2"));
    for name in ["node-5", "node-6"] {
        connect(&mut world, name, false);
    }
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    world.nodes.get_mut("node-3").unwrap().drain_wanted = Some("disk dies".into());
    world.run(30);
    let why = waits_for(&world, "node-3");
    assert!(why[0].contains("the storm brake holds"), "{why:?}");
    // Persons' words count, what is under way goes on, and giving back is never held.
    world.ask(drain("node-4", false)).unwrap();
    assert!(is_out_by_drain(&world, "node-4"));
    assert!(is_out_by_drain(&world, "node-2"));
    undrain(&mut world, "node-1");
    world.nodes.get_mut("node-2").unwrap().drain_wanted = None;
    world.until("open", 10, |w| {
        scheduling(w, "node-1") == Scheduling::Open && scheduling(w, "node-2") == Scheduling::Open
    });
    assert_eq!(brake(&world), BrakeState::Engaged);
}

#[test]
fn a_stop_that_is_confirmed_and_a_reboot_count_in_a_storm_too() {
    let (mut world, holder) = with_db(6);
    let silent: Vec<String> = others(&world, &holder).into_iter().take(2).collect();
    for name in &silent {
        connect(&mut world, name, false);
    }
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    let now = world.now;
    world.nodes.get_mut(&holder).unwrap().reboot(now);
    let rebooted = |d: &Decision| {
        let proof = Proof::Rebooted;
        matches!(d, Decision::Ended { proof: p, .. } if *p == proof)
    };
    world.until("db serves", 20, |w| {
        w.decisions().any(rebooted) && w.serving("db") == 1
    });
    let holder = world.holders("db")[0].to_string();
    world.ask(drain(&holder, true)).unwrap();
    world.until("db elsewhere", 20, |w| {
        w.serving("db") == 1 && w.holders("db") != [holder.as_str()]
    });
    assert_eq!(by_time(&world), 0);
}

#[test]
fn the_others_of_a_partition_are_counted_before_the_first_lease_of_it_counts_as_ended() {
    // Everything is as short as it may be, so that time alone would prove the end long before.
    let mut short = settings();
    short.lease.term = Millis::from_secs(2);
    short.lease.margin = Millis::ZERO;
    short.liveness.suspect_after = Millis::from_secs(15);
    short.liveness.lost_after = Millis(15_001);
    for shift in 0..10 {
        let mut world = World::with(&["node-1", "node-2", "node-3"], short.clone());
        world.run(5);
        let mut db = exclusive("db");
        db.stop_grace = Millis::ZERO;
        world.put(&[db]);
        world.until("db serves", 20, |w| w.serving("db") == 1);
        let holder = world.holders("db")[0].to_string();
        let other = others(&world, &holder)[0].clone();
        // The holder's cut is noticed up to one heartbeat before the other's.
        connect(&mut world, &holder, false);
        for _ in 0..shift {
            world.step();
        }
        connect(&mut world, &other, false);
        world.run(120);
        assert_eq!(by_time(&world), 0, "cut {shift} steps apart");
    }
}

#[test]
fn a_release_needs_a_storm_a_reason_and_a_sane_time() {
    let mut world = fleet(3);
    assert!(matches!(world.ask(release(60)), Err(Refused::Conflict(_))));
    for span in [0, 90_000] {
        assert!(matches!(world.ask(release(span)), Err(Refused::Bad(_))));
    }
    let silent = Request::ReleaseBrake {
        span: Millis::from_secs(60),
        reason: " ".into(),
    };
    assert!(matches!(world.ask(silent), Err(Refused::Bad(_))));
}

#[test]
fn kept_work_of_a_storm_moves_on_a_persons_word_about_the_host() {
    let mut world = fleet(3);
    let mut db = exclusive("db");
    db.sharing = Sharing::Exclusive {
        on_lease_loss: OnLeaseLoss::Keep,
    };
    world.put(&[db]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let holder = world.holders("db")[0].to_string();
    let other = others(&world, &holder)[0].clone();
    world.nodes.get_mut(&holder).unwrap().up = false;
    connect(&mut world, &other, false);
    world.until("engaged", 30, |w| brake(w) == BrakeState::Engaged);
    world
        .ask(Request::ConfirmDown {
            node: id(&holder),
            reason: "I pulled its plug".into(),
            by: "ada".into(),
        })
        .unwrap();
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
    world.until("lifted", 90, |w| brake(w) == BrakeState::Off);
}

/// What is on disk at any moment: nobody is out by choice without a place, and no more have one
/// than may be out.
fn keeps_the_budget(world: &World, limit: usize) {
    let records = world.store.nodes.values();
    for record in records.clone() {
        let begun = record.drain.as_ref().is_some_and(|d| !d.waits);
        assert!(
            !begun || !record.reservations.is_empty(),
            "{} goes out without a place\n{}",
            record.node,
            world.tell()
        );
    }
    let places = records.filter(|r| !r.reservations.is_empty()).count();
    assert!(places <= limit, "{places} places\n{}", world.tell());
}

/// Two drains at once, given back in turn; a crash before effect `crash_at`.
fn two_drains(crash_at: Option<u64>) -> World {
    let mut world = World::new(&["node-1", "node-2", "node-3"]);
    world.crash_at = crash_at;
    let insist = |world: &mut World, request: Request| {
        loop {
            if world.core.is_none() {
                world.run(3);
                world.start();
            } else if world.try_ask(request.clone()).is_some() {
                return;
            }
        }
    };
    let live = |world: &mut World, seconds: u64| {
        for _ in 0..seconds * 2 {
            if world.core.is_none() {
                world.run(2);
                world.start();
            }
            world.step();
            keeps_the_budget(world, 1);
        }
    };
    live(&mut world, 6);
    let works = vec![exclusive("db"), replicated("web", 2)];
    insist(&mut world, Request::PutWork { works });
    live(&mut world, 8);
    for name in ["node-1", "node-2"] {
        insist(&mut world, drain(name, false));
        keeps_the_budget(&world, 1);
    }
    live(&mut world, 10);
    for name in ["node-1", "node-2"] {
        let node = id(name);
        insist(&mut world, Request::Undrain { node });
        live(&mut world, 10);
    }
    world.crash_at = None;
    if world.core.is_none() {
        world.start();
    }
    world
}

#[test]
fn a_crash_before_any_effect_takes_out_no_second_host_and_frees_every_place() {
    let whole = two_drains(None);
    let reserved = |d: &&Decision| matches!(d, Decision::Reserved { .. });
    assert_eq!(whole.decisions().filter(reserved).count(), 2);
    assert!(whole.effects > 100, "{} effects", whole.effects);
    for crash_at in 0..whole.effects {
        let mut world = two_drains(Some(crash_at));
        world.until(&format!("all is open after {crash_at}"), 120, |w| {
            w.store.nodes.len() == 3
                && w.store
                    .nodes
                    .values()
                    .all(|n| n.reservations.is_empty() && n.drain.is_none())
        });
    }
}

#[derive(Clone, Debug)]
enum Act {
    Drain(usize),
    Undrain(usize),
    Wish(usize, bool),
    Connect(usize, bool),
    Link(bool),
    Reboot(usize),
    Restart,
    Release,
    Wait(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let node = 0..6_usize;
    prop_oneof![
        3 => node.clone().prop_map(Act::Drain),
        2 => node.clone().prop_map(Act::Undrain),
        3 => (node.clone(), any::<bool>()).prop_map(|(n, on)| Act::Wish(n, on)),
        3 => (node.clone(), any::<bool>()).prop_map(|(n, on)| Act::Connect(n, on)),
        1 => any::<bool>().prop_map(Act::Link),
        1 => node.prop_map(Act::Reboot),
        1 => Just(Act::Restart),
        1 => Just(Act::Release),
        6 => (0..40_u8).prop_map(Act::Wait),
    ]
}

fn perform(world: &mut World, act: &Act) {
    let name = |n: usize| format!("node-{}", n + 1);
    match act {
        Act::Drain(n) => drop(world.ask(drain(&name(*n), false))),
        Act::Undrain(n) => {
            world
                .ask(Request::Undrain {
                    node: id(&name(*n)),
                })
                .unwrap();
        }
        Act::Wish(n, on) => {
            let node = world.nodes.get_mut(&name(*n)).unwrap();
            node.drain_wanted = on.then(|| "disk dies".into());
        }
        Act::Connect(n, on) => connect(world, &name(*n), *on),
        Act::Link(true) => world.input(Input::LinkUp),
        Act::Link(false) => world.input(Input::LinkDown),
        Act::Reboot(n) => {
            let now = world.now;
            world.nodes.get_mut(&name(*n)).unwrap().reboot(now);
        }
        Act::Restart => {
            world.kill();
            world.start();
        }
        Act::Release => drop(world.ask(release(30))),
        Act::Wait(steps) => {
            for _ in 0..*steps {
                look(world);
            }
        }
    }
}

/// One step, in which nobody may be taken out whom the rules forbid.
fn look(world: &mut World) {
    let before = world.journal.len();
    world.step();
    judge(world, before);
}

fn judge(world: &World, before: usize) {
    keeps_the_budget(world, 2);
    for zone in ["a", "b", "c"] {
        let places = world.store.nodes.values().filter(|r| {
            let in_zone = world.nodes[r.node.as_str()].zone.as_deref() == Some(zone);
            in_zone && !r.reservations.is_empty()
        });
        assert!(places.count() <= 1, "zone {zone}\n{}", world.tell());
    }
    let mut brake = BrakeState::Off;
    for (n, entry) in world.journal.iter().enumerate() {
        let nodemedic_protocol::api::JournalWhat::Coordinator(decision) = &entry.what else {
            continue;
        };
        match decision {
            Decision::Brake(BrakeChange::Engaged { .. } | BrakeChange::ReleaseEnded) => {
                brake = BrakeState::Engaged;
            }
            Decision::Brake(BrakeChange::Released { .. }) => brake = BrakeState::Released,
            Decision::Brake(BrakeChange::Lifted) => brake = BrakeState::Off,
            Decision::Reserved {
                out,
                limit,
                overridden,
                ..
            } => assert!(out <= limit && *limit == 2 && overridden.is_empty()),
            Decision::Ended {
                proof: Proof::LeaseEnded,
                ..
            } => {
                assert_ne!(
                    brake,
                    BrakeState::Engaged,
                    "silence was believed\n{}",
                    world.tell()
                );
                // Whatever the journal says: nobody is believed gone when all of them are.
                let heard = world.nodes.values().any(|n| n.connected && n.up);
                assert!(n < before || heard || brake == BrakeState::Released);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_arrives_no_more_are_out_by_choice_than_may_be_and_all_comes_back(
        acts in proptest::collection::vec(act(), 1..60)
    ) {
        let names = names(6);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut some = settings();
        some.budget.percent = 34;
        some.brake.percent = 50;
        let mut world = World::with(&names, some);
        for (n, node) in world.nodes.values_mut().enumerate() {
            node.zone = Some(["a", "b", "c"][n % 3].into());
            node.say_birth(world.now);
        }
        world.run(5);
        world.put(&[exclusive("db"), replicated("web", 2)]);
        for act in &acts {
            let before = world.journal.len();
            perform(&mut world, act);
            judge(&world, before);
        }
        world.input(Input::LinkUp);
        for node in world.nodes.values_mut() {
            node.connected = true;
            node.up = true;
            node.drain_wanted = None;
        }
        world.run(10);
        for name in names {
            world.ask(Request::Undrain { node: id(name) }).unwrap();
            prop_assert_eq!(scheduling(&world, name), Scheduling::Open, "never blocked");
        }
        world.until("all is back", 300, |w| {
            w.store.nodes.values().all(|r| r.reservations.is_empty())
                && brake(w) == BrakeState::Off
                && w.serving("db") == 1
                && w.serving("web") == 2
                && w.open_alerts().is_empty()
        });
    }
}
