//! A disk that refuses or is slow: nothing is begun that is not written down, and no restart counts
//! from before it was done.

use super::*;

fn broken() -> (World, UnitKey) {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&web), "running");
    (world, web)
}

fn restarts(world: &World, key: &UnitKey) -> Vec<Millis> {
    let of_this = |(_, act): &&(Millis, Act)| act.unit == *key && act.verb.restarts();
    world
        .acts
        .iter()
        .filter(of_this)
        .map(|(at, _)| *at)
        .collect()
}

#[test]
fn a_restart_that_cannot_be_written_down_is_decided_anew_and_counts_from_then() {
    let (mut world, web) = broken();
    world.fill_disk(true);
    world.kill(&web);
    world.pass(Millis::from_secs(300));
    assert_eq!(world.verbs(&web), [Verb::Start], "nothing is begun");
    let status = world.agent.status(world.now);
    assert_eq!(
        status.services[0].restarts_used, 0,
        "what was not done does not count"
    );
    let told = status
        .conditions
        .iter()
        .any(|c| c.message.contains("cannot be written down"));
    assert!(told, "{:?}", status.conditions);
    world.fill_disk(false);
    world.pass(Millis::from_secs(7));
    assert_eq!(world.state(&web), "running", "soon after the disk takes it");
    assert_eq!(world.count(&web, Verb::Restart), 1);
    // Ten minutes after it was *decided* first its use would be forgotten; it is not.
    world.pass(Millis::from_secs(300));
    assert_eq!(world.agent.status(world.now).services[0].restarts_used, 1);
    assert!(
        world.memory.intents.is_empty(),
        "and nothing is left half done"
    );
}

#[test]
fn restarts_that_a_slow_disk_keeps_waiting_never_come_closer_than_the_budget() {
    let (mut world, web) = broken();
    world.disk_takes = Millis::from_secs(9);
    world.thing(&web).broken = true;
    world.kill(&web);
    world.pass(Millis::from_secs(590));
    // The checks of the world count them at the moment at which they are done.
    assert_eq!(restarts(&world, &web).len(), 5);
    assert_eq!(world.state(&web), "fenced");
}

#[test]
fn a_restart_that_a_disk_kept_waiting_for_too_long_is_not_done_any_more() {
    let (mut world, web) = broken();
    world.disk_takes = Millis::from_secs(11);
    world.kill(&web);
    world.pass(Millis::from_secs(60));
    assert_eq!(restarts(&world, &web), []);
    world.disk_takes = Millis::ZERO;
    world.pass(Millis::from_secs(30));
    assert_eq!(world.state(&web), "running");
    assert_eq!(restarts(&world, &web).len(), 1);
}
