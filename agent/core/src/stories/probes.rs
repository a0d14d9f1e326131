//! Stories of probes: several of one service, each with its window in seconds, what cannot be
//! asked, and what a boot, a start and a healthy stretch change.

use nodemedic_protocol::health::Reason;

use super::*;

/// A service with these probes, asked every second.
fn world_of(probes: Vec<ProbeSpec>) -> World {
    let mut config = config();
    for service in config.services.values_mut() {
        service.probes.clone_from(&probes);
    }
    World::new(config)
}

fn lasting(fail_for: u64, within: Option<u64>) -> ProbeSpec {
    ProbeSpec {
        fail_for: Millis::from_secs(fail_for),
        within: within.map(Millis::from_secs),
        ..http()
    }
}

fn fail(why: &str) -> Verdict {
    Verdict::Fail(why.to_string())
}

fn up(probes: Vec<ProbeSpec>) -> (World, UnitKey) {
    let mut world = world_of(probes);
    world.pass(Millis::from_secs(3));
    assert_eq!(world.state(&service("web")), "running");
    (world, service("web"))
}

/// LESSONS, want 2: windows in seconds, not cycles.
#[test]
fn with_no_time_to_fail_the_first_failing_answer_restarts() {
    let (mut world, web) = up(vec![lasting(0, None)]);
    world.thing(&web).probe = fail("no answer within 1.0s");
    world.pass(Millis::from_secs(1));
    assert_eq!(world.count(&web, Verb::Restart), 1);
}

#[test]
fn one_of_several_is_enough_and_has_its_own_window() {
    let (mut world, web) = up(vec![lasting(30, None), lasting(5, None), lasting(0, None)]);
    world.thing(&web).probes.insert(0, fail("the first"));
    world.pass(Millis::from_secs(20));
    assert_eq!(world.state(&web), "suspect");
    assert_eq!(world.count(&web, Verb::Restart), 0);
    world.thing(&web).probes.insert(1, fail("the second"));
    world.pass(Millis::from_secs(4));
    assert_eq!(world.count(&web, Verb::Restart), 0);
    world.pass(Millis::from_secs(3));
    assert_eq!(world.count(&web, Verb::Restart), 1);
    let told = world.told(|e| matches!(e, EventKind::Down { cause } if cause == "the second"));
    assert_eq!(told, 1, "the one that lasted is the cause");
}

/// What several answered is written down with the act, each by its question.
#[test]
fn every_probe_is_in_the_evidence() {
    let tcp = ProbeSpec {
        check: Check::Tcp {
            address: "127.0.0.1:80".to_string(),
        },
        ..http()
    };
    let (mut world, web) = up(vec![lasting(0, None), tcp]);
    world.thing(&web).probes.insert(0, fail("status 503"));
    world.pass(Millis::from_secs(3));
    let evidence = world.events.iter().find_map(|e| match &e.kind {
        EventKind::Action(a) if a.verb == Verb::Restart => Some(a.evidence.clone()),
        _ => None,
    });
    let evidence = evidence.unwrap();
    assert_eq!(evidence["probe 1 (http)"], "failed: status 503 (0ms ago)");
    assert!(
        evidence["probe 2 (tcp)"].starts_with("passed ("),
        "{evidence:?}"
    );
}

#[test]
fn a_service_comes_up_when_all_of_its_probes_have_passed() {
    let mut world = world_of(vec![lasting(0, None), lasting(0, None)]);
    let web = service("web");
    world.thing(&web).probes.insert(1, fail("not yet"));
    world.pass(Millis::from_secs(8));
    assert_eq!(world.state(&web), "starting", "its start grace is 10 s");
    world.thing(&web).probes.clear();
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&web), "running");
    assert_eq!(world.count(&web, Verb::Restart), 0);
}

/// X of Y, in seconds: half of the time is too much, whatever the answers in between say.
#[test]
fn a_service_that_flaps_fails_by_its_share_of_the_window() {
    let (mut world, web) = up(vec![lasting(15, Some(30))]);
    let flap = |world: &mut World, seconds: u64, bad: u64, of: u64| {
        for second in 0..seconds {
            let answer = if second % of < bad {
                fail("502")
            } else {
                Verdict::Pass
            };
            world.thing(&web).probe = answer;
            world.pass(Millis::from_secs(1));
        }
        world.count(&web, Verb::Restart)
    };
    assert_eq!(flap(&mut world, 120, 1, 4), 0, "a quarter of the time");
    assert_eq!(flap(&mut world, 25, 3, 4), 1, "three quarters");
}

/// LESSONS, want 15: a check that cannot be made is Unknown and never a failure.
#[test]
fn a_probe_that_cannot_be_made_neither_passes_nor_fails_and_is_told() {
    let (mut world, web) = up(vec![lasting(5, None), lasting(5, None)]);
    let blind = Verdict::Unknown("http probe: its certificate does not verify".to_string());
    world.thing(&web).probes.insert(1, blind);
    world.pass(Millis::from_secs(30));
    assert_eq!(world.state(&web), "running", "the other one sees it");
    assert!(world.agent.status(world.now).conditions.is_empty());
    world.pass(Millis::from_secs(60));
    let [told] = &world.agent.status(world.now).conditions[..] else {
        panic!("{:?}", world.agent.status(world.now).conditions);
    };
    assert_eq!(
        told.reason,
        Reason::Other("probe cannot be made".to_string())
    );
    assert!(told.message.contains("does not verify"), "{}", told.message);
    // The other one still heals.
    world.thing(&web).probes.insert(0, fail("refused"));
    world.pass(Millis::from_secs(7));
    assert_eq!(world.count(&web, Verb::Restart), 1);
    world.thing(&web).probes.clear();
    world.pass(Millis::from_secs(5));
    assert_eq!(world.state(&web), "running");
    assert!(world.agent.status(world.now).conditions.is_empty());
}

/// What failed and cannot be asked any more is not well because another probe passes.
#[test]
fn a_pass_of_another_probe_heals_nothing() {
    let (mut world, web) = up(vec![lasting(5, None), lasting(5, None)]);
    world.thing(&web).probes.insert(0, fail("refused"));
    world.pass(Millis::from_secs(2));
    assert_eq!(world.state(&web), "suspect");
    let blind = Verdict::Unknown("no file descriptor left".to_string());
    world.thing(&web).probes.insert(0, blind);
    world.pass(Millis::from_secs(600));
    assert_eq!(world.state(&web), "unknown");
    assert_eq!(world.count(&web, Verb::Restart), 0);
    world.thing(&web).probes.clear();
    world.pass(Millis::from_secs(2));
    assert_eq!(world.state(&web), "running");
}

/// LESSONS, want 14: checks that fire before services are up.
#[test]
fn after_a_boot_no_failing_answer_counts_before_the_boot_grace_is_over() {
    let mut config = config();
    for service in config.services.values_mut() {
        service.probes = vec![lasting(0, None)];
    }
    let mut world = World::new(config);
    let web = service("web");
    let booted = world.now.boot;
    let mut config = world.config.clone();
    config.healing.boot_grace = Millis(booted.0) + Millis::from_secs(60);
    world.input(Input::Reconfigured(Box::new(config)));
    world.thing(&web).probe = fail("starting up");
    world.pass(Millis::from_secs(59));
    assert_eq!(world.count(&web, Verb::Restart), 0);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.count(&web, Verb::Restart), 1, "then as ever");
}

/// systemd restarted it: what the old process did counts no more, and the new one may come up.
#[test]
fn another_process_has_its_start_grace() {
    let (mut world, web) = up(vec![lasting(3, None)]);
    world.thing(&web).probe = fail("starting up");
    world.pass(Millis::from_secs(2));
    assert_eq!(world.state(&web), "suspect");
    let seen = Seen::Running {
        pid: Some(4711),
        generation: None,
    };
    world.input(Input::Observed {
        unit: web.clone(),
        seen,
        started: None,
    });
    world.pass(Millis::from_secs(8));
    assert_eq!(world.state(&web), "starting");
    assert_eq!(world.count(&web, Verb::Restart), 0);
    world.thing(&web).probe = Verdict::Pass;
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&web), "running");
}

/// LESSONS, failure mode 5: no timeout depends on the wall clock.
#[test]
fn a_jump_of_the_wall_clock_changes_no_window() {
    let (mut world, web) = up(vec![lasting(10, Some(60))]);
    for (jump, seconds) in [(0, 4), (1 << 40, 4), (1, 1)] {
        world.now.wall = WallTime(jump);
        world.thing(&web).probe = fail("refused");
        world.pass(Millis::from_secs(seconds));
        assert_eq!(world.count(&web, Verb::Restart), 0, "{jump}");
    }
    world.pass(Millis::from_secs(4));
    assert_eq!(world.count(&web, Verb::Restart), 1);
}

/// A host that slept between two failing answers has not failed for that long.
#[test]
fn a_sleep_of_the_host_is_no_failure() {
    let (mut world, web) = up(vec![lasting(30, None)]);
    world.thing(&web).probe = fail("refused");
    world.pass(Millis::from_secs(2));
    world.now.boot = world.now.boot + Millis::from_secs(3600);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.count(&web, Verb::Restart), 0);
    world.pass(Millis::from_secs(25));
    assert_eq!(world.count(&web, Verb::Restart), 1);
}

/// LESSONS, want 2: a stretch well begins the row of failures anew, for hangs as for deaths.
#[test]
fn a_hang_after_a_healthy_stretch_is_a_first_failure_again() {
    let (mut world, web) = up(vec![lasting(2, None)]);
    for hang in 1..=4 {
        world.pass(RestartPolicy::default().healthy_after + Millis::from_secs(2));
        world.thing(&web).probe = fail("no answer");
        world.pass(Millis::from_secs(4));
        let acts = world.count(&web, Verb::Restart);
        assert_eq!(acts, hang, "at once, without a wait, and by the first rung");
        world.thing(&web).probe = Verdict::Pass;
        world.pass(Millis::from_secs(3));
        assert_eq!(world.state(&web), "running");
    }
    assert_eq!(world.count(&web, Verb::Kill), 0);
}

/// What the probes of an older configuration said is not said by those of the new one.
#[test]
fn an_answer_of_an_older_probe_is_not_counted() {
    let (mut world, web) = up(vec![lasting(0, None)]);
    let mut config = world.config.clone();
    for service in config.services.values_mut() {
        service.probes = vec![lasting(0, Some(60)), lasting(0, None)];
    }
    world
        .agent
        .handle(world.now, Input::Reconfigured(Box::new(config)));
    let late = Input::Probed {
        unit: web.clone(),
        probe: 0,
        verdict: fail("asked before"),
    };
    world.agent.handle(world.now, late);
    let none = Input::Probed {
        unit: web.clone(),
        probe: 7,
        verdict: fail("there is none of this number"),
    };
    world.agent.handle(world.now, none);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.count(&web, Verb::Restart), 0);
}

/// LESSONS, failure mode 13: after a restart of the agent nothing is well before it was asked.
#[test]
fn a_new_agent_calls_nothing_well_before_its_probes_have_passed() {
    let (mut world, web) = up(vec![lasting(30, None)]);
    world.thing(&web).probe = fail("refused");
    world.pass(Millis::from_secs(2));
    assert_eq!(world.state(&web), "suspect");
    world.restart_agent();
    world.pass(Millis::from_secs(5));
    assert_eq!(world.state(&web), "starting");
    world.thing(&web).probe = Verdict::Pass;
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&web), "running");
    assert_eq!(world.count(&web, Verb::Restart), 0);
}
