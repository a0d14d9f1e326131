//! Deterministic simulation of agent core and coordinator core on virtual time.
//!
//! A [`world::World`] holds hosts with their services and watchdogs, a broker, a network that
//! fails, and a coordinator with its store; [`checks`] watch it. One seed gives one world:
//! [`knobs`] are drawn from it and printed first, and the same seed gives the same trace.

pub mod agent;
pub mod boss;
pub mod broker;
pub mod checks;
pub mod clock;
pub mod draw;
pub mod ears;
pub mod fact;
pub mod faults;
pub mod fence;
pub mod gate;
pub mod hands;
pub mod host;
pub mod knobs;
pub mod manager;
pub mod rest;
pub mod run;
pub mod signs;
pub mod story;
pub mod trace;
pub mod watchdog;
pub mod wire;
pub mod works;
pub mod world;

pub use knobs::{Knobs, Mutant, Plot};
pub use run::{Outcome, many, run, run_on};
pub use story::tell;
