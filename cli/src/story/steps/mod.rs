//! The steps of the story, in order, one file each.

mod all_up;
mod broken;
mod drained;
mod host_lost;
mod killed;
mod proof;
mod undrained;

use std::pin::Pin;

use super::stage::Stage;
use super::timeline::Unseen;

/// One step: it does something to the fleet and sees from outside what comes of it.
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What is done and what should be seen.
    pub what: &'static str,
    /// Plays it.
    pub play: for<'s, 'a> fn(&'s mut Stage<'a>) -> Playing<'s>,
}

/// A step under way.
pub type Playing<'s> = Pin<Box<dyn Future<Output = Result<(), Unseen>> + 's>>;

/// The story.
pub const STEPS: [Step; 7] = [
    Step {
        name: "all up",
        what: "both works are declared and answer",
        play: |stage| Box::pin(all_up::play(stage)),
    },
    Step {
        name: "killed",
        what: "kill -9 of a service; it answers again",
        play: |stage| Box::pin(killed::play(stage)),
    },
    Step {
        name: "broken",
        what: "a service is broken for good; it is fenced, paged for, and answers elsewhere",
        play: |stage| Box::pin(broken::play(stage)),
    },
    Step {
        name: "host lost",
        what: "kill -9 of an agent, its watchdog and its exclusive work; it answers elsewhere",
        play: |stage| Box::pin(host_lost::play(stage)),
    },
    Step {
        name: "drained",
        what: "a node is drained; the replicated work answers without a gap",
        play: |stage| Box::pin(drained::play(stage)),
    },
    Step {
        name: "undrained",
        what: "the node is given back and takes work again; the pages are resolved",
        play: |stage| Box::pin(undrained::play(stage)),
    },
    Step {
        name: "proof",
        what: "the exclusive work's own records show that it never ran twice",
        play: |stage| Box::pin(proof::play(stage)),
    },
];
