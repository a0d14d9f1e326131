//! The device is fed only by a turn that has just found no promise overdue, and a host is reset
//! only to keep a promise.

use std::collections::{BTreeMap, BTreeSet};

use nodemedic_protocol::{Generation, WorkName};
use nodemedic_sim_agent_core::UnitKey;

use super::Checker;
use crate::clock::True;
use crate::fact::{Fact, Host};
use crate::works;

/// What runs under which promise, by what really happened.
#[derive(Default)]
struct Promises {
    running: BTreeSet<(Host, WorkName, Generation)>,
    due: BTreeMap<(Host, WorkName, Generation), True>,
}

impl Promises {
    fn see(&mut self, fact: &Fact) {
        match fact {
            Fact::Began {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
            } if works::stops_on_lease_loss(work) => {
                self.running.insert((*host, work.clone(), *generation));
            }
            Fact::Ended {
                host,
                unit: UnitKey::Work(work),
                generation: Some(generation),
                ..
            } => {
                self.running.remove(&(*host, work.clone(), *generation));
            }
            Fact::Promised {
                host,
                work,
                generation,
                due,
                ..
            } => {
                let key = (*host, work.clone(), *generation);
                let latest = self.due.entry(key).or_default();
                *latest = (*latest).max(*due);
            }
            _ => {}
        }
    }

    /// Whether the promise of a grant is overdue.
    fn is_due(&self, at: True, host: Host, work: &WorkName, generation: Generation) -> bool {
        let due = self.due.get(&(host, work.clone(), generation));
        due.is_some_and(|due| *due < at)
    }

    /// What runs on a host beyond its promise, the longest overdue first.
    fn overdue(&self, at: True, host: Host) -> Option<(&WorkName, True)> {
        let of_host = self.running.iter().filter(|(h, ..)| *h == host);
        let overdue = of_host.filter_map(|key| {
            let due = self.due.get(key).copied()?;
            (due < at).then(|| (&key.1, at - due))
        });
        overdue.max_by_key(|(_, late)| *late)
    }
}

/// A watchdog may take so long to see its targets gone before it starves the device.
const VERIFY_MS: u64 = nodemedic_watchdog::verdict::VERIFY_MS;

/// Between a turn's clock and true time, and between the moment at which something is overdue and
/// the first turn after it.
const TURN_MS: u64 = nodemedic_watchdog::verdict::TURN_MAX_MS + 50;

/// A host that was frozen or slept is judged by what its watchdog could have seen since.
#[derive(Default)]
pub struct FedOnEvidence {
    promises: Promises,
    fed: BTreeMap<Host, True>,
    /// Until when a host that slept may need to find out what ended while it did.
    waking: BTreeMap<Host, True>,
}

impl Checker for FedOnEvidence {
    fn property(&self) -> &'static str {
        "the device is fed only by a turn that has just found no promise overdue"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        self.promises.see(fact);
        if let Fact::Resumed { host, wakes_within } = fact {
            self.waking.insert(*host, at + wakes_within);
        }
        let Fact::Fed { host } = fact else {
            return None;
        };
        if self.waking.get(host).is_some_and(|until| at < *until) {
            return None;
        }
        let before = self.fed.insert(*host, at);
        let (work, late) = self.promises.overdue(at, *host)?;
        // The first turn after a pause may look, strike, and feed while it waits for the kernel.
        let looked = before.is_some_and(|before| at - before < VERIFY_MS + TURN_MS);
        (looked && late > VERIFY_MS + TURN_MS)
            .then(|| format!("host-{host} is fed while {work} runs {late} ms beyond its promise"))
    }
}

/// See the file.
#[derive(Default)]
pub struct ResetForAPromise {
    promises: Promises,
    /// When something that ran beyond its promise ended at last.
    mended: BTreeMap<Host, True>,
    /// When something that ran beyond its promise was promised anew: too late for a watchdog that
    /// has found it so, and starves a device.
    renewed: BTreeMap<Host, True>,
}

/// The longest timeout of a device in a drawn world.
const DEVICE_MS: u64 = 10_000;

impl Checker for ResetForAPromise {
    fn property(&self) -> &'static str {
        "a watchdog that runs resets a host only to keep a promise"
    }

    fn see(&mut self, at: True, fact: &Fact) -> Option<String> {
        if let Fact::Ended { host, .. } = fact
            && self.promises.overdue(at, *host).is_some()
        {
            self.mended.insert(*host, at);
        }
        if let Fact::GateLeft {
            host,
            unit: UnitKey::Work(work),
            generation: Some(generation),
        } = fact
            && self.promises.is_due(at, *host, work, *generation)
        {
            self.mended.insert(*host, at);
        }
        if let Fact::Promised { host, .. } = fact
            && self.promises.overdue(at, *host).is_some()
        {
            self.renewed.insert(*host, at);
        }
        self.promises.see(fact);
        let Fact::Resets {
            host,
            held,
            runs: true,
        } = fact
        else {
            return None;
        };
        let due = |(work, generation): &(WorkName, Generation)| {
            self.promises.is_due(at, *host, work, *generation)
        };
        // What ended a moment ago may be too late for a device that is not fed any more.
        let mended = self
            .mended
            .get(host)
            .is_some_and(|when| at - when < TURN_MS);
        let renewed = self
            .renewed
            .get(host)
            .is_some_and(|when| at - when < DEVICE_MS);
        (!mended && !renewed && !held.iter().any(due))
            .then(|| format!("host-{host} is reset, and nothing runs beyond its promise: {held:?}"))
    }
}
