//! Assignments: what is taken, what is refused, and how one grant follows another.

use super::*;
use nodemedic_protocol::message::{Answer, Refusal};

const TWO: Sharing = Sharing::Replicated { replicas: 2 };

fn world() -> World {
    let mut config = config();
    config.services.clear();
    config.vars.insert("port".to_string(), "8080".to_string());
    let mut world = World::new(config);
    world.input(Input::LinkUp);
    world
}

fn last_answer(world: &World) -> Answer {
    world
        .sent
        .iter()
        .rev()
        .find_map(|m| match m {
            Message::Ack(ack) => Some(ack.answer.clone()),
            _ => None,
        })
        .unwrap()
}

#[test]
fn an_assigned_work_runs_and_a_repeated_assignment_changes_nothing() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Running");
    let again = world.assignment(1, vec![run("shop", TWO, 1)]);
    world.receive(again);
    assert_eq!(last_answer(&world), Answer::Taken);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.verbs(&work("shop")), [Verb::Start]);
    let act = &world.acts[0].1;
    assert_eq!(act.generation, Some(Generation(1)));
    assert_eq!(act.environment["NODEMEDIC_GENERATION"], "1");
}

#[test]
fn a_stop_is_reported_until_the_assignment_no_longer_names_the_work() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    let mut stop = run("shop", TWO, 1);
    stop.desired = Desired::Stop;
    world.assign(vec![stop]);
    assert_eq!(world.state(&work("shop")), "Stopping");
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Stopped(Asked)");
    world.assign(vec![]);
    assert_eq!(world.state(&work("shop")), "absent");
}

#[test]
fn a_work_that_is_absent_is_stopped_and_said_to_be_so() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    world.assign(vec![]);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("shop")), "Stopped(Asked)");
    assert_eq!(world.thing(&work("shop")).runs, None);
    world.assign(vec![]);
    assert_eq!(world.state(&work("shop")), "absent");
}

#[test]
fn a_newer_generation_waits_until_the_older_one_is_proved_stopped() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    world.thing(&work("shop")).stuck = true;
    world.assign(vec![run("shop", TWO, 2)]);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("shop")), "Stopping");
    assert_eq!(world.thing(&work("shop")).runs, Some(Some(Generation(1))));
    world.restart_agent();
    world.pass(Millis::from_secs(10));
    assert_eq!(world.thing(&work("shop")).runs, Some(Some(Generation(1))));
    world.thing(&work("shop")).stuck = false;
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("shop")), "Running");
    assert_eq!(world.thing(&work("shop")).runs, Some(Some(Generation(2))));
    // The older generation does not come back.
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.thing(&work("shop")).runs, Some(Some(Generation(2))));
}

#[test]
fn a_generation_that_began_to_stop_never_runs_again() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    let mut stop = run("shop", TWO, 1);
    stop.desired = Desired::Stop;
    world.assign(vec![stop]);
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("shop")), "Stopped(Asked)");
    world.restart_agent();
    world.pass(Millis::from_secs(60));
    assert_eq!(world.state(&work("shop")), "Stopped(Asked)");
    assert_eq!(world.count(&work("shop"), Verb::Start), 1);
}

#[test]
fn commands_that_are_not_for_now_and_here_are_refused_and_change_nothing() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    let good = world.assignment(9, vec![]);
    let mut cases = Vec::new();
    let mut bad = good.clone();
    bad.node = NodeId::new("node-2").unwrap();
    cases.push((bad, Refusal::ForeignNode));
    let mut bad = good.clone();
    bad.boot_id = BootId::new("boot-0").unwrap();
    cases.push((bad, Refusal::ForeignBoot));
    let mut bad = good.clone();
    bad.not_after = world.now.boot - Millis(1);
    cases.push((bad, Refusal::Expired));
    let mut bad = good.clone();
    bad.epoch = Epoch(0);
    cases.push((bad, Refusal::OlderEpoch { seen: Epoch(1) }));
    let seen = Revision(2);
    cases.push((world.assignment(1, vec![]), Refusal::OlderRevision { seen }));
    cases.push((
        world.assignment(2, vec![]),
        Refusal::SameRevisionOtherContent,
    ));
    for (command, refusal) in cases {
        world.receive(command);
        assert_eq!(last_answer(&world), Answer::Refused(refusal));
    }
    world.input(Input::Received {
        message: ToNode::Command(good),
        retained: true,
    });
    assert_eq!(last_answer(&world), Answer::Refused(Refusal::Retained));
    world.pass(Millis::from_secs(10));
    assert_eq!(world.state(&work("shop")), "Running");
    assert_eq!(world.agent.status(world.now).revision, Revision(2));
    assert_eq!(
        world.told(|e| matches!(e, EventKind::MessageRefused { .. })),
        7
    );
}

#[test]
fn a_newer_epoch_is_obeyed_and_the_older_one_is_not_any_more() {
    let mut world = world();
    world.epoch = 5;
    world.assign(vec![run("shop", TWO, 1)]);
    world.epoch = 4;
    world.assign(vec![]);
    let refusal = Refusal::OlderEpoch { seen: Epoch(5) };
    assert_eq!(last_answer(&world), Answer::Refused(refusal));
    world.restart_agent();
    world.input(Input::LinkUp);
    world.assign(vec![]);
    let refusal = Refusal::OlderEpoch { seen: Epoch(5) };
    assert_eq!(last_answer(&world), Answer::Refused(refusal));
}

#[test]
fn what_this_host_cannot_run_is_refused_with_the_reason() {
    let mut world = world();
    let mut unknown = run("a", TWO, 1);
    unknown.spec.run = command("/bin/{vars.prot}");
    let mut plain_unit = run("b", TWO, 1);
    plain_unit.spec.run = Run::Systemd {
        unit: "ssh.service".to_string(),
    };
    let mut template = run("c", TWO, 1);
    template.spec.run = Run::Systemd {
        unit: "web@.service".to_string(),
    };
    let mut filled = run("d", TWO, 1);
    filled.spec.run = command("/bin/{node}-{vars.port}");
    world.assign(vec![unknown, plain_unit, template, filled]);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("a")), "Stopped(Refused)");
    assert_eq!(world.state(&work("b")), "Stopped(Refused)");
    let works = world.agent.status(world.now).works;
    assert!(works[0].detail.contains("set prot under [vars]"));
    assert!(works[1].detail.contains("web@.service"));
    let runs: Vec<&Run> = world.acts.iter().map(|(_, a)| &a.run).collect();
    let unit = "web@c.service".to_string();
    assert_eq!(runs, [&Run::Systemd { unit }, &command("/bin/node-1-8080")]);
}

#[test]
fn commands_need_the_hosts_permission() {
    let mut config = config();
    config.allow_command = false;
    let mut world = World::new(config.clone());
    world.input(Input::LinkUp);
    world.assign(vec![run("shop", TWO, 1)]);
    assert_eq!(world.state(&work("shop")), "Stopped(Refused)");
    let works = world.agent.status(world.now).works;
    assert!(works[0].detail.contains("allow_command = true"));
    // What runs already keeps being looked after when the permission is taken back.
    config.allow_command = true;
    let mut world = World::new(config.clone());
    world.input(Input::LinkUp);
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    config.allow_command = false;
    world.config = config;
    world.restart_agent();
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Running");
    world.kill(&work("shop"));
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Running");
}

/// A template unit needs no permission, but a program as its probe does: on most hosts the agent
/// may do more than who declares work.
#[test]
fn a_probe_that_is_a_program_needs_the_hosts_permission_too() {
    for (allowed, state) in [(false, "Stopped(Refused)"), (true, "Running")] {
        let mut config = config();
        config.allow_command = allowed;
        let mut world = World::new(config);
        world.input(Input::LinkUp);
        let mut shop = run("shop", TWO, 1);
        let unit = "shop@.service".to_string();
        shop.spec.run = Run::Systemd { unit };
        let command = vec!["/usr/bin/true".to_string()];
        shop.spec.probes = vec![http(), probe(Check::Exec { command })];
        world.assign(vec![shop]);
        world.pass(Millis::from_secs(5));
        assert_eq!(world.state(&work("shop")), state);
    }
}

fn probe(check: Check) -> ProbeSpec {
    ProbeSpec { check, ..http() }
}

/// A text that is sent to a socket may be a command to whoever listens there, such as our own
/// helper; to knock is harmless.
#[test]
fn a_probe_that_speaks_to_a_socket_needs_the_hosts_permission_too() {
    for (send, state) in [(Some("{}"), "Stopped(Refused)"), (None, "Running")] {
        let mut config = config();
        config.allow_command = false;
        let mut world = World::new(config);
        world.input(Input::LinkUp);
        let mut shop = run("shop", TWO, 1);
        let unit = "shop@.service".to_string();
        shop.spec.run = Run::Systemd { unit };
        shop.spec.probes = vec![probe(Check::Unix {
            path: "/run/nodemedic/helper.sock".to_string(),
            send: send.map(ToString::to_string),
            expect: None,
        })];
        world.assign(vec![shop]);
        world.pass(Millis::from_secs(5));
        assert_eq!(world.state(&work("shop")), state);
    }
}

#[test]
fn a_stray_run_of_a_stopped_work_is_stopped() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    world.assign(vec![]);
    world.pass(Millis::from_secs(1));
    world.thing(&work("shop")).runs = Some(None);
    world.observe(&work("shop"));
    assert_eq!(world.state(&work("shop")), "Stopping");
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Stopped(Asked)");
    assert_eq!(world.thing(&work("shop")).runs, None);
}

#[test]
fn a_work_stopped_by_an_administrator_gives_its_grant_back() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    world.thing(&work("shop")).runs = None;
    world.thing(&work("shop")).why_not = DownCause::StoppedByOther;
    world.observe(&work("shop"));
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Stopped(Refused)");
    assert_eq!(world.count(&work("shop"), Verb::Restart), 0);
}

#[test]
fn replicated_work_starts_again_after_a_reboot_without_a_coordinator() {
    let mut world = world();
    world.assign(vec![run("shop", TWO, 1)]);
    world.pass(Millis::from_secs(1));
    world.reboot(1);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&work("shop")), "Running");
    assert_eq!(world.verbs(&work("shop")), [Verb::Start, Verb::Start]);
}
