//! The properties of docs/safety.md, each as an object that watches the whole world.

mod budget;
mod events;
mod evidence;
mod generations;
mod holders;
mod obedience;

use crate::clock::True;
use crate::fact::{Fact, Violation};

/// Watches one property.
pub trait Checker {
    /// The property, as a sentence.
    fn property(&self) -> &'static str;

    /// Sees one fact; says what is wrong, if it breaks the property.
    fn see(&mut self, at: True, fact: &Fact) -> Option<String>;
}

/// All of them.
#[must_use]
pub fn all(exclusive: Vec<nodemedic_protocol::WorkName>, budget: budget::Limits) -> Checks {
    Checks {
        checkers: vec![
            Box::new(holders::OneHolder::new(exclusive.clone())),
            Box::new(generations::Rising::new(exclusive.clone())),
            Box::new(generations::EndedIsEnded::new(exclusive.clone())),
            Box::new(budget::Budget::new(budget)),
            Box::new(events::Journal::default()),
            Box::new(evidence::UnknownAlone::default()),
            Box::new(obedience::NoStopWithoutWord::default()),
        ],
        found: Vec::new(),
    }
}

pub use budget::Limits;

/// All checkers and what they found.
pub struct Checks {
    checkers: Vec<Box<dyn Checker>>,
    /// In the order of time.
    pub found: Vec<Violation>,
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
    }
}
