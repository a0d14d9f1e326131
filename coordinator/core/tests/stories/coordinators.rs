//! A coordinator that was away, is deaf, or is not the only one.

use super::*;

#[test]
fn a_restarted_coordinator_takes_nothing_out_on_silence_before_its_grace_is_over() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let victim = world.holders("db")[0].to_string();
    world.kill();
    world.nodes.get_mut(&victim).unwrap().connected = false;
    world.start();
    let grace = world.core().status_view(world.now).resume_grace_left;
    // term 20 + stop grace 5 + timeout 5, by a slow clock, and the margin
    assert_eq!(grace, Millis(30_000 + 300 + 2_000));
    world.run(grace.0 / 1000 - 1);
    assert_eq!(world.liveness(&victim), Liveness::Unheard);
    assert_eq!(ended_by(&world, |_| true), 0);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    world.until("db elsewhere", 60, |w| w.serving("db") == 1);
}

#[test]
fn a_coordinator_that_was_away_for_long_disturbs_no_replicated_work() {
    let mut world = settled(&["node-1", "node-2", "node-3"]);
    let grants: Vec<_> = world.store.grants.keys().cloned().collect();
    world.kill();
    world.run(3600);
    assert_eq!(world.holders("web").len(), 2);
    assert_eq!(
        world.holders("db").len(),
        0,
        "its lease ended, as its owner chose"
    );
    world.start();
    world.until("db serves", 90, |w| w.serving("db") == 1);
    let now: Vec<_> = world.store.grants.keys().cloned().collect();
    for key in grants.iter().filter(|k| k.work.as_str() == "web") {
        assert!(now.contains(key), "{key:?} was disturbed");
    }
}

#[test]
fn a_superseded_coordinator_acts_on_nothing_and_says_so() {
    let mut world = settled(&["node-1", "node-2"]);
    let grants = world.store.grants.clone();
    let now = world.now;
    let node = world.nodes.get_mut("node-1").unwrap();
    node.epoch_seen = Epoch(99);
    node.say_birth(now);
    world.step();
    world.nodes.get_mut("node-2").unwrap().up = false;
    world.run(300);
    assert_eq!(world.store.grants, grants);
    let refused = world.ask(drain("node-1", None));
    assert_eq!(refused, Err(Refused::Superseded(Epoch(99))));
    assert_eq!(world.open_alerts()[0].0, "coordinator/superseded");
    assert!(
        world
            .told
            .iter()
            .any(|(key, _)| key == "coordinator/superseded")
    );
}

#[test]
fn a_newer_coordinator_on_the_topic_counts_as_well_and_an_older_one_does_not() {
    let mut world = settled(&["node-1"]);
    let state = |epoch, online, wall| {
        Input::OtherCoordinator(CoordinatorState {
            epoch: Epoch(epoch),
            online,
            wall,
            version: "1".into(),
        })
    };
    let wall = world.now.wall;
    world.input(state(1, true, wall));
    world.input(state(50, false, wall));
    assert_eq!(world.core().status_view(world.now).superseded_by, None);
    world.input(state(50, true, wall));
    assert_eq!(
        world.core().status_view(world.now).superseded_by,
        Some(Epoch(50))
    );
}

#[test]
fn a_retained_command_like_message_or_an_unknown_nodes_word_changes_nothing() {
    let mut world = settled(&["node-1"]);
    let grants = world.store.grants.clone();
    let mut stranger = common::node::FakeNode::new("node-9");
    stranger.say_birth(world.now);
    let words = stranger.tick(world.now);
    for message in words {
        if matches!(message, Message::Birth(_)) {
            world.message("node-9", message, true);
        }
    }
    assert!(world.core().node_view(world.now, &id("node-9")).is_none());
    assert_eq!(world.store.grants, grants);
}

#[test]
fn a_deaf_coordinator_blames_nobody() {
    let mut settings = settings();
    settings.alerts.unplaced_for = Millis::from_secs(5);
    let mut world = World::with(&["node-1", "node-2"], settings);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    world.input(Input::LinkDown);
    for node in world.nodes.values_mut() {
        node.connected = false;
    }
    world.run(600);
    assert!(world.open_alerts().is_empty(), "{:?}", world.open_alerts());
    for node in world.nodes.values_mut() {
        node.connected = true;
    }
    world.input(Input::LinkUp);
    world.run(60);
    assert!(world.told.is_empty(), "{:?}", world.told);
}

#[test]
fn after_a_broker_was_away_agents_have_their_time_to_find_it_before_anybody_is_lost() {
    let mut hasty = settings();
    hasty.liveness.suspect_after = Millis::from_secs(2);
    hasty.liveness.lost_after = Millis::from_secs(3);
    let mut world = World::with(&["node-1", "node-2", "node-3"], hasty);
    world.put(&[replicated("web", 2)]);
    world.until("web serves", 20, |w| w.serving("web") == 2);
    let holders: Vec<String> = world
        .holders("web")
        .iter()
        .map(ToString::to_string)
        .collect();
    world.input(Input::LinkDown);
    for node in world.nodes.values_mut() {
        node.connected = false;
    }
    world.run(60);
    world.input(Input::LinkUp);
    // The last one finds its broker as late as an agent may.
    for name in ["node-1", "node-2", "node-3"] {
        world.run(4);
        world.nodes.get_mut(name).unwrap().connected = true;
    }
    world.run(60);
    assert_eq!(
        world.holders("web"),
        holders.iter().map(String::as_str).collect::<Vec<_>>()
    );
    let lost = |d: &Decision| {
        matches!(
            d,
            Decision::Liveness {
                to: Liveness::Lost,
                ..
            }
        )
    };
    assert!(!world.decisions().any(lost), "{}", world.tell());
}
