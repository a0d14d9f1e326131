//! One world from its first to its last moment.

use crate::clock::True;
use crate::fact::{Fact, Violation};
use crate::knobs::Knobs;
use crate::world::World;

/// A world that has so many events without an end runs in a circle.
const EVENTS_MAX: u64 = 5_000_000;

/// What became of a world.
pub struct Outcome {
    /// Its weather.
    pub knobs: Knobs,
    /// Every broken property, in order.
    pub violations: Vec<Violation>,
    /// The same for the same seed.
    pub hash: u64,
    /// How many facts there were.
    pub facts: u64,
    /// The facts, if they were kept.
    pub kept: Vec<(True, Fact)>,
    /// So long after the faults it came to rest.
    pub rested: Option<True>,
}

/// Runs a world.
#[must_use]
pub fn run(knobs: Knobs, keep_facts: bool) -> Outcome {
    let mut world = World::new(knobs, keep_facts);
    let mut events = 0;
    while world.step() && world.checks.found.is_empty() {
        events += 1;
        if events > EVENTS_MAX {
            world.checks.found.push(Violation {
                at: world.now,
                property: "nothing runs in a circle",
                what: format!("{events} events and no end"),
            });
        }
    }
    Outcome {
        hash: world.trace.hash(),
        facts: world.trace.count(),
        kept: world.trace.facts().to_vec(),
        rested: world.rested,
        violations: world.checks.found,
        knobs: world.knobs,
    }
}
