//! kill -9 of each program, alone and together, and of whole hosts: what comes back at once is not
//! noticed by any work, and what stays away is replaced after its promise has ended.

use std::time::Duration;

use nodemedic_system_tests::realm::{Part, Realm};
use nodemedic_system_tests::scenario::{all_living, fails_over, same, untouched};
use nodemedic_system_tests::terms::Terms;
use nodemedic_system_tests::wait::stays;

/// Strikes the host that holds the till; afterwards every work is the same process as before, for
/// longer than any promise lasts.
fn nobody_notices(realm: &mut Realm, what: &str, strike: fn(&mut Realm, &str)) {
    realm.settle();
    let before = all_living(realm);
    let host = realm.holder("till").node;
    strike(realm, &host);
    stays(what, realm.terms.over_after(), || {
        same(realm, what, before.iter());
        Ok(())
    });
    realm.settle();
    same(realm, what, before.iter());
    println!("{what}: not noticed");
}

#[test]
fn what_comes_back_at_once_is_not_noticed_by_any_work() {
    let mut realm = Realm::start(Terms::SHORT);
    nobody_notices(&mut realm, "agent killed", |realm, host| {
        realm.kill9(host, Part::Agent);
        realm.start_part(host, Part::Agent);
    });
    nobody_notices(&mut realm, "watchdog killed", |realm, host| {
        realm.kill9(host, Part::Watchdog);
        realm.start_part(host, Part::Watchdog);
    });
    nobody_notices(&mut realm, "agent and watchdog killed", |realm, host| {
        realm.kill9(host, Part::Agent);
        realm.kill9(host, Part::Watchdog);
        realm.start_part(host, Part::Watchdog);
        realm.start_part(host, Part::Agent);
    });
    nobody_notices(&mut realm, "coordinator killed", |realm, _| {
        realm.kill9_coordinator();
        realm.start_coordinator();
    });
    nobody_notices(&mut realm, "broker killed", |realm, _| {
        realm.broker.kill9();
        realm.broker.restart();
    });
    realm.prove();
}

fn back(realm: &mut Realm, what: &str) {
    let took = realm.settle();
    println!(
        "{what}: all well {:.1} s after the heal",
        took.as_secs_f32()
    );
    realm.prove();
}

/// Its watchdog keeps its promises.
fn an_agent_is_gone(realm: &mut Realm) {
    let what = "agent gone";
    let struck = fails_over(realm, what, |realm, host| realm.kill9(host, Part::Agent));
    untouched(realm, what, &struck.before);
    realm.start_part(&struck.host, Part::Agent);
    back(realm, what);
}

/// The next watchdog finds the promises that were made to the one before.
fn only_a_watchdog_comes_back(realm: &mut Realm) {
    let what = "agent and watchdog killed, watchdog back";
    let struck = fails_over(realm, what, |realm, host| {
        realm.kill9(host, Part::Watchdog);
        realm.kill9(host, Part::Agent);
        realm.start_part(host, Part::Watchdog);
    });
    untouched(realm, what, &struck.before);
    realm.start_part(&struck.host, Part::Agent);
    back(realm, what);
}

/// The host's end is the end of all that it promised; only time proves it.
fn a_plug_is_pulled(realm: &mut Realm) {
    let what = "power cut";
    let struck = fails_over(realm, what, |realm, host| realm.cut_power(host));
    realm.boot(&struck.host);
    back(realm, what);
}

/// Time proves nothing about work that is kept: it waits for its host, however long that takes.
fn kept_work_waits_for_its_host(realm: &mut Realm) {
    let what = "power cut under work that is kept";
    realm.settle();
    let old = realm.holder("vault");
    realm.cut_power(&old.node);
    let long = realm.terms.safe_time() + Duration::from_secs(3);
    stays("nobody else takes it", long, || {
        match realm
            .living("vault")
            .into_iter()
            .find(|new| new.id != old.id)
        {
            Some(new) => Err(format!("{new:?}")),
            None => Ok(()),
        }
    });
    realm.boot(&old.node);
    back(realm, what);
    println!("{what}: {:?} became {:?}", old.id, realm.holder("vault"));
}

#[test]
fn what_stays_away_is_replaced_after_its_promise_has_ended() {
    let mut realm = Realm::start(Terms::SHORT);
    an_agent_is_gone(&mut realm);
    only_a_watchdog_comes_back(&mut realm);
    a_plug_is_pulled(&mut realm);
    kept_work_waits_for_its_host(&mut realm);
}
