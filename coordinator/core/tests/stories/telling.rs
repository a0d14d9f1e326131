//! Alerts, and the events of hosts.

use super::*;

#[test]
fn an_alert_is_told_once_and_its_end_too_however_long_the_receiver_is_away() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    world.receiver_fails = true;
    world.nodes.get_mut("node-3").unwrap().up = false;
    world.until("lost", 60, |w| w.liveness("node-3") == Liveness::Lost);
    world.run(900);
    assert!(world.told.is_empty());
    world.receiver_fails = false;
    world.run(400);
    let key = "node/node-3/lost".to_string();
    assert_eq!(world.told.iter().filter(|(k, _)| *k == key).count(), 1);
    // A restart tells nothing again.
    world.kill();
    world.start();
    world.run(120);
    assert_eq!(world.told.iter().filter(|(k, _)| *k == key).count(), 1);
    let now = world.now;
    world.nodes.get_mut("node-3").unwrap().reboot(now);
    world.until("told", 60, |w| {
        w.told.contains(&(key.clone(), AlertState::Resolved))
    });
    assert_eq!(world.told.iter().filter(|(k, _)| *k == key).count(), 2);
    world.run(1);
    assert!(world.core().alerts_view().iter().all(|a| a.delivered));
}

#[test]
fn conditions_become_alerts_and_survive_a_restart_unseen() {
    let mut world = settled(&["node-1", "node-2"]);
    let condition = Condition {
        component: Component::Disk("sda".into()),
        reason: Reason::ErrorsRising,
        severity: Severity::Warning,
        since: Boottime(1),
        since_wall: world.now.wall,
        seen: true,
        message: "sda had 7 errors".into(),
        evidence: Default::default(),
    };
    let node = world.nodes.get_mut("node-1").unwrap();
    node.conditions = vec![condition];
    node.say_health();
    world.run(1);
    let key = "node/node-1/condition/disk sda/errors rising".to_string();
    assert_eq!(world.open_alerts(), [(key.clone(), Severity::Warning)]);
    world.kill();
    world.nodes.get_mut("node-1").unwrap().connected = false;
    world.start();
    world.run(5);
    assert_eq!(world.open_alerts().len(), 1, "unseen is not recovered");
    let node = world.nodes.get_mut("node-1").unwrap();
    node.connected = true;
    node.conditions.clear();
    node.say_health();
    world.until("resolved", 20, |w| w.open_alerts().is_empty());
}

#[test]
fn events_are_stored_once_each_whatever_is_repeated() {
    let mut world = settled(&["node-1", "node-2"]);
    for _ in 0..40 {
        let now = world.now;
        world.nodes.get_mut("node-1").unwrap().happened(now);
        if world.now.boot.0.is_multiple_of(7_000) {
            world.kill();
            world.run(3);
            world.start();
        }
        world.step();
    }
    world.run(20);
    let node = &world.nodes["node-1"];
    assert_eq!(node.events_stored, 40);
    let stored = world
        .journal
        .iter()
        .filter(|e| e.node == Some(id("node-1")))
        .filter_map(|e| match &e.what {
            nodemedic_protocol::api::JournalWhat::Node(event) => Some(event.seq.0),
            nodemedic_protocol::api::JournalWhat::Coordinator(_) => None,
        });
    assert_eq!(stored.collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
}
