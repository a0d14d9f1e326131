//! What every scenario of one struck host has in common: who was there, what ran again elsewhere
//! and when, and what was not touched.

use std::time::Duration;

use crate::book::{Instance, now_us};
use crate::realm::Realm;
use crate::terms::{Shared, WORKS};
use crate::wait::wait_for;

/// Over the safe time, for what follows it: a plan, two messages, a start, the first line. Measured
/// below 0.5 s; the rest is a busy machine.
const SLACK: Duration = Duration::from_secs(8);

/// A host that was struck, and what ran on it before.
pub struct Struck {
    /// Which.
    pub host: String,
    /// All instances that lived on it.
    pub before: Vec<Instance>,
}

/// All living instances of works of this kind.
#[must_use]
pub fn living(realm: &Realm, shared: Shared) -> Vec<Instance> {
    let works = WORKS.iter().filter(|work| work.shared == shared);
    works.flat_map(|work| realm.living(work.name)).collect()
}

/// All living instances.
#[must_use]
pub fn all_living(realm: &Realm) -> Vec<Instance> {
    WORKS
        .iter()
        .flat_map(|work| realm.living(work.name))
        .collect()
}

fn stops(instance: &Instance) -> bool {
    let work = WORKS.iter().find(|work| work.name == instance.work);
    work.is_some_and(|work| work.shared == Shared::Stop)
}

/// Strikes the host that holds a work that stops. All such works there must run again elsewhere
/// within the safe time, and not before they have ended there.
///
/// # Panics
/// When they do not.
pub fn fails_over(realm: &mut Realm, what: &str, strike: impl FnOnce(&mut Realm, &str)) -> Struck {
    realm.settle();
    let host = realm.holder("till").node;
    let mut before = all_living(realm);
    before.retain(|instance| instance.node == host);
    let at = now_us();
    strike(realm, &host);
    for old in before.iter().filter(|old| stops(old)) {
        let left = Duration::from_micros(now_us() - at);
        let bound = (realm.terms.safe_time() + SLACK).saturating_sub(left);
        let (new, _) = wait_for(&format!("{what}: {} elsewhere", old.work), bound, || {
            let living = realm.living(&old.work);
            let new = living.iter().find(|new| new.generation > old.generation);
            new.cloned().ok_or_else(|| format!("{living:?}"))
        });
        assert_ne!(new.node, host, "{what}: {new:?} on the struck host");
        let book = realm.book();
        let last = book
            .of(&old.work)
            .iter()
            .filter(|i| i.node == host)
            .map(|i| i.last_us)
            .max();
        let seconds = |us: u64| Duration::from_micros(us.saturating_sub(at)).as_secs_f32();
        println!(
            "{what}: {} ended after {:.2} s, ran elsewhere after {:.2} s (safe time {:.2} s)",
            old.work,
            seconds(last.unwrap_or_default()),
            seconds(new.first_us),
            realm.terms.safe_time().as_secs_f32()
        );
    }
    realm.prove();
    Struck { host, before }
}

/// What is not stopped by a lost lease must live on as the same process.
///
/// # Panics
/// When one of these instances does not live any more.
pub fn untouched(realm: &Realm, what: &str, before: &[Instance]) {
    let spared = before.iter().filter(|old| !stops(old));
    same(realm, what, spared);
}

/// These very instances still live.
///
/// # Panics
/// When one does not.
pub fn same<'a>(realm: &Realm, what: &str, before: impl Iterator<Item = &'a Instance>) {
    for old in before {
        let living = realm.living(&old.work);
        assert!(
            living
                .iter()
                .any(|new| new.id == old.id && new.node == old.node),
            "{what}: {old:?} was touched; now {living:?}"
        );
    }
}
