//! The rungs, read as timelines: which failure leads to what, and what is written down of it.

use super::*;
use crate::config::{Hooks, Ladder, Retry};
use nodemedic_protocol::health::Reason;

const HOUR: Millis = Millis::from_secs(3600);

pub(super) fn with_hooks() -> Config {
    let mut config = config();
    for service in config.services.values_mut() {
        service.hooks = Some(Hooks {
            before: vec!["/usr/bin/clear-spool".to_string()],
            after: vec!["/usr/bin/warm-up".to_string()],
            timeout: Millis::from_secs(30),
        });
    }
    config
}

/// The acts on a unit, each with its time since the first failure in tenths of a second.
fn timeline(world: &World, key: &UnitKey, from: Millis) -> Vec<String> {
    let of_unit = world
        .acts
        .iter()
        .filter(|(at, a)| a.unit == *key && *at >= from);
    let line = |(at, act): &(Millis, Act)| {
        let hook = if act.hooks.is_some() {
            " with hooks"
        } else {
            ""
        };
        format!("{}{hook}", act.verb).replace("kill and restart", "kill")
            + &format!(" {}", (*at - from).0 / 1000)
    };
    of_unit.map(line).collect()
}

fn break_for_good(world: &mut World, key: &UnitKey) -> Millis {
    world.thing(key).broken = true;
    let from = world.elapsed;
    world.kill(key);
    from
}

#[test]
fn each_rung_is_tried_in_its_turn_until_the_budget_is_spent() {
    let mut world = World::new(with_hooks());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    let from = break_for_good(&mut world, &web);
    world.pass(Millis::from_secs(120));
    let verbs: Vec<String> = timeline(&world, &web, from)
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap().0.to_string())
        .collect();
    assert_eq!(
        verbs,
        [
            "restart",
            "restart",
            "restart with hooks",
            "kill",
            "kill",
            "fence"
        ]
    );
    let rungs: Vec<String> = world
        .events
        .iter()
        .filter_map(|e| match &e.kind {
            EventKind::Action(a) => a.evidence.get("rung").cloned(),
            _ => None,
        })
        .collect();
    assert_eq!(
        rungs,
        [
            "restart",
            "restart",
            "restart with hook",
            "kill and restart",
            "kill and restart"
        ]
    );
}

#[test]
fn a_ladder_of_ones_own_is_climbed_as_it_is_written() {
    let mut config = with_hooks();
    for service in config.services.values_mut() {
        service.ladder = Ladder {
            restarts: 0,
            with_hook: 2,
        };
        service.restart.max = 3;
    }
    let mut world = World::new(config);
    let web = service("web");
    world.pass(Millis::from_secs(1));
    let from = break_for_good(&mut world, &web);
    world.pass(Millis::from_secs(120));
    let verbs: Vec<Verb> = world
        .acts
        .iter()
        .filter(|(at, _)| *at >= from)
        .map(|(_, a)| a.verb)
        .collect();
    assert_eq!(
        verbs,
        [Verb::Restart, Verb::Restart, Verb::Kill, Verb::Fence]
    );
    assert!(
        world.acts[1].1.hooks.is_some(),
        "the first one has hooks already"
    );
}

#[test]
fn a_stretch_well_for_long_enough_begins_at_the_first_rung_again_and_refunds_no_use() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    for round in 1..=5 {
        world.kill(&web);
        world.pass(Millis::from_secs(61));
        let status = world.agent.status(world.now).services.remove(0);
        assert_eq!(status.failures, 0, "a row of one has ended");
        assert_eq!(status.restarts_used, round);
    }
    assert_eq!(world.count(&web, Verb::Restart), 5, "no kill, no wait");
    let status = world.agent.status(world.now).services.remove(0);
    assert_eq!(status.next, Some(nodemedic_protocol::healing::Rung::Fence));
    world.kill(&web);
    world.pass(Millis::from_secs(1));
    assert_eq!(world.state(&web), "fenced", "the sixth within ten minutes");
}

#[test]
fn uses_come_back_one_by_one_with_their_age() {
    let mut world = World::new(config());
    let web = service("web");
    world.pass(Millis::from_secs(1));
    // One failure in a bit more than two minutes: five in any ten minutes, for ever.
    for _ in 0..20 {
        world.kill(&web);
        world.pass(Millis::from_secs(123));
        assert_eq!(world.state(&web), "running");
    }
}

#[test]
fn what_was_seen_is_written_down_with_each_act() {
    let mut config = config();
    for service in config.services.values_mut() {
        service.probes = vec![http()];
    }
    let mut world = World::new(config);
    let web = service("web");
    world.pass(Millis::from_secs(3));
    world.thing(&web).probe = Verdict::Fail("connection refused".to_string());
    world.pass(Millis::from_secs(7));
    let evidence = world
        .events
        .iter()
        .find_map(|e| match &e.kind {
            EventKind::Action(a) if a.verb == Verb::Restart => Some(a.evidence.clone()),
            _ => None,
        })
        .unwrap();
    assert_eq!(evidence["seen"], "runs as process 42");
    assert_eq!(evidence["probe"], "failed: connection refused (0ms ago)");
    assert_eq!(evidence["failures_in_a_row"], "1");
}

#[test]
fn a_service_that_answers_again_while_it_waits_is_not_restarted() {
    let mut config = config();
    for service in config.services.values_mut() {
        service.probes = vec![http()];
        service.restart.backoff = Millis::from_secs(30);
    }
    let mut world = World::new(config);
    let web = service("web");
    world.pass(Millis::from_secs(3));
    for _ in 0..2 {
        world.thing(&web).probe = Verdict::Fail("refused".to_string());
        world.pass(Millis::from_secs(7));
        world.thing(&web).probe = Verdict::Pass;
        world.pass(Millis::from_secs(2));
    }
    assert_eq!(world.state(&web), "running");
    world.pass(Millis::from_secs(120));
    assert_eq!(
        world.count(&web, Verb::Restart),
        1,
        "the second wait ended well"
    );
}

fn retried(times: u32) -> Config {
    let mut config = config();
    config.healing.retry = Some(Retry { after: HOUR, times });
    config
}

fn pages(world: &World) -> usize {
    world.told(|e| {
        matches!(
            e,
            EventKind::ConditionRaised {
                reason: Reason::Fenced,
                ..
            }
        )
    })
}

#[test]
fn a_fenced_service_is_tried_again_by_itself_so_often_and_no_more_and_pages_once() {
    let mut world = World::new(retried(2));
    let web = service("web");
    world.pass(Millis::from_secs(1));
    let from = break_for_good(&mut world, &web);
    world.pass(Millis(30 * HOUR.0));
    let tries: Vec<String> = timeline(&world, &web, from)
        .into_iter()
        .filter(|line| line.starts_with("unfence") || line.starts_with("fence"))
        .map(|line| line.split(' ').next().unwrap().to_string())
        .collect();
    assert_eq!(tries, ["fence", "unfence", "fence", "unfence", "fence"]);
    assert_eq!(
        world.done.iter().filter(|(_, a)| a.verb.restarts()).count(),
        15
    );
    assert_eq!(pages(&world), 1);
    let status = world.agent.status(world.now);
    assert!(
        status.drain_wanted.is_some(),
        "it asked to be drained all the time"
    );
}

#[test]
fn a_try_that_helps_ends_the_fence_also_when_the_agent_dies_in_it() {
    for die_after in 0..12 {
        let mut world = World::new(retried(1));
        let web = service("web");
        world.pass(Millis::from_secs(1));
        break_for_good(&mut world, &web);
        world.pass(Millis::from_secs(120));
        world.thing(&web).broken = false;
        world.pass(HOUR - Millis::from_secs(125));
        assert_eq!(world.state(&web), "fenced");
        world.die_after = (die_after > 0).then_some(die_after);
        world.pass(Millis::from_secs(120));
        assert_eq!(world.state(&web), "running", "{die_after}");
        let status = world.agent.status(world.now);
        assert_eq!((status.drain_wanted, status.conditions), (None, vec![]));
    }
}

#[test]
fn a_reboot_and_a_person_on_a_fenced_service_keep_its_try_away() {
    let mut world = World::new(retried(1));
    let web = service("web");
    world.pass(Millis::from_secs(1));
    break_for_good(&mut world, &web);
    world.pass(Millis::from_secs(120));
    // The time of the try counts from the boot anew.
    world.pass(HOUR - Millis::from_secs(600));
    world.reboot(3);
    world.pass(HOUR - Millis::from_secs(60));
    assert_eq!(world.state(&web), "fenced");
    // Somebody is at work on it when its time comes.
    world.thing(&web).runs = Some(None);
    world.observe(&web);
    world.acts.clear();
    world.pass(HOUR);
    assert_eq!(world.acts.len(), 0);
    assert_eq!(world.state(&web), "fenced");
}
