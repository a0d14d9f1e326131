//! A host that is cut off from its broker, in each way: what stops does so in time and runs
//! elsewhere, what is kept and what is replicated is not touched.

use nodemedic_system_tests::realm::Realm;
use nodemedic_system_tests::scenario::{fails_over, same, untouched};
use nodemedic_system_tests::terms::Terms;

/// Strikes, sees the fail-over, heals, and sees that all is well again.
fn cut(realm: &mut Realm, what: &str, strike: fn(&Realm, &str), heal: fn(&Realm, &str)) {
    let struck = fails_over(realm, what, |realm, host| strike(realm, host));
    untouched(realm, what, &struck.before);
    heal(realm, &struck.host);
    let took = realm.settle();
    println!(
        "{what}: all well {:.1} s after the heal",
        took.as_secs_f32()
    );
    let kept = struck.before.iter().filter(|i| i.work == "vault");
    same(realm, what, kept);
    realm.prove();
}

#[test]
fn a_host_that_is_cut_off_loses_what_stops_and_keeps_the_rest() {
    let mut realm = Realm::start(Terms::SHORT);
    cut(
        &mut realm,
        "cable pulled",
        |realm, host| realm.net.cut(host),
        |realm, host| realm.net.join(host),
    );
    cut(
        &mut realm,
        "both ways",
        |realm, host| {
            realm.net.drop_frames(host, "broker");
            realm.net.drop_frames("broker", host);
        },
        |realm, host| {
            realm.net.pass_frames(host, "broker");
            realm.net.pass_frames("broker", host);
        },
    );
    cut(
        &mut realm,
        "host to broker",
        |realm, host| realm.net.drop_frames(host, "broker"),
        |realm, host| realm.net.pass_frames(host, "broker"),
    );
    cut(
        &mut realm,
        "broker to host",
        |realm, host| realm.net.drop_frames("broker", host),
        |realm, host| realm.net.pass_frames("broker", host),
    );
}
