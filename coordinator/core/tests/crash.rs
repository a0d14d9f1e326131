//! The coordinator dies before every single effect of a long story, is built again from what was
//! committed, and goes on: nothing runs twice, no generation repeats, and the story ends well.
#![cfg(test)]

mod common;

use common::{World, exclusive, id, replicated};
use nodemedic_coordinator_core::Request;
use nodemedic_protocol::Millis;
use nodemedic_protocol::api::Scheduling;

/// A person who asks again when no answer came.
fn insist(world: &mut World, request: &Request) {
    loop {
        if world.core.is_none() {
            world.run(3);
            world.start();
            continue;
        }
        match world.try_ask(request.clone()) {
            Some(result) => {
                result.expect("the request fits");
                return;
            }
            None => continue,
        }
    }
}

/// Places, drains, undrains, reboots, loses and changes; a crash before effect `crash_at`.
fn story(crash_at: Option<u64>) -> World {
    let mut world = World::new(&["node-1", "node-2", "node-3"]);
    world.crash_at = crash_at;
    world.live(3);
    let works = vec![exclusive("db"), replicated("web", 2)];
    insist(&mut world, &Request::PutWork { works });
    world.live(10);
    let drain = Request::Drain {
        node: id("node-1"),
        reason: "new memory".into(),
        deadline: Some(Millis::from_secs(60)),
        override_budget: false,
    };
    insist(&mut world, &drain);
    world.live(15);
    let node = id("node-1");
    insist(&mut world, &Request::Undrain { node });
    let now = world.now;
    let db = world.holders("db").first().map(|n| n.to_string());
    if let Some(db) = db {
        world.nodes.get_mut(&db).unwrap().reboot(now);
    }
    for node in world.nodes.values_mut() {
        node.happened(now);
    }
    world.live(15);
    let db = world.holders("db").first().map(|n| n.to_string());
    if let Some(db) = db {
        world.nodes.get_mut(&db).unwrap().connected = false;
        world.live(110);
        world.nodes.get_mut(&db).unwrap().connected = true;
    }
    let mut changed = exclusive("db");
    changed.stop_grace = Millis::from_secs(6);
    let works = vec![changed];
    insist(&mut world, &Request::PutWork { works });
    world.live(60);
    world.crash_at = None;
    if world.core.is_none() {
        world.start();
    }
    world
}

fn ends_well(world: &mut World, crash_at: u64) {
    let well = |w: &World| {
        w.serving("db") == 1
            && w.holders("db").len() == 1
            && w.serving("web") == 2
            && w.nodes
                .values()
                .all(|n| n.events_stored == n.events.len() as u64)
            && w.open_alerts().is_empty()
            && w.core()
                .nodes_view(w.now)
                .iter()
                .all(|n| n.scheduling == Scheduling::Open)
    };
    world.until(
        &format!("all is well after a crash at {crash_at}"),
        240,
        well,
    );
}

#[test]
fn a_crash_before_any_effect_loses_nothing_and_doubles_nothing() {
    let mut whole = story(None);
    ends_well(&mut whole, u64::MAX);
    let effects = whole.effects;
    assert!(
        effects > 300,
        "the story is too short to prove much: {effects} effects"
    );
    for crash_at in 0..effects {
        let mut world = story(Some(crash_at));
        ends_well(&mut world, crash_at);
    }
}
