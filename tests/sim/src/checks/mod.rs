//! The properties of docs/safety.md, each as an object that watches the whole world.

mod blast;
mod budget;
mod commands;
mod events;
mod evidence;
mod feeding;
mod generations;
pub(crate) mod holders;
mod leases;
mod lies;
mod obedience;
mod storm;

use crate::clock::{RIGHT, True};
use crate::fact::{Fact, Violation};
use crate::knobs::Knobs;
use crate::works;

/// Watches one property.
pub trait Checker {
    /// The property, as a sentence.
    fn property(&self) -> &'static str;

    /// Sees one fact; says what is wrong, if it breaks the property.
    fn see(&mut self, at: True, fact: &Fact) -> Option<String>;
}

/// All of them, for a world.
#[must_use]
pub fn all(knobs: &Knobs) -> Checks {
    // A window of the fastest clock is this long in true time, less the odd millisecond.
    let window = works::RESTARTS.window.0;
    let limits = budget::Limits {
        max: works::RESTARTS.max as usize,
        window_ms: window * RIGHT / (RIGHT + knobs.drift) - 2,
    };
    let suspect = knobs.lost_ms / 2;
    // Two clocks within the drift, and the odd millisecond.
    let patience = storm::Patience {
        suspect_ms: suspect * 101 / 100 + 100,
        proof_ms: (suspect + knobs.heartbeat_ms) * 99 / 100 - 10,
    };
    Checks {
        checkers: vec![
            Box::new(holders::OneHolder::default()),
            Box::new(generations::Rising::default()),
            Box::new(generations::EndedIsEnded::default()),
            Box::new(leases::NeverProlonged::default()),
            Box::new(blast::BlastRadius::default()),
            Box::new(storm::NothingInAStorm::new(patience)),
            Box::new(lies::LiarsAreFound::default()),
            Box::new(budget::RestartBudget::new(limits)),
            Box::new(feeding::FedOnEvidence::default()),
            Box::new(feeding::ResetForAPromise::default()),
            Box::new(commands::VoidDoesNothing),
            Box::new(evidence::UnknownAlone::default()),
            Box::new(obedience::NoStopWithoutWord::default()),
            Box::new(events::Journal::default()),
        ],
        price: lies::Price::default(),
        found: Vec::new(),
        costs: Vec::new(),
    }
}

/// All checkers and what they found.
pub struct Checks {
    checkers: Vec<Box<dyn Checker>>,
    price: lies::Price,
    /// In the order of time.
    pub found: Vec<Violation>,
    /// What lies have cost, as docs/safety.md says that they may.
    pub costs: Vec<(True, String)>,
}

impl Checks {
    /// Shows a fact to every checker.
    pub fn see(&mut self, at: True, fact: &Fact) {
        for checker in &mut self.checkers {
            if let Some(what) = checker.see(at, fact) {
                self.found.push(Violation {
                    at,
                    property: checker.property(),
                    what,
                });
            }
        }
        if let Some(cost) = self.price.see(fact) {
            self.costs.push((at, cost));
        }
    }
}
