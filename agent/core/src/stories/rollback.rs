//! The state of an agent turned back: a disk image restored under a running host, or over a reboot.
//! Under a running host the copy of this boot knows better, and nothing is forgotten. Where the
//! copy is gone too it may cost counts of restarts; it never costs the promise.

use super::*;
use nodemedic_protocol::message::{CoordinatorState, Refusal};

const TERM: Millis = Millis::from_secs(15);

fn held() -> (World, Memory) {
    let mut config = config();
    config.services.clear();
    let mut world = World::new(config);
    world.acks = Some(TERM);
    world.input(Input::LinkUp);
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 3)]);
    let before = world.memory.clone();
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("db")), "Running");
    (world, before)
}

#[test]
fn replicated_work_that_an_older_disk_does_not_know_is_stopped_once_it_is_not_wanted() {
    let mut config = config();
    config.services.clear();
    let mut world = World::new(config);
    world.input(Input::LinkUp);
    world.assign(vec![]);
    let before = world.memory.clone();
    world.assign(vec![run("shop", Sharing::Replicated { replicas: 2 }, 4)]);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Running");
    world.memory = before;
    world.restart_agent();
    world.input(Input::LinkUp);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.verbs(&work("shop")), [Verb::Start], "it runs on");
    assert_eq!(
        world.state(&work("shop")),
        "Running",
        "and its agent knows it"
    );
    // Meanwhile it was replaced elsewhere.
    world.assign(vec![]);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.verbs(&work("shop")), [Verb::Start, Verb::Stop]);
    assert_eq!(world.thing(&work("shop")).runs, None);
}

#[test]
fn an_empty_disk_under_a_running_host_forgets_no_use_and_no_fence() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    world.kill(&web);
    world.pass(Millis::from_secs(1));
    world.memory = Memory::default();
    world.restart_agent();
    world.pass(Millis::from_secs(1));
    assert_eq!(world.agent.status(world.now).services[0].restarts_used, 1);
    world.thing(&web).broken = true;
    world.kill(&web);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&web), "fenced");
    world.memory = Memory::default();
    world.restart_agent();
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&web), "fenced");
    let verbs = world.verbs(&web);
    let restarts = verbs.iter().filter(|verb| verb.restarts());
    assert_eq!(restarts.count(), 5);
}

#[test]
fn the_copy_of_another_boot_or_an_older_one_is_not_believed() {
    let boot = BootId::new("here").unwrap();
    let of = |writes, name: &str| Memory {
        writes,
        boot_id: Some(BootId::new(name).unwrap()),
        ..Memory::default()
    };
    let newest = |disk: Memory, copy| Memory::newest(disk, copy, &boot).writes;
    assert_eq!(newest(of(5, "here"), Some(of(6, "here"))), 6);
    assert_eq!(newest(of(5, "before"), Some(of(6, "here"))), 6);
    assert_eq!(newest(of(5, "here"), Some(of(4, "here"))), 5);
    assert_eq!(newest(of(5, "here"), Some(of(6, "before"))), 5);
    assert_eq!(newest(of(5, "here"), None), 5);
    let version = crate::memory::VERSION + 1;
    let foreign = Memory {
        version,
        ..of(6, "here")
    };
    assert_eq!(newest(of(5, "here"), Some(foreign)), 5);
}

#[test]
fn an_older_memory_never_starts_a_generation_that_lapsed() {
    let (mut world, before) = held();
    world.acks = None;
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
    // Back to when generation 3 was assigned and had not even started.
    world.memory = before;
    world.copy = None;
    world.restart_agent();
    world.input(Input::LinkUp);
    world.pass(Millis::from_secs(600));
    assert_eq!(world.verbs(&work("db")), [Verb::Start, Verb::Stop]);
    assert_ne!(world.state(&work("db")), "Running");
}

#[test]
fn what_runs_under_a_lease_runs_on_under_an_older_memory() {
    let (mut world, before) = held();
    world.memory = before;
    world.copy = None;
    world.restart_agent();
    world.input(Input::LinkUp);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.verbs(&work("db")), [Verb::Start]);
    assert_eq!(world.state(&work("db")), "Running");
    assert_eq!(world.promises.len(), 1, "and its promise with it");
}

#[test]
fn an_older_memory_does_not_make_an_older_coordinator_be_obeyed_again() {
    let (mut world, before) = held();
    world.epoch = 5;
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 3)]);
    world.pass(Millis::from_secs(1));
    world.memory = before;
    world.copy = None;
    world.restart_agent();
    world.input(Input::LinkUp);
    world.epoch = 4;
    world.assign(vec![]);
    assert_eq!(refused(&world), Refusal::OlderEpoch { seen: Epoch(5) });
}

#[test]
fn after_a_reboot_too_the_retained_word_of_the_leader_bars_an_older_one() {
    let (mut world, before) = held();
    world.memory = before;
    world.copy = None;
    world.reboot(1);
    world.input(Input::LinkUp);
    let state = CoordinatorState {
        epoch: Epoch(5),
        online: true,
        wall: WallTime(1),
        version: "1.0".to_string(),
    };
    world.input(Input::Received {
        message: ToNode::Coordinator(state),
        retained: true,
    });
    world.epoch = 4;
    world.assign(vec![]);
    assert_eq!(refused(&world), Refusal::OlderEpoch { seen: Epoch(5) });
}

fn refused(world: &World) -> Refusal {
    use nodemedic_protocol::message::Answer;
    let refused = |m: &Message| match m {
        Message::Ack(ack) => match &ack.answer {
            Answer::Refused(refusal) => Some(refusal.clone()),
            Answer::Taken => None,
        },
        _ => None,
    };
    world.sent.iter().rev().find_map(refused).unwrap()
}
