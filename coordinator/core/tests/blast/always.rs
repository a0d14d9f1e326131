//! What holds at a crash before any effect, and whatever happens.

use super::*;

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
