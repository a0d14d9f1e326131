//! Stories of promises on virtual time, and what holds for any course of beats.
#![cfg(test)]

use nodemedic_watchdog::beat::{Beat, Promise, Status, Target};
use nodemedic_watchdog::promise::{Action, HELD_MAX, Outcome, Table};
use proptest::prelude::*;

const VERIFY: u64 = 3000;

fn unit(name: &str) -> Target {
    Target::Cgroup(format!("/system.slice/{name}.service"))
}

fn promise(name: &str, deadline: u64, grace: u64) -> Promise {
    Promise {
        deadline,
        grace,
        target: unit(name),
    }
}

fn beat(session: u64, sequence: u64, sent: u64, promises: &[Promise]) -> Beat {
    Beat {
        session,
        sequence,
        sent,
        next: 5000,
        leaving: false,
        promises: promises.to_vec(),
    }
}

#[test]
fn a_promise_that_is_prolonged_in_time_is_never_struck() {
    let mut table = Table::new(VERIFY);
    for n in 1..100 {
        let now = n * 5000;
        let next = promise("db", now + 15_000, 10_000);
        assert_eq!(table.take(now, &beat(7, n, now, &[next])), Status::Taken);
        assert_eq!(table.due(now + 4999), [], "at {now}");
    }
}

#[test]
fn a_dead_agent_is_outlived_by_its_promise_which_is_warned_of_then_struck_then_verified() {
    let mut table = Table::new(VERIFY);
    table.take(0, &beat(7, 1, 0, &[promise("db", 15_000, 10_000)]));
    assert_eq!(table.next(), Some(21_000));
    assert_eq!(table.due(20_999), []);
    assert_eq!(table.due(21_000), [Action::Warn(unit("db"), 4000)]);
    assert_eq!(table.due(24_999), [], "warned once only");
    assert_eq!(table.next(), Some(25_000));
    assert_eq!(table.due(25_000), [Action::Strike(unit("db"))]);
    assert_eq!(table.seen(25_001, &unit("db"), Some(3)), Outcome::Left);
    assert_eq!(table.due(25_020), [Action::Strike(unit("db"))]);
    assert_eq!(
        table.seen(25_021, &unit("db"), Some(0)),
        Outcome::MadeGood(21)
    );
    assert_eq!(table.count(), (0, 0));
    assert_eq!(table.due(90_000), []);
}

#[test]
fn a_target_that_is_gone_by_itself_has_kept_its_promise() {
    let mut table = Table::new(VERIFY);
    table.take(0, &beat(7, 1, 0, &[promise("db", 10, 0)]));
    assert_eq!(table.due(10), [Action::Strike(unit("db"))]);
    assert_eq!(table.seen(10, &unit("db"), Some(0)), Outcome::Kept);
    assert_eq!(table.overdue(1_000_000), None);
}

#[test]
fn what_cannot_be_verified_is_overdue_and_said_each_second() {
    let mut table = Table::new(VERIFY);
    table.take(0, &beat(7, 1, 0, &[promise("db", 1000, 0)]));
    let mut said = 0;
    for now in (1000..=8000).step_by(20) {
        for action in table.due(now) {
            match action {
                Action::Overdue(..) => said += 1,
                Action::Strike(target) => {
                    assert_eq!(
                        table.seen(now, &target, None),
                        Outcome::Left,
                        "unseen is not gone"
                    );
                }
                Action::Warn(..) => panic!("there is no time to warn in"),
            }
        }
        assert_eq!(
            table.overdue(now).is_some(),
            now >= 1000 + VERIFY,
            "at {now}"
        );
    }
    assert_eq!(said, 5, "at 4, 5, 6, 7 and 8 s");
}

#[test]
fn no_beat_rescues_a_broken_promise() {
    let mut table = Table::new(VERIFY);
    table.take(0, &beat(7, 1, 0, &[promise("db", 1000, 500)]));
    table.due(1500);
    assert_eq!(
        table.take(1501, &beat(7, 2, 1501, &[promise("db", 60_000, 500)])),
        Status::Taken
    );
    assert_eq!(table.due(1520), [Action::Strike(unit("db"))]);
    assert_eq!(table.take(1521, &beat(7, 3, 1521, &[])), Status::Taken);
    assert_eq!(table.due(1540), [Action::Strike(unit("db"))]);
}

#[test]
fn a_new_session_cannot_withdraw_by_forgetting_but_by_naming_first() {
    let mut table = Table::new(VERIFY);
    table.take(
        0,
        &beat(7, 1, 0, &[promise("db", 1000, 0), promise("web", 1000, 0)]),
    );
    // The agent was killed; its successor knows of one work only.
    table.take(500, &beat(8, 1, 500, &[promise("web", 9000, 0)]));
    assert_eq!(table.count(), (2, 0));
    table.take(600, &beat(8, 2, 600, &[]));
    assert_eq!(
        table.due(1000),
        [Action::Strike(unit("db"))],
        "web is withdrawn, db is not"
    );
}

#[test]
fn late_beats_change_nothing() {
    let mut table = Table::new(VERIFY);
    table.take(0, &beat(7, 5, 100, &[promise("db", 1000, 0)]));
    for stale in [
        beat(7, 5, 100, &[]),
        beat(7, 4, 200, &[]),
        beat(6, 99, 99, &[]),
    ] {
        assert_eq!(table.take(200, &stale), Status::Stale);
    }
    assert_eq!(table.count(), (1, 0));
}

#[test]
fn more_promises_than_there_is_room_for_are_refused_whole() {
    let mut table = Table::new(VERIFY);
    let many = |session: u64| {
        let name = |i| promise(&format!("w{session}-{i}"), 1000, 0);
        (0..32).map(name).collect::<Vec<_>>()
    };
    assert_eq!(table.take(0, &beat(1, 1, 0, &many(1))), Status::Taken);
    assert_eq!(table.take(0, &beat(2, 1, 1, &many(2))), Status::Taken);
    assert_eq!(table.count(), (HELD_MAX, 0));
    assert_eq!(table.take(0, &beat(3, 1, 2, &many(3)[..1])), Status::Full);
    assert_eq!(table.last().map(|last| last.session), Some(2));
}

#[test]
fn the_next_watchdog_knows_all_that_this_one_knew() {
    let mut table = Table::new(VERIFY);
    table.take(0, &beat(1, 1, 0, &[promise("old", 90_000, 0)]));
    let own = [promise("broken", 1, 0), promise("db", 50_000, 0)];
    table.take(0, &beat(2, 4, 1, &own));
    table.due(10);
    let mut next = Table::new(VERIFY);
    for beat in table.beats() {
        let sent = Beat::decode(&beat.encode()).expect("the format holds it");
        assert_eq!(next.take(20, &sent), Status::Taken);
    }
    assert_eq!(next.count(), (3, 0));
    assert_eq!(next.due(20), [Action::Strike(unit("broken"))]);
    // The agent goes on where it was, and withdraws what is its own.
    assert_eq!(next.take(30, &beat(2, 4, 30, &[])), Status::Stale);
    assert_eq!(next.take(30, &beat(2, 5, 30, &[])), Status::Taken);
    assert_eq!(next.count(), (2, 1), "old and broken stay");
}

/// One step of a random course.
#[derive(Clone, Debug)]
enum Step {
    Beat {
        session: u64,
        promises: Vec<(u8, u64, u64)>,
    },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let one = (0u8..4, 0u64..3000, 0u64..2000);
    prop_oneof![
        (1u64..4, prop::collection::vec(one, 0..4))
            .prop_map(|(session, promises)| Step::Beat { session, promises }),
        (1u64..1500).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Nothing is struck before its deadline and grace, as the last beat that named it set them;
    /// and whatever was promised is struck by then, unless a beat of the session that holds it let
    /// go.
    #[test]
    fn strikes_come_in_time_and_never_early(steps in prop::collection::vec(step(), 1..60)) {
        let mut table = Table::new(VERIFY);
        let (mut now, mut sequence) = (0u64, 0u64);
        // The model: per target, who holds it until when, and whether it is broken.
        let mut model: std::collections::BTreeMap<u8, (u64, u64, bool)> = Default::default();
        for step in steps {
            match step {
                Step::Pass(ms) => now += ms,
                Step::Beat { session, promises } => {
                    sequence += 1;
                    let mut unique: std::collections::BTreeMap<u8, (u64, u64)> = Default::default();
                    for (name, deadline, grace) in promises {
                        unique.insert(name, (now + deadline, grace));
                    }
                    let list: Vec<Promise> = (unique.iter())
                        .map(|(name, (d, g))| promise(&name.to_string(), *d, *g))
                        .collect();
                    let status = table.take(now, &beat(session, sequence, now, &list));
                    prop_assert_eq!(status, Status::Taken);
                    model.retain(|name, (holder, _, broken)| {
                        *broken || *holder != session || unique.contains_key(name)
                    });
                    for (name, (deadline, grace)) in unique {
                        let held = model.entry(name).or_insert((session, 0, false));
                        if !held.2 {
                            *held = (session, deadline + grace, false);
                        }
                    }
                }
            }
            let struck: std::collections::BTreeSet<String> = (table.due(now).into_iter())
                .filter_map(|action| match action {
                    Action::Strike(target) => Some(target.to_string()),
                    _ => None,
                })
                .collect();
            let mut expected = std::collections::BTreeSet::new();
            for (name, (_, at, broken)) in &mut model {
                *broken |= now >= *at;
                if *broken {
                    expected.insert(unit(&name.to_string()).to_string());
                }
            }
            prop_assert_eq!(struck, expected, "at {}", now);
        }
    }
}
