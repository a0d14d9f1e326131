//! Reboots that hosts ask for: place, emptying, permit, return; as stories, as a sweep of crashes,
//! and as a property of whatever may happen.
#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

use common::{World, exclusive, id, replicated};
use nodemedic_coordinator_core::{Refused, Request};
use nodemedic_protocol::Millis;
use nodemedic_protocol::api::{
    BrakeState, Decision, JournalWhat, Proof, Purpose, RebootStage, RebootStep, RebootView,
};
use nodemedic_protocol::reboot::RebootWord;
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

/// With an exclusive and a replicated work that serve; which node holds the exclusive one.
fn busy(many: usize) -> (World, String) {
    let mut world = fleet(many);
    world.put(&[exclusive("db"), replicated("web", 2)]);
    world.until("all serves", 30, |w| {
        w.serving("db") == 1 && w.serving("web") == 2
    });
    let holder = world.holders("db")[0].to_string();
    (world, holder)
}

fn want(world: &mut World, name: &str) {
    let now = world.now;
    world.nodes.get_mut(name).unwrap().want_reboot(now);
}

fn view(world: &World, name: &str) -> Option<RebootView> {
    let view = world.core().node_view(world.now, &id(name));
    view.unwrap().reboot
}

fn stage(world: &World, name: &str) -> Option<RebootStage> {
    view(world, name).map(|view| view.stage)
}

fn steps(world: &World) -> Vec<String> {
    let steps = world.decisions().filter_map(|d| match d {
        Decision::Reboot(RebootStep::Wanted { .. }) => Some("wanted"),
        Decision::Reboot(RebootStep::Dropped { .. }) => Some("dropped"),
        Decision::Reboot(RebootStep::Emptying) => Some("emptying"),
        Decision::Reboot(RebootStep::Permitted { .. }) => Some("permitted"),
        Decision::Reboot(RebootStep::Lapsed { .. }) => Some("lapsed"),
        Decision::Reboot(RebootStep::Back) => Some("back"),
        Decision::Reboot(RebootStep::Well { .. }) => Some("well"),
        _ => None,
    });
    steps.map(str::to_owned).collect()
}

fn permits(world: &World) -> usize {
    world.nodes.values().map(|node| node.permits.len()).sum()
}

#[test]
fn a_host_is_emptied_then_rebooted_then_kept_out_until_it_has_been_well() {
    let (mut world, holder) = busy(4);
    want(&mut world, &holder);
    world.until("a permit is taken", 60, |w| permits(w) == 1);
    assert!(!world.nodes[&holder].runs("db") && !world.nodes[&holder].runs("web"));
    let out = world.core().node_view(world.now, &id(&holder)).unwrap().out;
    assert_eq!(out.as_deref(), Some("reboot"));
    world.until("it is back", 60, |w| {
        stage(w, &holder) == Some(RebootStage::Returning)
    });
    let back = world.now.boot;
    world.until("it is let in", 120, |w| stage(w, &holder).is_none());
    assert!(world.now.boot.since(back) >= Millis::from_secs(59));
    assert_eq!(
        steps(&world),
        ["wanted", "emptying", "permitted", "back", "well"]
    );
    let given =
        |d: &Decision| matches!(d, Decision::GivenBack { purpose } if *purpose == Purpose::Reboot);
    world.until("its place is free", 10, |w| w.decisions().any(given));
    // Nothing was granted to it from its place on until it was let in.
    let entries = world.journal.iter().filter(|e| e.node == Some(id(&holder)));
    let mut out = false;
    for entry in entries {
        match &entry.what {
            JournalWhat::Coordinator(Decision::Reboot(RebootStep::Emptying)) => out = true,
            JournalWhat::Coordinator(Decision::Reboot(RebootStep::Well { .. })) => out = false,
            JournalWhat::Coordinator(Decision::Granted { work, .. }) => {
                assert!(!out, "{work} was granted to a host that is out");
            }
            _ => {}
        }
    }
    assert_eq!(world.nodes[&holder].boot, 2);
}

#[test]
fn a_host_whose_exclusive_work_has_no_other_place_waits_and_says_so() {
    let mut world = fleet(2);
    world.put(&[exclusive("db")]);
    world.until("db serves", 30, |w| w.serving("db") == 1);
    let holder = world.holders("db")[0].to_string();
    let other = if holder == "node-1" {
        "node-2"
    } else {
        "node-1"
    };
    let reason = "no".into();
    let node = id(other);
    world.ask(Request::Cordon { node, reason }).unwrap();
    want(&mut world, &holder);
    world.run(600);
    assert_eq!(stage(&world, &holder), Some(RebootStage::Emptying));
    assert_eq!(permits(&world), 0);
    assert!(world.nodes[&holder].runs("db"), "it serves all the while");
    let waiting = view(&world, &holder).unwrap().waiting.join(" ");
    assert!(
        waiting.contains("db") && waiting.contains("cordoned"),
        "{waiting}"
    );
    let node = id(other);
    world.ask(Request::Uncordon { node }).unwrap();
    world.until("it goes", 60, |w| permits(w) == 1);
}

#[test]
fn replicated_work_that_finds_no_other_place_holds_nobody_up_for_long() {
    let mut world = fleet(2);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 30, |w| w.serving("web") == 2);
    want(&mut world, "node-1");
    world.run(50);
    assert_eq!(permits(&world), 0);
    world.until("it goes", 20, |w| permits(w) == 1);
}

#[test]
fn ten_hosts_that_want_the_same_go_one_after_the_other() {
    let mut world = fleet(10);
    for name in names(10) {
        want(&mut world, &name);
    }
    for _ in 0..2 * 1200 {
        world.step();
        let down = world.nodes.values().filter(|node| !node.up).count();
        let out = world.core().status_view(world.now).budget.out.len();
        assert!(down <= 1 && out <= 1, "{down} down, {out} out");
    }
    assert_eq!(permits(&world), 10, "{:?}", steps(&world));
    assert!(world.nodes.values().all(|node| node.boot == 2));
}

#[test]
fn no_permit_leaves_while_the_storm_brake_holds() {
    let mut world = fleet(6);
    for name in ["node-5", "node-6"] {
        world.nodes.get_mut(name).unwrap().connected = false;
    }
    world.until("the brake engages", 60, |w| {
        w.core().status_view(w.now).brake.state == BrakeState::Engaged
    });
    want(&mut world, "node-1");
    world.run(200);
    assert_eq!(stage(&world, "node-1"), Some(RebootStage::Waits));
    let waiting = view(&world, "node-1").unwrap().waiting.join(" ");
    assert!(waiting.contains("storm brake"), "{waiting}");
    for name in ["node-5", "node-6"] {
        world.nodes.get_mut(name).unwrap().connected = true;
    }
    world.until("it goes when the storm is over", 200, |w| permits(w) == 1);
}

#[test]
fn a_storm_that_begins_while_a_host_is_emptied_holds_its_permit() {
    let mut world = fleet(6);
    world.settings.budget.percent = 60;
    world.kill();
    world.start();
    world.run(60);
    world.put(&[exclusive("db")]);
    world.until("db serves", 60, |w| w.serving("db") == 1);
    let holder = world.holders("db")[0].to_string();
    world.nodes.get_mut(&holder).unwrap().sticks = Some(exclusive("db").name);
    want(&mut world, &holder);
    world.until("it is emptied", 20, |w| {
        stage(w, &holder) == Some(RebootStage::Emptying)
    });
    let far: Vec<String> = names(6)
        .into_iter()
        .filter(|n| *n != holder)
        .take(2)
        .collect();
    for name in &far {
        world.nodes.get_mut(name).unwrap().connected = false;
    }
    world.until("the brake engages", 60, |w| {
        w.core().status_view(w.now).brake.state == BrakeState::Engaged
    });
    world.nodes.get_mut(&holder).unwrap().sticks = None;
    world.run(100);
    assert_eq!(permits(&world), 0);
    assert_eq!(stage(&world, &holder), Some(RebootStage::Emptying));
}

#[test]
fn a_permit_that_nobody_hears_is_void_and_another_is_given() {
    let mut world = fleet(3);
    world.deaf.insert("node-1".into());
    want(&mut world, "node-1");
    world.until("a permit lapses", 120, |w| {
        steps(w).contains(&"lapsed".to_owned())
    });
    assert_eq!(permits(&world), 0);
    world.deaf.clear();
    world.until("the next one is heard", 60, |w| permits(w) == 1);
    world.until("it is back", 60, |w| {
        stage(w, "node-1") == Some(RebootStage::Returning)
    });
    assert_eq!(world.nodes["node-1"].boot, 2);
}

#[test]
fn a_wish_that_ends_gives_its_place_back() {
    let (mut world, holder) = busy(4);
    world.nodes.get_mut(&holder).unwrap().sticks = Some(exclusive("db").name);
    want(&mut world, &holder);
    world.until("it is emptied", 20, |w| {
        stage(w, &holder) == Some(RebootStage::Emptying)
    });
    world.nodes.get_mut(&holder).unwrap().reboot = None;
    world.until("it is dropped", 20, |w| stage(w, &holder).is_none());
    let free = |w: &World| w.core().status_view(w.now).budget.out.is_empty();
    world.until("its place is free", 20, free);
    assert_eq!(permits(&world), 0);
}

#[test]
fn a_host_that_does_not_come_back_is_told_and_keeps_its_place() {
    let mut world = fleet(4);
    world.nodes.get_mut("node-1").unwrap().reboots_in =
        Some((Millis(1500), Millis::from_secs(100_000)));
    want(&mut world, "node-1");
    world.until("it goes", 60, |w| permits(w) == 1);
    let told = |w: &World| {
        let alerts = w.open_alerts();
        alerts
            .iter()
            .any(|(key, _)| key == "node/node-1/reboot-overdue")
    };
    let took = world.until("somebody is told", 1000, told);
    assert!(took >= 880, "told after {took} s");
    want(&mut world, "node-2");
    world.run(60);
    assert_eq!(stage(&world, "node-2"), Some(RebootStage::Waits));
    assert_eq!(permits(&world), 1);
}

#[test]
fn a_host_that_is_not_well_after_its_reboot_stays_out() {
    let mut world = fleet(4);
    want(&mut world, "node-1");
    world.until("it is back", 100, |w| {
        stage(w, "node-1") == Some(RebootStage::Returning)
    });
    let now = world.now;
    world.nodes.get_mut("node-1").unwrap().fail(now);
    world.run(300);
    assert_eq!(stage(&world, "node-1"), Some(RebootStage::Returning));
    world.nodes.get_mut("node-1").unwrap().recover();
    world.run(50);
    assert_eq!(stage(&world, "node-1"), Some(RebootStage::Returning));
    world.until("well for a minute", 20, |w| stage(w, "node-1").is_none());
}

#[test]
fn a_host_that_wants_another_reboot_before_it_was_let_in_has_it() {
    let mut world = fleet(4);
    want(&mut world, "node-1");
    world.until("it is back", 100, |w| {
        stage(w, "node-1") == Some(RebootStage::Returning)
    });
    let now = world.now;
    world.nodes.get_mut("node-1").unwrap().fail(now);
    want(&mut world, "node-1");
    world.until("it goes again", 60, |w| permits(w) == 2);
    world.until("it is well", 300, |w| stage(w, "node-1").is_none());
    assert_eq!(world.nodes["node-1"].boot, 3);
    let out = |w: &World| w.core().status_view(w.now).budget.out.is_empty();
    world.until("its place is free", 10, out);
}

#[test]
fn a_host_that_rebooted_by_its_own_policy_takes_no_work_until_it_says_so() {
    let mut world = fleet(2);
    let node = world.nodes.get_mut("node-1").unwrap();
    node.reboot = Some(RebootWord::StaysOut {
        why: "cut off".into(),
        well_for: Millis::from_secs(60),
    });
    let now = world.now;
    node.reboot(now);
    world.run(5);
    world.put(&[replicated("web", 2)]);
    world.run(60);
    assert_eq!(world.holders("web"), ["node-2"]);
    assert_eq!(stage(&world, "node-1"), Some(RebootStage::Returning));
    world.nodes.get_mut("node-1").unwrap().reboot = None;
    world.until("it takes work", 30, |w| w.holders("web").len() == 2);
}

#[test]
fn the_coordinator_may_die_between_any_two_effects_of_a_reboot() {
    let whole = {
        let (mut world, holder) = busy(4);
        let from = world.effects;
        want(&mut world, &holder);
        world.until("all is over", 300, |w| {
            steps(w).contains(&"well".to_owned())
        });
        from..world.effects
    };
    for crash in whole {
        let (mut world, holder) = busy(4);
        world.crash_at = Some(crash);
        want(&mut world, &holder);
        world.live(400);
        assert_eq!(world.nodes[&holder].boot, 2, "crash at {crash}");
        assert_eq!(permits(&world), 1, "crash at {crash}\n{}", world.tell());
        assert_eq!(stage(&world, &holder), None, "crash at {crash}");
        let out = world.core().status_view(world.now).budget.out;
        assert!(out.is_empty(), "crash at {crash}: {out:?}");
        let mut ends = world.decisions();
        assert!(!ends.any(|d| matches!(
            d,
            Decision::Ended {
                proof: Proof::LeaseEnded,
                ..
            }
        )));
    }
}

#[derive(Clone, Debug)]
enum Do {
    Want(usize),
    Heal(usize),
    Cut(usize, bool),
    Deaf(usize),
    Hear,
    Restart,
    Crash(u64),
    Drain(usize),
    Undrain(usize),
    Run(u64),
}

fn acts() -> impl Strategy<Value = Vec<Do>> {
    let n = || 0usize..6;
    let act = prop_oneof![
        4 => n().prop_map(Do::Want),
        1 => n().prop_map(Do::Heal),
        2 => (n(), any::<bool>()).prop_map(|(n, on)| Do::Cut(n, on)),
        1 => n().prop_map(Do::Deaf),
        1 => Just(Do::Hear),
        1 => Just(Do::Restart),
        1 => (0u64..40).prop_map(Do::Crash),
        1 => n().prop_map(Do::Drain),
        1 => n().prop_map(Do::Undrain),
        5 => (1u64..60).prop_map(Do::Run),
    ];
    proptest::collection::vec(act, 1..30)
}

/// What must hold of every permit that is taken, looked at in the step in which it is.
fn judge(world: &World, before: usize) {
    if permits(world) == before {
        return;
    }
    for (name, node) in &world.nodes {
        let mut boots: Vec<u64> = node.permits.iter().map(|(_, boot, _)| *boot).collect();
        boots.dedup();
        assert_eq!(
            boots.len(),
            node.permits.len(),
            "{name} took two on one boot"
        );
        for (permit, ..) in &node.permits {
            let same = node.permits.iter().filter(|(id, ..)| id == permit).count();
            assert_eq!(same, 1, "{name} took {permit} twice");
        }
        if node
            .permits
            .last()
            .is_some_and(|(_, _, at)| *at == world.now.boot)
        {
            assert!(!node.runs("db"), "{name} goes with db on it");
            let place = world.store.nodes[&id(name)]
                .reservations
                .get(&Purpose::Reboot);
            assert!(
                place.is_some_and(|place| !place.over),
                "{name} has no place"
            );
        }
    }
}

/// No permit is decided while the brake holds, by the journal.
fn judge_brake(world: &World) {
    let mut held = false;
    for decision in world.decisions() {
        match decision {
            Decision::Brake(change) => {
                use nodemedic_protocol::api::BrakeChange as Change;
                held = matches!(change, Change::Engaged { .. } | Change::ReleaseEnded);
            }
            Decision::Reboot(RebootStep::Permitted { .. } | RebootStep::Emptying) => {
                assert!(!held, "a permit under the brake\n{}", world.tell());
            }
            _ => {}
        }
    }
}

fn act(world: &mut World, act: &Do) -> Result<(), Refused> {
    let name = |n: &usize| format!("node-{}", n + 1);
    let now = world.now;
    match act {
        Do::Want(n) => {
            let node = world.nodes.get_mut(&name(n)).unwrap();
            let goes = matches!(node.reboot, Some(RebootWord::Going { .. }));
            if node.up && !goes {
                node.want_reboot(now);
            }
        }
        Do::Heal(n) => {
            let node = world.nodes.get_mut(&name(n)).unwrap();
            if matches!(node.reboot, Some(RebootWord::Wanted(_))) {
                node.reboot = None;
            }
        }
        Do::Cut(n, on) => world.nodes.get_mut(&name(n)).unwrap().connected = *on,
        Do::Deaf(n) => {
            world.deaf.insert(name(n));
        }
        Do::Hear => world.deaf.clear(),
        Do::Restart => {
            world.kill();
            world.start();
        }
        Do::Crash(after) => world.crash_at = Some(world.effects + after),
        Do::Drain(n) => {
            let request = Request::Drain {
                node: id(&name(n)),
                reason: "new memory".into(),
                deadline: None,
                override_budget: false,
            };
            return world.try_ask(request).map_or(Ok(()), |r| r.map(drop));
        }
        Do::Undrain(n) => {
            let node = id(&name(n));
            let asked = world.try_ask(Request::Undrain { node });
            return asked.map_or(Ok(()), |r| r.map(drop));
        }
        Do::Run(_) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whatever_happens_no_permit_is_taken_twice_or_with_exclusive_work_or_in_a_storm(
        acts in acts(),
    ) {
        let (mut world, _) = busy(6);
        for one in &acts {
            if world.core.is_none() {
                world.start();
            }
            let _refused = act(&mut world, one);
            let seconds = if let Do::Run(seconds) = one { *seconds } else { 2 };
            for _ in 0..2 * seconds {
                if world.core.is_none() {
                    world.start();
                }
                let before = permits(&world);
                world.step();
                judge(&world, before);
            }
        }
        judge_brake(&world);
        // The faults stop: whoever wanted a reboot has had it, and every place comes back.
        world.crash_at = None;
        world.deaf.clear();
        for node in world.nodes.values_mut() {
            node.connected = true;
        }
        for n in 0..6 {
            if world.core.is_none() {
                world.start();
            }
            let _refused = act(&mut world, &Do::Undrain(n));
        }
        world.live(1500);
        judge_brake(&world);
        let out = world.core().status_view(world.now).budget.out;
        prop_assert!(out.is_empty(), "{out:?}\n{}", world.tell());
        for (name, node) in &world.nodes {
            prop_assert!(node.reboot.is_none(), "{name}: {:?}\n{}", node.reboot, world.tell());
            prop_assert_eq!(stage(&world, name), None);
        }
    }
}
