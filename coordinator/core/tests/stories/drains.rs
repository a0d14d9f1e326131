//! Hosts that are taken out, by a person or by their own wish.

use super::*;

#[test]
fn a_drain_moves_replicated_work_without_a_gap_and_ends_when_all_stops_are_proved() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("web")[0].to_string();
    world.ask(drain(&victim, None)).unwrap();
    for _ in 0..120 {
        world.step();
        assert!(world.serving("web") >= 2, "a gap\n{}", world.tell());
        let view = world.core().node_view(world.now, &id(&victim)).unwrap();
        if matches!(view.scheduling, Scheduling::Drained(_)) {
            assert!(view.works.is_empty());
            assert!(!world.holders("web").contains(&victim.as_str()));
            assert!(!world.holders("db").contains(&victim.as_str()));
            return;
        }
    }
    panic!("not drained\n{}", world.tell());
}

#[test]
fn work_with_no_other_place_stays_until_the_deadline() {
    let mut world = World::new(&["node-1"]);
    world.put(&[exclusive("db")]);
    world.until("db serves", 20, |w| w.serving("db") == 1);
    world.nodes.get_mut("node-1").unwrap().sticks = Some(WorkName::new("db").unwrap());
    let alone = Request::Drain {
        node: id("node-1"),
        reason: "new memory".into(),
        deadline: Some(Millis::from_secs(60)),
        override_budget: true,
    };
    world.ask(alone).unwrap();
    world.run(50);
    assert_eq!(world.serving("db"), 1);
    let view = world.core().node_view(world.now, &id("node-1")).unwrap();
    let Scheduling::Draining(drain) = view.scheduling else {
        panic!("{:?}", view.scheduling)
    };
    assert!(
        drain.waiting[0].contains("no other node fits"),
        "{:?}",
        drain.waiting
    );
    // It does not stop: the drain is overdue, and not done however long it takes.
    world.run(60);
    let view = world.core().node_view(world.now, &id("node-1")).unwrap();
    assert!(matches!(view.scheduling, Scheduling::Draining(_)));
    let overdue = ("node/node-1/drain-overdue".to_string(), Severity::Warning);
    assert!(world.open_alerts().contains(&overdue));
    world.nodes.get_mut("node-1").unwrap().sticks = None;
    world.until("drained", 20, |w| {
        let view = w.core().node_view(w.now, &id("node-1")).unwrap();
        matches!(view.scheduling, Scheduling::Drained(_))
    });
    assert!(!world.open_alerts().contains(&overdue));
    world.ask(Request::Undrain { node: id("node-1") }).unwrap();
    world.until("db serves", 20, |w| w.serving("db") == 1);
}

#[test]
fn work_that_cannot_be_healed_moves_and_comes_back_only_after_a_person_says_so() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    let node = world.nodes.get_mut(&victim).unwrap();
    node.breaks = Some(WorkName::new("db").unwrap());
    node.drain_wanted = Some("db is fenced".into());
    world.until("db elsewhere", 20, |w| {
        w.serving("db") == 1 && w.holders("db") != [victim.as_str()]
    });
    let key = format!("work/db/fenced/{victim}");
    assert!(
        world
            .open_alerts()
            .iter()
            .any(|(k, s)| *k == key && *s == Severity::Critical)
    );
    world.until("drained by its agent", 60, |w| {
        let view = w.core().node_view(w.now, &id(&victim)).unwrap();
        matches!(view.scheduling, Scheduling::Drained(_))
    });
    // The agent does not want it any more: the same one that asked takes it back.
    let node = world.nodes.get_mut(&victim).unwrap();
    node.breaks = None;
    node.drain_wanted = None;
    world.until("open", 10, |w| {
        let view = w.core().node_view(w.now, &id(&victim)).unwrap();
        view.scheduling == Scheduling::Open
    });
    assert!(
        world.open_alerts().iter().any(|(k, _)| *k == key),
        "still fenced for db"
    );
    world.ask(Request::Undrain { node: id(&victim) }).unwrap();
    world.step();
    assert!(!world.open_alerts().iter().any(|(k, _)| *k == key));
}

#[test]
fn a_person_overrules_the_wish_of_an_agent_until_it_is_a_new_wish() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let open = |w: &World| {
        let view = w.core().node_view(w.now, &id("node-1")).unwrap();
        view.scheduling == Scheduling::Open
    };
    world.nodes.get_mut("node-1").unwrap().drain_wanted = Some("disk dies".into());
    world.until("draining", 10, |w| !open(w));
    world.ask(Request::Undrain { node: id("node-1") }).unwrap();
    world.run(30);
    assert!(open(&world));
    world.nodes.get_mut("node-1").unwrap().drain_wanted = None;
    world.run(10);
    world.nodes.get_mut("node-1").unwrap().drain_wanted = Some("disk dies again".into());
    world.until("draining", 10, |w| !open(w));
}

#[test]
fn a_planned_absence_raises_nothing_until_its_time_is_over() {
    let mut world = World::new(&["node-1", "node-2", "node-3"]);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    let victim = world.holders("web")[0].to_string();
    let now = world.now;
    let node = world.nodes.get_mut(&victim).unwrap();
    let farewell = node.farewell(now, Millis::from_secs(300));
    world.message(&victim, farewell, false);
    world.run(290);
    assert_eq!(world.liveness(&victim), Liveness::Away);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    world.run(30);
    assert_eq!(world.liveness(&victim), Liveness::Lost);
    let lost = format!("node/{victim}/lost");
    assert!(world.open_alerts().iter().any(|(k, _)| *k == lost));
}
