//! Broker and coordinator away for long: nothing restarts, drains or reboots; only exclusive work
//! that chose to stop has stopped, once, and comes back under a higher generation.
//!
//! `NODEMEDIC_OUTAGE` says how many seconds. From five minutes on the site has the terms of one
//! that configures nothing.

use std::time::Duration;

use nodemedic_protocol::api::{Decision, JournalWhat};
use nodemedic_system_tests::book::Instance;
use nodemedic_system_tests::realm::{HOSTS, Part, Realm};
use nodemedic_system_tests::scenario::{all_living, living, same};
use nodemedic_system_tests::terms::{Shared, Terms, WORKS};
use nodemedic_system_tests::wait::{stays, wait_for};

/// More than twice the safe time under short terms.
const DEFAULT_S: u64 = 12;

fn outage() -> (Duration, Terms) {
    let asked = std::env::var("NODEMEDIC_OUTAGE").ok();
    let seconds = asked.and_then(|s| s.parse().ok()).unwrap_or(DEFAULT_S);
    let terms = if seconds >= 300 {
        Terms::DEFAULT
    } else {
        Terms::PATIENT
    };
    (Duration::from_secs(seconds), terms)
}

/// Each stopped by a request, and each exactly once: of each work one instance more, and no other.
fn stopped_once_and_back(realm: &Realm, before: &[Instance], history: usize) {
    let book = realm.book();
    for old in before {
        let of_work = book.of(&old.work);
        let ended = of_work
            .iter()
            .find(|i| i.id == old.id && i.node == old.node);
        assert!(
            ended.is_some_and(|i| i.stopped),
            "{old:?} was not asked to stop: {of_work:?}"
        );
        let new = of_work.last().expect("its history");
        assert!(new.generation > old.generation, "{old:?} became {new:?}");
    }
    let after: usize = WORKS.iter().map(|work| book.of(work.name).len()).sum();
    assert_eq!(
        after,
        history + before.len(),
        "something else was started as well"
    );
}

fn nothing_was_drained(realm: &Realm) {
    let journal = realm.journal().expect("the journal");
    let drained = journal.iter().find(|entry| {
        matches!(
            entry.what,
            JournalWhat::Coordinator(Decision::Scheduling { .. })
        )
    });
    assert_eq!(drained, None, "something was taken out");
}

fn survives(what: &str, take: fn(&mut Realm), give: fn(&mut Realm)) {
    let (span, terms) = outage();
    let mut realm = Realm::start(terms);
    let all = all_living(&realm);
    let stops = living(&realm, Shared::Stop);
    let mut spared = living(&realm, Shared::Keep);
    spared.extend(living(&realm, Shared::Two));
    take(&mut realm);
    let (_, took) = wait_for(
        "what stops has stopped",
        terms.over_after(),
        || match living(&realm, Shared::Stop) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        },
    );
    println!(
        "{what}: what stops had stopped after {:.2} s",
        took.as_secs_f32()
    );
    stays(what, span.saturating_sub(took), || {
        same(&realm, what, spared.iter());
        match living(&realm, Shared::Stop) {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        }
    });
    give(&mut realm);
    let took = realm.settle();
    println!(
        "{what}: away for {} s, all well {:.1} s after its return",
        span.as_secs(),
        took.as_secs_f32()
    );
    same(&realm, what, spared.iter());
    stopped_once_and_back(&realm, &stops, all.len());
    nothing_was_drained(&realm);
    for host in HOSTS {
        assert!(realm.runs(host, Part::Agent) && realm.runs(host, Part::Watchdog));
    }
    realm.prove();
}

/// Three sites at once, because most of the time all they do is wait.
#[test]
fn without_broker_or_coordinator_only_what_chose_to_stop_stops() {
    std::thread::scope(|scope| {
        let sites = [
            scope.spawn(|| {
                survives(
                    "broker away",
                    |realm| realm.broker.kill9(),
                    |realm| realm.broker.restart(),
                );
            }),
            scope.spawn(|| {
                survives(
                    "coordinator away",
                    Realm::kill9_coordinator,
                    Realm::start_coordinator,
                );
            }),
            scope.spawn(|| {
                survives(
                    "broker and coordinator away",
                    |realm| {
                        realm.broker.kill9();
                        realm.kill9_coordinator();
                    },
                    |realm| {
                        realm.broker.restart();
                        realm.start_coordinator();
                    },
                );
            }),
        ];
        for site in sites {
            site.join()
                .expect("this site was not as it should be, see above");
        }
    });
}
