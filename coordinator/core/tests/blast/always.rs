//! What holds at a crash before any effect, and whatever happens.

use std::collections::BTreeSet;

use nodemedic_coordinator_core::FenceWish;
use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::{FenceStep, FenceVerb, JournalWhat, Purpose};

use super::common::fence::{Manner, fencing};
use super::*;

fn fence(name: &str) -> Request {
    Request::Fence(FenceWish {
        node: id(name),
        reason: "it burns".into(),
        by: "ada".into(),
        override_budget: false,
        then: None,
    })
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
    Fence(usize),
    Device(usize, bool),
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
        1 => node.clone().prop_map(Act::Reboot),
        2 => node.clone().prop_map(Act::Fence),
        1 => (node, any::<bool>()).prop_map(|(n, well)| Act::Device(n, well)),
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
            let node = world.nodes.get_mut(&name(*n)).unwrap();
            // Without power nothing boots.
            if node.up {
                node.reboot(now);
            }
        }
        Act::Fence(n) => drop(world.ask(fence(&name(*n)))),
        Act::Device(n, well) => {
            let manner = if *well { Manner::Honest } else { Manner::Fails };
            world.power.manner.insert(format!("ipmi-{}", n + 1), manner);
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

/// A person gives power back to whom no device could.
fn switch_on(world: &mut World) {
    world.run(10);
    for ((_, name), power) in &mut world.power.plugs {
        let node = world.nodes.get_mut(name).unwrap();
        if !std::mem::replace(power, true) {
            node.reboot(world.now);
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
    if world.journal.len() > before {
        fences_fit(world);
    }
    for zone in ["a", "b", "c"] {
        let places = world.store.nodes.values().filter(|r| {
            let in_zone = world.nodes[r.node.as_str()].zone.as_deref() == Some(zone);
            in_zone && !r.reservations.is_empty()
        });
        assert!(places.count() <= 1, "zone {zone}\n{}", world.tell());
    }
    let mut brake = BrakeState::Off;
    let mut places: BTreeMap<_, BTreeSet<Purpose>> = BTreeMap::new();
    for (n, entry) in world.journal.iter().enumerate() {
        let JournalWhat::Coordinator(decision) = &entry.what else {
            continue;
        };
        match decision {
            Decision::Brake(BrakeChange::Engaged { .. } | BrakeChange::ReleaseEnded) => {
                brake = BrakeState::Engaged;
            }
            Decision::Brake(BrakeChange::Released { .. }) => brake = BrakeState::Released,
            Decision::Brake(BrakeChange::Lifted) => brake = BrakeState::Off,
            Decision::Reserved {
                purpose,
                out,
                limit,
                overridden,
            } => {
                let held = places.entry(&entry.node).or_default();
                // Who is drained already is out already: its fence takes nobody out.
                assert!(out <= limit || !held.is_empty(), "{}", world.tell());
                assert!(*limit == 2 && overridden.is_empty());
                held.insert(*purpose);
            }
            Decision::GivenBack { purpose } => {
                places.entry(&entry.node).or_default().remove(purpose);
            }
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

/// Whoever is switched off was within the budget when a device was first asked to, whatever had
/// happened since it was wanted.
fn fences_fit(world: &World) {
    let mut alive = BTreeSet::new();
    let mut places: BTreeMap<_, BTreeSet<Purpose>> = BTreeMap::new();
    let mut struck = BTreeSet::new();
    for entry in &world.journal {
        let JournalWhat::Coordinator(decision) = &entry.what else {
            continue;
        };
        let Some(name) = &entry.node else {
            if matches!(decision, Decision::Started { .. }) {
                alive.clear();
            }
            continue;
        };
        match decision {
            Decision::Liveness { to, .. } if *to == Liveness::Alive => {
                alive.insert(name);
            }
            Decision::Liveness { .. } => {
                alive.remove(name);
            }
            Decision::Reserved { purpose, .. } => {
                places.entry(name).or_default().insert(*purpose);
            }
            Decision::GivenBack { purpose } => {
                places.entry(name).or_default().remove(purpose);
            }
            Decision::Fence(FenceStep::Confirmed { .. } | FenceStep::Dropped { .. }) => {
                struck.remove(name);
            }
            Decision::Fence(FenceStep::Asked { verb, .. })
                if *verb == FenceVerb::Off && struck.insert(name) =>
            {
                let held = |name: &NodeId| places.get(name).is_some_and(|held| !held.is_empty());
                let drained = places[name].contains(&Purpose::Drain);
                let mut out: Vec<&NodeId> = world.store.nodes.keys().collect();
                out.retain(|other| *other != name && (!alive.contains(other) || held(other)));
                assert!(
                    drained || out.len() < 2,
                    "{name} and {out:?}\n{}",
                    world.tell()
                );
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
        // Two hosts on each device, which is asked so often whether it is well that it is busy.
        let [a, b, c]: [&[&[&str]]; 3] = [&[&["ipmi-1"]], &[&["ipmi-2"]], &[&["ipmi-3"]]];
        let plugs = [a, b, c, a, b, c];
        let nodes: Vec<_> = names.iter().copied().zip(plugs).collect();
        some.fencing = fencing(&nodes);
        some.fencing.monitor_every = Millis::from_secs(5);
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
        world.power.manner.clear();
        for node in world.nodes.values_mut() {
            node.connected = true;
            node.drain_wanted = None;
        }
        world.run(10);
        for name in names {
            world.ask(Request::Undrain { node: id(name) }).unwrap();
            prop_assert_eq!(scheduling(&world, name), Scheduling::Open, "never blocked");
        }
        // A fence that waits goes on when there is room: one host after the other.
        let fenced = |w: &World| w.store.nodes.values().any(|r| r.fence.is_some());
        switch_on(&mut world);
        world.until("no fence waits", 900, |w| !fenced(w));
        world.until("all is back", 300, |w| {
            w.store.nodes.values().all(|r| r.reservations.is_empty())
                && brake(w) == BrakeState::Off
                && w.serving("db") == 1
                && w.serving("web") == 2
                && w.open_alerts().is_empty()
        });
    }
}
