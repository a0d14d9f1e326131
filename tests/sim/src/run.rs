//! One world from its first to its last moment, and many of them on all processors.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::clock::True;
use crate::fact::{Fact, Violation};
use crate::knobs::Knobs;
use crate::world::World;

/// A host that has so many events in a second of true time runs in a circle.
const EVENTS_PER_HOST_SECOND: u64 = 500;

/// What became of a world.
pub struct Outcome {
    /// Its weather.
    pub knobs: Knobs,
    /// Every broken property, in order.
    pub violations: Vec<Violation>,
    /// What lies have cost, and when: docs/safety.md promises nothing against them.
    pub costs: Vec<(True, String)>,
    /// The same for the same seed.
    pub hash: u64,
    /// How many facts there were.
    pub facts: u64,
    /// The facts, if they were kept.
    pub kept: Vec<(True, Fact)>,
    /// So long after the faults it came to rest.
    pub rested: Option<True>,
}

/// Runs a world until it rests or a property is broken.
#[must_use]
pub fn run(knobs: Knobs, keep_facts: bool) -> Outcome {
    go(World::new(knobs, keep_facts), false)
}

/// Runs a world to its end, whatever is broken in it, and keeps its facts: for a story.
#[must_use]
pub fn run_on(knobs: Knobs) -> Outcome {
    go(World::new(knobs, true), true)
}

fn go(mut world: World, on: bool) -> Outcome {
    let hosts = u64::try_from(world.hosts.len()).unwrap_or(u64::MAX);
    let seconds = world.knobs.fault_ms / 1000 + crate::rest::REST_WITHIN_MS / 1000;
    let events_max = EVENTS_PER_HOST_SECOND * (hosts + 5) * seconds;
    let mut events = 0;
    while world.step() && (on || world.checks.found.is_empty()) {
        events += 1;
        if events > events_max {
            world.checks.found.push(Violation {
                at: world.now,
                property: "nothing runs in a circle",
                what: format!("{events} events and no end"),
            });
            break;
        }
    }
    Outcome {
        hash: world.trace.hash(),
        facts: world.trace.count(),
        kept: world.trace.facts().to_vec(),
        rested: world.rested,
        violations: world.checks.found,
        costs: world.checks.costs,
        knobs: world.knobs,
    }
}

/// Runs the worlds of many seeds, one for each processor at a time, and gives what `look` makes of
/// each, in the order of the seeds. `look` may say that it has seen enough.
pub fn many<R: Send>(
    seeds: std::ops::RangeInclusive<u64>,
    keep_facts: bool,
    knobs: impl Fn(u64) -> Knobs + Sync,
    look: impl Fn(Outcome) -> (R, bool) + Sync,
) -> Vec<R> {
    let next = AtomicU64::new(*seeds.start());
    let last = AtomicU64::new(*seeds.end());
    let results = Mutex::new(BTreeMap::new());
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed > last.load(Ordering::Relaxed) {
            return;
        }
        let (result, enough) = look(run(knobs(seed), keep_facts));
        if enough {
            last.fetch_min(seed, Ordering::Relaxed);
        }
        if let Ok(mut results) = results.lock() {
            results.insert(seed, result);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let last = last.load(Ordering::Relaxed);
    let results = results.into_inner().unwrap_or_default();
    results
        .into_iter()
        .filter(|(seed, _)| *seed <= last)
        .map(|(_, result)| result)
        .collect()
}
