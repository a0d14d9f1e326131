//! Services: started, healed, fenced, let back.

use super::*;
use nodemedic_protocol::health::{Level, Reason};

fn policy() -> RestartPolicy {
    RestartPolicy::default()
}

fn probed() -> Config {
    let mut config = config();
    for service in config.services.values_mut() {
        service.probes = vec![http()];
    }
    config
}

#[test]
fn a_service_that_never_ran_is_started_and_that_is_no_restart() {
    let mut world = World::new(config());
    world.pass(Millis(100));
    assert_eq!(world.state(&service("web")), "running");
    assert_eq!(world.verbs(&service("web")), [Verb::Start]);
    let status = world.agent.status(world.now);
    assert_eq!(status.services[0].restarts_used, 0);
}

#[test]
fn a_killed_service_is_restarted_in_the_same_moment() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    let before = world.elapsed;
    world.kill(&service("web"));
    assert_eq!(world.verbs(&service("web")), [Verb::Start, Verb::Restart]);
    assert_eq!(world.acts.last().unwrap().0, before, "no time passed");
    world.pass(Millis(100));
    assert_eq!(world.state(&service("web")), "running");
    let up = world.told(|e| matches!(e, EventKind::Up { after } if *after == ACT_TAKES));
    assert_eq!(up, 1);
    assert_eq!(world.told(|e| matches!(e, EventKind::Down { .. })), 1);
    let raised = world.told(|e| matches!(e, EventKind::ConditionRaised { .. }));
    assert_eq!(raised, 0, "nobody is called for what healed at once");
}

#[test]
fn a_service_broken_for_good_is_fenced_with_its_whole_budget_used() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    world.thing(&service("web")).broken = true;
    world.kill(&service("web"));
    world.pass(Millis::from_secs(120));
    let web = service("web");
    let restarts = [
        Verb::Restart,
        Verb::Restart,
        Verb::Kill,
        Verb::Kill,
        Verb::Kill,
    ];
    assert_eq!(world.verbs(&web)[1..6], restarts);
    let raised = world.told(|e| match e {
        EventKind::ConditionRaised { reason, .. } => *reason == Reason::Down,
        _ => false,
    });
    assert_eq!(raised, 1, "once the first restart did not help");
    assert_eq!(world.verbs(&web).last(), Some(&Verb::Fence));
    assert_eq!(world.state(&web), "fenced");
    let status = world.agent.status(world.now);
    assert_eq!(status.level, Level::Failed);
    let drain = status.drain_wanted.unwrap();
    assert_eq!(
        drain,
        "service web is fenced: 5 restarts in 10m00s did not help: exited with status 1"
    );
    let restarts: Vec<Millis> = world
        .acts
        .iter()
        .filter(|(_, a)| a.verb.restarts())
        .map(|(at, _)| *at)
        .collect();
    let gaps: Vec<Millis> = restarts.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(
        gaps.windows(2).all(|w| w[0] < w[1]),
        "the back-off grows: {gaps:?}"
    );
    world.pass(Millis::from_secs(3600));
    assert_eq!(world.verbs(&web).last(), Some(&Verb::Fence), "it stays out");
}

#[test]
fn a_fence_that_cannot_be_proved_says_so_and_is_tried_again() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    let web = service("web");
    world.thing(&web).broken = true;
    world.kill(&web);
    world.pass(Millis::from_secs(2));
    // It hangs in the kernel from its next start on.
    world.thing(&web).broken = false;
    world.thing(&web).stuck = true;
    world.pass(Millis::from_secs(1));
    for _ in 0..5 {
        world.kill(&web);
        world.pass(Millis::from_secs(20));
    }
    world.thing(&web).runs = Some(None);
    world.thing(&web).stuck = true;
    world.pass(Millis::from_secs(60));
    if world.state(&web) != "fenced" {
        assert!(
            world
                .agent
                .status(world.now)
                .conditions
                .iter()
                .any(|c| c.reason == Reason::FenceFailed)
        );
        world.thing(&web).stuck = false;
        world.pass(Millis::from_secs(60));
    }
    assert_eq!(world.state(&web), "fenced");
    let conditions = world.agent.status(world.now).conditions;
    assert!(conditions.iter().all(|c| c.reason != Reason::FenceFailed));
}

#[test]
fn a_person_lets_a_fenced_service_back_with_a_fresh_budget() {
    let mut world = World::new(config());
    let web = service("web");
    let name = ServiceName::new("web").unwrap();
    world.pass(Millis::from_secs(1));
    assert!(world.agent.may_unfence(&name).is_err());
    world.thing(&web).broken = true;
    world.kill(&web);
    world.pass(Millis::from_secs(120));
    assert!(world.agent.may_unfence(&name).is_ok());
    world.restart_agent();
    world.pass(Millis::from_secs(1));
    assert_eq!(
        world.state(&web),
        "fenced",
        "an agent restart changes nothing"
    );
    world.thing(&web).broken = false;
    // The checks would count the restarts of both budgets together: a new story begins.
    world.acts.clear();
    world.done.clear();
    world.input(Input::Unfence { service: name });
    world.pass(Millis::from_secs(1));
    assert_eq!(world.verbs(&web), [Verb::Unfence, Verb::Start]);
    assert_eq!(world.state(&web), "running");
    assert_eq!(world.agent.status(world.now).drain_wanted, None);
    world.kill(&web);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&web), "running");
}

#[test]
fn the_budget_counts_over_agent_restarts_and_reboots() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    for round in 0..5 {
        world.kill(&web);
        world.pass(Millis::from_secs(70));
        if round % 2 == 0 {
            world.restart_agent();
        }
        world.pass(Millis::from_secs(1));
    }
    world.reboot(5);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.state(&web), "running", "the first start is free");
    world.kill(&web);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.state(&web), "fenced");
}

#[test]
fn an_agent_that_dies_in_the_middle_of_an_action_says_interrupted() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    // Of this one nobody can tell when it was started.
    world.thing(&web).started = None;
    world.kill(&web);
    world.restart_agent();
    let interrupted = |e: &EventKind| {
        matches!(e, EventKind::Action(a)
            if a.verb == Verb::Restart && a.outcome == Outcome::Interrupted)
    };
    assert_eq!(world.told(interrupted), 1);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&web), "running");
    let used = world.agent.status(world.now).services[0].restarts_used;
    assert_eq!(used, 2, "the interrupted one counts");
    world.restart_agent();
    assert_eq!(world.told(interrupted), 1, "said once");
}

#[test]
fn a_running_service_is_adopted_without_a_word() {
    let mut world = World::new(config());
    world.pass(Millis::from_secs(1));
    let acts = world.acts.len();
    world.restart_agent();
    world.pass(Millis::from_secs(60));
    assert_eq!(world.acts.len(), acts);
    assert_eq!(world.state(&service("web")), "running");
}

#[test]
fn a_service_that_died_while_no_agent_was_there_is_restarted() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    world.thing(&web).runs = None;
    world.thing(&web).why_not = DownCause::Gone;
    world.restart_agent();
    world.pass(Millis::from_secs(1));
    assert_eq!(world.verbs(&web), [Verb::Start, Verb::Restart]);
}

#[test]
fn an_administrators_stop_is_respected() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    world.thing(&web).runs = None;
    world.thing(&web).why_not = DownCause::StoppedByOther;
    world.observe(&web);
    world.pass(Millis::from_secs(3600));
    assert_eq!(world.verbs(&web), [Verb::Start]);
    assert_eq!(world.state(&web), "stopped by somebody else");
    world.thing(&web).runs = Some(None);
    world.observe(&web);
    assert_eq!(world.state(&web), "running");
    assert_eq!(world.agent.status(world.now).conditions, []);
}

#[test]
fn a_probe_must_fail_for_its_whole_time_without_a_break() {
    let mut world = World::new(probed());
    let web = service("web");
    world.pass(Millis::from_secs(3));
    assert_eq!(world.state(&web), "running");
    world.thing(&web).probe = Verdict::Fail("connection refused".to_string());
    world.pass(Millis::from_secs(4));
    assert_eq!(world.state(&web), "suspect");
    world.thing(&web).probe = Verdict::Pass;
    world.pass(Millis::from_secs(2));
    assert_eq!(world.state(&web), "running");
    assert_eq!(world.count(&web, Verb::Restart), 0);
    world.thing(&web).probe = Verdict::Fail("connection refused".to_string());
    world.pass(Millis::from_secs(7));
    assert_eq!(world.count(&web, Verb::Restart), 1);
    let told =
        world.told(|e| matches!(e, EventKind::Down { cause } if cause == "connection refused"));
    assert_eq!(told, 1);
}

#[test]
fn unknown_alone_never_acts() {
    let mut world = World::new(probed());
    let web = service("web");
    world.pass(Millis::from_secs(3));
    world.thing(&web).probe = Verdict::Unknown("no file descriptors left".to_string());
    world.pass(Millis::from_secs(600));
    world.thing(&web).hidden = true;
    world.observe(&web);
    world.pass(Millis::from_secs(600));
    assert_eq!(world.state(&web), "unknown");
    assert_eq!(world.agent.status(world.now).level, Level::Unknown);
    assert_eq!(world.verbs(&web), [Verb::Start]);
    // One failure, a gap in which nothing was seen, and another failure are not one long failure.
    world.thing(&web).hidden = false;
    world.thing(&web).probe = Verdict::Pass;
    world.observe(&web);
    world.pass(Millis::from_secs(2));
    assert_eq!(world.state(&web), "running");
    world.thing(&web).probe = Verdict::Fail("refused".to_string());
    world.pass(Millis::from_secs(2));
    world.thing(&web).probe = Verdict::Unknown("?".to_string());
    world.pass(Millis::from_secs(60));
    world.thing(&web).probe = Verdict::Fail("refused".to_string());
    world.pass(Millis::from_secs(3));
    assert_eq!(world.count(&web, Verb::Restart), 0);
}

#[test]
fn a_start_that_never_comes_up_fails_after_its_grace() {
    let mut world = World::new(probed());
    let web = service("web");
    world.thing(&web).probe = Verdict::Fail("refused".to_string());
    world.pass(Millis::from_secs(9));
    assert_eq!(world.state(&web), "starting");
    world.pass(Millis::from_secs(3));
    assert_eq!(world.count(&web, Verb::Restart), 1);
}

#[test]
fn a_long_healthy_run_makes_the_next_restart_immediate_again() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    world.kill(&web);
    world.pass(Millis::from_secs(1));
    world.kill(&web);
    assert_eq!(world.state(&web), "backoff", "twice in a row waits");
    world.pass(Millis::from_secs(2) + policy().healthy_after);
    world.kill(&web);
    assert_eq!(world.state(&web), "restarting");
}

#[test]
fn what_heals_by_itself_while_its_restart_waits_is_not_restarted() {
    let mut config = probed();
    for service in config.services.values_mut() {
        service.restart.backoff = Millis::from_secs(20);
    }
    let mut world = World::new(config);
    let web = service("web");
    world.pass(Millis::from_secs(3));
    world.thing(&web).probe = Verdict::Fail("connection refused".to_string());
    while world.state(&web) != "backoff" {
        world.pass(Millis::from_secs(1));
    }
    let restarts = world.count(&web, Verb::Restart);
    world.thing(&web).probe = Verdict::Pass;
    world.pass(Millis::from_secs(2));
    assert_eq!(world.state(&web), "running");
    world.pass(Millis::from_secs(60));
    assert_eq!(world.count(&web, Verb::Restart), restarts);
}

#[test]
fn an_action_without_an_answer_is_given_up_and_looked_at_again() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    world.kill(&web);
    world.pending.clear();
    world.pass(Millis::from_secs(60));
    let timed_out = |e: &EventKind| {
        matches!(e, EventKind::Action(a)
            if a.outcome == Outcome::TimedOut && a.command == "no answer came")
    };
    assert_eq!(world.told(timed_out), 1);
    assert_eq!(world.state(&web), "running");
}

#[test]
fn a_changed_configuration_is_taken_and_a_removed_service_is_left_alone() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    let mut next = config();
    next.services.clear();
    world.config = next.clone();
    world.input(Input::Reconfigured(Box::new(next)));
    world.kill(&web);
    world.pass(Millis::from_secs(60));
    assert_eq!(world.verbs(&web), [Verb::Start]);
    assert_eq!(world.state(&web), "absent");
    world.input(Input::ConfigRefused {
        error: "agent.toml:1:1: unknown key".to_string(),
    });
    let refused = |w: &World| {
        let conditions = w.agent.status(w.now).conditions;
        conditions.iter().any(|c| c.reason == Reason::ConfigRefused)
    };
    assert!(refused(&world));
    world.input(Input::Reconfigured(Box::new(config())));
    assert!(!refused(&world));
}
