//! Many worlds: every property holds in each, the worlds are rough enough to mean something, and
//! the checkers catch what is broken on purpose.
#![cfg(test)]

use std::collections::BTreeMap;

use nodemedic_agent_core::UnitKey;
use nodemedic_coordinator_core::Write;
use nodemedic_coordinator_core::settings::Mutation;
use nodemedic_protocol::api::{Decision, JournalWhat, Proof};
use nodemedic_protocol::event::{EventKind, Verb};
use nodemedic_sim::fact::Fact;
use nodemedic_sim::{Knobs, Outcome, Plot, run, works};

/// How many worlds every test run looks at.
const SEEDS: u64 = 100;

fn good(outcome: &Outcome) {
    if let Some(violation) = outcome.violations.first() {
        let seed = outcome.knobs.seed;
        panic!(
            "{}\nat {} ms: {}: {}\nto see it: cargo xtask sim --seed {seed} --trace",
            outcome.knobs, violation.at, violation.property, violation.what
        );
    }
}

/// What happened, by kind.
fn count(outcome: &Outcome, counts: &mut BTreeMap<&'static str, u64>) {
    for (_, fact) in &outcome.kept {
        let kind = match fact {
            Fact::Committed(write) => match &**write {
                Write::Journal(entry) => match &entry.what {
                    JournalWhat::Coordinator(Decision::Ended { proof, .. }) => match proof {
                        Proof::StopConfirmed => "stop confirmed",
                        Proof::Rebooted => "rebooted",
                        Proof::LeaseEnded => "lease ended",
                        Proof::NotNeeded => "no proof needed",
                        Proof::PersonsWord { .. } => "person's word",
                    },
                    JournalWhat::Node(event) => match event.kind {
                        EventKind::Dropped { .. } => "events dropped",
                        EventKind::LeaseLost { .. } => "lease lost",
                        _ => continue,
                    },
                    JournalWhat::Coordinator(_) => continue,
                },
                _ => continue,
            },
            Fact::Acted { verb, .. } => match verb {
                Verb::Restart => "restarts",
                Verb::Fence => "fences",
                _ => continue,
            },
            Fact::Ended {
                how: "watchdog", ..
            } => "watchdog kills",
            Fact::Fault(text) if text.starts_with("the watchdog resets") => "watchdog resets",
            Fact::Fault(text) if text.starts_with("the coordinator dies before") => {
                "coordinator crashes between effects"
            }
            Fact::Fault(text) if text.contains(" dies before ") => "agent crashes between effects",
            _ => continue,
        };
        *counts.entry(kind).or_default() += 1;
    }
}

#[test]
fn a_hundred_worlds_keep_every_property_and_come_to_rest() {
    let mut counts = BTreeMap::new();
    for seed in 1..=SEEDS {
        let outcome = run(Knobs::draw(seed), true);
        good(&outcome);
        count(&outcome, &mut counts);
    }
    println!("{counts:#?}");
    // A hundred worlds in which nothing happens would prove nothing.
    for (kind, least) in [
        ("stop confirmed", 100),
        ("rebooted", 50),
        ("lease ended", 20),
        ("no proof needed", 20),
        ("lease lost", 20),
        ("restarts", 100),
        ("fences", 10),
        ("watchdog kills", 5),
        ("watchdog resets", 2),
        ("events dropped", 2),
        ("coordinator crashes between effects", 20),
        ("agent crashes between effects", 10),
    ] {
        let seen = counts.get(kind).copied().unwrap_or_default();
        assert!(
            seen >= least,
            "only {seen} times {kind:?}: the weather is too mild\n{counts:#?}"
        );
    }
}

/// Seeds that once broke a property, and what was wrong.
const ONCE_BROKEN: [(u64, &str); 2] = [
    (
        267,
        "an alert that was told, flipped twice while a try was under way, kept a timer in the past",
    ),
    (
        11_811,
        "after a restart of the coordinator, births of an older session of the same boot counted",
    ),
];

#[test]
fn what_was_once_broken_stays_whole() {
    for (seed, why) in ONCE_BROKEN {
        println!("{seed}: {why}");
        good(&run(Knobs::draw(seed), false));
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let hash = |seed| run(Knobs::draw(seed), false).hash;
    for seed in [7, 8, 9] {
        assert_eq!(hash(seed), hash(seed));
    }
    assert_ne!(hash(7), hash(8));
}

#[test]
fn losing_coordinator_and_broker_for_an_hour_stops_only_what_chose_to_stop() {
    for seed in 1..=5 {
        let mut knobs = Knobs::draw(seed);
        knobs.plot = Plot::Silence;
        knobs.fault_ms = 3_660_000;
        knobs.start_fails = 0;
        knobs.action_hangs = 0;
        let calm = knobs.fault_ms;
        let outcome = run(knobs, true);
        good(&outcome);
        let mut stopped = 0;
        for (at, fact) in &outcome.kept {
            if !(60_000..calm).contains(at) {
                continue;
            }
            if let Fact::Ended {
                unit: UnitKey::Work(work),
                how,
                ..
            } = fact
            {
                assert_eq!(work.as_str(), works::STOP, "seed {seed}: {how}");
                stopped += 1;
            }
        }
        assert_eq!(
            stopped, 1,
            "seed {seed}: its owner chose that it stops, once"
        );
    }
}

/// Within how many seeds a deliberate fault is caught, and by which property.
fn caught(most: u64, break_it: impl Fn(&mut Knobs)) -> &'static str {
    for seed in 1..=most {
        let mut knobs = Knobs::draw(seed);
        break_it(&mut knobs);
        if let Some(violation) = run(knobs, false).violations.first() {
            return violation.property;
        }
    }
    panic!("{most} worlds did not notice");
}

#[test]
fn a_safe_time_that_is_too_short_is_caught() {
    caught(SEEDS, |k| k.mutation = Some(Mutation::ShortSafeTime));
}

#[test]
fn a_start_before_the_stop_is_caught() {
    caught(SEEDS, |k| k.mutation = Some(Mutation::StartBeforeStop));
}

#[test]
fn a_start_without_resume_grace_is_caught() {
    caught(SEEDS, |k| k.mutation = Some(Mutation::SkipResumeGrace));
}

#[test]
fn generations_that_are_not_stored_are_caught() {
    let property = caught(SEEDS, |k| k.mutation = Some(Mutation::ForgetGenerations));
    assert!(property.contains("generations"), "{property}");
}

#[test]
fn watchdogs_that_promise_and_do_nothing_are_caught() {
    caught(SEEDS, |k| k.watchdogs_sleep = true);
}
