//! Stories of small fleets on virtual time: what happens, and what must be seen.
#![cfg(test)]

mod boots;
#[path = "../common/mod.rs"]
mod common;
mod coordinators;
mod drains;
mod forgetting;
mod telling;
mod works;

use common::{World, exclusive, id, replicated, settings};
use nodemedic_coordinator_core::{Input, Refused, Request};
use nodemedic_protocol::api::{Accepted, AlertState, Decision, Liveness, Proof, Scheduling};
use nodemedic_protocol::health::Reason;
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::message::{CoordinatorState, Message};
use nodemedic_protocol::work::{Enforcement, OnLeaseLoss, Sharing};
use nodemedic_protocol::{Boottime, Component, Condition, Epoch, Millis, Severity, WorkName};

fn drain(node: &str, deadline: Option<u64>) -> Request {
    Request::Drain {
        node: id(node),
        reason: "new memory".into(),
        deadline: deadline.map(Millis::from_secs),
        override_budget: false,
    }
}

fn settled(nodes: &[&str]) -> World {
    let mut world = World::new(nodes);
    world.run(5);
    world.put(&[exclusive("db"), replicated("web", 2)]);
    let web = nodes.len().min(2);
    let so = |w: &World| w.serving("db") == 1 && w.serving("web") == web;
    world.until("db and web serve", 20, so);
    world
}

/// Two hosts, and work on one of them that its owner chose to keep.
fn kept() -> (World, String) {
    let mut world = World::new(&["node-1", "node-2"]);
    let mut db = exclusive("db");
    db.sharing = Sharing::Exclusive {
        on_lease_loss: OnLeaseLoss::Keep,
    };
    world.put(&[db]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    (world, victim)
}

fn ended_by(world: &World, wanted: impl Fn(&Proof) -> bool) -> usize {
    let ends = world.decisions().filter_map(|d| match d {
        Decision::Ended { proof, .. } => Some(proof),
        _ => None,
    });
    ends.filter(|proof| wanted(proof)).count()
}

#[test]
fn works_are_placed_and_spread() {
    let world = settled(&["node-1", "node-2", "node-3"]);
    assert_eq!(world.holders("db").len(), 1);
    assert_eq!(world.holders("web").len(), 2);
    // Least loaded: the three holders are on three nodes.
    let mut all = world.holders("db");
    all.extend(world.holders("web"));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 3);
}

#[test]
fn the_work_of_a_lost_node_moves_after_its_lease_has_provably_ended_and_not_before() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    world.nodes.get_mut(&victim).unwrap().up = false;
    let lost = world.until("lost", 40, |w| w.liveness(&victim) == Liveness::Lost);
    assert!(lost >= 28, "lost after {lost} s");
    world.until("db elsewhere", 60, |w| w.serving("db") == 1);
    assert_ne!(world.holders("db"), [victim.as_str()]);
    assert_eq!(ended_by(&world, |p| *p == Proof::LeaseEnded), 1);
    let granted =
        |d: &&Decision| matches!(d, Decision::Granted { work, .. } if work.as_str() == "db");
    assert_eq!(world.decisions().filter(granted).count(), 2);
}

#[test]
fn a_shorter_term_in_a_new_configuration_shortens_no_promise_that_was_given() {
    let mut long = settings();
    long.lease.term = Millis::from_secs(120);
    let mut world = World::with(&["node-1", "node-2"], long);
    world.run(5);
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    world.kill();
    world.settings.lease.term = Millis::from_secs(1);
    world.nodes.get_mut(&victim).unwrap().up = false;
    world.start();
    let took = world.until("db elsewhere", 300, |w| w.serving("db") == 1);
    assert!(took >= 120, "moved after {took} s, promised were 120 s");
}

#[test]
fn work_that_is_kept_moves_only_on_a_persons_word() {
    let (mut world, victim) = kept();
    let word = |world: &mut World| {
        world.ask(Request::ConfirmDown {
            node: id(&victim),
            reason: "I pulled its plug".into(),
            by: "ada".into(),
        })
    };
    assert!(
        matches!(word(&mut world), Err(Refused::Conflict(_))),
        "it is alive"
    );
    world.nodes.get_mut(&victim).unwrap().up = false;
    world.run(600);
    assert_eq!(world.serving("db"), 0, "nothing proves that it stopped");
    let waiting = &world.core().works_view(world.now)[0].waiting;
    assert!(
        waiting.iter().any(|w| w.contains("confirm-down")),
        "{waiting:?}"
    );
    word(&mut world).unwrap();
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
    assert_eq!(
        ended_by(
            &world,
            |p| matches!(p, Proof::PersonsWord { by, .. } if by == "ada")
        ),
        1
    );
}

#[test]
fn without_a_watchdog_time_proves_nothing() {
    let mut world = World::new(&["node-1", "node-2"]);
    for node in world.nodes.values_mut() {
        node.enforcement = Enforcement::None;
        node.say_birth(world.now);
    }
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    world.nodes.get_mut(&victim).unwrap().connected = false;
    world.run(600);
    assert_eq!(ended_by(&world, |_| true), 0);
    // Its agent stopped the work by its own lease, and says so when it can.
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.until("db serves", 60, |w| w.serving("db") == 1);
    assert_eq!(ended_by(&world, |p| *p == Proof::StopConfirmed), 1);
}
