//! Exclusive work: it starts under a lease, and stops when it ends.

use super::*;
use nodemedic_protocol::work::StopCause;

const TERM: Millis = Millis::from_secs(15);

fn held(on_lease_loss: OnLeaseLoss) -> World {
    let mut config = config();
    config.services.clear();
    let mut world = World::new(config);
    world.acks = Some(TERM);
    world.input(Input::LinkUp);
    world.assign(vec![run("db", exclusive(on_lease_loss), 3)]);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("db")), "Running");
    world
}

#[test]
fn exclusive_work_waits_for_its_lease() {
    let mut config = config();
    config.services.clear();
    let mut world = World::new(config);
    world.input(Input::LinkUp);
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 3)]);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.acts, []);
    assert_eq!(world.state(&work("db")), "Starting");
    world.acks = Some(TERM);
    world.pass(Millis::from_secs(6));
    assert_eq!(world.state(&work("db")), "Running");
    assert_eq!(world.promises.len(), 1);
}

#[test]
fn a_lease_that_is_renewed_runs_for_ever() {
    let mut world = held(OnLeaseLoss::Stop);
    world.pass(Millis::from_secs(3600));
    assert_eq!(world.verbs(&work("db")), [Verb::Start]);
}

#[test]
fn a_silent_coordinator_stops_exclusive_work_at_the_deadline_and_not_before() {
    let mut world = held(OnLeaseLoss::Stop);
    let deadline = world.promises[0].deadline;
    world.acks = None;
    world.pass(deadline.since(world.now.boot) - Millis(1));
    assert_eq!(world.state(&work("db")), "Running");
    world.pass(Millis(1));
    assert_eq!(world.state(&work("db")), "Stopping");
    let stop = &world.acts.last().unwrap().1;
    assert_eq!(stop.verb, Verb::Stop);
    assert_eq!(stop.stop_grace, Millis(4000), "the kill comes in time");
    assert_eq!(world.promises.len(), 1, "until it is proved");
    world.pass(Millis(100));
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
    assert_eq!(world.promises, []);
    let lost = world
        .told(|e| matches!(e, EventKind::LeaseLost { generation } if *generation == Generation(3)));
    assert_eq!(lost, 1);
    // The coordinator comes back and renews all it granted: too late for this generation.
    world.acks = Some(TERM);
    let grant = GrantRef {
        work: WorkName::new("db").unwrap(),
        generation: Generation(3),
    };
    for n in 0..200 {
        let ack = world.ack(n, TERM, vec![grant.clone()]);
        world.reckoned.clear();
        world.input(Input::Received {
            message: ToNode::Lease(ack),
            retained: false,
        });
    }
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
    assert_eq!(world.verbs(&work("db")), [Verb::Start, Verb::Stop]);
    // A new generation is a new grant.
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 4)]);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("db")), "Running");
}

#[test]
fn work_that_chose_keep_is_never_stopped_for_a_partition() {
    let mut world = held(OnLeaseLoss::Keep);
    world.acks = None;
    world.input(Input::LinkDown {
        error: "gone".to_string(),
    });
    world.pass(Millis::from_secs(100_000));
    assert_eq!(world.verbs(&work("db")), [Verb::Start]);
    assert_eq!(world.state(&work("db")), "Running");
    // It may not begin again without a lease: a person may have moved it on seeing it dead.
    world.kill(&work("db"));
    world.pass(Millis::from_secs(60));
    assert_eq!(world.verbs(&work("db")), [Verb::Start]);
    world.acks = Some(TERM);
    world.input(Input::LinkUp);
    world.pass(Millis::from_secs(6));
    assert_eq!(world.verbs(&work("db")), [Verb::Start, Verb::Restart]);
    assert_eq!(world.state(&work("db")), "Running");
}

#[test]
fn a_lease_survives_an_agent_restart_but_not_its_deadline() {
    let mut world = held(OnLeaseLoss::Stop);
    world.acks = None;
    let deadline = world.promises[0].deadline;
    world.pass(Millis::from_secs(5));
    world.restart_agent();
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("db")), "Running");
    assert_eq!(world.promises[0].deadline, deadline);
    world.pass(deadline.since(world.now.boot) + Millis(100));
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
}

#[test]
fn a_lost_leases_file_means_over() {
    let mut world = held(OnLeaseLoss::Stop);
    world.leases = None;
    world.restart_agent();
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
}

#[test]
fn a_stop_that_hangs_keeps_its_promise_open_for_the_watchdog() {
    let mut world = held(OnLeaseLoss::Stop);
    world.acks = None;
    world.thing(&work("db")).stuck = true;
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("db")), "Stopping");
    assert_eq!(world.promises.len(), 1);
    assert!(
        world.count(&work("db"), Verb::Stop) > 2,
        "it is tried again"
    );
    // From here on the watchdog would have ended it; the checks need not wait for that.
    world.reckoned.clear();
    world.thing(&work("db")).stuck = false;
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
    assert_eq!(world.promises, []);
}

#[test]
fn a_restart_under_way_at_the_deadline_is_ended_by_the_stop() {
    let mut world = held(OnLeaseLoss::Stop);
    world.acks = None;
    let deadline = world.promises[0].deadline;
    world.pass(deadline.since(world.now.boot) - Millis(5));
    world.kill(&work("db"));
    assert_eq!(world.verbs(&work("db")).last(), Some(&Verb::Restart));
    world.pass(Millis(6));
    assert_eq!(world.verbs(&work("db")).last(), Some(&Verb::Stop));
    world.pass(Millis::from_secs(1));
    assert_eq!(world.thing(&work("db")).runs, None);
    assert_eq!(world.state(&work("db")), "Stopped(LeaseLost)");
}

#[test]
fn after_a_reboot_exclusive_work_waits_for_a_new_lease() {
    let mut world = held(OnLeaseLoss::Stop);
    world.acks = None;
    world.reboot(1);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.thing(&work("db")).runs, None);
    assert_eq!(world.state(&work("db")), "Starting");
}

#[test]
fn a_lease_for_another_session_or_of_an_older_epoch_renews_nothing() {
    let mut world = held(OnLeaseLoss::Stop);
    world.acks = None;
    let grant = GrantRef {
        work: WorkName::new("db").unwrap(),
        generation: Generation(3),
    };
    let deadline = world.promises[0].deadline;
    world.pass(Millis::from_secs(10));
    let n = world
        .sent
        .iter()
        .filter(|m| matches!(m, Message::Heartbeat(_)))
        .count() as u64;
    let good = world.ack(n, TERM, vec![grant]);
    world.reckoned.clear();
    let mut foreign = good.clone();
    foreign.session.session_id = SessionId::new("other").unwrap();
    let mut old = good.clone();
    old.epoch = Epoch(0);
    for (ack, retained) in [(foreign, false), (old, false), (good.clone(), true)] {
        world.input(Input::Received {
            message: ToNode::Lease(ack),
            retained,
        });
        assert_eq!(world.promises[0].deadline, deadline);
    }
    world.input(Input::Received {
        message: ToNode::Lease(good),
        retained: false,
    });
    assert!(world.promises[0].deadline > deadline);
}

#[test]
fn a_fenced_work_frees_its_grant_with_the_cause() {
    let mut world = held(OnLeaseLoss::Stop);
    world.thing(&work("db")).broken = true;
    world.kill(&work("db"));
    world.pass(Millis::from_secs(120));
    assert_eq!(
        world.state(&work("db")),
        format!("Stopped({:?})", StopCause::Fenced)
    );
    assert_eq!(world.promises, []);
    world.thing(&work("db")).broken = false;
    world.assign(vec![run("db", exclusive(OnLeaseLoss::Stop), 4)]);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("db")), "Running");
}
