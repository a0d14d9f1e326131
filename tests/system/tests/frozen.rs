//! SIGSTOP of each program of a host: what is frozen may thaw at any moment, so nothing runs
//! elsewhere before it is proved that it cannot.

use std::time::Duration;

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
use nodemedic_protocol::work::Enforcement;
use nodemedic_system_tests::realm::{Part, Realm};
use nodemedic_system_tests::scenario::{all_living, fails_over, living, same, untouched};
use nodemedic_system_tests::terms::{Shared, Terms};
use nodemedic_system_tests::wait::{stays, wait_for};

/// Far above what is awaited, for a busy machine.
const BOUND: Duration = Duration::from_secs(20);

/// A pause below the term is nobody's business.
fn an_agent_pauses(realm: &mut Realm) {
    realm.settle();
    let before = all_living(realm);
    let host = realm.holder("till").node;
    realm.signal(&host, Part::Agent, SIGSTOP);
    let pause = Duration::from_millis(realm.terms.term_ms / 3);
    stays("nothing is touched meanwhile", pause, || {
        same(realm, "a short pause", before.iter());
        Ok(())
    });
    realm.signal(&host, Part::Agent, SIGCONT);
    realm.settle();
    same(realm, "a short pause", before.iter());
}

/// The watchdog ends the agent first, because it may thaw, and then the works that it promised.
fn an_agent_freezes(realm: &mut Realm) {
    let what = "agent frozen";
    let struck = fails_over(realm, what, |realm, host| {
        realm.signal(host, Part::Agent, SIGSTOP);
    });
    assert!(
        !realm.runs(&struck.host, Part::Agent),
        "the frozen agent lives, while its works run elsewhere"
    );
    untouched(realm, what, &struck.before);
    realm.start_part(&struck.host, Part::Agent);
    let took = realm.settle();
    println!(
        "{what}: all well {:.1} s after its start",
        took.as_secs_f32()
    );
    realm.prove();
}

/// Without a watchdog time proves nothing: what stops does stop, and waits for a word.
fn a_watchdog_freezes(realm: &mut Realm) {
    realm.settle();
    let before = all_living(realm);
    let host = realm.holder("till").node;
    realm.signal(&host, Part::Watchdog, SIGSTOP);
    let (_, took) = wait_for(
        "the host says that nothing is enforced",
        BOUND,
        || match realm.node(&host)?.enforcement {
            Enforcement::None => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
    println!(
        "watchdog frozen: declared after {:.2} s",
        took.as_secs_f32()
    );
    same(realm, "a frozen watchdog", before.iter());

    realm.net.cut(&host);
    let mut stopped = living(realm, Shared::Stop);
    stopped.retain(|instance| instance.node == host);
    let elsewhere = || {
        for old in &stopped {
            let seen = realm.living(&old.work);
            if let Some(new) = seen.iter().find(|new| new.generation > old.generation) {
                return Err(format!("{new:?}"));
            }
        }
        Ok(())
    };
    let long = realm.terms.safe_time() + Duration::from_secs(3);
    stays("nothing runs elsewhere without a proof", long, elsewhere);
    for old in &stopped {
        let seen = realm.living(&old.work);
        assert!(seen.is_empty(), "its agent did not stop {seen:?}");
    }
    realm.signal(&host, Part::Watchdog, SIGCONT);
    realm.net.join(&host);
    let took = realm.settle();
    println!(
        "watchdog frozen: all well {:.1} s after the heal",
        took.as_secs_f32()
    );
    realm.prove();
}

/// A frozen work fails its probe; the agent ends it and starts it again, under the same grant.
fn a_work_freezes(realm: &mut Realm, work: &str) {
    realm.settle();
    let old = realm.holder(work);
    realm.signal_work(&old, SIGSTOP);
    let (new, took) = wait_for(&format!("{work} runs again"), BOUND, || {
        let seen = realm.living(work);
        let new = seen.iter().find(|new| new.id != old.id);
        new.cloned().ok_or_else(|| format!("{seen:?}"))
    });
    println!(
        "{work} frozen: runs again after {:.2} s",
        took.as_secs_f32()
    );
    assert_eq!(
        (&new.node, new.generation),
        (&old.node, old.generation),
        "healed on the spot"
    );
    realm.prove();
}

#[test]
fn what_is_frozen_is_healed_or_waited_for() {
    let mut realm = Realm::start(Terms::SHORT);
    an_agent_pauses(&mut realm);
    a_work_freezes(&mut realm, "till");
    a_work_freezes(&mut realm, "vault");
    a_watchdog_freezes(&mut realm);
}

#[test]
fn a_frozen_agent_is_dead_before_its_works_run_elsewhere() {
    let mut realm = Realm::start(Terms::GENTLE);
    an_agent_freezes(&mut realm);
}
