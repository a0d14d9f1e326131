//! The agent is killed between any two of its effects, and started again from what it remembered:
//! nothing is lost and nothing is done twice.

use super::*;
use crate::stories::rungs::with_hooks;
use nodemedic_protocol::Severity;
use nodemedic_protocol::health::Reason;

/// What the whole life of a service looked like from outside.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    /// What was really done to it, in order, with its time in whole seconds.
    done: Vec<(Verb, u64)>,
    state: String,
    /// Critical conditions that stand, and how often one was told.
    standing: usize,
    pages: usize,
    drain: bool,
    /// Records of the journal: each act once with an end, or as interrupted.
    unfinished: usize,
}

fn begin(jobs_go_on: bool, hung: bool, die_after: Option<usize>) -> World {
    let mut config = with_hooks();
    if hung {
        for service in config.services.values_mut() {
            service.probes = vec![http()];
        }
    }
    let mut world = World::new(config);
    world.jobs_go_on = jobs_go_on;
    world.input(Input::LinkUp);
    world.pass(Millis::from_secs(3));
    let web = service("web");
    world.die_after = die_after;
    if hung {
        world.thing(&web).probe = Verdict::Fail("no answer".to_string());
    } else {
        world.thing(&web).broken = true;
        world.kill(&web);
    }
    world
}

fn life(mut world: World) -> (Life, Vec<Millis>) {
    world.pass(Millis::from_secs(400));
    let web = service("web");
    let done: Vec<(Millis, Verb)> = world
        .done
        .iter()
        .filter(|(_, a)| a.verb != Verb::Start)
        .map(|(at, a)| (*at, a.verb))
        .collect();
    let restarts = done.iter().filter(|(_, verb)| verb.restarts());
    let at: Vec<Millis> = restarts.map(|(at, _)| *at).collect();
    let status = world.agent.status(world.now);
    let critical = status
        .conditions
        .iter()
        .filter(|c| c.severity == Severity::Critical);
    let told = world.told(|e| {
        matches!(e, EventKind::ConditionRaised { severity: Severity::Critical, reason, .. }
            if *reason == Reason::Fenced)
    });
    let life = Life {
        done: done.iter().map(|(at, verb)| (*verb, at.0 / 1000)).collect(),
        state: world.state(&web),
        standing: critical.count(),
        pages: told,
        drain: status.drain_wanted.is_some(),
        unfinished: world.memory.intents.len(),
    };
    (life, at.windows(2).map(|w| w[1] - w[0]).collect())
}

/// How many effects the life has, without a death.
fn effects_of(jobs_go_on: bool, hung: bool) -> usize {
    let mut world = begin(jobs_go_on, hung, Some(usize::MAX));
    world.pass(Millis::from_secs(400));
    usize::MAX - world.die_after.unwrap()
}

/// An always-failing service: exactly its budget on the rungs in their order, growing waits, then
/// the fence and one page, wherever the agent dies.
#[test]
fn whichever_effect_is_the_last_before_the_agent_dies_the_life_of_a_service_is_the_same() {
    for jobs_go_on in [true, false] {
        let (whole, _) = life(begin(jobs_go_on, false, None));
        let verbs: Vec<Verb> = whole.done.iter().map(|(verb, _)| *verb).collect();
        let ladder = [
            Verb::Restart,
            Verb::Restart,
            Verb::Restart,
            Verb::Kill,
            Verb::Kill,
            Verb::Fence,
        ];
        assert_eq!(verbs, ladder);
        let effects = effects_of(jobs_go_on, false);
        assert!(effects > 40, "{effects}");
        for last in 1..=effects {
            let world = begin(jobs_go_on, false, Some(last));
            let (life, waits) = life(world);
            let verbs: Vec<Verb> = life.done.iter().map(|(verb, _)| *verb).collect();
            let restarts = verbs.iter().filter(|verb| verb.restarts()).count();
            assert_eq!(restarts, 5, "after effect {last}: {life:?}");
            assert!(
                verbs[..5].is_sorted(),
                "no rung is skipped or repeated: {life:?}"
            );
            assert_eq!(verbs, ladder, "after effect {last}: {life:?}");
            let grow = waits.windows(2).all(|w| w[0] < w[1]);
            assert!(grow, "after effect {last} the waits do not grow: {waits:?}");
            assert_eq!(
                (&*life.state, life.standing, life.drain),
                ("fenced", 1, true)
            );
            assert!(life.pages <= 1, "after effect {last}: {life:?}");
            assert_eq!(life.unfinished, 0, "after effect {last}: {life:?}");
        }
    }
}

/// The same of one that hangs: it runs, and never answers.
#[test]
fn a_hung_service_gets_exactly_its_budget_wherever_the_agent_dies() {
    for jobs_go_on in [true, false] {
        let effects = effects_of(jobs_go_on, true);
        for last in 1..=effects {
            let world = begin(jobs_go_on, true, Some(last));
            let (life, _) = life(world);
            let restarts = life.done.iter().filter(|(verb, _)| verb.restarts());
            assert_eq!(restarts.count(), 5, "after effect {last}: {life:?}");
            assert_eq!(
                (&*life.state, life.standing),
                ("fenced", 1),
                "{last}: {life:?}"
            );
            assert!(life.pages <= 1, "after effect {last}: {life:?}");
        }
    }
}

/// The same where the death leaves half a restart: what ran was ended, of what had failed its
/// manager was told to forget that, and nothing was started.
#[test]
fn a_restart_that_was_cut_half_way_is_done_again_and_takes_one_use() {
    for hung in [true, false] {
        let effects = effects_of(false, hung);
        for last in 1..=effects {
            let mut world = begin(false, hung, Some(last));
            world.cut_half_way = true;
            let (life, _) = life(world);
            let restarts = life.done.iter().filter(|(verb, _)| verb.restarts());
            assert_eq!(restarts.count(), 5, "after effect {last}: {life:?}");
            assert_eq!(
                (&*life.state, life.standing),
                ("fenced", 1),
                "{last}: {life:?}"
            );
        }
    }
}

/// What an administrator stopped while no agent was there stays down, whatever was cut off before.
#[test]
fn what_ended_well_after_the_act_that_was_cut_off_was_stopped_by_somebody_else() {
    let web = service("web");
    for (later, state) in [(true, "stopped by somebody else"), (false, "running")] {
        let mut world = World::new(with_hooks());
        world.pass(Millis::from_secs(3));
        let began = world.now.boot;
        world.kill(&web);
        let since = if later {
            began + Millis(1)
        } else {
            Boottime(began.0 - 1)
        };
        world.thing(&web).why_not = DownCause::FoundDown { since };
        world.jobs_go_on = false;
        world.restart_agent();
        world.observe(&web);
        world.pass(Millis::from_secs(3600));
        assert_eq!(world.state(&web), state);
    }
}

/// Where nobody can tell whether an act was begun, it counts as done: never one too many.
#[test]
fn without_a_word_on_its_newest_start_the_budget_is_never_exceeded_and_at_most_one_use_is_lost() {
    let effects = effects_of(false, false);
    for last in 1..=effects {
        let mut world = begin(false, false, None);
        world.thing(&service("web")).started = None;
        world.die_after = Some(last);
        let (life, _) = life(world);
        let restarts = life.done.iter().filter(|(verb, _)| verb.restarts()).count();
        assert!((4..=5).contains(&restarts), "after effect {last}: {life:?}");
        assert_eq!(
            (&*life.state, life.standing),
            ("fenced", 1),
            "{last}: {life:?}"
        );
    }
}

/// And an agent that dies again and again at every so many effects.
#[test]
fn an_agent_that_dies_again_and_again_neither_exceeds_the_budget_nor_forgets_the_fence() {
    for every in 1..=9 {
        for (jobs_go_on, cut_half_way) in [(true, false), (false, false), (false, true)] {
            let mut world = begin(jobs_go_on, false, None);
            world.cut_half_way = cut_half_way;
            for _ in 0..4000 {
                world.die_after = Some(every);
                world.pass(Millis(100));
            }
            world.die_after = None;
            let (life, _) = life(world);
            let restarts = life.done.iter().filter(|(verb, _)| verb.restarts()).count();
            assert!(restarts <= 5, "every {every}: {life:?}");
            assert_eq!(life.state, "fenced", "every {every}: {life:?}");
        }
    }
}
