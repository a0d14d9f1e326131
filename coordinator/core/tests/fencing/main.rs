//! Stories of fence devices on virtual time: what counts as proof, and what never does.
#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod lies;

use common::fence::{Manner, fencing};
use common::{World, exclusive, id, settings};
use nodemedic_coordinator_core::{FenceWish, Refused, Request, Settings};
use nodemedic_protocol::api::{Decision, FenceStep, FenceThen, FenceVerb, Liveness, Proof};
use nodemedic_protocol::work::{OnLeaseLoss, Sharing, WorkSpec};
use nodemedic_protocol::{DeviceName, Millis, Severity};

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

fn kept(name: &str) -> WorkSpec {
    let on_lease_loss = OnLeaseLoss::Keep;
    common::work(name, Sharing::Exclusive { on_lease_loss })
}

fn one_device_each() -> Settings {
    let mut settings = settings();
    settings.fencing = fencing(&[
        ("node-1", &[&["ipmi-1"]]),
        ("node-2", &[&["ipmi-2"]]),
        ("node-3", &[&["ipmi-3"]]),
    ]);
    // Their monitors are another story.
    settings.fencing.monitor_every = Millis::from_secs(100 * 24 * 3600);
    settings
}

/// Runs until `db` serves; says where.
fn settled(settings: Settings, work: WorkSpec) -> (World, String) {
    let mut world = World::with(&NODES, settings);
    world.run(5);
    world.put(&[work]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    let victim = world.holders("db")[0].to_string();
    (world, victim)
}

fn device_of(victim: &str) -> String {
    victim.replace("node", "ipmi")
}

fn cut(world: &mut World, victim: &str) {
    world.nodes.get_mut(victim).unwrap().connected = false;
    let victim = victim.to_owned();
    world.until("lost", 60, |w| w.liveness(&victim) == Liveness::Lost);
}

fn proofs(world: &World) -> Vec<Proof> {
    let ends = world.decisions().filter_map(|d| match d {
        Decision::Ended { proof, .. } => Some(proof.clone()),
        _ => None,
    });
    ends.collect()
}

fn asked(world: &World) -> Vec<&str> {
    let asked = world.power.asked.iter().map(String::as_str);
    asked.filter(|q| !q.starts_with("monitor")).collect()
}

fn fires(world: &World, key: &str, severity: Severity) -> bool {
    world.open_alerts().contains(&(key.to_owned(), severity))
}

fn wish(node: &str) -> FenceWish {
    FenceWish {
        node: id(node),
        reason: "it burns".into(),
        by: "ada".into(),
        override_budget: false,
        then: None,
    }
}

#[test]
fn kept_work_of_a_lost_host_moves_when_its_device_has_read_off_and_not_before() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    let device = device_of(&victim);
    cut(&mut world, &victim);
    while proofs(&world).is_empty() {
        let elsewhere = world.holders("db").iter().any(|n| *n != victim);
        assert!(!elsewhere, "before any proof\n{}", world.tell());
        world.step();
        assert!(world.now.boot.0 < 1_200_000, "never\n{}", world.tell());
    }
    assert!(world.power.is_dark(&victim), "believed before it was dark");
    let device = DeviceName::new(device).unwrap();
    let devices = vec![device.clone()];
    assert_eq!(proofs(&world), [Proof::Fenced { devices }]);
    assert_eq!(world.liveness(&victim), Liveness::Fenced);
    let order = [
        format!("off {device} {victim}"),
        format!("status {device} {victim}"),
        format!("on {device} {victim}"),
    ];
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.until("db elsewhere", 20, |w| w.serving("db") == 1);
    assert_eq!(asked(&world), order);
    let told = victim.clone();
    world.until("back", 60, |w| w.liveness(&told) == Liveness::Alive);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    assert!(!world.holders("db").contains(&victim.as_str()));
}

#[test]
fn a_host_without_a_device_waits_for_a_person_as_ever() {
    let mut settings = one_device_each();
    settings.fencing.nodes.clear();
    let (mut world, victim) = settled(settings, kept("db"));
    cut(&mut world, &victim);
    world.run(600);
    assert!(asked(&world).is_empty() && proofs(&world).is_empty());
    let refused = world.ask(Request::Fence(wish(&victim))).unwrap_err();
    assert!(refused.to_string().contains("confirm-down"), "{refused}");
}

#[test]
fn work_that_stops_by_itself_moves_sooner_where_there_is_a_device() {
    let mut settings = one_device_each();
    settings.lease.term = Millis::from_secs(60);
    let (mut world, victim) = settled(settings, exclusive("db"));
    world.nodes.get_mut(&victim).unwrap().connected = false;
    let began = world.now.boot;
    world.until("db elsewhere", 90, |w| {
        w.serving("db") == 1 && w.holders("db") != [victim.as_str()]
    });
    assert!(matches!(proofs(&world)[..], [Proof::Fenced { .. }]));
    assert!(world.now.boot.since(began) < Millis::from_secs(45));
}

/// Lets a device of this manner try for ten minutes; nothing may have been believed.
fn in_vain(manner: Manner) -> (World, String) {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    world.power.manner.insert(device_of(&victim), manner);
    cut(&mut world, &victim);
    world.run(600);
    assert!(proofs(&world).is_empty(), "{manner:?}\n{}", world.tell());
    assert_eq!(world.liveness(&victim), Liveness::Lost);
    let key = format!("fence/{victim}/failed");
    assert!(fires(&world, &key, Severity::Critical), "{manner:?}");
    let alerts = world.core().alerts_view();
    let alert = alerts.iter().find(|a| a.key == key).unwrap();
    assert!(alert.detail.contains(&device_of(&victim)), "{alert:?}");
    assert!(alert.detail.contains("confirm-down"), "{alert:?}");
    assert_eq!(
        world.told.iter().filter(|(told, _)| *told == key).count(),
        1,
        "an incident is told once, however often it is tried"
    );
    (world, victim)
}

#[test]
fn a_device_that_fails_hangs_half_works_or_is_blind_proves_nothing() {
    for manner in [
        Manner::Fails,
        Manner::Hangs,
        Manner::HalfWorks,
        Manner::Blind,
    ] {
        let (world, victim) = in_vain(manner);
        let off = format!("off {} {victim}", device_of(&victim));
        let tries = asked(&world).iter().filter(|q| **q == off).count();
        assert!(
            (2..20).contains(&tries),
            "{manner:?} was asked {tries} times"
        );
    }
}

#[test]
fn a_device_that_is_repaired_ends_the_incident() {
    let (mut world, victim) = in_vain(Manner::Fails);
    world.power.manner.clear();
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.nodes.get_mut(&victim).unwrap().up = false;
    world.until("fenced", 400, |w| w.serving("db") == 1);
    let told = victim.clone();
    world.until("back", 60, |w| w.liveness(&told) == Liveness::Alive);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
}

#[test]
fn a_person_who_confirms_it_down_ends_a_fence_that_cannot_succeed() {
    let (mut world, victim) = in_vain(Manner::Fails);
    world.nodes.get_mut(&victim).unwrap().up = false;
    let word = Request::ConfirmDown {
        node: id(&victim),
        reason: "its controller lost power with it".into(),
        by: "ada".into(),
    };
    world.ask(word).unwrap();
    world.until("db elsewhere", 30, |w| w.serving("db") == 1);
    assert!(world.core().fences_view(world.now).fences.is_empty());
    let failed = format!("fence/{victim}/failed");
    assert!(!fires(&world, &failed, Severity::Critical));
    let asked_by_then = asked(&world).len();
    world.run(600);
    assert_eq!(asked(&world).len(), asked_by_then);
}

fn two_levels() -> Settings {
    let mut settings = one_device_each();
    let levels: &[&[&str]] = &[&["ipmi"], &["pdu-a", "pdu-b"]];
    let more = fencing(&[("node-1", levels), ("node-2", levels), ("node-3", levels)]);
    settings.fencing.nodes = more.nodes;
    settings.fencing.devices = more.devices;
    settings
}

#[test]
fn the_next_level_is_tried_and_all_of_its_devices_must_confirm() {
    let (mut world, victim) = settled(two_levels(), kept("db"));
    // Every plug feeds the host; the controller does not answer, so it is out of the picture.
    world.power.manner.insert("ipmi".into(), Manner::Fails);
    world.power.manner.insert("pdu-b".into(), Manner::HalfWorks);
    cut(&mut world, &victim);
    world.run(120);
    assert!(proofs(&world).is_empty(), "one supply still has power");
    assert!(asked(&world).contains(&format!("status pdu-b {victim}").as_str()));
    world.power.manner.remove("pdu-b");
    for node in NODES {
        world.power.plugs.remove(&("ipmi".into(), node.into()));
    }
    world.until("db elsewhere", 400, |w| !proofs(w).is_empty());
    let devices = ["pdu-a", "pdu-b"].map(|d| DeviceName::new(d).unwrap());
    let devices = devices.to_vec();
    assert_eq!(proofs(&world), [Proof::Fenced { devices }]);
    world.run(10);
    let on: Vec<&str> = asked(&world)
        .into_iter()
        .filter(|q| q.starts_with("on"))
        .collect();
    assert_eq!(on.len(), 2, "both supplies get their power back: {on:?}");
}

#[test]
fn one_device_is_asked_one_thing_at_a_time() {
    // Power::ask panics on a second question; two hosts hang on one strip.
    let mut settings = one_device_each();
    let levels: &[&[&str]] = &[&["strip"]];
    let more = fencing(&[("node-1", levels), ("node-2", levels), ("node-3", levels)]);
    settings.fencing.nodes = more.nodes;
    settings.fencing.devices = more.devices;
    settings.fencing.monitor_every = Millis::from_secs(30);
    let mut world = World::with(&NODES, settings);
    world.run(5);
    for node in ["node-1", "node-2"] {
        let mut wish = wish(node);
        wish.override_budget = true;
        world.ask(Request::Fence(wish)).unwrap();
    }
    world.until("both off", 60, |w| {
        w.power
            .asked
            .iter()
            .filter(|q| q.starts_with("on "))
            .count()
            == 2
    });
    let order: Vec<&str> = asked(&world);
    let first = order.iter().position(|q| *q == "off strip node-1").unwrap();
    assert_eq!(order[first + 1], "status strip node-1", "{order:?}");
    world.run(300);
    assert!(world.power.asked.iter().any(|q| q == "monitor strip -"));
}

#[test]
fn a_host_that_is_heard_again_before_it_is_switched_off_is_left_alone() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    let other = NODES.into_iter().find(|n| *n != victim).unwrap();
    // The brake holds the fence back: nothing is asked.
    world.nodes.get_mut(&victim).unwrap().connected = false;
    world.nodes.get_mut(other).unwrap().connected = false;
    let told = victim.clone();
    world.until("lost", 60, |w| w.liveness(&told) == Liveness::Lost);
    world.run(120);
    assert!(
        asked(&world).is_empty(),
        "during a storm: {:?}",
        asked(&world)
    );
    let view = world.core().fences_view(world.now);
    assert!(view.fences[0].state.starts_with("waits"), "{view:?}");
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.run(10);
    assert!(world.core().fences_view(world.now).fences.is_empty());
    let dropped = |d: &&Decision| matches!(d, Decision::Fence(FenceStep::Dropped { .. }));
    assert!(world.decisions().any(|d| dropped(&d)));
    world.nodes.get_mut(other).unwrap().connected = true;
    world.run(200);
    assert!(asked(&world).is_empty());
}

#[test]
fn a_storm_holds_automatic_fences_and_not_a_persons() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    for node in NODES {
        world.nodes.get_mut(node).unwrap().connected = false;
    }
    world.run(300);
    assert!(asked(&world).is_empty(), "{:?}", asked(&world));
    let mut wish = wish(&victim);
    wish.override_budget = true;
    wish.then = Some(FenceThen::StayOff);
    world.ask(Request::Fence(wish)).unwrap();
    world.run(20);
    assert!(matches!(proofs(&world)[..], [Proof::Fenced { .. }]));
    assert_eq!(world.liveness(&victim), Liveness::Fenced);
    let on = asked(&world).iter().any(|q| q.starts_with("on "));
    assert!(!on, "it stays off");
}

#[test]
fn a_person_waits_for_room_unless_the_budget_is_overridden() {
    let mut world = World::with(&NODES, one_device_each());
    world.run(5);
    world.ask(Request::Fence(wish("node-1"))).unwrap();
    world.until("off", 30, |w| w.power.is_dark("node-1"));
    world.nodes.get_mut("node-1").unwrap().connected = false;
    world.ask(Request::Fence(wish("node-2"))).unwrap();
    world.run(60);
    assert!(!asked(&world).contains(&"off ipmi-2 node-2"));
    let view = world.core().fences_view(world.now);
    assert!(view.fences[0].state.contains("node-1"), "{view:?}");
    let mut more = wish("node-2");
    more.override_budget = true;
    world.ask(Request::Fence(more)).unwrap();
    world.run(5);
    assert!(asked(&world).contains(&"off ipmi-2 node-2"));
    let again = world.ask(Request::Fence(wish("node-1")));
    assert!(matches!(again, Err(Refused::Conflict(_))), "{again:?}");
}

/// `ipmi-1` is busy with its monitor when a person wants `node-1` switched off.
fn busy(mut settings: Settings) -> World {
    settings.fencing.monitor_every = Millis::from_secs(30);
    let mut world = World::with(&NODES, settings);
    world.run(5);
    world
        .power
        .manner
        .insert("ipmi-1".into(), Manner::SlowMonitor);
    let monitors = |w: &World| {
        let asked = w.power.asked.iter();
        asked.filter(|q| *q == "monitor ipmi-1 -").count()
    };
    let before = monitors(&world);
    world.until("its monitor", 90, |w| monitors(w) > before);
    world.ask(Request::Fence(wish("node-1"))).unwrap();
    world
}

fn state_of_the_fence(world: &World) -> String {
    world.core().fences_view(world.now).fences[0].state.clone()
}

fn off(world: &World) -> bool {
    asked(world).contains(&"off ipmi-1 node-1")
}

#[test]
fn a_fence_that_waits_for_its_device_looks_again_at_the_budget_when_that_is_free() {
    let mut world = busy(one_device_each());
    assert_eq!(state_of_the_fence(&world), "waits: ipmi-1 is busy");
    // There was room when it was asked for; now another host falls silent.
    let silent = |w: &World| w.liveness("node-2") == Liveness::Suspect;
    world.nodes.get_mut("node-2").unwrap().connected = false;
    world.until("silent", 30, silent);
    assert!(!off(&world) && !asked(&world).contains(&"status ipmi-1 node-1"));
    world.run(60);
    assert!(!off(&world), "two of three would be out");
    let waits = "waits: 1 of at most 1 hosts are out: node-2";
    assert_eq!(state_of_the_fence(&world), waits);
    world.nodes.get_mut("node-2").unwrap().connected = true;
    world.until("off", 120, off);
    world.until("dark", 10, |w| w.power.is_dark("node-1"));
}

#[test]
fn a_fence_that_waits_for_its_device_takes_no_place_over_a_restart_of_the_coordinator() {
    let mut world = busy(one_device_each());
    world.kill();
    world.nodes.get_mut("node-2").unwrap().connected = false;
    world.nodes.get_mut("node-3").unwrap().connected = false;
    world.start();
    assert!(!off(&world), "nobody has been heard yet");
    world.run(60);
    assert!(!off(&world), "all three would be out");
    let waits = "waits: 2 of at most 1 hosts are out: node-2, node-3";
    assert_eq!(state_of_the_fence(&world), waits);
}

#[test]
fn what_a_device_was_asked_to_switch_off_is_not_taken_back_for_want_of_room() {
    let mut world = World::with(&NODES, one_device_each());
    world.power.manner.insert("ipmi-1".into(), Manner::Hangs);
    world.run(5);
    world.ask(Request::Fence(wish("node-1"))).unwrap();
    assert!(off(&world));
    world.kill();
    world.nodes.get_mut("node-2").unwrap().connected = false;
    world.start();
    let again = |w: &World| {
        asked(w)
            .iter()
            .filter(|q| **q == "off ipmi-1 node-1")
            .count()
            > 1
    };
    assert!(again(&world), "nobody knows what it did: it is asked again");
}

#[test]
fn a_person_who_overrides_the_budget_waits_for_the_device_only() {
    let mut world = busy(one_device_each());
    world.nodes.get_mut("node-2").unwrap().connected = false;
    let mut more = wish("node-1");
    more.override_budget = true;
    world.ask(Request::Fence(more)).unwrap();
    assert_eq!(state_of_the_fence(&world), "waits: ipmi-1 is busy");
    world.until("off", 60, off);
    assert_eq!(world.liveness("node-2"), Liveness::Lost);
}

#[test]
fn a_power_that_does_not_come_back_is_an_alert_and_no_failed_fence() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    world
        .power
        .manner
        .insert(device_of(&victim), Manner::NoWayBack);
    cut(&mut world, &victim);
    world.until("db elsewhere", 60, |w| w.serving("db") == 1);
    let key = format!("fence/{victim}/power-on");
    world.until("told", 10, |w| fires(w, &key, Severity::Warning));
    let now = world.now;
    let node = world.nodes.get_mut(&victim).unwrap();
    node.connected = true;
    node.reboot(now);
    world.until("all well", 60, |w| w.open_alerts().is_empty());
}

#[test]
fn what_a_device_may_have_switched_off_later_than_it_said_gets_its_power_back() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    world.power.manner.insert(device_of(&victim), Manner::Hangs);
    cut(&mut world, &victim);
    let asked_off = format!("off {} {victim}", device_of(&victim));
    let off = |w: &World| asked(w).contains(&asked_off.as_str());
    world.until("asked", 60, off);
    world.nodes.get_mut(&victim).unwrap().connected = true;
    let dropped = |d: &Decision| matches!(d, Decision::Fence(FenceStep::Dropped { .. }));
    world.until("heard again", 300, |w| w.decisions().any(dropped));
    let asked_on = format!("on {} {victim}", device_of(&victim));
    let on = |w: &World| asked(w).contains(&asked_on.as_str());
    world.until("nobody knows what it did", 60, on);
}

#[test]
fn what_was_asked_before_a_restart_of_the_coordinator_gets_its_power_back() {
    let (mut world, victim) = settled(one_device_each(), exclusive("db"));
    world.power.manner.insert(device_of(&victim), Manner::Late);
    cut(&mut world, &victim);
    let asked_off = format!("off {} {victim}", device_of(&victim));
    let off = |w: &World| asked(w).contains(&asked_off.as_str());
    world.until("asked", 60, off);
    let reason = "nothing comes back to it".into();
    let node = id(&victim);
    world.ask(Request::Cordon { node, reason }).unwrap();
    // It dies over the question, and its successor hears the host before that loses its power.
    world.kill();
    world.nodes.get_mut(&victim).unwrap().connected = true;
    world.start();
    let proved = |w: &World| proofs(w) == [Proof::StopConfirmed];
    world.until("nothing waits for a proof", 10, proved);
    world.until("switched off", 80, |w| w.power.is_dark(&victim));
    world.until("it has power again", 300, |w| !w.power.is_dark(&victim));
    assert_eq!(proofs(&world), [Proof::StopConfirmed]);
}

#[test]
fn what_is_switched_off_long_after_it_was_asked_gets_its_power_back() {
    let (mut world, victim) = settled(one_device_each(), exclusive("db"));
    world.power.manner.insert(device_of(&victim), Manner::Late);
    cut(&mut world, &victim);
    let asked_off = format!("off {} {victim}", device_of(&victim));
    let off = |w: &World| asked(w).contains(&asked_off.as_str());
    world.until("asked", 60, off);
    world.nodes.get_mut(&victim).unwrap().connected = true;
    let dropped = |d: &Decision| matches!(d, Decision::Fence(FenceStep::Dropped { .. }));
    world.until("heard again", 300, |w| w.decisions().any(dropped));
    world.power.manner.clear();
    let asked_on = format!("on {} {victim}", device_of(&victim));
    let on = |w: &World| asked(w).iter().filter(|q| **q == asked_on).count();
    world.until("nobody knows what it did", 60, |w| on(w) == 1);
    // Another coordinator does not forget what may come.
    world.run(5);
    world.kill();
    world.start();
    world.until("switched off", 60, |w| w.power.is_dark(&victim));
    world.until("asked again", 300, |w| on(w) == 2);
    world.until("it has power again", 10, |w| !w.power.is_dark(&victim));
    world.run(600);
    assert_eq!(on(&world), 2, "and no more than once again");
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
}

#[test]
fn who_came_up_while_its_device_was_asked_has_power_whatever_that_says() {
    let (mut world, victim) = settled(one_device_each(), kept("db"));
    let manner = Manner::LateNoWayBack;
    world.power.manner.insert(device_of(&victim), manner);
    cut(&mut world, &victim);
    world.until("db elsewhere", 60, |w| w.serving("db") == 1);
    let now = world.now;
    let node = world.nodes.get_mut(&victim).unwrap();
    node.connected = true;
    node.reboot(now);
    let said = |d: &Decision| {
        let Decision::Fence(FenceStep::Said(said)) = d else {
            return false;
        };
        said.verb == FenceVerb::On
    };
    world.until("the answer", 60, |w| w.decisions().any(said));
    world.run(60);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
}

#[test]
fn a_sick_device_is_known_before_it_is_needed() {
    let mut settings = one_device_each();
    settings.fencing.monitor_every = Millis::from_secs(600);
    let mut world = World::with(&NODES, settings);
    world.power.manner.insert("ipmi-2".into(), Manner::Fails);
    let key = "fence-device/ipmi-2/monitor";
    world.until("told", 90, |w| fires(w, key, Severity::Warning));
    world.power.manner.clear();
    world.until("over", 1000, |w| w.open_alerts().is_empty());
}
