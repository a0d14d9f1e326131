//! Restarts and reboots of hosts, and messages of boots that are over.

use super::*;

#[test]
fn a_reboot_frees_its_grants_at_once() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    let now = world.now;
    world.nodes.get_mut(&victim).unwrap().reboot(now);
    let took = world.until("db serves again", 20, |w| {
        ended_by(w, |p| *p == Proof::Rebooted) >= 1 && w.serving("db") == 1
    });
    assert!(took <= 10, "took {took} s");
}

#[test]
fn a_message_of_an_old_boot_does_not_make_a_host_look_rebooted() {
    let mut world = settled(&["node-1", "node-2"]);
    let victim = world.holders("db")[0].to_string();
    // A birth of another boot was under way for days; the host cannot answer for that boot.
    let mut old = common::node::FakeNode::new(&victim);
    old.boot = 99;
    let now = world.now;
    old.say_birth(now);
    for message in old.tick(now) {
        world.message(&victim, message, false);
    }
    world.run(60);
    assert_eq!(ended_by(&world, |_| true), 0, "{}", world.tell());
    assert_eq!(world.holders("db"), [victim.as_str()]);
}

#[test]
fn a_reboot_is_believed_over_a_broker_that_is_slower_than_the_asking() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    world.slow = world.settings.commands.resend_after + world.settings.commands.resend_after;
    let now = world.now;
    world.nodes.get_mut(&victim).unwrap().reboot(now);
    world.until("the new boot is known", 60, |w| {
        let session = &w.store.nodes[&id(&victim)].session;
        *session == w.nodes[&victim].session()
    });
}

#[test]
fn an_agent_restart_changes_nothing() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let grants = world.store.grants.clone();
    let now = world.now;
    for node in world.nodes.values_mut() {
        node.restart_agent(now);
    }
    world.run(60);
    assert_eq!(world.store.grants, grants);
}

#[test]
fn a_will_of_an_old_session_and_a_late_one_of_the_current_are_hints_at_most() {
    let mut world = settled(&["node-1", "node-2"]);
    let now = world.now;
    let old = world.nodes["node-1"].will(now);
    world.nodes.get_mut("node-1").unwrap().restart_agent(now);
    world.run(5);
    world.message("node-1", old, true);
    assert_eq!(world.liveness("node-1"), Liveness::Alive);
    let will = world.nodes["node-1"].will(world.now);
    world.message("node-1", will, false);
    assert_eq!(world.liveness("node-1"), Liveness::Suspect);
    world.run(5);
    assert_eq!(world.liveness("node-1"), Liveness::Alive);
}

#[test]
fn a_birth_from_long_ago_changes_nothing_also_after_a_restart() {
    let mut world = World::new(&["node-1", "node-2"]);
    let old: Vec<Message> = {
        let now = world.now;
        let node = world.nodes.get_mut("node-1").unwrap();
        node.enforcement = Enforcement::Hardware {
            timeout: Millis::from_secs(1),
        };
        node.say_birth(now);
        let words = node.tick(now);
        node.enforcement = Enforcement::None;
        words
    };
    world.run(5);
    let now = world.now;
    world.nodes.get_mut("node-1").unwrap().restart_agent(now);
    world.run(10);
    world.kill();
    world.start();
    for message in old {
        world.message("node-1", message, false);
    }
    let view = world.core().node_view(world.now, &id("node-1")).unwrap();
    assert_eq!(
        view.enforcement,
        Enforcement::None,
        "safe times rest on this"
    );
}
